"""Open a store in the background, while the first steps of a run start."""

import threading
from collections.abc import Callable

import anyio
from anyio import to_thread

from pipeline.store.store import Store, StoreError

NOT_OPENED = "the database was not opened"


class DeferredStore:
    """A store that `open` opens, for callers that wait for it on the event loop or in threads.

    Args:
        opener: Opens the store. Blocking.
        on_open: Called in the opening thread with the store; must return before others use it. Blocking.
        store: A store that is open already; neither function is called then.
    """

    def __init__(
        self, opener: Callable[[], Store], on_open: Callable[[Store], None], store: Store | None = None
    ) -> None:
        self._opener = opener
        self._on_open = on_open
        self._store = store
        self._failure: StoreError | None = None
        # The end of opening, whatever its result, for coroutines and for threads.
        self._done = anyio.Event()
        self._done_in_threads = threading.Event()

    async def open(self) -> None:
        """Open the store.

        Raises:
            StoreError: It cannot be opened, or `on_open` raised this.
        """
        try:
            if self._store is None:
                with anyio.CancelScope(shield=True):  # a run that is cancelled this early is stored, too
                    await to_thread.run_sync(self._open, limiter=anyio.CapacityLimiter(1))
        except StoreError as error:
            self._failure = error
            raise
        finally:
            self.stop_waiting()
            self._done.set()

    def _open(self) -> None:
        self._store = self._opener()
        self._on_open(self._store)

    @property
    def opened(self) -> Store | None:
        """The open store, even if it failed since; `None` while it is not open."""
        return self._store

    @property
    def current(self) -> Store | None:
        """The store if it can be used now, without waiting for it; else `None`."""
        return self._store if self._done.is_set() and not self._failure else None

    @property
    def failure(self) -> StoreError | None:
        """The first error of opening or using the store."""
        return self._failure

    def fail(self, error: StoreError) -> None:
        """Mark the store as unusable after an error, so that later calls do not wait for it again."""
        self._failure = self._failure or error

    async def get(self) -> Store:
        """Return the store as soon as it can be used.

        Raises:
            StoreError: It could not be opened, or failed since.
        """
        await self._done.wait()
        if self._store is None or self._failure:
            raise self._failure or StoreError(NOT_OPENED)
        return self._store

    def wait(self, timeout: float | None = None) -> Store | None:
        """Return the store once it can be used; `None` after a failure or `timeout` seconds. Blocking."""
        self._done_in_threads.wait(timeout)
        return None if self._failure else self._store

    def stop_waiting(self) -> None:
        """Let `wait` return at once from now on: the store is open, or will never be."""
        self._done_in_threads.set()

"""The store, seen from the event loop: one write at a time, each in a thread."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import anyio
from anyio import to_thread

from pipeline.store import Run, Store, StoreError

P = ParamSpec("P")
T = TypeVar("T")
HEAD_START = 0.1
"""Seconds that the first steps get to start in, before the database's library is loaded beside them.

Both need the interpreter's lock, and loading holds it for 0.2 s.
"""


class Recorder:
    """Keeps what a run does. `keep` returns when what it wrote is durable.

    The database is opened while the first steps run, since loading its library takes longer than starting
    them; nothing that has finished goes on before it is open and the run is in it.
    """

    def __init__(self, opener: Callable[[], Store], run: Run) -> None:
        self.run = run
        self._opener = opener
        self._store: Store | None = None
        self._failure: StoreError | None = None
        self._wanted = anyio.Event()
        self._opened = anyio.Event()
        self._one = anyio.CapacityLimiter(1)

    async def open(self) -> None:
        """Open the database and keep the run in it.

        Raises:
            StoreError: It cannot be opened or written.
        """
        try:
            with anyio.CancelScope(shield=True):  # a run that cannot go on is kept, too
                with anyio.move_on_after(HEAD_START):
                    await self._wanted.wait()
                await to_thread.run_sync(self._open, limiter=self._one)
        except StoreError as error:
            self._failure = error
            raise
        finally:
            self._opened.set()

    def _open(self) -> None:
        self._store = self._opener()
        self._store.open_run(self.run)

    async def close(self) -> None:
        """Let go of the database."""
        if self._store is not None:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._store.close, limiter=self._one)

    async def keep(
        self, write: Callable[Concatenate[Store, P], T], /, *arguments: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the store, such as `recorder.keep(Store.keep_step, …)`, and wait until it is done.

        Raises:
            StoreError: It could not be written, or the database could not be opened.
        """
        self._wanted.set()
        await self._opened.wait()
        store = self._store
        if store is None or self._failure:
            raise self._failure or StoreError("the database was not opened")
        with anyio.CancelScope(shield=True):
            result = await to_thread.run_sync(lambda: write(store, *arguments, **options), limiter=self._one)
        return result

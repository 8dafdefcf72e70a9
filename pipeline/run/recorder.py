"""Writing to the store from a running run: one write at a time, each in a thread."""

import queue
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import anyio
from anyio import to_thread

from pipeline.events import Event, as_record
from pipeline.store.records import Run
from pipeline.store.store import Store, StoreError, StoreUnavailableError

P = ParamSpec("P")
T = TypeVar("T")
HEAD_START = 0.1
"""Seconds that the first steps get to start in, before the database's library is loaded beside them.

Both need the interpreter's lock, and loading holds it for 0.2 s.
"""
AWAY, AGAIN = 8.0, 0.2
"""Seconds to retry while the database is unavailable, and between two attempts."""
GATHERED = 0.01
"""Seconds for which events are collected, to be written together."""


class Recorder:
    """Keeps what a run does. `keep` returns when what it wrote is durable.

    The database is opened while the first steps run, since loading its library takes longer than starting
    them; nothing that has finished goes on before it is open and the run is in it. A context manager, which
    lets go of the database; its door holds it for as long as it acts on the run.

    Args:
        opener: Opens the database.
        run: The run.
        claim: Makes a new run this process's, which is kept then.
        of: The database that is open already, and has the run as this process's.
    """

    def __init__(
        self,
        opener: Callable[[], Store],
        run: Run,
        claim: Callable[[Store], None] | None = None,
        of: Store | None = None,
    ) -> None:
        self.run = run
        self.opener = opener
        self._claim = claim or (lambda store: store.open_run(run))
        self._store = of
        self._failure: StoreError | None = None
        self._wanted = anyio.Event()
        self._opened = anyio.Event()
        self._settled = threading.Event()
        self._one = anyio.CapacityLimiter(1)
        self._patience = StoreRetry()
        self._noted: list[Callable[[Store], object]] = []

    async def open(self) -> None:
        """Open the database and keep the run in it.

        Raises:
            StoreError: It cannot be opened or written.
        """
        if self._store is not None:
            self._opened.set()
            self._settled.set()
            return
        try:
            with anyio.CancelScope(shield=True):  # a run that cannot go on is kept, too
                with anyio.move_on_after(HEAD_START):
                    await self._wanted.wait()
                await to_thread.run_sync(self._open, limiter=self._one)
        except StoreError as error:
            self._failure = error
            raise
        finally:
            self._settled.set()
            self._opened.set()

    def _open(self) -> None:
        self._store = self.opener()
        self._claim(self._store)
        self._patience.do(partial(self._write_noted, self._store))

    @property
    def is_shared(self) -> bool:
        """Whether the database, when it is open, is one that several hosts can share."""
        return self._store is not None and self._store.is_shared

    @property
    def is_open(self) -> bool:
        """Whether the database is open, and the run in it."""
        return self._store is not None

    def wait(self, timeout: float | None = None) -> Store | None:
        """Return the store as soon as the run is in it; `None` when that failed, or takes too long. Blocks."""
        self._settled.wait(timeout)
        return None if self._failure else self._store

    def settle(self) -> None:
        """Wake those that wait for the store: by now the run is in it, or will never be."""
        self._settled.set()

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the run and close the database. Blocking."""
        if self._store is not None:
            if self.run.owner and not self._failure:
                with suppress(StoreError):
                    self._store.release(self.run.id, self.run.owner)
            self._store.close()

    def note(self, write: Callable[[Store], object]) -> None:
        """Queue a write that is done before the next `keep`, without waiting for it."""
        self._noted.append(write)

    def _write_noted(self, store: Store) -> None:
        while self._noted:
            self._noted[0](store)
            del self._noted[0]

    async def flush(self) -> None:
        """Write what is queued, if the database is open."""
        if self._noted and self._opened.is_set() and self._store and not self._failure:
            await self.keep(lambda _: None)

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

        def work() -> T:
            if self._failure:
                raise self._failure
            self._write_noted(store)
            return write(store, *arguments, **options)

        with anyio.CancelScope(shield=True):
            try:
                result = await to_thread.run_sync(self._patience.do, work, limiter=self._one)
            except StoreError as error:
                self._failure = self._failure or error  # what follows need not wait as long once more
                raise
        return result


class StoreRetry:
    """Retries idempotent writes while the database is unavailable; after one failure it does not wait again."""

    def __init__(self) -> None:
        self._left = AWAY

    def do(self, work: Callable[[], T]) -> T:
        """Call a function, and retry it. Blocking.

        Raises:
            StoreUnavailableError: The database is still unavailable.
        """
        end = monotonic() + self._left
        while True:
            try:
                return work()
            except StoreUnavailableError:
                if monotonic() > end:
                    self._left = 0.0
                    raise
            sleep(AGAIN)


class EventKeeper:
    """An observer that keeps every event in the store, for whoever watches the run from elsewhere.

    It writes in a thread of its own: whoever else is told of the events does not wait for the database. What
    it cannot write is lost; the run's outcomes are kept by the `Recorder`.

    Args:
        run: The run's id.
        wait: Gives the store when the run is in it, or `None` when it never will be.
    """

    def __init__(self, run: str, wait: Callable[[], Store | None]) -> None:
        self._run = run
        self._wait = wait
        self._queue: queue.SimpleQueue[Mapping[str, object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)
        self._thread.start()

    def notify(self, event: Event) -> None:
        """Queue an event."""
        self._queue.put(as_record(event))

    def close(self) -> None:
        """Write what is queued."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        store, patience = self._wait(), StoreRetry()
        over = False
        while not over:
            records, over = self._gather()
            if store is None or not records:
                continue
            try:
                patience.do(partial(store.keep_events, self._run, records))
            except StoreError:
                store = None

    def _gather(self) -> tuple[list[Mapping[str, object]], bool]:
        """Wait for an event; return it with those that follow closely, and whether they were the last."""
        records: list[Mapping[str, object]] = []
        until = None
        while True:
            try:
                record = self._queue.get(timeout=None if until is None else max(0.0, until - monotonic()))
            except queue.Empty:
                return records, False
            if record is None:
                return records, True
            records.append(record)
            until = until or monotonic() + GATHERED

"""Write the progress of a run to its store: one write at a time, each in a thread."""

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
from pipeline.run.recording.deferred_store import NOT_OPENED, DeferredStore
from pipeline.store.records import Run
from pipeline.store.store import Store, StoreError, StoreUnavailableError

P = ParamSpec("P")
T = TypeVar("T")
RETRY_TIME, RETRY_PAUSE = 8.0, 0.2
"""Seconds to retry while the database is unavailable, and between two attempts."""
_SHORT = frozenset[object]({Store.keep_step, Store.keep_wait})
"""Writes of one row. Others may have a large patch, or run git, while other runs wait for the database."""
COLLECT_TIME = 0.01
"""Seconds for which events are collected, to be written together."""


class Recorder:
    """Writes the progress of a run to its store. `call` returns when what it wrote is durable.

    The store is opened while the first steps run, since loading the database library takes longer than starting
    them; no task ends before the store is open and has the run. A context manager, which releases the run and
    closes the store; the entry point keeps it open for as long as it acts on the run.

    Args:
        opener: Opens the store.
        run: The run.
        claim: Adds a new run to the store, claimed by this process.
        store: A store that is open already and has the run, claimed by this process.
    """

    def __init__(
        self,
        opener: Callable[[], Store],
        run: Run,
        claim: Callable[[Store], None] | None = None,
        store: Store | None = None,
    ) -> None:
        self.run = run
        self.opener = opener
        self._claim = claim or (lambda opened: opened.open_run(run))
        self._store = DeferredStore(opener, self._add_run, store)
        self._one_at_a_time = anyio.CapacityLimiter(1)  # no further thread waits
        self._writing = threading.Lock()
        self._retry = StoreRetry()
        self._queued: list[Callable[[Store], object]] = []

    async def open(self) -> None:
        """Open the store and add the run to it.

        Raises:
            StoreError: It cannot be opened or written.
        """
        await self._store.open()

    def _add_run(self, store: Store) -> None:
        self._claim(store)
        self._retry.do(partial(self._write_with_queued, store, lambda _: None))

    @property
    def is_shared(self) -> bool:
        """Whether the store is open, and several hosts can share its database."""
        return self._store.opened is not None and self._store.opened.is_shared

    @property
    def is_open(self) -> bool:
        """Whether the store is open."""
        return self._store.opened is not None

    def wait(self, timeout: float | None = None) -> Store | None:
        """Return the store once it has the run; `None` after a failure or `timeout` seconds. Blocking."""
        return self._store.wait(timeout)

    def stop_waiting(self) -> None:
        """Let `wait` return at once from now on: the store has the run, or never will."""
        self._store.stop_waiting()

    def __enter__(self) -> Self:
        """Return the recorder."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the run and close the store. Blocking."""
        if (store := self._store.opened) is None:
            return
        if self.run.owner and not self._store.failure:
            with suppress(StoreError):
                store.release(self.run.id, self.run.owner)
        store.close()

    def queue(
        self, method: Callable[Concatenate[Store, P], object], /, *arguments: P.args, **options: P.kwargs
    ) -> None:
        """Queue a call of a method of the store that is made before the next `call`, without waiting for it.

        All calls that are queued then are one transaction, together with that one if it is short.
        """
        self._queued.append(lambda store: method(store, *arguments, **options))

    def _write_with_queued(self, store: Store, method: Callable[[Store], T], *, is_short: bool = False) -> T:
        if not (queued := self._queued[:]):
            return method(store)
        with store.together(self.run.id):
            for one in queued:
                one(store)
            if is_short:
                result = method(store)
        del self._queued[: len(queued)]  # not before: an unavailable database is tried again
        return result if is_short else method(store)

    async def flush(self) -> None:
        """Write what is queued, if the store is open."""
        if self._queued and self._store.current:
            await self.call(lambda _: None)

    async def call(
        self, method: Callable[Concatenate[Store, P], T], /, *arguments: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the store in a thread, such as `recorder.call(Store.keep_step, …)`.

        Raises:
            StoreError: The store could not be opened, read or written.
        """
        await self._store.get()
        work = partial(self.write, method, *arguments, **options)
        with anyio.CancelScope(shield=True):
            result = await to_thread.run_sync(work, limiter=self._one_at_a_time)
        return result

    def write(
        self, method: Callable[Concatenate[Store, P], T], /, *arguments: P.args, **options: P.kwargs
    ) -> T:
        """Call a method of the store, in a thread that has other work, too. Blocking.

        Raises:
            StoreError: The store could not be opened, read or written.
        """
        store = self._store.wait()

        def work() -> T:
            if store is None or self._store.failure:
                raise self._store.failure or StoreError(NOT_OPENED)
            return self._write_with_queued(
                store, lambda given: method(given, *arguments, **options), is_short=method in _SHORT
            )

        with self._writing:
            try:
                return self._retry.do(work)
            except StoreError as error:
                self._store.fail(error)
                raise


class StoreRetry:
    """Retries idempotent writes while the database is unavailable; after it gave up once, it does not retry."""

    def __init__(self) -> None:
        self._left = RETRY_TIME

    def do(self, work: Callable[[], T]) -> T:
        """Call a function, and retry it for `RETRY_TIME` seconds. Blocking.

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
            sleep(RETRY_PAUSE)


class EventWriter:
    """An observer that stores every event, for subscribers in other processes.

    It writes in a thread of its own, so other observers do not wait for the database. Events that it cannot
    write are lost; the outcomes of the run are stored by the `Recorder`.

    Args:
        run: The run's id.
        wait: Returns the store when it has the run, or `None` when it never will. Blocking.
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
        """Write what is queued. Blocking."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        store, retry = self._wait(), StoreRetry()
        closed = False
        while not closed:
            records, closed = self._collect()
            if store is None or not records:
                continue
            try:
                retry.do(partial(store.keep_events, self._run, records))
            except StoreError:
                store = None

    def _collect(self) -> tuple[list[Mapping[str, object]], bool]:
        """Wait for an event; return it with those that follow closely, and whether `close` was called."""
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
            until = until or monotonic() + COLLECT_TIME

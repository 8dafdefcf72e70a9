"""Follow a run of another process, by the events that it stores."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from time import monotonic, sleep
from typing import TextIO

from pipeline.broadcast import Observer
from pipeline.live.records import event_of
from pipeline.live.table import LiveTable
from pipeline.run.stored.status import current_status
from pipeline.store.records import Run, StoredEvent
from pipeline.store.store import Store
from tasks.outcome import RunStatus

POLL = 0.2
"""Seconds between two looks for new events."""
STATUS_POLL = 1.0
"""Seconds between two looks whether the run's process is alive."""


class RecordLines:
    """An observer of records: writes each as one line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def record(self, record: Mapping[str, object]) -> None:
        """Write a record."""
        self._stream.write(json.dumps(dict(record)) + "\n")
        self._stream.flush()


def follow(store: Store, run: Run, environ: Mapping[str, str], observer: Observer | RecordLines) -> RunStatus:
    """Pass the events of a run to an observer until it has ended, or its process has died. Blocking.

    A live table takes in what happened before without a line for each event. The end of the run is passed to
    observers of records only: the store has it.

    Returns:
        The status at the end.
    """
    seen = _Seen(store, run, environ)
    if isinstance(observer, LiveTable):
        observer.catch_up(event for stored in seen.new() if (event := event_of(stored.record)))
    while True:
        is_over = seen.is_over()
        for stored in seen.new():
            if isinstance(observer, RecordLines):
                observer.record(stored.record)
            elif event := event_of(stored.record):
                observer.notify(event)
        if is_over:
            return seen.status
        sleep(POLL)


class _Seen:
    """What has been read of a run."""

    def __init__(self, store: Store, run: Run, environ: Mapping[str, str]) -> None:
        self.status = run.status
        self._store = store
        self._run = run
        self._environ = environ
        self._last = 0
        self._has_end = False
        self._looked = float("-inf")

    def new(self) -> Iterator[StoredEvent]:
        """Yield the events that follow those that were read."""
        while found := self._store.events(self._run.id, self._last):
            for stored in found:
                self._last = stored.sequence
                kind = stored.record.get("event")
                self._has_end = kind == "run_finished" or (self._has_end and kind != "run_started")
                yield stored

    def is_over(self) -> bool:
        """Whether no event follows those that are stored now.

        A run is stored as ended before it is published; its last event comes afterwards.
        """
        if not self._has_end and monotonic() - self._looked < STATUS_POLL:
            return False
        self._looked = monotonic()
        self.status = current_status(self._store, self._store.run(self._run.id), self._environ)
        if self.status.is_active or self.status is RunStatus.PENDING:
            return False
        return self._has_end or not self._store.is_leased(self._run.id)


def detached(observer: Observer | RecordLines, work: Callable[[], RunStatus]) -> RunStatus | None:
    """Return what `work` returns; `None` if the user ends it with Ctrl-C. Closes the observer."""
    try:
        with suppress(KeyboardInterrupt):
            return work()
        return None
    finally:
        if not isinstance(observer, RecordLines):
            observer.close()

"""The view of a large run that was read last: a page that loads its rows one after another reads it once."""

from threading import Lock
from time import monotonic

from pipeline.store.records import Run
from pipeline.view.portions import WHOLE
from pipeline.web.page.run_view import RunView, read_run_view
from pipeline.web.snapshot import LocatedRun, RunActivity, RunReader

FRESH, FRESH_WHILE_ACTIVE = 10.0, 1.0
"""Seconds for which a view is kept; the clock of an active run is in it."""


class RunViews:
    """Reads runs as their pages show them. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._newest: tuple[tuple[Run, int, RunActivity], float, RunView] | None = None

    def read(self, reader: RunReader, located: LocatedRun) -> RunView:
        """Return a run as its page shows it now. Blocking.

        Raises:
            CallError: The stored plan cannot be parsed.
            StoreError: The store cannot be read.
        """
        store, run = located.store, located.store.run(located.run.id)
        key = (run, store.last_event(run.id), reader.activity(store, run))
        with self._lock:
            newest = self._newest
        if newest and newest[0] == key and monotonic() < newest[1]:
            return newest[2]
        view = read_run_view(reader, located)
        until = monotonic() + (FRESH_WHILE_ACTIVE if view.expects_changes else FRESH)
        with self._lock:
            is_large = len(view.timeline.rows) > WHOLE
            self._newest = (key, until, view) if is_large else None
        return view

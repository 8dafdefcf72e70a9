"""Live updates of the pages of runs: each change becomes HTML once, for all pages of the run.

A change holds the new state of each changed element, so an element that is sent twice does no harm, and several
changes can be sent as one. Only tasks that an event names are read and rendered again.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from time import thread_time
from typing import Any

import anyio

from pipeline.run.stored.status import unpublished_tasks
from pipeline.store.records import Run
from pipeline.view.templating import PageLinks
from pipeline.view.timeline import LIVE
from pipeline.web.page.run_view import (
    EventDigest,
    RunView,
    add_started_attempt,
    build_run_view,
    event_record,
    read_changed_tasks,
    read_run_view,
    render_changes,
)
from pipeline.web.services import Services
from pipeline.web.snapshot import LocatedRun, RunActivity
from pipeline.web.streams.change_signal import ChangeSignal
from pipeline.web.streams.feeds import Feed
from pipeline.web.streams.shared_work import SharedWork
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

SHORTEST_PAUSE = 0.02
"""Seconds between two changes; events in between are sent as one change."""
CPU_SHARE = 0.5
"""Maximum share of a processor for one run; the changes of a large run are sent less often."""
KEPT_CHANGES = 200
"""Changes that are kept for pages that reconnect; a page that missed more is reloaded."""


@dataclass(frozen=True, slots=True)
class Change:
    """The HTML of a change: its number from 1, and the sequence numbers before and after it."""

    number: int
    after: int
    until: int
    html: str


class LiveRun:
    """A run with open pages. `run` collects its changes.

    `page_frame` is set when the first page is older than `view`: the frame of the timeline on that page. `view`
    then has the sequence number of the page.
    """

    def __init__(
        self,
        services: Services,
        located: LocatedRun,
        feed: Feed,
        view: RunView,
        *,
        page_frame: str | None = None,
    ) -> None:
        self._services = services
        self._located = located
        self._feed = feed
        self._view = view
        self._links = PageLinks(located.run.id)
        self._start = view.sequence
        self._page_frame = page_frame
        self._changes: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._number = 0
        self._cpu_seconds = 0.0  # of the last change
        self.changed = ChangeSignal()
        self.over = False

    @property
    def is_usable(self) -> bool:
        """Whether new pages may join: the run is not over."""
        return not self.over

    async def run(self) -> None:
        """Collect changes until the run is over."""
        try:
            while not self.over:
                events = await self._feed.events_after(self._view.sequence)
                records = [(item.sequence, event_record(item)) for item in events]
                if records or await self._has_new_activity():
                    await self._add_change(records)
                elif await self._is_over():
                    # A worker may have ended since the activity was read.
                    self.over = not await self._has_new_activity()
                    continue
                else:
                    await self._feed.changed.wait()
                    continue
                self.changed.notify()
                await anyio.sleep(max(SHORTEST_PAUSE, self._cpu_seconds * (1 / CPU_SHARE - 1)))
        except PatchyardError:
            self.over = True  # a page that reconnects gets the error
        self.changed.notify()

    async def _has_new_activity(self) -> bool:
        """Whether the status, the request or a worker changed: a pause and a kill write no event."""
        run, activity = await self._services.call(self._read_run)
        before = self._view.source.run
        return (before.status, before.request, self._view.activity) != (run.status, run.request, activity)

    def _read_run(self) -> tuple[Run, RunActivity]:
        """Read the run, and what workers do with it. Blocks."""
        store = self._located.store
        run = store.run(self._located.run.id)
        return run, self._services.run_reader.activity(store, run)

    async def _is_over(self) -> bool:
        return (
            self._feed.failure is not None
            or self._services.subscribers.closing.is_set()
            or await self._feed.is_complete_at(self._view.sequence)
        )

    async def _add_change(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        digest, before = EventDigest(self._view.source.running), self._view
        digest.started |= {item.task: item for item in before.source.attempts if item.status is None}
        last = before.sequence
        for last, record in records:
            digest.add(last, record)
        self._view, html = await self._services.call(self._read_change, digest, last)
        self._page_frame = None
        self._number += 1
        self._changes.append(Change(self._number, before.sequence, last, html))

    def _read_change(self, digest: EventDigest, last: int) -> tuple[RunView, str]:
        """Read changed tasks again, and return the new view with the HTML of the change. Blocks."""
        began = thread_time()
        before, store = self._view, self._located.store
        run, activity = self._read_run()
        source = read_changed_tasks(replace(before.source, run=run), store, digest.changed_tasks)
        for task in digest.changed_tasks:
            if started := digest.started.get(task):
                source = add_started_attempt(source, started)
        source = replace(
            source,
            conflicts=store.conflicts(run.id),
            running=digest.steps,
            unpublished=() if run.status in LIVE else unpublished_tasks(store, run, source.tasks),
        )
        after = build_run_view(
            source,
            activity,
            last,
            tuple(digest.notices),
            before=before.timeline,
            changed_tasks=digest.changed_tasks.keys(),
        )
        html = render_changes(before, after, digest.changed_tasks, self._links, page_frame=self._page_frame)
        self._cpu_seconds = thread_time() - began
        return after, html

    def number_at(self, sequence: int) -> int | None:
        """Return the number of the last change in a page with events up to `sequence`; `None`: too old."""
        missed = [change for change in self._changes if change.until > sequence]
        if sequence < (missed[0].after if missed else self._start):
            return None
        return missed[0].number - 1 if missed else self._number

    def after(self, number: int) -> list[Change] | None:
        """Return the changes after a number; `None` if some of them are not kept any more."""
        missed = [change for change in self._changes if change.number > number]
        if self._number > number and (not missed or missed[0].number > number + 1):
            return None
        return missed


class LiveRuns:
    """The runs with open pages: created for the first page, and stopped with the last."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._live_runs = SharedWork[LiveRun]()

    def open(self) -> AbstractAsyncContextManager[None]:
        """Let pages be updated while the context is open."""
        return self._live_runs.open()

    async def changes(self, located: LocatedRun, after: int, frame: str) -> AsyncIterator[tuple[int, str, str]]:
        """Yield changes after an event: a sequence number, `update`, `reload` or `end`, and HTML.

        `frame` is the frame of the timeline on the page. `reload` says that changes were missed, `end` that
        there are no more changes. The name and the HTML are empty while there is no change.
        """
        async with self._live_run(located, after, frame) as live:
            number = live.number_at(after)
            while True:
                found = None if number is None else live.after(number)
                if found is None:
                    yield after, "reload", ""
                    return
                if found:
                    after, number = found[-1].until, found[-1].number
                    yield after, "update", "".join(change.html for change in found)
                elif live.over:
                    yield after, "end", ""
                    return
                else:
                    await live.changed.wait()
                    yield after, "", ""

    @asynccontextmanager
    async def _live_run(self, located: LocatedRun, after: int, frame: str) -> AsyncIterator[LiveRun]:
        services, run = self._services, located.run.id
        async with services.subscribers.feed(
            run, services.event_reader(located), services.end_check(run)
        ) as feed:

            async def create() -> LiveRun:
                view = await services.call(read_run_view, services.run_reader, located)
                if after >= view.sequence:
                    return LiveRun(services, located, feed, view)
                return LiveRun(services, located, feed, replace(view, sequence=max(0, after)), page_frame=frame)

            async with self._live_runs.use(run, create) as live:
                yield live

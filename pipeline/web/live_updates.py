"""A run on the page while it goes on: what changed of it, as HTML, made once for all who look at the run.

A change is told as the whole new state of what it touches, so that hearing of it twice does no harm, and
several changes become one. Only what an event names is read again, and rendered again.
"""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import thread_time
from typing import Any

import anyio
from anyio.abc import TaskGroup

from pipeline.events import now
from pipeline.run.lifecycle import current_status, plan_of
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.store import Store
from pipeline.view.templating import PageLinks, render
from pipeline.view.timeline import Row, Timeline
from pipeline.view.timeline_builder import RunningStep, Source, source_of, timeline
from pipeline.web.feeds import Feed
from pipeline.web.services import LocatedRun, Services
from pipeline.web.sse import EncodedEvent
from pipeline.web.workers import Work
from tasks.errors import PatchyardError
from tasks.model import Plan, RunStatus

SHORTEST_PAUSE = 0.02
"""Seconds between two changes that are sent; what happens meanwhile is sent together."""
SHARE = 0.5
"""The part of a processor's time that may go into one run: a large one is shown in fewer steps."""
KEPT = 200
"""Changes that are kept for whoever comes back; who missed more loads the page anew."""
MOST_PLANS = 100
RECENT = 500
"""Events that are looked at for the steps that go on."""
ABOUT_TASKS = frozenset({"task_started", "step_started", "step_finished", "task_finished", "pull_request"})
MOST_NOTICES = 20


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence that the run said; `sequence` is that of its event."""

    sequence: int
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as the page shows it, and the number of the newest event that it knows."""

    view: Timeline
    source: Source
    sequence: int
    notices: tuple[Notice, ...] = ()
    busy: bool = False  # whether this server works on it, or is about to
    publishing: bool = False
    problem: str | None = None  # why nobody works on it, or why it could not be published

    @property
    def expects_changes(self) -> bool:
        """Whether more is to come without anybody asking for it."""
        return self.busy or self.publishing or (self.view.live and not self.problem)


@dataclass(frozen=True, slots=True)
class Change:
    """What changed from one event to another, as HTML; changes are numbered from 1."""

    number: int
    after: int
    until: int
    html: str


def read_run(services: Services, place: LocatedRun, plans: dict[str, Plan]) -> RunView:
    """Return a run as it is to be shown now. Blocks.

    Args:
        services: Of the server.
        place: Where the run is.
        plans: The plans that were read already, by run; they never change.
    """
    store, run = place.store, place.store.run(place.run.id)
    if run.id not in plans:
        if len(plans) >= MOST_PLANS:
            plans.clear()
        plans[run.id] = plan_of(run)
    plan = plans[run.id]
    last = store.last_event(run.id)  # first: what comes later is then told once more, not left out
    told = _Heard()
    for event in store.events(run.id, max(0, last - RECENT), RECENT):
        told.take(event.sequence, event.record)
    now_is = current_status(store, run, services.settings.environ)
    source = replace(source_of(store, run, now_is, plan), running=told.steps)
    for attempt in told.begun.values():
        source = _with(source, attempt)
    return shown(services, source, last, tuple(told.notices))


def shown(  # noqa: PLR0913 - what a page shows is made of it
    services: Services,
    source: Source,
    sequence: int,
    notices: tuple[Notice, ...],
    *,
    before: Timeline | None = None,
    touched: Collection[str] = (),
) -> RunView:
    """Return what a page shows of a run: one that a worker is about to have counts as under way.

    `before` and `touched` are as of `timeline`.
    """
    run = source.run.id
    busy, publishing = services.at_work(source.run, source.standing)
    source = replace(source, standing=standing_shown(source.standing, busy=busy and not publishing))
    view = timeline(source, now(), before=before, touched=touched)
    idle = not busy and source.standing.is_waiting
    ended, published = services.workers.ended(run), services.workers.ended(run, Work.PUBLISH)
    problem = ended.reason if ended and idle else None
    if published and published.reason and not publishing:
        problem = f"It could not be published: {published.reason.removeprefix('patchyard: ')}"
    return RunView(view, source, sequence, notices, busy, publishing, problem)


def standing_shown(now_is: RunStatus, *, busy: bool) -> RunStatus:
    """Return where a run stands for whoever looks at it: one that a worker is about to have begins at once."""
    return RunStatus.PENDING if busy and not now_is.is_active else now_is


def record_of(told: EncodedEvent) -> Mapping[str, Any]:
    """Return the record of an event that a feed has."""
    record: Mapping[str, Any] = json.loads(told.message.partition(b"data: ")[2])
    return record


class _Heard:
    """What only events say, or say first: what goes on, and notices."""

    def __init__(self, steps: Mapping[str, RunningStep] | None = None) -> None:
        self.steps = dict(steps or {})
        self.begun: dict[str, StoredAttempt] = {}
        self.notices: deque[Notice] = deque(maxlen=MOST_NOTICES)
        self.touched: dict[str, None] = {}

    def take(self, sequence: int, record: Mapping[str, Any]) -> None:
        """Hear an event."""
        name = record.get("event")
        task = str(record.get("task"))
        if name in ABOUT_TASKS:
            self.touched[task] = None
        if name == "step_started":
            self.steps[task] = RunningStep(
                int(record["number"]),
                str(record["kind"]),
                str(record["command"]),
                datetime.fromisoformat(record["time"]),
            )
        elif name == "task_started":
            self.steps.pop(task, None)
            self.begun[task] = _attempt_of(record)
        elif name == "step_finished":
            self.steps.pop(task, None)
        elif name == "task_finished":
            self.steps.pop(task, None)
            self.begun.pop(task, None)
        elif name == "notice":
            self.notices.append(Notice(sequence, str(record["level"]), str(record["message"])))


def _attempt_of(record: Mapping[str, Any]) -> StoredAttempt:
    """Return the attempt that an event says has begun."""
    return StoredAttempt(
        task=str(record["task"]),
        number=1,
        title=str(record["title"]),
        batch=int(record["batch"]),
        started_at=datetime.fromisoformat(record["time"]),
        worktree=str(record["worktree"]),
    )


def _with(source: Source, begun: StoredAttempt) -> Source:
    """Return what is known of a run with an attempt that has begun: the store may have it a moment later."""
    own = [item for item in source.attempts if item.task == begun.task]
    if any(item.finished_at is None or item.finished_at > begun.started_at for item in own):
        return source
    number = max((item.number for item in own), default=0) + 1
    return replace(source, attempts=[*source.attempts, replace(begun, number=number)])


class LiveRun:
    """One run under way, for all who look at it. `run` works as long as anybody does.

    With `behind`, the page that it begins with knows less than `shown` does, though not less than its sequence;
    it is the frame of that page's picture.
    """

    def __init__(
        self, services: Services, place: LocatedRun, feed: Feed, shown: RunView, *, behind: str | None = None
    ) -> None:
        self._services = services
        self._place = place
        self._feed = feed
        self._shown = shown
        self._links = PageLinks(place.run.id)
        self._start = shown.sequence
        self._behind = behind
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._number = 0
        self._cost = 0.0  # seconds of a processor that the last change took
        self._changed = anyio.Event()
        self.over = False
        self.lookers = 0

    async def run(self) -> None:
        """Look for changes, until the run is over."""
        try:
            while not self.over:
                told = await self._feed.events_after(self._shown.sequence)
                records = [(item.sequence, record_of(item)) for item in told]
                if records or await self._has_turned():
                    await self._take(records)
                elif await self._is_over():
                    self.over = not await self._has_turned()  # it may have, since it was looked at
                    continue
                else:
                    await self._feed.wait_for_change()
                    continue
                self._wake()
                await anyio.sleep(max(SHORTEST_PAUSE, self._cost * (1 / SHARE - 1)))
        except PatchyardError:
            self.over = True  # whoever looks connects anew, and hears then what is wrong
        self._wake()

    async def _has_turned(self) -> bool:
        """Whether the run stands elsewhere now, which no event says of one that pauses, or was killed."""
        run, now_is = await self._services.call(self._look)
        before = self._shown
        busy, publishing = self._services.at_work(run, now_is)
        return (before.view.run.status, before.source.standing, before.busy, before.publishing) != (
            run.status,
            standing_shown(now_is, busy=busy and not publishing),
            busy,
            publishing,
        )

    def _look(self) -> tuple[Run, RunStatus]:
        """Return the run as it is stored, and where it stands. Blocks."""
        store = self._place.store
        run = store.run(self._place.run.id)
        return run, current_status(store, run, self._services.settings.environ)

    async def _is_over(self) -> bool:
        return (
            self._feed.failure is not None
            or self._services.subscribers.closing.is_set()
            or await self._feed.is_complete_at(self._shown.sequence)
        )

    async def _take(self, records: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        told, before = _Heard(self._shown.source.running), self._shown
        told.begun |= {item.task: item for item in before.source.attempts if item.status is None}
        last = before.sequence
        for last, record in records:
            told.take(last, record)
        self._shown, html = await self._services.call(self._change, told, last)
        self._behind = None
        self._number += 1
        self._changes.append(Change(self._number, before.sequence, last, html))

    def _change(self, told: _Heard, last: int) -> tuple[RunView, str]:
        """Read again what changed, and return the run with it, and the HTML that shows it. Blocks."""
        began = thread_time()
        before, store = self._shown, self._place.store
        run, now_is = self._look()
        source = replace(before.source, run=run, standing=now_is)
        source = _read_again(source, store, told.touched)
        for task in told.touched:
            if begun := told.begun.get(task):
                source = _with(source, begun)
        source = replace(source, conflicts=store.conflicts(run.id), running=told.steps)
        told_so_far = tuple(told.notices)
        after = shown(
            self._services, source, last, told_so_far, before=before.view, touched=told.touched.keys()
        )
        html = changes(before, after, told.touched, self._links, behind=self._behind)
        self._cost = thread_time() - began
        return after, html

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def place_of(self, sequence: int) -> int | None:
        """Return the number of the last change that a page has which knows a sequence; `None`: too old."""
        missed = [change for change in self._changes if change.until > sequence]
        if sequence < (missed[0].after if missed else self._start):
            return None
        return missed[0].number - 1 if missed else self._number

    def after(self, number: int) -> list[Change] | None:
        """Return the changes after one; `None` when some of them are not kept any more."""
        missed = [change for change in self._changes if change.number > number]
        if self._number > number and (not missed or missed[0].number > number + 1):
            return None
        return missed

    async def wait(self) -> None:
        """Wait for a change, but not for long."""
        changed = self._changed
        with anyio.move_on_after(1.0):
            await changed.wait()


def _read_again(source: Source, store: Store, tasks: Collection[str]) -> Source:
    """Return what is known of a run with some of its tasks as they are now."""
    run = source.run.id
    attempts = [item for item in source.attempts if item.task not in tasks]
    stored = [item for item in source.tasks if item.outcome.task not in tasks]
    steps = {**source.steps}
    for task in tasks:
        own = store.attempts(run, task, patches=False)
        for attempt in own[-1:]:
            steps[task, attempt.number] = store.steps(run, task, attempt.number)
        attempts += own
        stored += store.tasks(run, task, patches=False)
    attempts.sort(key=lambda item: item.started_at)
    return replace(source, attempts=attempts, steps=steps, tasks=stored)


def changes(
    before: RunView, after: RunView, touched: Iterable[str], links: PageLinks, *, behind: str | None = None
) -> str:
    """Return the HTML that makes a page of `before` one of `after`, where tasks were touched.

    With `behind`, the frame of its picture, the page knows less than `before`: all that may be new is told.
    """
    view, own, old = after.view, set(touched), before.view if behind is None else None
    bars = [bar for lane in view.lanes for bar in lane.bars if bar.task in own]
    return render(
        "changes.html",
        {
            "shown": after,
            "view": view,
            "links": links,
            "rows": [row for row in view.rows if row.task in own],
            "bars": bars,
            "turned": [
                row for row in view.rows if row.task in own and _turned(old.row(row.task) if old else None, row)
            ],
            "stages": [stage for stage in view.stages if old is None or stage not in old.stages],
            "redraw": view.frame != (behind if behind is not None else before.view.frame),
            "counted": old is None or view.counts != old.counts,
            "conflicting": old is None or view.conflicts != old.conflicts,
        },
    )


def _turned(before: Row | None, after: Row) -> bool:
    """Whether a task began or ended: what the panel shows of it is then another thing."""
    return before is None or (before.state, before.attempts) != (after.state, after.attempts)


@dataclass(slots=True)
class LiveRuns:
    """The runs that somebody looks at: each is made for the first who does, and ended with the last."""

    services: Services
    plans: dict[str, Plan] = field(default_factory=dict)
    _runs: dict[str, tuple[LiveRun, Callable[[], None]]] = field(default_factory=dict)
    _group: TaskGroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let runs be looked at while the context is open."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def changes(self, place: LocatedRun, after: int, frame: str) -> AsyncIterator[tuple[int, str, str]]:
        """Yield changes after an event: a number, `update`, `reload` or `end`, and HTML; all empty when quiet.

        `frame` is that of the page's picture. `reload` says that too much was missed, `end` that nothing
        more is to come.
        """
        async with self._live(place, after, frame) as live:
            number = live.place_of(after)
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
                    await live.wait()
                    yield after, "", ""

    @asynccontextmanager
    async def _live(self, place: LocatedRun, after: int, frame: str) -> AsyncIterator[LiveRun]:
        services, run = self.services, place.run.id
        async with services.subscribers.feed(run, services.reader(place), services.over(run)) as feed:
            live = self._found(run)
            if live is None:
                start = await services.call(read_run, services, place, self.plans)
                # Meanwhile somebody else may have made it.
                live = self._found(run) or self._start(place, feed, start, after, frame)
            live.lookers += 1
            try:
                yield live
            finally:
                live.lookers -= 1
                if live.lookers == 0 and self._runs.get(run, (None,))[0] is live:
                    self._runs.pop(run)[1]()

    def _found(self, run: str) -> LiveRun | None:
        live = self._runs[run][0] if run in self._runs else None
        return None if live is None or live.over else live

    def _start(self, place: LocatedRun, feed: Feed, now_is: RunView, after: int, frame: str) -> LiveRun:
        if self._group is None:
            raise RuntimeError("no run is looked at before the server works")
        behind = after < now_is.sequence
        start = replace(now_is, sequence=max(0, after)) if behind else now_is
        live = LiveRun(self.services, place, feed, start, behind=frame if behind else None)
        scope = anyio.CancelScope()
        self._runs[place.run.id] = (live, scope.cancel)
        self._group.start_soon(self._run, live, scope)
        return live

    @staticmethod
    async def _run(live: LiveRun, scope: anyio.CancelScope) -> None:
        with scope:
            await live.run()

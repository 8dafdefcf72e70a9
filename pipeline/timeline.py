"""A run as people look at it: lanes, bars, steps, batches, figures and a row a task. Pure data.

The page and the report in one file show it; nothing here knows HTML. Times are in seconds from the run's start.
A long time in which nothing ran (a run that was resumed the next day) is cut out of the picture and shown as a
break, so that what ran stays visible.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

from pipeline.records import Run, StoredAttempt, StoredStep, StoredTask
from tasks.model import Conflict, Outcome, Plan, PullRequest, RunStatus, Status

if TYPE_CHECKING:
    from pipeline.store import Store

PENDING, RUNNING, INTERRUPTED = "pending", "running", "interrupted"
"""States that a task or an attempt has beside those of `Status`."""
SHORTEST_WAIT = 1.0
"""Seconds before the first task, from which on they are left out."""
SHORTEST_BREAK = 30.0
"""Seconds in which nothing runs, from which on they may be cut out."""
BREAK_SHARE = 0.2
"""The part of what is shown that a time without work has to be, to be cut out."""
BREAK_WIDTH = 0.02
"""How much of what is shown a break takes, once it is cut."""
SHORTEST_SPAN = 1.0
"""Seconds that a picture shows at least."""
NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MOST_TICKS = 8
DENSE = 150
"""Bars from which on the picture has no room for what is in them."""
LIVE = frozenset({RunStatus.RUNNING, RunStatus.PENDING, RunStatus.PAUSED})
DONE = frozenset({Status.CHANGED, Status.UNCHANGED})
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Mark:
    """A step in a bar; `end` is `None` while it runs."""

    number: int
    kind: str
    command: str
    start: float
    end: float | None
    exit_code: int | None = None
    state: str = RUNNING  # or `ok`, `failed`

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.end is None else self.end - self.start


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt at a task; `end` is `None` while it runs, `number` counts from 1 within the task."""

    task: str
    number: int
    title: str
    batch: int
    lane: str
    state: str
    start: float
    end: float | None
    marks: tuple[Mark, ...] = ()
    cached: bool = False

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.end is None else self.end - self.start


@dataclass(frozen=True, slots=True)
class Lane:
    """A worktree, and what ran in it, in order."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A task as the table shows it. `start` and `seconds` are those of its last attempt, if it had one."""

    task: str
    title: str
    batch: int
    state: str = PENDING
    attempts: int = 0
    lane: str | None = None
    start: float | None = None
    seconds: float | None = None
    files: tuple[str, ...] = ()
    branch: str | None = None
    commit: str | None = None
    error: str | None = None
    request: PullRequest | None = None
    cost: float | None = None
    cached: bool = False

    @property
    def done(self) -> bool:
        """Whether it has its outcome."""
        return self.state not in {PENDING, RUNNING, INTERRUPTED}


@dataclass(frozen=True, slots=True)
class Stage:
    """A batch: how many of its tasks have ended, and the times at which it was worked on."""

    number: int
    title: str
    tasks: int
    ended: int
    state: str  # `pending`, `running`, `succeeded`, `failed`
    parts: tuple[tuple[float, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """A time without work that the picture leaves out: where it would be, and how long it was."""

    at: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Turns a moment into seconds on the picture."""

    zero: datetime
    cuts: tuple[tuple[datetime, datetime, float], ...] = ()  # from, to, and the seconds that stand for it

    def at(self, moment: datetime) -> float:
        """Return where a moment stands, in seconds from the run's start without what is cut out."""
        seconds = (moment - self.zero).total_seconds()
        for begin, end, width in self.cuts:
            length = (end - begin).total_seconds()
            inside = min(max((moment - begin).total_seconds(), 0.0), length)
            seconds -= inside * (1 - width / length)
        return max(0.0, seconds)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """What was cut out."""
        return tuple(
            Break(self.at(begin), width, (end - begin).total_seconds()) for begin, end, width in self.cuts
        )


@dataclass(frozen=True, slots=True)
class Source:
    """What the store has of a run. `standing` is how it stands now; `plan` is the part that was selected."""

    run: Run
    standing: RunStatus
    plan: Plan | None = None
    attempts: Sequence[StoredAttempt] = ()
    steps: Mapping[tuple[str, int], Sequence[StoredStep]] = field(default_factory=dict)
    tasks: Sequence[StoredTask] = ()
    conflicts: Sequence[Conflict] = ()
    running: Mapping[str, "StepUnderWay"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepUnderWay:
    """A step that has begun and has not ended, which no row of the store says."""

    number: int
    kind: str
    command: str
    since: datetime


@dataclass(frozen=True)
class Timeline:
    """A run as it is shown. `span` is how many seconds the picture is wide, `elapsed` how long the run took."""

    run: Run
    standing: RunStatus
    clock: Clock
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    stages: tuple[Stage, ...]
    conflicts: tuple[Conflict, ...]
    span: float
    elapsed: float
    busy: float

    @property
    def live(self) -> bool:
        """Whether more may come."""
        return self.standing in LIVE

    @property
    def moving(self) -> bool:
        """Whether time goes on in the picture."""
        return self.standing in {RunStatus.RUNNING, RunStatus.PAUSED}

    @property
    def dense(self) -> bool:
        """Whether there are more bars than the picture has room for."""
        return sum(len(lane.bars) for lane in self.lanes) > DENSE

    @property
    def title(self) -> str:
        """The plan's title, else its path."""
        return self.run.plan_title or self.run.plan_path

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many tasks are in each state that any is in, the good ones first."""
        order = (*Status, RUNNING, INTERRUPTED, PENDING)
        found = {state: sum(row.state == state for row in self.rows) for state in map(str, order)}
        return {state: number for state, number in found.items() if number}

    @property
    def ended(self) -> int:
        """How many tasks have their outcome."""
        return sum(row.done for row in self.rows)

    @property
    def publishable(self) -> bool:
        """Whether any task has a commit that could be published."""
        return any(row.commit for row in self.rows)

    @property
    def requests(self) -> tuple[PullRequest, ...]:
        """The pull requests, in the plan's order."""
        return tuple(row.request for row in self.rows if row.request)

    @property
    def speedup(self) -> float | None:
        """How many times faster than one by one: as the run was closed with, else so far."""
        if self.run.speedup is not None and not self.live:
            return self.run.speedup
        return self.busy / self.elapsed if self.elapsed and self.busy else None

    @property
    def efficiency(self) -> float | None:
        """How much of the pool was at work, 0 to 1: as the run was closed with, else so far."""
        if self.run.efficiency is not None and not self.live:
            return self.run.efficiency
        return None if self.speedup is None else min(1.0, self.speedup / self.places)

    @property
    def places(self) -> int:
        """How many tasks could be at work at once."""
        if self.run.speedup and self.run.efficiency and not self.live:
            return max(1, round(self.run.speedup / self.run.efficiency))
        return min(self.run.pool_size, max(1, sum(row.attempts > 0 for row in self.rows)))

    @property
    def stage(self) -> Stage | None:
        """The batch that is worked on, else the last one that was, else the first."""
        running = [stage for stage in self.stages if stage.state == RUNNING]
        begun = [stage for stage in self.stages if stage.state != PENDING]
        return next(iter(running or begun[-1:] or self.stages), None)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """What the picture leaves out."""
        return self.clock.breaks

    @property
    def ticks(self) -> tuple[float, ...]:
        """Where the axis has its numbers."""
        return ticks(self.span)

    def bars(self, task: str) -> tuple[Bar, ...]:
        """Return the attempts at a task."""
        return tuple(bar for lane in self.lanes for bar in lane.bars if bar.task == task)

    @cached_property
    def _by_batch(self) -> Mapping[int, Sequence[Row]]:
        found: dict[int, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.batch, []).append(row)
        return found

    def rows_of(self, batch: int) -> Sequence[Row]:
        """Return the tasks of a batch."""
        return self._by_batch.get(batch, ())

    def row(self, task: str) -> Row | None:
        """Return a task's row."""
        return next((row for row in self.rows if row.task == task), None)


def ticks(span: float) -> tuple[float, ...]:
    """Return round numbers of seconds from 0 to `span`, at most `MOST_TICKS` and the first."""
    step = next((nice for nice in NICE if span / nice <= MOST_TICKS), 0)
    step = step or NICE[-1] * ceil(span / (NICE[-1] * MOST_TICKS))
    return tuple(float(step * number) for number in range(int(span // step) + 1))


def source_of(
    store: "Store", run: Run, standing: RunStatus, plan: Plan | None, *, patches: bool = False
) -> Source:
    """Return what the store has of a run, with the patches of its tasks where they are wanted. Blocks.

    Args:
        store: Where the run is.
        run: As the store has it.
        standing: How it stands now, which takes more than the store to know.
        plan: The part of the plan that was selected, for the tasks that have not begun.
        patches: Whether the tasks come with their patches, which may be large.
    """
    tasks, attempts = store.tasks(run.id, patches=patches), store.attempts(run.id, patches=False)
    known = {(item.task, item.number) for item in attempts}
    older = [item for item in map(_attempt_of, tasks) if item and (item.task, item.number) not in known]
    return Source(
        run=run,
        standing=standing,
        plan=plan,
        attempts=sorted([*attempts, *older], key=lambda item: item.started_at),
        steps=store.steps_of_run(run.id),
        tasks=tasks,
        conflicts=store.conflicts(run.id),
    )


def _attempt_of(stored: StoredTask) -> StoredAttempt | None:
    """Return the attempt that an outcome is of, for runs of a release that did not keep attempts."""
    outcome = stored.outcome
    if outcome.worktree is None or outcome.started_at is None:
        return None
    return StoredAttempt(
        task=outcome.task,
        number=stored.attempt,
        title=outcome.title,
        batch=outcome.batch,
        started_at=outcome.started_at,
        worktree=outcome.worktree,
        finished_at=stored.finished_at,
        status=outcome.status,
        seconds=outcome.seconds,
        log=stored.log,
    )


def timeline(source: Source, now: datetime) -> Timeline:
    """Return a run as it is to be shown.

    Args:
        source: What the store has of it.
        now: The present moment: where what still runs has come to.
    """
    live = source.standing in LIVE
    spans = _Spans(source, now, live=live)
    clock = Clock(spans.zero, _cuts(spans.zero, [*spans.work, *spans.tail]))
    end = clock.at(spans.end)
    bars = _bars(source, spans, clock)
    rows = _rows(source, bars)
    return Timeline(
        run=source.run,
        standing=source.standing,
        clock=clock,
        lanes=_lanes(bars, source.run.pool_size if live else 0),
        rows=rows,
        stages=_stages(source.plan, rows, bars),
        conflicts=tuple(source.conflicts),
        span=max(SHORTEST_SPAN, end),
        elapsed=_elapsed(source, end, live=live),
        busy=sum((end if bar.end is None else bar.end) - bar.start for bar in bars),
    )


class _Spans:
    """From when to when each attempt worked."""

    def __init__(self, source: Source, now: datetime, *, live: bool) -> None:
        self._source = source
        self._now = now
        self._live = live and source.standing is not RunStatus.PENDING
        self.of = {(item.task, item.number): self._span(item) for item in source.attempts}
        self.work = [(begin, end or now) for begin, end in self.of.values()]
        self.zero = self._zero()
        last = max((end for _, end in self.work), default=self.zero)
        self.end = max(now if self._live else last, self.zero)
        self.tail = [(now, now)] if self._live else []

    def _span(self, attempt: StoredAttempt) -> tuple[datetime, datetime | None]:
        if attempt.finished_at is not None:
            return attempt.started_at, max(attempt.started_at, attempt.finished_at)
        if self._live and attempt.status is None and self._is_last(attempt):
            return attempt.started_at, None
        known = [step.finished_at for step in self._source.steps.get((attempt.task, attempt.number), ())]
        known += [attempt.started_at + timedelta(seconds=attempt.seconds)]
        return attempt.started_at, max([attempt.started_at, *(moment for moment in known if moment)])

    def _zero(self) -> datetime:
        """Return where the picture begins: with the run, but without the time that it waited for its turn."""
        start, live = self._source.run.started_at, self._live
        first = min((begin for begin, _ in self.work), default=self._now if live else start)
        return start if (first - start).total_seconds() <= SHORTEST_WAIT else first

    def _is_last(self, attempt: StoredAttempt) -> bool:
        return all(
            other.number <= attempt.number for other in self._source.attempts if other.task == attempt.task
        )


def _cuts(
    zero: datetime, work: Iterable[tuple[datetime, datetime]]
) -> tuple[tuple[datetime, datetime, float], ...]:
    """Return the times without work that are long beside the rest, and how many seconds stand for each."""
    gaps, last, shown = [], zero, 0.0
    for begin, end in sorted(work):
        if begin > last:
            gaps.append((last, begin))
        if end > last:
            shown += (end - max(begin, last)).total_seconds()
            last = end
    lengths = {gap: (gap[1] - gap[0]).total_seconds() for gap in gaps}
    total = shown + sum(lengths.values())
    long = [gap for gap in gaps if lengths[gap] >= max(SHORTEST_BREAK, BREAK_SHARE * total)]
    rest = max(SHORTEST_SPAN, total - sum(lengths[gap] for gap in long))
    return tuple((begin, end, rest * BREAK_WIDTH) for begin, end in long)


def _elapsed(source: Source, end: float, *, live: bool) -> float:
    return end if live or source.run.seconds is None else source.run.seconds


def _bars(source: Source, spans: _Spans, clock: Clock) -> tuple[Bar, ...]:
    hosts = {attempt.host for attempt in source.attempts if attempt.host}
    cached = {item.outcome.task for item in source.tasks if item.outcome.cached}
    bars = []
    for attempt in source.attempts:
        if attempt.worktree is None:
            continue
        begin, end = spans.of[attempt.task, attempt.number]
        several = len(hosts) > 1 and attempt.host
        bars.append(
            Bar(
                task=attempt.task,
                number=attempt.number,
                title=attempt.title,
                batch=attempt.batch,
                lane=f"{attempt.host} {attempt.worktree}" if several else attempt.worktree,
                state=_state(attempt, end),
                start=clock.at(begin),
                end=None if end is None else clock.at(end),
                marks=_marks(source, attempt, clock, live=end is None),
                cached=attempt.task in cached,
            )
        )
    return tuple(bars)


def _state(attempt: StoredAttempt, end: datetime | None) -> str:
    if attempt.status is not None:
        return str(attempt.status)
    return RUNNING if end is None else INTERRUPTED


def _marks(source: Source, attempt: StoredAttempt, clock: Clock, *, live: bool) -> tuple[Mark, ...]:
    """Return the steps of an attempt: those that have ended, and the one that goes on."""
    marks = [_mark(step, attempt, clock) for step in source.steps.get((attempt.task, attempt.number), ())]
    now = source.running.get(attempt.task) if live else None
    if now and all(mark.number != now.number for mark in marks):
        marks.append(Mark(now.number, now.kind, now.command, clock.at(now.since), None))
    return tuple(marks)


def _mark(step: StoredStep, attempt: StoredAttempt, clock: Clock) -> Mark:
    begin = step.started_at or attempt.started_at
    return Mark(
        number=step.number,
        kind=step.kind,
        command=step.command,
        start=clock.at(begin),
        end=clock.at(begin + timedelta(seconds=step.seconds)),
        exit_code=step.exit_code,
        state="ok" if step.exit_code == 0 and not step.error else "failed",
    )


def _lanes(bars: Sequence[Bar], size: int) -> tuple[Lane, ...]:
    """Return the lanes in the order of their numbers; while a run goes on, also those that nothing ran in."""
    names = {bar.lane for bar in bars}
    if all(name.startswith("wt-") for name in names):
        names |= {f"wt-{number}" for number in range(1, size + 1)}
    return tuple(
        Lane(name, tuple(sorted((bar for bar in bars if bar.lane == name), key=lambda bar: bar.start)))
        for name in sorted(names, key=natural)
    )


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key by which `wt-10` comes after `wt-2`."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in _DIGITS.split(text))


def _rows(source: Source, bars: Sequence[Bar]) -> tuple[Row, ...]:
    outcomes = {item.outcome.task: item for item in source.tasks}
    last: dict[str, Bar] = {}
    for bar in sorted(bars, key=lambda bar: bar.number):
        last[bar.task] = bar
    known = [(task.id, task.title, task.batch) for task in source.plan.tasks] if source.plan else []
    names = {task for task, _, _ in known}
    known += [
        (item.outcome.task, item.outcome.title, item.outcome.batch)
        for item in source.tasks
        if item.outcome.task not in names
    ]
    names |= set(outcomes)
    known += [(bar.task, bar.title, bar.batch) for bar in last.values() if bar.task not in names]
    return tuple(_row(task, title, batch, outcomes.get(task), last.get(task)) for task, title, batch in known)


def _row(task: str, title: str, batch: int, stored: StoredTask | None, bar: Bar | None) -> Row:
    place = {
        "attempts": bar.number if bar else 0,
        "lane": bar.lane if bar else None,
        "start": bar.start if bar else None,
    }
    if stored is None or (bar and bar.state == RUNNING):
        state, title = (bar.state, bar.title) if bar else (PENDING, title)
        seconds = bar.seconds if bar else None
        return Row(task, title, batch, state, seconds=seconds, **place)  # type: ignore[arg-type]  # as declared
    return row_of(stored.outcome, stored.request, **place)  # type: ignore[arg-type]  # as declared


def row_of(
    outcome: Outcome, request: PullRequest | None, *, attempts: int, lane: str | None, start: float | None
) -> Row:
    """Return the row of a task that has its outcome."""
    return Row(
        task=outcome.task,
        title=outcome.title,
        batch=outcome.batch,
        state=str(outcome.status),
        attempts=attempts,
        lane=lane or outcome.worktree,
        start=start,
        seconds=outcome.seconds if outcome.worktree else None,
        files=outcome.files,
        branch=outcome.branch,
        commit=outcome.commit,
        error=outcome.error,
        request=request,
        cost=outcome.cost,
        cached=outcome.cached,
    )


def _stages(plan: Plan | None, rows: Sequence[Row], bars: Sequence[Bar]) -> tuple[Stage, ...]:
    titles = {batch.number: batch.title for batch in plan.batches} if plan else {}
    numbers = dict.fromkeys([*titles, *(row.batch for row in rows)])
    parts = _parts(bars)
    stages = []
    by_batch: dict[int, list[Row]] = {}
    for row in rows:
        by_batch.setdefault(row.batch, []).append(row)
    for number in numbers:
        if own := by_batch.get(number):
            ended = sum(row.done for row in own)
            title = titles.get(number, "")
            stages.append(
                Stage(number, title, len(own), ended, _stage_state(own), tuple(parts.get(number, ())))
            )
    return tuple(stages)


def _stage_state(rows: Sequence[Row]) -> str:
    states = {row.state for row in rows}
    if states == {PENDING}:
        return PENDING
    if not all(row.done for row in rows):
        return RUNNING
    return "succeeded" if states <= {*DONE, Status.SKIPPED} and states & DONE else "failed"


def _parts(bars: Sequence[Bar]) -> dict[int, list[tuple[float, float | None]]]:
    """Return when each batch was worked on: from its first bar to its last, anew after another batch."""
    parts: dict[int, list[tuple[float, float | None]]] = {}
    before = None
    for bar in sorted(bars, key=lambda bar: bar.start):
        own = parts.setdefault(bar.batch, [])
        if bar.batch == before:
            begin, end = own[-1]
            own[-1] = begin, None if end is None or bar.end is None else max(end, bar.end)
        else:
            own.append((bar.start, bar.end))
        before = bar.batch
    return parts

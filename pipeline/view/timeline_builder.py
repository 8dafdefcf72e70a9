"""Build the timeline of a run from its stored records."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipeline.run.stored.status import unpublished_tasks
from pipeline.run.stored.verdicts import make_verdict
from pipeline.store.records import BaseCheck, Run, StoredAttempt, StoredStep, StoredTask
from pipeline.verdict.model import Kind, Verdict, conflict_words, late_tasks
from pipeline.view.stages import Layout, layout_of, stages_of
from pipeline.view.timeline import (
    INTERRUPTED,
    LIVE,
    PENDING,
    RUNNING,
    Bar,
    Clock,
    Lane,
    Mark,
    Row,
    Timeline,
)
from tasks.model import Conflict, Outcome, Plan, PullRequest, RunStatus, StepKind
from tasks.usage import NO_USAGE, Usage, total

if TYPE_CHECKING:
    from pipeline.store.store import Store

MIN_WAIT = 1.0
"""Seconds of waiting before the first task above which they are left out."""
MIN_BREAK = 30.0
"""Minimum idle time, in seconds, that may be cut out."""
BREAK_SHARE = 0.2
"""Minimum share of the timeline that an idle time must have to be cut out."""
BREAK_WIDTH = 0.02
"""Share of the timeline that a break takes after the cut."""
MIN_SPAN = 1.0
"""Minimum width of a timeline, in seconds."""
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Source:
    """Stored records of a run. `displayed_status` is the current one, `plan` the selected part of the plan."""

    run: Run
    displayed_status: RunStatus
    plan: Plan | None = None
    attempts: Sequence[StoredAttempt] = ()
    steps: Mapping[tuple[str, int], Sequence[StoredStep]] = field(default_factory=dict)
    tasks: Sequence[StoredTask] = ()
    conflicts: Sequence[Conflict] = ()
    running: Mapping[str, "RunningStep"] = field(default_factory=dict)
    base_checks: Sequence[BaseCheck] = ()
    unpublished: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step that is running; the store has no row for it yet."""

    number: int
    kind: str
    command: str
    since: datetime


def source_of(store: "Store", run: Run, displayed_status: RunStatus, plan: Plan | None) -> Source:
    """Read the records of a run from the store. Blocking.

    Args:
        store: Store of the run.
        run: Stored run.
        displayed_status: Current status, which depends on more than the store (see `current_status`).
        plan: Selected part of the plan, for the tasks that have not started.
    """
    tasks, attempts = store.tasks(run.id), store.attempts(run.id)
    known = {(item.task, item.number) for item in attempts}
    older = [item for item in map(_attempt_of, tasks) if item and (item.task, item.number) not in known]
    return Source(
        run=run,
        displayed_status=displayed_status,
        plan=plan,
        attempts=sorted([*attempts, *older], key=lambda item: item.started_at),
        steps=store.steps_of_run(run.id),
        tasks=tasks,
        conflicts=store.conflicts(run.id),
        base_checks=store.base_checks(run.id),
        unpublished=unpublished_tasks(store, run, tasks) if run.status not in LIVE else (),
    )


def verdict_of(source: Source, used: Mapping[str, Usage]) -> Verdict:
    """Return how a run went, or goes; `used` is what the agents of its tasks used."""
    return make_verdict(
        source.run,
        source.displayed_status,
        plan=source.plan,
        tasks=source.tasks,
        attempts=source.attempts,
        conflicts=source.conflicts,
        unpublished=source.unpublished,
        used=used,
    )


def _used(source: Source) -> Mapping[str, Usage]:
    """Return what the agents of each task used, as far as its steps say it."""
    used: dict[str, list[Usage]] = {}
    for (task, _), steps in source.steps.items():
        used.setdefault(task, []).extend(step.usage for step in steps)
    return {task: total(usages) for task, usages in used.items()}


def _attempt_of(stored: StoredTask) -> StoredAttempt | None:
    """Return the attempt of an outcome, for runs of a release that did not store attempts."""
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


def timeline(
    source: Source, now: datetime, *, before: Timeline | None = None, touched: Collection[str] = ()
) -> Timeline:
    """Build the timeline of a run.

    Args:
        source: Stored records of the run.
        now: Current time, which running tasks extend to.
        before: Previous timeline of the same run; bars and rows of tasks not in `touched` are reused.
        touched: Tasks that changed since `before`.
    """
    live = source.displayed_status in LIVE
    spans = _Spans(source, now, live=live)
    clock = Clock(spans.zero, _cuts(spans.zero, [*spans.work, *spans.tail]))
    end = clock.position(spans.end)
    known = before.untouched_bars(touched) if before and before.clock == clock else {}
    layout, used = layout_of(source.plan), _used(source)
    verdict = verdict_of(source, used)
    bars = _bars(source, layout, spans, clock, known)
    fresh = {*touched, *(bar.task for bar in bars if known.get((bar.task, bar.number)) is not bar)}
    same = {row.task: row for row in before.rows if row.task not in fresh} if before and known else {}
    same = {task: row for task, row in same.items() if row.state == verdict.kinds.get(task)}
    rows = tuple(_with_kind(row, verdict) for row in _rows(source, layout, bars, same, used))
    return Timeline(
        run=source.run,
        displayed_status=source.displayed_status,
        clock=clock,
        lanes=_lanes(bars, source.run.pool_size if live else 0),
        rows=rows,
        stages=stages_of(layout, rows, bars),
        conflicts=tuple(source.conflicts),
        span=max(MIN_SPAN, end),
        elapsed=_elapsed(source, end, live=live),
        busy=sum((end if bar.end is None else bar.end) - bar.start for bar in bars),
        verdict=verdict,
        plan=source.plan,
        kind=layout.kind,
    )


class _Spans:
    """Start and end of each attempt; the end is `None` while it runs."""

    def __init__(self, source: Source, now: datetime, *, live: bool) -> None:
        self._source = source
        self._now = now
        self._live = live and source.displayed_status is not RunStatus.PENDING
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
        """Return the start of the timeline: that of the run, without the time it waited to be started."""
        start, live = self._source.run.started_at, self._live
        first = min((begin for begin, _ in self.work), default=self._now if live else start)
        return start if (first - start).total_seconds() <= MIN_WAIT else first

    def _is_last(self, attempt: StoredAttempt) -> bool:
        return all(
            other.number <= attempt.number for other in self._source.attempts if other.task == attempt.task
        )


def _cuts(
    zero: datetime, work: Iterable[tuple[datetime, datetime]]
) -> tuple[tuple[datetime, datetime, float], ...]:
    """Return the idle times to cut out: start, end, and width in seconds after the cut."""
    gaps, last, shown = [], zero, 0.0
    for begin, end in sorted(work):
        if begin > last:
            gaps.append((last, begin))
        if end > last:
            shown += (end - max(begin, last)).total_seconds()
            last = end
    lengths = {gap: (gap[1] - gap[0]).total_seconds() for gap in gaps}
    total = shown + sum(lengths.values())
    long = [gap for gap in gaps if lengths[gap] >= max(MIN_BREAK, BREAK_SHARE * total)]
    rest = max(MIN_SPAN, total - sum(lengths[gap] for gap in long))
    return tuple((begin, end, rest * BREAK_WIDTH) for begin, end in long)


def _elapsed(source: Source, end: float, *, live: bool) -> float:
    return end if live or source.run.seconds is None else source.run.seconds


def _bars(
    source: Source, layout: Layout, spans: _Spans, clock: Clock, known: Mapping[tuple[str, int], Bar]
) -> tuple[Bar, ...]:
    hosts = {attempt.host for attempt in source.attempts if attempt.host}
    cached = {item.outcome.task for item in source.tasks if item.outcome.cached}
    bars = []
    for attempt in source.attempts:
        if attempt.worktree is None:
            continue
        begin, end = spans.of[attempt.task, attempt.number]
        lane = f"{attempt.host} {attempt.worktree}" if len(hosts) > 1 and attempt.host else attempt.worktree
        old = known.get((attempt.task, attempt.number))
        if old and old.lane == lane and (old.end is None) == (end is None):
            bars.append(old)
            continue
        bars.append(
            Bar(
                task=attempt.task,
                number=attempt.number,
                title=attempt.title,
                stage=layout.of(attempt.task, attempt.batch),
                lane=lane,
                state=_state(attempt, end),
                start=clock.position(begin),
                end=None if end is None else clock.position(end),
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
    """Return the steps of an attempt: the ended ones and the running one."""
    marks: list[Mark] = []
    number = 1  # only a repair follows a step that failed
    failing = {one.command for one in source.base_checks if one.failure and one.key in attempt.base_checks}
    for step in source.steps.get((attempt.task, attempt.number), ()):
        before = step.kind == StepKind.VERIFY and step.command in failing
        marks.append(replace(_mark(step, attempt, clock), round=number, fails_before=before))
        number += marks[-1].state == "failed"
    now = source.running.get(attempt.task) if live else None
    if now and all(mark.number != now.number for mark in marks):
        marks.append(Mark(now.number, now.kind, now.command, clock.position(now.since), None, round=number))
    return tuple(marks)


def _mark(step: StoredStep, attempt: StoredAttempt, clock: Clock) -> Mark:
    begin = step.started_at or attempt.started_at
    return Mark(
        number=step.number,
        kind=step.kind,
        command=step.command,
        start=clock.position(begin),
        end=clock.position(begin + timedelta(seconds=step.seconds)),
        exit_code=step.exit_code,
        state="ok" if step.exit_code == 0 and not step.error else "failed",
    )


def _lanes(bars: Sequence[Bar], size: int) -> tuple[Lane, ...]:
    """Return the lanes in natural order; with `size`, also the empty ones of a pool of that size."""
    names = {bar.lane for bar in bars}
    if all(name.startswith("wt-") for name in names):
        names |= {f"wt-{number}" for number in range(1, size + 1)}
    found: dict[str, list[Bar]] = {name: [] for name in sorted(names, key=natural_key)}
    for bar in sorted(bars, key=lambda bar: bar.start):
        found[bar.lane].append(bar)
    return tuple(Lane(name, tuple(own)) for name, own in found.items())


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that orders `wt-10` after `wt-2`."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in _DIGITS.split(text))


def _rows(
    source: Source, layout: Layout, bars: Sequence[Bar], same: Mapping[str, Row], used: Mapping[str, Usage]
) -> tuple[Row, ...]:
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
    known += [(bar.task, bar.title, bar.stage) for bar in last.values() if bar.task not in names]
    return tuple(
        same.get(task)
        or _row(task, title, batch, layout, outcomes.get(task), last.get(task), used.get(task, NO_USAGE))
        for task, title, batch in known
    )


def _with_kind(row: Row, verdict: Verdict) -> Row:
    """Return a row with the kind of its task as its state, and what that conflicts with as its error."""
    kind = verdict.kinds.get(row.task, row.state)
    if kind == row.state:
        return row
    conflict = late_tasks(verdict.conflicts).get(row.task) if kind == Kind.CONFLICT else None
    return replace(row, state=str(kind), error=conflict_words(conflict) if conflict else row.error)


def _row(  # noqa: PLR0913, PLR0917 - what is known of a task
    task: str, title: str, batch: int, layout: Layout, stored: StoredTask | None, bar: Bar | None, usage: Usage
) -> Row:
    place = {
        "stage": layout.of(task, batch),
        "left_out": task in layout.left_out,
        "attempts": bar.number if bar else 0,
        "lane": bar.lane if bar else None,
        "start": bar.start if bar else None,
        "usage": usage,
    }
    if stored is None or (bar and bar.state == RUNNING):
        state, title = (bar.state, bar.title) if bar else (PENDING, title)
        seconds = bar.seconds if bar else None
        return Row(task=task, title=title, state=state, seconds=seconds, **place)  # type: ignore[arg-type]  # as declared
    return row_of(stored.outcome, stored.pull_request, **place)  # type: ignore[arg-type]  # as declared


def row_of(  # noqa: PLR0913 - where the task ran, all of it named
    outcome: Outcome,
    request: PullRequest | None,
    *,
    stage: int,
    left_out: bool,
    attempts: int,
    lane: str | None,
    start: float | None,
    usage: Usage = NO_USAGE,
) -> Row:
    """Return the row of a task with an outcome."""
    return Row(
        task=outcome.task,
        title=outcome.title,
        stage=stage,
        state=str(outcome.status),
        attempts=attempts,
        lane=lane or outcome.worktree,
        start=start,
        seconds=outcome.seconds if outcome.worktree else None,
        rounds=outcome.rounds,
        files=outcome.files,
        branch=outcome.branch,
        commit=outcome.commit,
        error=outcome.error,
        request=request,
        usage=usage or outcome.usage,  # of an imported run, steps do not say it
        added=outcome.added,
        removed=outcome.removed,
        said=outcome.said,
        cached=outcome.cached,
        left_out=left_out,
    )

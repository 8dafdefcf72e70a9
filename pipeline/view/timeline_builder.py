"""Build the timeline of a run from its stored records."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pipeline.run.stored.verdicts import make_verdict
from pipeline.store.records import StoredAttempt, StoredStep
from pipeline.verdict.model import OPEN, Kind, Verdict
from pipeline.view.rows import rows_of
from pipeline.view.source import Source
from pipeline.view.stages import Layout, layout_of, stages_of
from pipeline.view.timeline import (
    INTERRUPTED,
    LIVE,
    RUNNING,
    Bar,
    Clock,
    Lane,
    Mark,
    Timeline,
)
from tasks.lazy.patterns import regex
from tasks.model import StepKind
from tasks.outcome import RunStatus
from tasks.usage import Usage, total

if TYPE_CHECKING:
    pass

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
_DIGITS = regex(r"(\d+)")


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
    layout = layout_of(source.plan)
    used = _used(source)
    verdict = verdict_of(source, used)
    bars = _bars(source, layout, spans, clock, known, verdict.kinds)
    fresh = {*touched, *(bar.task for bar in bars if known.get((bar.task, bar.number)) is not bar)}
    same = {row.task: row for row in before.rows if row.task not in fresh} if before and known else {}
    rows = rows_of(source, layout, bars, verdict, used, same)
    running = {row.task: Kind(row.state) for row in rows if row.state in OPEN}
    return Timeline(
        run=source.run,
        displayed_status=source.displayed_status,
        clock=clock,
        lanes=_lanes(bars),
        rows=rows,
        stages=stages_of(layout, rows, bars),
        conflicts=tuple(source.conflicts),
        span=max(MIN_SPAN, end),
        elapsed=_elapsed(source, end, live=live),
        busy=sum((end if bar.end is None else bar.end) - bar.start for bar in bars),
        verdict=replace(verdict, open_tasks={**verdict.open_tasks, **running}),
        plan=source.plan,
        kind=layout.kind,
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


def _bars(  # noqa: PLR0913, PLR0917 - what bars are made from
    source: Source,
    layout: Layout,
    spans: _Spans,
    clock: Clock,
    known: Mapping[tuple[str, int], Bar],
    kinds: Mapping[str, Kind],
) -> tuple[Bar, ...]:
    hosts = {attempt.host for attempt in source.attempts if attempt.host}
    cached = {item.outcome.task for item in source.tasks if item.outcome.cached}
    late = {
        item.outcome.task: item.attempt for item in source.tasks if kinds[item.outcome.task] is Kind.CONFLICT
    }
    bars = []
    for attempt in source.attempts:
        if attempt.worktree is None:
            continue
        begin, end = spans.of[attempt.task, attempt.number]
        lane = f"{attempt.host} {attempt.worktree}" if len(hosts) > 1 and attempt.host else attempt.worktree
        old = known.get((attempt.task, attempt.number))
        state = str(Kind.CONFLICT) if late.get(attempt.task) == attempt.number else _state(attempt, end)
        if old and (old.lane, old.state) == (lane, state) and (old.end is None) == (end is None):
            bars.append(old)
            continue
        bars.append(
            Bar(
                task=attempt.task,
                number=attempt.number,
                title=attempt.title,
                stage=layout.of(attempt.task, attempt.batch),
                lane=lane,
                state=state,
                start=clock.position(begin),
                end=None if end is None else clock.position(end),
                marks=_marks(source, attempt, clock, live=end is None),
                cached=attempt.task in cached,
                after=layout.after.get(attempt.task, ()),
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


def _lanes(bars: Sequence[Bar]) -> tuple[Lane, ...]:
    """Return the lanes that were used, in natural order."""
    names = {bar.lane for bar in bars}
    found: dict[str, list[Bar]] = {name: [] for name in sorted(names, key=natural_key)}
    for bar in sorted(bars, key=lambda bar: bar.start):
        found[bar.lane].append(bar)
    return tuple(Lane(name, tuple(own)) for name, own in found.items())


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key that orders `wt-10` after `wt-2`."""
    return tuple((int(part), "") if part.isdigit() else (0, part) for part in _DIGITS.split(text))

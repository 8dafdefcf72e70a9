"""A run as people look at it: lanes, bars, steps, batches, figures and a row a task. Pure data.

The page and the report in one file show it; nothing here knows HTML. Times are in seconds from the run's start.
A long time in which nothing ran (a run that was resumed the next day) is cut out of the picture and shown as a
break, so that what ran stays visible.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import ceil
from zlib import crc32

from pipeline.store.records import Run
from tasks.model import Conflict, PullRequest, RunStatus, Status

PENDING, RUNNING, INTERRUPTED = "pending", "running", "interrupted"
"""States that a task or an attempt has beside those of `Status`."""
NICE = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MOST_TICKS = 8
DENSE = 150
"""Bars from which on the picture has no room for what is in them."""
LIVE = frozenset({RunStatus.RUNNING, RunStatus.PENDING, RunStatus.PAUSED})
DONE = frozenset({Status.CHANGED, Status.UNCHANGED})


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
        return self.standing.is_active

    @property
    def frame(self) -> str:
        """What all bars have in common, as a short text: the lanes, and how moments stand on the picture."""
        return f"{crc32(repr(([lane.name for lane in self.lanes], self.clock)).encode()):08x}"

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
        found = Counter(row.state for row in self.rows)
        order = map(str, (*Status, RUNNING, INTERRUPTED, PENDING))
        return {state: found[state] for state in order if found[state]}

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

    def known(self, touched: Collection[str]) -> Mapping[tuple[str, int], Bar]:
        """Return the bars of tasks that were not touched, by task and number."""
        return {
            (bar.task, bar.number): bar for lane in self.lanes for bar in lane.bars if bar.task not in touched
        }

    def row(self, task: str) -> Row | None:
        """Return a task's row."""
        return next((row for row in self.rows if row.task == task), None)


def ticks(span: float) -> tuple[float, ...]:
    """Return round numbers of seconds from 0 to `span`, at most `MOST_TICKS` and the first."""
    step = next((nice for nice in NICE if span / nice <= MOST_TICKS), 0)
    step = step or NICE[-1] * ceil(span / (NICE[-1] * MOST_TICKS))
    return tuple(float(step * number) for number in range(int(span // step) + 1))

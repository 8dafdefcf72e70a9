"""Data of a run's timeline: lanes, bars, steps, stages, figures, and one row per task.

Times are in seconds from the start of the run. Long idle times (such as before a resume on the next day) are
cut out and shown as a break, so that the tasks stay visible.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from math import ceil
from zlib import crc32

from pipeline.store.records import Run
from pipeline.verdict.model import Verdict, late_tasks
from pipeline.verdict.words import headline
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan, Step, hidden_script
from tasks.outcome import Conflict, PullRequest, RunStatus, Status
from tasks.usage import NO_USAGE, Usage

PENDING, RUNNING, INTERRUPTED = "pending", "running", "interrupted"
"""States of a task or an attempt without an outcome, in addition to those of `Status`."""
TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
MOST_TICKS = 8
MAX_ABOUT = 20_000
"""Characters of a plan's header and footer that are shown."""
DENSE = 150
"""Number of bars above which they are drawn in the compact style."""
LIVE = frozenset({RunStatus.RUNNING, RunStatus.PENDING, RunStatus.PAUSED})
DONE = frozenset({Status.CHANGED, Status.UNCHANGED})


@dataclass(frozen=True, slots=True)
class Mark:
    """A step of an attempt; `end` is `None` while it runs. `round` is the number of its try, 1-based.

    `fails_before` is whether its command fails without the task's changes, as far as that was checked.
    """

    number: int
    kind: str
    command: str
    start: float
    end: float | None
    exit_code: int | None = None
    state: str = RUNNING  # or `ok`, `failed`
    round: int = 1
    fails_before: bool = False

    @property
    def seconds(self) -> float | None:
        """Duration in seconds, or `None` while it runs."""
        return None if self.end is None else self.end - self.start


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt at a task; `end` is `None` while it runs, `number` counts from 1 within the task.

    `after` are the tasks that it names as its dependencies.
    """

    task: str
    number: int
    title: str
    stage: int
    lane: str
    state: str
    start: float
    end: float | None
    marks: tuple[Mark, ...] = ()
    cached: bool = False
    after: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Duration in seconds, or `None` while it runs."""
        return None if self.end is None else self.end - self.start


@dataclass(frozen=True, slots=True)
class Lane:
    """A worktree and its attempts, by start time."""

    name: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the task table. `start` is that of the last attempt, if there is one.

    `seconds` and `usage` are of all attempts in the run, `usage` also of those that have no end yet.
    A task is `left_out` if the plan asks not to run it: it is done already, or optional. `state` is the
    kind that the verdict of the run has for it. `after` are the tasks that it names as
    its dependencies. `why` is the line of its output, or the words about its conflict, that say why it failed,
    `refused` what the sandbox refused to it.
    """

    task: str
    title: str
    stage: int
    state: str = PENDING
    attempts: int = 0
    lane: str | None = None
    start: float | None = None
    seconds: float | None = None
    rounds: int = 1
    files: tuple[str, ...] = ()
    branch: str | None = None
    commit: str | None = None
    error: str | None = None
    request: PullRequest | None = None
    usage: Usage = NO_USAGE
    said: str | None = None
    refused: str = ""
    cached: bool = False
    left_out: bool = False
    after: tuple[str, ...] = ()
    agent: str | None = None
    why: str | None = None
    added: int | None = None
    removed: int | None = None

    @property
    def done(self) -> bool:
        """Whether the task has an outcome."""
        return self.state not in {PENDING, RUNNING, INTERRUPTED}


class StageKind(StrEnum):
    """What the tasks of a run are divided by: batches, groups, or nothing."""

    BATCH = "batch"
    GROUP = "group"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """A batch or a group: number of tasks and of those done, the times in which its tasks ran, what they used.

    `label` is its heading, such as `Batch 1: Set up`; it is empty where the tasks are not divided. `after` are
    the batches that it builds on.
    """

    number: int
    title: str
    label: str
    tasks: int
    done: int
    state: str  # `pending`, `running`, `succeeded`, `failed`
    parts: tuple[tuple[float, float | None], ...] = ()
    usage: Usage = NO_USAGE
    after: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """An idle time that is cut out: position and width in the timeline, and real duration in seconds."""

    at: float
    width: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Clock:
    """Converts a moment to a position in the timeline."""

    zero: datetime
    cuts: tuple[tuple[datetime, datetime, float], ...] = ()  # start, end, and width in seconds

    def position(self, moment: datetime) -> float:
        """Return the position of a moment, in seconds from the start of the run, without cut-out times."""
        seconds = (moment - self.zero).total_seconds()
        for begin, end, width in self.cuts:
            length = (end - begin).total_seconds()
            inside = min(max((moment - begin).total_seconds(), 0.0), length)
            seconds -= inside * (1 - width / length)
        return max(0.0, seconds)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """The idle times that are cut out."""
        return tuple(
            Break(self.position(begin), width, (end - begin).total_seconds()) for begin, end, width in self.cuts
        )


@dataclass(frozen=True)
class Timeline:
    """A run as shown. `span` is the timeline's width, `elapsed` the duration, `busy` the sum over tasks.

    `plan` is the selected part of its plan, if it is known. `verdict` counts each task as its row shows it.
    """

    run: Run
    displayed_status: RunStatus
    clock: Clock
    lanes: tuple[Lane, ...]
    rows: tuple[Row, ...]
    stages: tuple[Stage, ...]
    conflicts: tuple[Conflict, ...]
    span: float
    elapsed: float
    busy: float
    verdict: Verdict
    plan: Plan | None = None
    kind: StageKind = StageKind.BATCH

    @property
    def live(self) -> bool:
        """Whether the run may still change."""
        return self.displayed_status in LIVE

    @property
    def moving(self) -> bool:
        """Whether the run is active, so that its clock is running."""
        return self.displayed_status.is_active

    @property
    def frame(self) -> str:
        """Hash of the lanes and the clock; if it changes, all bars have to be drawn again."""
        return f"{crc32(repr(([lane.name for lane in self.lanes], self.clock)).encode()):08x}"

    @property
    def dense(self) -> bool:
        """Whether the bars are drawn in the compact style."""
        return sum(len(lane.bars) for lane in self.lanes) > DENSE

    @property
    def title(self) -> str:
        """The plan's title, else its path."""
        return self.run.plan_title or self.run.plan_path

    @property
    def about(self) -> str:
        """What the plan says above its first task and below its last one, cut to `MAX_ABOUT` characters."""
        if self.plan is None:
            return ""
        text = "\n\n".join(filter(None, (self.plan.header.strip("\n"), self.plan.footer.strip("\n"))))
        return text if len(text) <= MAX_ABOUT else f"{text[:MAX_ABOUT]}…"

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Number of tasks by state, without empty states, in the order of `Kind`."""
        return {str(kind): number for kind, number in self.verdict.counts.items()}

    @property
    def headline(self) -> str:
        """The verdict in one line."""
        return headline(self.verdict)

    @property
    def late(self) -> Mapping[str, Conflict]:
        """The conflicts, by the task whose patch was not merged because of it."""
        return late_tasks(self.conflicts)

    @property
    def has_agents(self) -> bool:
        """Whether any task is for an agent, as far as that is known."""
        return any(row.agent or row.usage for row in self.rows)

    @property
    def usage(self) -> Usage:
        """What the agents of all tasks used, as far as they say it."""
        return self.verdict.usage

    @property
    def publishable(self) -> bool:
        """Whether any task has a commit that could be published."""
        return any(row.commit for row in self.rows)

    @property
    def requests(self) -> tuple[PullRequest, ...]:
        """The pull requests, in the plan's order; one that tasks share is there once."""
        return tuple({row.request.key: row.request for row in self.rows if row.request}.values())

    @property
    def speedup(self) -> float | None:
        """Busy time divided by elapsed time: as stored for a finished run, else so far; none if cut off."""
        if self.displayed_status in {RunStatus.CANCELLED, RunStatus.INTERRUPTED}:
            return None
        if self.run.speedup is not None and not self.live:
            return self.run.speedup
        return self.busy / self.elapsed if self.elapsed and self.busy else None

    @property
    def efficiency(self) -> float | None:
        """Used share of the pool, 0 to 1, likewise."""
        if self.speedup is None:
            return None
        if self.run.efficiency is not None and not self.live:
            return self.run.efficiency
        return min(1.0, self.speedup / self.places)

    @property
    def places(self) -> int:
        """Number of tasks that could run at once."""
        if self.run.speedup and self.run.efficiency and not self.live:
            return max(1, round(self.run.speedup / self.run.efficiency))
        return min(self.run.pool_size, max(1, sum(row.attempts > 0 for row in self.rows)))

    @property
    def stage(self) -> Stage | None:
        """The running stage, else the last one that was started, else the first."""
        running = [stage for stage in self.stages if stage.state == RUNNING]
        begun = [stage for stage in self.stages if stage.state != PENDING]
        return next(iter(running or begun[-1:] or self.stages), None)

    @property
    def breaks(self) -> tuple[Break, ...]:
        """The idle times that are cut out."""
        return self.clock.breaks

    @property
    def ticks(self) -> tuple[float, ...]:
        """Positions of the labels of the time axis."""
        return ticks(self.span)

    @cached_property
    def _steps(self) -> Mapping[str, Sequence[Step]]:
        return {task.id: task.steps for task in self.plan.tasks} if self.plan else {}

    def script(self, task: str, kind: str, title: str) -> str | None:
        """Return the whole script of a step of a task, if its title does not show all of it."""
        known = (step for step in self._steps.get(task, ()) if (step.kind, step.title) == (kind, title))
        return next((hidden_script(step.title, step.script) for step in known), None)

    def bars(self, task: str) -> tuple[Bar, ...]:
        """Return the bars of a task."""
        return tuple(bar for lane in self.lanes for bar in lane.bars if bar.task == task)

    @cached_property
    def _by_stage(self) -> Mapping[int, Sequence[Row]]:
        found: dict[int, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.stage, []).append(row)
        return found

    def rows_of(self, stage: int) -> Sequence[Row]:
        """Return the tasks of a stage."""
        return self._by_stage.get(stage, ())

    def untouched_bars(self, touched: Collection[str]) -> Mapping[tuple[str, int], Bar]:
        """Return the bars of all tasks but the touched ones, by task and attempt number."""
        return {
            (bar.task, bar.number): bar for lane in self.lanes for bar in lane.bars if bar.task not in touched
        }

    def row(self, task: str) -> Row | None:
        """Return the row of a task, or `None` if the run does not have the task."""
        return self._by_task.get(task)

    @cached_property
    def _by_task(self) -> Mapping[str, Row]:
        return {row.task: row for row in self.rows}


def ticks(span: float) -> tuple[float, ...]:
    """Return round numbers of seconds from 0 to `span`; at most `MOST_TICKS` after the 0."""
    step = next((step for step in TICK_STEPS if span / step <= MOST_TICKS), 0)
    step = step or TICK_STEPS[-1] * ceil(span / (TICK_STEPS[-1] * MOST_TICKS))
    return tuple(float(step * number) for number in range(int(span // step) + 1))

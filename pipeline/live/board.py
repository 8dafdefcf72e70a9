"""What a run is doing: its state, made from its events."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime

from pipeline.events import (
    BaseCheckFinished,
    BaseCheckStarted,
    BatchStarted,
    ConflictFound,
    Event,
    RepairStarted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TaskFinished,
    TaskRerun,
    TaskStarted,
    TaskWaiting,
    local_time,
    now,
)
from pipeline.verdict.model import BAD, Kind, kind_of, late_tasks
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode
from tasks.outcome import Conflict, Outcome, Status

FAILURES = frozenset({Status.FAILED, Status.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class Lane:
    """What a worktree does now: a task and its step, each since a time.

    `attempt` is the number of the task's attempt, `tries` what is said of a repair, `checked` the verification
    that runs before the task begins. `is_quiet` says that its
    output arrives only when a step has ended, so that silence says nothing.
    """

    worktree: str
    task: str
    title: str
    since: datetime
    attempt: int = 1
    kind: str = ""
    number: int = 0
    command: str = ""
    step_since: datetime | None = None
    tries: str = ""
    waiting: str = ""
    checked: str = ""
    is_quiet: bool = False

    @property
    def step(self) -> str:
        """The step, in a few words: `run 2: make test`."""
        if self.waiting or self.checked:
            return self.waiting or f"before any change: {self.checked}"
        return f"{self.kind} {self.number}{self.tries}: {self.command}" if self.kind else ""


@dataclass(slots=True)
class Board:
    """The state of a run, from its events; `outcomes` are those of the tasks that have ended, by task."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    run: str = ""
    title: str = ""
    total: int = 0
    started: datetime | None = None
    finished: RunFinished | None = None
    conflicts: list[Conflict] = field(default_factory=list)
    _lanes: dict[str, Lane] = field(default_factory=dict)
    _modes: dict[int, str] = field(default_factory=dict)
    # Of the outcomes, of which there may be thousands, while a table is drawn several times a second.
    _counts: Mapping[Kind, int] | None = None
    _failures: Sequence[Outcome] | None = None

    @property
    def lanes(self) -> Sequence[Lane]:
        """The worktrees that have a task, in their order."""
        return sorted(self._lanes.values(), key=lambda lane: (len(lane.worktree), lane.worktree))

    @property
    def failures(self) -> Sequence[Outcome]:
        """The tasks that failed, in the order in which they did."""
        if self._failures is None:
            self._failures = [outcome for outcome in self.outcomes.values() if outcome.status in FAILURES]
        return self._failures

    @property
    def counts(self) -> Mapping[Kind, int]:
        """How many tasks ended in which way."""
        if self._counts is None:
            late = late_tasks(self.conflicts)
            self._counts = Counter(kind_of(outcome, late) for outcome in self.outcomes.values())
        return self._counts

    @property
    def failed(self) -> int:
        """How many tasks failed, or are in conflict."""
        return sum(number for kind, number in self.counts.items() if kind in BAD)

    def seconds(self, moment: datetime | None = None) -> float:
        """Return how long the run has been running, in seconds."""
        return ((moment or now()) - self.started).total_seconds() if self.started else 0.0

    def apply(self, event: Event) -> None:
        """Change the state as an event says."""
        if not isinstance(event, StepStarted | StepFinished):
            self._counts = self._failures = None
        match event:
            case RunStarted():
                self.run, self.title, self.total = event.run, event.title or event.plan, event.tasks
                self.started, self.finished = event.time, None
                self._lanes.clear()
                # What did not run in an earlier process of the run is run by this one.
                self.outcomes = {task: known for task, known in self.outcomes.items() if _is_kept(known)}
            case BatchStarted():
                self._modes[event.batch] = event.mode
            case TaskFinished(outcome=outcome):
                self.outcomes.pop(outcome.task, None)  # the order is that of the latest ends
                self.outcomes[outcome.task] = outcome
                if outcome.worktree:
                    self._lanes.pop(outcome.worktree, None)
            case ConflictFound(conflict=conflict):
                self.conflicts.append(conflict)
            case TaskRerun():
                self.outcomes.pop(event.task, None)
            case RunFinished():
                self._lanes.clear()
                self.finished = event
                self.outcomes |= {outcome.task: outcome for outcome in event.outcomes}
            case _:
                self._change_lane(event)

    def _change_lane(self, event: Event) -> None:
        match event:
            case BaseCheckStarted(worktree=worktree, task=task):
                commands = "; ".join(event.commands)
                self._lanes[worktree] = Lane(worktree, task, "", event.time, checked=commands, is_quiet=True)
            case BaseCheckFinished():
                self._lanes.pop(event.worktree, None)
            case TaskStarted():
                self._start(event)
            case StepStarted() | StepFinished() | RepairStarted() | TaskWaiting():
                if lane := self._lanes.get(event.worktree):
                    self._lanes[event.worktree] = _with(lane, event)

    def _start(self, event: TaskStarted) -> None:
        self.outcomes.pop(event.task, None)
        self._lanes[event.worktree] = Lane(
            event.worktree,
            event.task,
            event.title,
            event.time,
            attempt=event.attempt,
            is_quiet=self._modes.get(event.batch) == Mode.DAGGER,
        )


def _is_kept(outcome: Outcome) -> bool:
    return outcome.succeeded or outcome.status in FAILURES


def _with(lane: Lane, event: Event) -> Lane:
    """Return a lane after an event of its task."""
    match event:
        case StepStarted():
            return replace(
                lane, kind=event.kind, number=event.number, command=event.command, step_since=event.time
            )
        case StepFinished():
            return replace(lane, step_since=None)
        case RepairStarted():
            return replace(lane, tries=f", try {event.round} of {event.rounds}")
        case TaskWaiting():
            return replace(lane, waiting=f"waiting until {local_time(event.until)}" if event.until else "")
        case _:
            return lane

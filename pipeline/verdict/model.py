"""The verdict of a run: its status, and its tasks by what became of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from functools import cached_property

from pipeline.verdict.reason import WIDTH, cut, failing_line
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict, Outcome, PullRequest, RunStatus, Status
from tasks.text import first_line
from tasks.usage import NO_USAGE, Usage


class Kind(StrEnum):
    """What became of a task. Each task of a run is of one kind, so that the counts add up to its tasks."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    CONFLICT = "conflict"  # it changed something that does not go together with what earlier tasks changed
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    LEFT_OUT = "left_out"  # the plan says that it is done already, or optional
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    PENDING = "pending"


BAD = frozenset({Kind.FAILED, Kind.TIMED_OUT, Kind.CONFLICT})
"""What has to be looked at: a run that has one does not succeed."""
DONE = frozenset({Kind.CHANGED, Kind.UNCHANGED, Kind.CONFLICT})
"""Tasks whose steps succeeded."""
OPEN = frozenset({Kind.RUNNING, Kind.INTERRUPTED, Kind.PENDING})
"""Tasks without an outcome."""


def kind_of(outcome: Outcome, conflicting: Collection[str] = (), left_out: Collection[str] = ()) -> Kind:
    """Return the kind of a task with an outcome.

    Args:
        outcome: Its outcome.
        conflicting: The tasks whose patches do not go together with earlier ones.
        left_out: The tasks that the plan asks not to run.
    """
    if outcome.status is Status.SKIPPED and outcome.task in left_out:
        return Kind.LEFT_OUT
    if outcome.status is Status.CHANGED and outcome.task in conflicting:
        return Kind.CONFLICT
    return Kind(str(outcome.status))


def late_tasks(conflicts: Sequence[Conflict]) -> dict[str, Conflict]:
    """Return the conflicts by the task whose patch was not merged because of it."""
    return {conflict.tasks[-1]: conflict for conflict in conflicts if conflict.tasks}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A task that has to be looked at. `why` is one line: of its output, or about its conflict."""

    task: str
    title: str
    kind: Kind
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """A command that helps now, and what it does."""

    command: str
    purpose: str


@dataclass(frozen=True)
class Verdict:
    """How a run went, or how it goes.

    Args:
        run: Its id.
        status: Its status.
        outcomes: The outcomes of its tasks, in the plan's order.
        open_tasks: The kinds of its tasks without an outcome, and of those that run again, by id.
        conflicts: The conflicts between its patches.
        requests: Its pull requests; one that tasks share is there once.
        unpublished: Tasks whose changes are not, or not in their latest version, in a pull request.
        left_out: Tasks that the plan asks not to run.
        without: Of each task that builds on only a part of conflicting patches, the tasks of the others.
        seconds: Its wall time; `None` if it is not known.
        speedup: The sum of the tasks' seconds, divided by `seconds`.
        efficiency: The used share of the pool, 0 to 1.
        usage: What all calls of agents used, also in attempts that failed.
        publishes: Whether it was to be published when it ended.
    """

    run: str
    status: RunStatus
    outcomes: Sequence[Outcome] = ()
    open_tasks: Mapping[str, Kind] = field(default_factory=dict)
    conflicts: Sequence[Conflict] = ()
    requests: Sequence[PullRequest] = ()
    unpublished: Sequence[str] = ()
    left_out: Collection[str] = ()
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seconds: float | None = None
    speedup: float | None = None
    efficiency: float | None = None
    usage: Usage = NO_USAGE
    publishes: bool = False

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """The kind of each task, by id."""
        late = late_tasks(self.conflicts)
        ended = {one.task: kind_of(one, late, self.left_out) for one in self.outcomes}
        return {**ended, **self.open_tasks}  # one that runs again has an outcome

    @cached_property
    def counts(self) -> Mapping[Kind, int]:
        """The number of tasks of each kind, without empty kinds, in the order of `Kind`."""
        found = list(self.kinds.values())
        return {kind: found.count(kind) for kind in Kind if kind in found}

    @property
    def total(self) -> int:
        """The number of tasks."""
        return len(self.kinds)

    @property
    def done(self) -> int:
        """The number of tasks whose steps succeeded."""
        return sum(number for kind, number in self.counts.items() if kind in DONE)

    @property
    def has_only_conflicts(self) -> bool:
        """Whether nothing but conflicts keeps the run from its success."""
        return Kind.CONFLICT in self.counts and self.counts.keys() <= {*DONE, Kind.LEFT_OUT}

    @property
    def wanted(self) -> int:
        """The number of tasks that the plan asks to run."""
        return self.total - self.counts.get(Kind.LEFT_OUT, 0)

    def of(self, *kinds: Kind) -> tuple[str, ...]:
        """Return the tasks of some kinds, in the plan's order."""
        return tuple(task for task, kind in self.kinds.items() if kind in kinds)

    @cached_property
    def links(self) -> Mapping[str, PullRequest]:
        """The pull request of each task that has one."""
        return {task: request for request in self.requests for task in request.every_task}

    @property
    def published(self) -> tuple[str, ...]:
        """The tasks whose changes are in a pull request in their latest version."""
        changed = self.of(Kind.CHANGED, Kind.CONFLICT)
        return tuple(task for task in changed if task in self.links and task not in self.unpublished)

    @cached_property
    def troubles(self) -> tuple[Trouble, ...]:
        """The tasks that have to be looked at, each with why."""
        late = late_tasks(self.conflicts)
        return tuple(
            Trouble(one.task, one.title, kind, self._why(one, late.get(one.task)))
            for one in self.outcomes
            if (kind := self.kinds[one.task]) in BAD
        )

    def _why(self, outcome: Outcome, conflict: Conflict | None) -> str:
        if conflict and self.kinds[outcome.task] is Kind.CONFLICT:
            return conflict_words(conflict)
        if outcome.status in {Status.TIMED_OUT, Status.CANCELLED}:  # its last line does not say why
            return cut(first_line(outcome.error or ""), WIDTH) or outcome.status.words
        return failing_line(outcome.error) or outcome.status.words

    @property
    def lines(self) -> tuple[int, int] | None:
        """How many lines all patches add and remove; `None` if that is not known of any."""
        known = [(one.added, one.removed or 0) for one in self.outcomes if one.added is not None]
        return (sum(added for added, _ in known), sum(removed for _, removed in known)) if known else None


def conflict_words(conflict: Conflict) -> str:
    """Return with what the later task of a conflict conflicts: `conflicts with task 1.4 in greet.py`."""
    *others, _ = conflict.tasks or ("",)
    noun = "task" if len(others) == 1 else "tasks"
    return f"conflicts with {noun} {' and '.join(others)} in {', '.join(conflict.files)}"

"""How steps, tasks and runs end, and what they leave: patches, conflicts, pull requests."""

from dataclasses import field
from datetime import datetime
from enum import StrEnum

from tasks.agent_report import NO_TOKENS, AgentReport, Tokens
from tasks.lazy.dataclasses import dataclass
from tasks.model import Step, StepKind
from tasks.patch_data import PatchData
from tasks.usage import Usage


class Status(StrEnum):
    """How a task ended."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def words(self) -> str:
        """The status for people, such as `timed out`."""
        return self.replace("_", " ")


class RunStatus(StrEnum):
    """State of a run: `pending` before a process claims it, `interrupted` when its process died or was stopped.

    The stored state of a run whose process died is still `running` or `paused`;
    `pipeline.run.lifecycle.current_status` returns the true one.
    """

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """Whether the run finished, or the user cancelled it."""
        return self.is_finished or self is RunStatus.CANCELLED

    @property
    def is_finished(self) -> bool:
        """Whether the run reached its own end."""
        return self in {RunStatus.SUCCEEDED, RunStatus.FAILED}

    @property
    def is_active(self) -> bool:
        """Whether a process has claimed the run; of a stored state: or had, when it died."""
        return self in {RunStatus.RUNNING, RunStatus.PAUSED}

    @property
    def is_waiting(self) -> bool:
        """Whether the run has work left and no process has claimed it."""
        return self in {RunStatus.PENDING, RunStatus.INTERRUPTED}


class Request(StrEnum):
    """Request to the process that has claimed a run; `stop` is a shutdown: the run ends and can be resumed."""

    CANCEL = "cancel"
    PAUSE = "pause"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Requests to a host that the sandbox refused; `host` has its port unless it is a usual one."""

    host: str
    requests: int


OUT_OF_MEMORY = "out of memory"
"""How the reason begins for which a step was killed that had no more memory."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How a step ended.

    `exit_code` is that of the process, 128 + n when signal n ended it, and `None` when it never started.
    `seconds` is wall time. `tail` is the end of its output, masked. `cached` says that it did not run again,
    since the place where it runs had its result. `report` is what an agent says in its output. `refused` are
    the hosts that the sandbox refused while it ran. `out_of_memory` says that it was killed for that, and
    whose memory it was: a clause that begins with these words.
    """

    step: Step
    exit_code: int | None
    seconds: float
    timed_out: bool = False
    cancelled: bool = False
    tail: str = ""
    error: str | None = None
    cached: bool = False
    report: AgentReport | None = None
    refused: tuple[Refusal, ...] = ()
    out_of_memory: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the next step may start."""
        return self.exit_code == 0 and not (self.timed_out or self.cancelled or self.error)


FAILS_BEFORE = "fails without the task's change"
"""What is said of a command of the verification that fails where its task starts, as was checked; one that
fails with the change, does so `too`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a round of a task failed, for the agent that tries again.

    `step` is the title of the step that failed. `exit_code` is as in `StepResult`; `timed_out` says that the
    time limit of the task ended it, `error` why it could not run, or that it was out of memory.
    `output` is the end of its output, as plain text with secrets masked.
    """

    kind: StepKind
    step: str
    exit_code: int | None
    timed_out: bool = False
    error: str | None = None
    output: str = ""

    @classmethod
    def of(cls, result: StepResult) -> "Failure":
        """Return the failure of a step that is not `ok`."""
        return cls(
            result.step.kind,
            result.step.title,
            result.exit_code,
            timed_out=result.timed_out,
            error=result.error or result.out_of_memory,
            output=result.tail,
        )

    @property
    def is_out_of_memory(self) -> bool:
        """Whether the step ran, and was killed because it was out of memory."""
        return (self.error or "").startswith(OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Patch:
    """What a task changed, relative to the commit that it started from.

    `start` is that commit's id and `tree` the id of the tree after the task. `diff` is what
    `git apply --index` takes (with binaries and full object ids; renames as delete and add). `files` are the
    paths that changed, sorted; bytes that are not UTF-8 are surrogate escapes.
    """

    start: str
    tree: str
    diff: PatchData
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a task.

    `seconds` is wall time, of all its attempts in the run: each counts from the moment the task takes its
    worktree, which is made ready first, until its patch is taken. `cost` is what its agent says that it cost,
    in US dollars, and `tokens` what it says that it used: in all attempts, too. `exit_code` and `step` are
    those of the step that failed; for a task that succeeded `exit_code` is 0. `rounds` is how many times
    its agent, or its commands, were run with the verification after them, in the last attempt. `start` is the
    commit that the task started from, `commit` its own (only when it changed something and succeeded).
    `said` is the last message of its agent. `cached` says that nothing of it ran again, since the place where
    it runs had its result. `added` and `removed` count the lines of its patch; `None` where that is not known.
    `fails_before` are the commands of its verification that fail at `start` too,
    without its changes, if that was checked. `refused` are the hosts that the sandbox refused to it, in the
    last attempt.
    """

    task: str
    title: str
    batch: int
    status: Status
    worktree: str | None = None
    seconds: float = 0.0
    started_at: datetime | None = None
    start: str | None = None
    branch: str | None = None
    commit: str | None = None
    files: tuple[str, ...] = ()
    exit_code: int | None = None
    step: str | None = None
    error: str | None = None
    patch: Patch | None = field(default=None, repr=False)
    cost: float | None = None
    cached: bool = False
    rounds: int = 1
    tokens: Tokens = NO_TOKENS
    said: str | None = None
    added: int | None = None
    removed: int | None = None
    fails_before: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether what depends on the task may build on it."""
        return self.status in {Status.CHANGED, Status.UNCHANGED}

    @property
    def usage(self) -> Usage:
        """What its agent used."""
        return Usage(self.cost, self.tokens)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two or more tasks of a batch whose patches change the same place."""

    batch: int
    tasks: tuple[str, ...]
    files: tuple[str, ...]

    def __str__(self) -> str:
        """Describe the conflict in one sentence."""
        names = " and ".join(self.tasks)
        return f"tasks {names} conflict in {', '.join(self.files)}"


class PullRequestScope(StrEnum):
    """What has a pull request of its own: each task, each group of tasks, or the whole plan."""

    TASK = "task"
    GROUP = "group"
    PLAN = "plan"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A pull request on the forge.

    `task` is the id of its task. One of several tasks has them in `tasks`; its `task` is then the part of its
    branch's name: `plan`, or such as `group-setup`.
    `action` is what publishing did: `opened` or `updated`; or found: `merged`, or `closed` by a person. `base`
    and `branch` are branch names.
    `notes` are sentences about what else was done, and what could not be done but is not a failure.
    """

    task: str
    number: int
    url: str
    branch: str
    base: str
    action: str = "opened"
    notes: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, int]:
        """What is the same for every task that shares it."""
        return self.task, self.number

    @property
    def every_task(self) -> tuple[str, ...]:
        """The ids of the tasks whose changes it has."""
        return self.tasks or (self.task,)

"""Records of the store as frozen data: runs, tasks, attempts, steps, events, branches."""

import os
from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.store.run_options import PublishOptions, StoredCall
from tasks.agent_report import NO_TOKENS, Tokens
from tasks.conflicts import Cause
from tasks.lazy.dataclasses import dataclass
from tasks.lineage import NO_TASKS, Lineage
from tasks.model import StepKind
from tasks.outcome import Failure, Outcome, Patch, PullRequest, PullRequestScope, Request, RunStatus, Status
from tasks.usage import Usage

FIRST_YEAR, LAST_YEAR = 1970, 9000
"""Years of times that are stored; others leave no room for arithmetic."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run.

    `base` is a commit id, `base_name` the branch that named it. `plan_text` is the plan with secrets masked.
    `settings` say how the run is published, `call` how it was called, which resuming needs. `repository`
    identifies the repository across its clones. `host` and `directory` are those of its last process; logs are
    in the directory. `owner` has claimed the run until `lease_until`, and renews that; `request` is pending for
    the owner. `seconds` is wall time, summed over all resumptions.
    """

    id: str
    plan_path: str
    plan_name: str
    plan_title: str
    plan_text: str
    base: str
    base_name: str | None
    pool_size: int
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None = None
    seconds: float | None = None
    speedup: float | None = None
    efficiency: float | None = None
    settings: PublishOptions = field(default_factory=PublishOptions)
    repository: str = ""
    host: str | None = None
    directory: str | None = None
    call: StoredCall = field(default_factory=StoredCall)
    request: Request | None = None
    owner: str | None = None
    lease_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlanOfRun:
    """Which plan a run is of."""

    run: str
    name: str
    title: str
    path: str


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A stored task: its outcome, what it builds on, and its pull request.

    `start_branch` is the branch of the task's start point (`None` for the base), `builds_on` the tasks whose
    changes that contains. `attempt` is the number of the attempt that gave the outcome, `log` its log file.
    """

    outcome: Outcome
    start_branch: str | None = None
    builds_on: Lineage = NO_TASKS
    finished_at: datetime | None = None
    log: Path | None = None
    pull_request: PullRequest | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One attempt at a task; `status` is `None` while it runs, or when its process died.

    `number` counts from 1 within the task. `path` is the worktree's directory on `host`, `start` the commit of
    the start point, `seconds` wall time, `patch` the changes it made. `cause` is why it was made for a task
    that had a result, `feedback` what the user said of the one before. `waits_until` is set while it waits for
    the provider of its agent. `base_checks` are the keys of those checks of its start point that are of its
    verification.
    """

    task: str
    number: int
    title: str
    batch: int
    started_at: datetime
    worktree: str | None = None
    path: Path | None = None
    host: str | None = None
    start: str | None = None
    finished_at: datetime | None = None
    status: Status | None = None
    seconds: float = 0.0
    exit_code: int | None = None
    error: str | None = None
    patch: Patch | None = field(default=None, repr=False)
    log: Path | None = None
    cause: Cause | None = None
    waits_until: datetime | None = None
    base_checks: tuple[str, ...] = ()
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRound:
    """A round of an attempt that has ended: the agent, or the commands, and the verification after them.

    `number` counts from 1 within the task's attempt, and on in one that continues it. `seconds` is wall time,
    `cost` in US dollars, `tokens` those of its agent, and `said` its last message. `failure` is `None` if it
    succeeded, `patch` what the task had changed by then.
    """

    task: str
    attempt: int
    number: int
    seconds: float
    cost: float | None = None
    failure: Failure | None = None
    patch: Patch | None = field(default=None, repr=False)
    tokens: Tokens = NO_TOKENS
    said: str | None = None

    @property
    def usage(self) -> Usage:
        """What its agent used."""
        return Usage(self.cost, self.tokens)


@dataclass(frozen=True, slots=True)
class BaseCheck:
    """A command of a verification that was run at a start point, before any task changed something there.

    `key` is the same for every task that has this command, at this start point and in the same place. `task` is
    the one for which it was run, `start` the commit, `command` one line, `seconds` wall time, and `exit_code`,
    `timed_out` and `error` are as in `StepResult`. `output` is its end, as plain text with secrets masked.
    """

    key: str
    task: str
    start: str
    command: str
    seconds: float
    exit_code: int | None
    timed_out: bool = False
    error: str | None = None
    output: str = ""
    host: str | None = None
    log: Path | None = None

    @property
    def failure(self) -> Failure | None:
        """Why it fails there; `None` if it succeeds."""
        if self.exit_code == 0 and not (self.timed_out or self.error):
            return None
        kind = StepKind.VERIFY
        return Failure(
            kind, self.command, self.exit_code, timed_out=self.timed_out, error=self.error, output=self.output
        )


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A finished step of a task.

    `command` is one line, `seconds` its wall time. `cost`, in US dollars, and `tokens` are those of an agent.
    """

    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float
    error: str | None
    finished_at: datetime | None = field(default=None, compare=False)
    cost: float | None = None
    tokens: Tokens = NO_TOKENS

    @property
    def started_at(self) -> datetime | None:
        """When the step started."""
        return self.finished_at and self.finished_at - timedelta(seconds=self.seconds)

    @property
    def usage(self) -> Usage:
        """What an agent used in it."""
        return Usage(self.cost, self.tokens)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a run; `sequence` counts from 1 without gaps, `record` has the fields of its JSON line."""

    sequence: int
    record: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SharedBranch:
    """A branch with the commits of several tasks of a run, for the pull request that they share.

    `part` is its part of the branch's name: `plan`, or such as `group-setup`. `start` is the commit that it
    starts from, and `start_branch` the branch of that; `None` for the base. `tasks` are in the order of their
    commits in it, `commits` those of the tasks' own branches, and `tip` is the last one of it; `None` if no
    task is in it. `left_out` are the commits of tasks that could not be put into it.
    """

    part: str
    branch: str
    start: str
    start_branch: str | None = None
    tasks: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    tip: str | None = None
    left_out: tuple[str, ...] = ()

    @property
    def scope(self) -> PullRequestScope:
        """What has a pull request of its own."""
        return PullRequestScope.GROUP if self.part.startswith("group-") else PullRequestScope.PLAN


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """A branch that patchyard created: the commit it last set it to, and the one it last pushed.

    A branch that tasks share is on the remote only, and has no `commit`.
    """

    name: str
    commit: str | None
    pushed: str | None


def new_run_id(moment: datetime) -> str:
    """Return an id for a run that starts at a time: sorts by time, and is short enough to type."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{os.urandom(2).hex()}"


def format_time(moment: datetime) -> str:
    """Return a time as the store writes it: ISO 8601 in UTC, which sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def parse_time(text: str) -> datetime:
    """Return the time of a text that `format_time` wrote.

    Raises:
        ValueError: It is not a time, or none of this age.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{text} is not a time that was stored")
    return moment

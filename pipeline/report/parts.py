"""The data of the report of a run; see `pipeline.report.model`."""

import json
from collections.abc import Iterable
from dataclasses import asdict, field, fields

from containers.git.commits import Commit
from pipeline.verdict.model import Verdict
from pipeline.verdict.words import as_fields
from pipeline.view.history import AttemptPart
from tasks.agent_report import NO_TOKENS, Tokens
from tasks.keys import AgentUse
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict, Outcome, PullRequest, Refusal, RunStatus, Status
from tasks.usage import Usage


@dataclass(frozen=True, slots=True)
class PlanPart:
    """The plan: its path as given, its complete text with secrets masked, and how that was read.

    `dialect` is the name of its format, `unit` what became a task, and `order` how tasks wait for others. They
    are empty where the text cannot be read any more. `has_batches` is whether it has batches for its reader.
    """

    path: str
    name: str
    title: str
    text: str
    dialect: str = ""
    unit: str = ""
    order: str = ""
    has_batches: bool = True


@dataclass(frozen=True, slots=True)
class BasePart:
    """The run's base: a commit, its tree, and the branch that named it."""

    commit: str
    tree: str
    branch: str | None


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image by its name, and its digest if known."""

    name: str
    digest: str | None


@dataclass(frozen=True, slots=True)
class StartPart:
    """A task's start point: a commit, its tree, its branch, and the tasks whose changes it contains.

    These are those of the report's foundation with the key `foundation`, if it names one, and `builds_on`.
    """

    commit: str
    tree: str | None
    branch: str | None
    builds_on: tuple[str, ...]
    foundation: str | None = None


@dataclass(frozen=True, slots=True)
class FoundationPart:
    """Tasks whose changes many start points contain: those of the foundation `below`, and `tasks`."""

    key: str
    below: str | None
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepPart:
    """A finished step; `command` is one line, `seconds` the wall time."""

    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class RequestPart:
    """A pull request; `action` is what the last publication did."""

    number: int
    url: str
    base: str
    action: str


@dataclass(frozen=True, slots=True)
class TaskPart:
    """A task of the run.

    `key` is the hash of all its inputs. It is `None` for a task that never started, like all fields that only a
    started task has. `patch` is the name of a file next to the report. `cost` is in US dollars, `rounds` how
    often it was tried in its attempt, `said` what its agent said last, `fails_before` the commands of
    its verification that fail without its changes, as far as that was checked. `group` is the title of the part
    of the plan that it belongs to. A task is `left_out` if the plan asks not to run it: it is done or optional.
    `seconds`, `cost` and `tokens` are of all its `attempts`, `refused` are the hosts that the sandbox refused.
    """

    task: str
    title: str
    batch: int
    status: str
    key: str | None = None
    mode: str | None = None
    image: str | None = None
    agent: AgentUse | None = None
    environment: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    worktree: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    seconds: float = 0.0
    start: StartPart | None = None
    steps: tuple[StepPart, ...] = ()
    exit_code: int | None = None
    step: str | None = None
    error: str | None = None
    cost: float | None = None
    rounds: int = 1
    tokens: Tokens = NO_TOKENS
    said: str | None = None
    fails_before: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()
    files: tuple[str, ...] = ()
    patch: str | None = None
    branch: str | None = None
    commit: str | None = None
    tree: str | None = None
    pull_request: RequestPart | None = None
    group: str = ""
    left_out: bool = False
    added: int | None = None
    removed: int | None = None
    cached: bool = False
    attempts: tuple[AttemptPart, ...] = ()

    @property
    def usage(self) -> Usage:
        """What its agent used."""
        return Usage(self.cost, self.tokens)


@dataclass(frozen=True, slots=True)
class GroupPart:
    """What the agents of a batch, or of a group of the plan, used; `cost` is in US dollars."""

    number: int
    title: str
    cost: float | None = None
    tokens: Tokens = NO_TOKENS

    @property
    def usage(self) -> Usage:
        """The same, as a sum."""
        return Usage(self.cost, self.tokens)


@dataclass(frozen=True, slots=True)
class PublishingPart:
    """The run's `PublishOptions`, as far as they are part of the report: for readers, not for a publication."""

    remote: str = "origin"
    github: str | None = None
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    draft: bool = False
    auto_merge: bool = False
    pull_request: str = "task"
    agent: str | None = None
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A complete run. `key` is the hash of its tasks' keys; `commits` are those it created, parents first.

    `cost`, in US dollars, and `tokens` are of all its tasks, `groups` those of each batch or group. `publishes`
    is whether it was to be published, and `unpublished` the tasks whose changes are in no pull request. Each of
    the `foundations` is after the one that it adds to.
    """

    version: int
    patchyard: str
    run: str
    status: str
    key: str
    plan: PlanPart
    base: BasePart
    pool_size: int
    started_at: str
    finished_at: str | None
    seconds: float | None
    speedup: float | None
    efficiency: float | None
    images: tuple[ImagePart, ...] = ()
    agents: tuple[AgentUse, ...] = ()
    environment: tuple[str, ...] = ()
    tasks: tuple[TaskPart, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    commits: tuple[Commit, ...] = ()
    publishing: PublishingPart = field(default_factory=PublishingPart)
    cost: float | None = None
    tokens: Tokens = NO_TOKENS
    groups: tuple[GroupPart, ...] = ()
    publishes: bool = False
    unpublished: tuple[str, ...] = ()
    foundations: tuple[FoundationPart, ...] = ()

    @property
    def as_json(self) -> str:
        """The report as indented JSON in ASCII, with the fields of the verdict."""
        return json.dumps({**asdict(self), **as_fields(self.verdict)}, indent=2) + "\n"

    @property
    def verdict(self) -> Verdict:
        """How the run went."""
        return Verdict(
            run=self.run,
            status=RunStatus(self.status),
            outcomes=tuple(map(_outcome, self.tasks)),
            conflicts=self.conflicts,
            requests=_requests(self.tasks),
            unpublished=self.unpublished,
            left_out=frozenset(task.task for task in self.tasks if task.left_out),
            seconds=self.seconds,
            speedup=self.speedup,
            efficiency=self.efficiency,
            usage=Usage(self.cost, self.tokens),
            publishes=self.publishes,
        )


def _outcome(task: TaskPart) -> Outcome:
    """Return what a verdict says of a task: its outcome, without its patch."""
    names = {item.name for item in fields(Outcome)} & {item.name for item in fields(TaskPart)}
    values = {name: getattr(task, name) for name in names - {"patch", "start", "started_at"}}
    return Outcome(**{**values, "status": Status(task.status)})


def _requests(tasks: Iterable[TaskPart]) -> tuple[PullRequest, ...]:
    """Return the pull requests of tasks; one that they share is there once."""
    shared: dict[RequestPart, list[TaskPart]] = {}
    for task in tasks:
        if task.pull_request:
            shared.setdefault(task.pull_request, []).append(task)
    return tuple(
        PullRequest(
            task=own[0].task,
            number=request.number,
            url=request.url,
            branch=own[0].branch or "",
            base=request.base,
            action=request.action,
            tasks=tuple(task.task for task in own),
        )
        for request, own in shared.items()
    )

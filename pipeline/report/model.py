"""The report of a stored run, `report.json`: its inputs, its course and its results (docs/reproducible.md).

With the patches next to it, it is sufficient to recreate the run's commits in another clone.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path

from containers.dagger_engine.images import digest_of
from containers.git.commits import Commit
from containers.git.repository import GitError, Repository
from pipeline.events import timestamp
from pipeline.report.decode import decode
from pipeline.report.files import ReportError, read_regular_file
from pipeline.run.stored.status import known_plan
from pipeline.store.records import Run, StoredStep, StoredTask
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from pipeline.view.history import AttemptPart, histories
from tasks.agent_report import NO_TOKENS, Tokens
from tasks.groups import usage_of_groups
from tasks.keys import AgentUse, InputHashes, canonical
from tasks.model import Conflict, Plan, Task
from tasks.usage import Usage, total

__all__ = ["Report", "ReportError", "build_report", "read_report"]

VERSION = 1
JSON_FILE = "report.json"
MAX_BYTES = 64 * 1024 * 1024
"""A larger report, in bytes, is not read."""


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
    """A task's start point: a commit, its tree, its branch, and the tasks whose changes it contains."""

    commit: str
    tree: str | None
    branch: str | None
    builds_on: tuple[str, ...]


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
    `seconds`, `cost` and `tokens` are of all its `attempts`.
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

    `cost`, in US dollars, and `tokens` are of all its tasks, `groups` those of each batch or group.
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

    @property
    def as_json(self) -> str:
        """The report as indented JSON in ASCII."""
        return json.dumps(asdict(self), indent=2) + "\n"


def build_report(repository: Repository, store: Store, run: Run) -> Report:
    """Return the report of a stored run. Blocking.

    Raises:
        GitError: The repository does not have the run's base.
    """
    inputs, stored = store.inputs(run.id), store.tasks(run.id)
    plan = known_plan(run)
    planned = {task.id: task for task in plan.tasks} if plan else {}
    made = histories(store, run.id)
    tasks = tuple(
        replace(
            _with_plan(_task(item, inputs.get(item.outcome.task), steps), planned.get(item.outcome.task)),
            attempts=made.get(item.outcome.task, ()),
        )
        for item in stored
        for steps in [store.steps(run.id, item.outcome.task)]
    )
    used, outcomes = total(task.usage for task in tasks), [item.outcome for item in stored]
    return Report(
        version=VERSION,
        patchyard=metadata.version("patchyard"),
        run=run.id,
        status=str(run.status),
        key=_key(tasks),
        plan=_plan_part(run, plan),
        base=BasePart(run.base, repository.tree(run.base), run.base_name),
        pool_size=run.pool_size,
        started_at=timestamp(run.started_at),
        finished_at=_timestamp(run.finished_at),
        seconds=run.seconds,
        speedup=run.speedup,
        efficiency=run.efficiency,
        images=_images(inputs.values()),
        agents=tuple(dict.fromkeys(used.agent for used in inputs.values() if used.agent)),
        environment=tuple(sorted({name for used in inputs.values() for name in used.environment})),
        tasks=tasks,
        conflicts=store.conflicts(run.id),
        commits=_commits(repository, run.base, stored),
        publishing=_publishing(run.settings),
        cost=used.cost,
        tokens=used.tokens,
        groups=tuple(
            GroupPart(one.number, one.title, one.usage.cost, one.usage.tokens)
            for one in (usage_of_groups(plan, outcomes) if plan else ())
        ),
    )


def read_report(path: Path) -> Report:
    """Read a `report.json`. Blocking.

    Raises:
        ReportError: The file cannot be read, or is not a report of this version.
    """
    data = read_regular_file(path, MAX_BYTES)
    try:
        record = json.loads(data)
    except ValueError as error:
        raise ReportError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise ReportError(f"{path}: not a report: it is nested too deeply") from None
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise ReportError(f"{path}: not a report of version {VERSION}, the one that this patchyard reads")
    try:
        report: Report = decode(Report, record)
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from None
    return report


def _plan_part(run: Run, plan: Plan | None) -> PlanPart:
    part = PlanPart(run.plan_path, run.plan_name, run.plan_title, run.plan_text)
    if plan is None:
        return part
    return replace(part, dialect=plan.dialect, unit=plan.unit, order=plan.order, has_batches=plan.has_batches)


def _with_plan(part: TaskPart, task: Task | None) -> TaskPart:
    """Return a task with what the plan says of it."""
    return replace(part, group=task.group, left_out=task.is_left_out) if task else part


def _task(item: StoredTask, inputs: InputHashes | None, steps: Iterable[StoredStep]) -> TaskPart:
    outcome, request = item.outcome, item.pull_request
    is_stored = bool(outcome.commit and outcome.patch)
    return TaskPart(
        task=outcome.task,
        title=outcome.title,
        batch=outcome.batch,
        status=str(outcome.status),
        key=inputs.key if inputs else None,
        mode=str(inputs.mode) if inputs else None,
        image=inputs.image if inputs else None,
        agent=inputs.agent if inputs else None,
        environment=inputs.environment if inputs else (),
        secrets=inputs.secrets if inputs else (),
        worktree=outcome.worktree,
        started_at=_timestamp(outcome.started_at),
        finished_at=_timestamp(item.finished_at),
        seconds=round(outcome.seconds, 3),
        start=_start(item, inputs),
        steps=tuple(
            StepPart(one.number, one.kind, one.command, one.exit_code, round(one.seconds, 3), one.error)
            for one in steps
        ),
        exit_code=outcome.exit_code,
        step=outcome.step,
        error=outcome.error,
        cost=outcome.cost,
        rounds=outcome.rounds,
        tokens=outcome.tokens,
        said=outcome.said,
        added=outcome.added,
        removed=outcome.removed,
        fails_before=outcome.fails_before,
        files=outcome.files,
        patch=f"{outcome.task}.patch" if is_stored else None,
        branch=outcome.branch,
        commit=outcome.commit,
        tree=outcome.patch.tree if is_stored and outcome.patch else None,
        pull_request=None
        if request is None
        else RequestPart(request.number, request.url, request.base, request.action),
    )


def _start(item: StoredTask, inputs: InputHashes | None) -> StartPart | None:
    if item.outcome.start is None:
        return None
    tree = inputs.start_tree if inputs else None
    return StartPart(item.outcome.start, tree, item.start_branch, item.builds_on)


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _key(tasks: Iterable[TaskPart]) -> str:
    return hashlib.sha256(canonical({task.task: task.key for task in tasks})).hexdigest()


def _images(inputs: Iterable[InputHashes]) -> tuple[ImagePart, ...]:
    found = sorted({used.image for used in inputs if used.image})
    return tuple(
        ImagePart(image.removesuffix(f"@{digest}") if digest else image, digest)
        for image in found
        for digest in [digest_of(image)]
    )


def _commits(repository: Repository, base: str, stored: Sequence[StoredTask]) -> tuple[Commit, ...]:
    """Return the commits of a run; none if the repository no longer has them."""
    tips = [item.outcome.commit for item in stored if item.outcome.commit]
    try:
        return repository.history.since(base, tips)
    except GitError:
        return ()


def _publishing(options: PublishOptions) -> PublishingPart:
    """Return the part of a report that says how the run is published."""
    return PublishingPart(**{item.name: getattr(options, item.name) for item in fields(PublishingPart)})

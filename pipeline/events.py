"""Events of a run.

The fields of an event in JSON are a public interface, documented in docs/output.md.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tasks.groups import GroupUsage
from tasks.lazy.dataclasses import dataclass
from tasks.model import NATIVE
from tasks.outcome import Conflict, Outcome, PullRequest, Refusal, RunStatus
from tasks.usage import NO_USAGE, Usage

if TYPE_CHECKING:
    from pipeline.verdict.model import Verdict


def now() -> datetime:
    """Return the current time, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """Return a time in the format of RFC 3339: UTC, with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local_time(time: str) -> str:
    """Return a time of an event in the zone of this machine, such as `14:00`, with its date if not today."""
    moment = datetime.fromisoformat(time).astimezone()
    return f"{moment:%H:%M}" if moment.date() == now().astimezone().date() else f"{moment:%Y-%m-%d %H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base class of events; `time` is when it happened."""

    time: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A run has started. `base` is a commit id, `dialect` the format of the plan; it may have no `batches`.

    `sandbox` says whether the tasks of this machine run in the sandbox, `limits` by what each of their limits
    holds, by its name: `control group` (of the whole task) or `resource limit` (of each process).
    """

    run: str
    plan: str
    title: str
    base: str
    pool_size: int
    tasks: int
    worktrees: str
    dialect: str = NATIVE
    batches: int = 1
    sandbox: bool = False
    limits: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted(Event):
    """A batch has started. `start` is the commit that its tasks start from."""

    batch: int
    title: str
    mode: str
    start: str
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCheckStarted(Event):
    """Commands of verification are about to run at a start point, for `task` and all others that have them."""

    task: str
    worktree: str
    start: str
    commands: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseCheckFinished(Event):
    """They have ended. `results` has an object for each, `failed` the commands that fail there.

    `problem` says why some of them have no result.
    """

    task: str
    worktree: str
    start: str
    seconds: float
    failed: list[str]
    results: list[dict[str, object]]
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted(Event):
    """A task has got its worktree and starts; `attempt` counts from 1."""

    task: str
    title: str
    batch: int
    worktree: str
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(Event):
    """A step is about to start; `number` counts from 1 within the task, `command` is one line."""

    task: str
    worktree: str
    number: int
    kind: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(Event):
    """A step has ended; `seconds` is its wall time."""

    task: str
    worktree: str
    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStarted(Event):
    """A task is tried again after a failure, in the same worktree, in round `round` of at most `rounds`.

    `step` is the title of the step that failed, and `exit_code` as in `StepFinished`.
    """

    task: str
    worktree: str
    round: int
    rounds: int
    step: str
    exit_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWaiting(Event):
    """A task waits for the provider of its agent `until` a time; it continues if that is `None`.

    `reason` is a sentence.
    """

    task: str
    worktree: str
    until: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished(Event):
    """A task has its outcome, and it is stored."""

    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictFound(Event):
    """Patches of a batch conflict."""

    conflict: Conflict


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRerun(Event):
    """A task that has a result will run again, because of `tasks`, and of conflicts with them in `files`.

    `reason` says it in words. `attempt` is the number of the attempt that follows.
    """

    task: str
    title: str
    batch: int
    attempt: int
    tasks: list[str]
    files: list[str]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Event):
    """A pull request was opened or updated."""

    request: PullRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Event):
    """A message for the user; `level` is `info`, `warning` or `error`."""

    message: str
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The run is over. `seconds` is its wall time without publishing; `efficiency` is 0 to 1.

    `usage` is what all calls of its agents used, also those of attempts that failed, and `groups` those of each
    batch or group. `conflicts` are those between its patches, `requests` its pull requests, `unpublished` the
    tasks whose changes are not in one, `left_out` those that the plan asks not to run, `without` those of
    conflicting patches that a task was built without, and `publishes` says whether it was to be published.
    """

    run: str
    status: RunStatus
    seconds: float
    speedup: float
    efficiency: float
    outcomes: tuple[Outcome, ...]
    usage: Usage = NO_USAGE
    groups: tuple[GroupUsage, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    requests: tuple[PullRequest, ...] = ()
    unpublished: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)
    publishes: bool = False

    @property
    def verdict(self) -> "Verdict":
        """How the run went, in words and figures."""
        from pipeline.verdict.model import Verdict  # noqa: PLC0415 - start-up stays quick

        return Verdict(
            run=self.run,
            status=self.status,
            outcomes=self.outcomes,
            conflicts=self.conflicts,
            requests=self.requests,
            unpublished=self.unpublished,
            left_out=self.left_out,
            without=self.without,
            seconds=self.seconds,
            speedup=self.speedup,
            efficiency=self.efficiency,
            usage=self.usage,
            publishes=self.publishes,
        )


NAMES = {
    RunStarted: "run_started",
    BatchStarted: "batch_started",
    BaseCheckStarted: "base_check_started",
    BaseCheckFinished: "base_check_finished",
    TaskStarted: "task_started",
    StepStarted: "step_started",
    StepFinished: "step_finished",
    RepairStarted: "repair_started",
    TaskWaiting: "task_waiting",
    TaskFinished: "task_finished",
    ConflictFound: "conflict",
    TaskRerun: "task_rerun",
    Published: "pull_request",
    Notice: "notice",
    RunFinished: "run_finished",
}


def usage_fields(usage: Usage) -> dict[str, object]:
    """Return the fields of what agents used in JSON, as far as it is known."""
    return {
        **({} if usage.cost is None else {"cost": round(usage.cost, 6)}),
        **({"tokens": usage.tokens.known} if usage.tokens else {}),
    }


def refusal_fields(refusal: Refusal) -> dict[str, object]:
    """Return the fields of what the sandbox refused in JSON."""
    return {"host": refusal.host, "requests": refusal.requests}


def outcome_fields(outcome: Outcome) -> dict[str, object]:
    """Return the fields of an outcome in JSON."""
    return {
        "task": outcome.task,
        "title": outcome.title,
        "batch": outcome.batch,
        "worktree": outcome.worktree,
        "status": str(outcome.status),
        "seconds": round(outcome.seconds, 3),
        "branch": outcome.branch,
        "commit": outcome.commit,
        "files": list(outcome.files),
        "exit_code": outcome.exit_code,
        "step": outcome.step,
        "error": outcome.error,
        "cached": outcome.cached,
        "rounds": outcome.rounds,
        "added": outcome.added,
        "removed": outcome.removed,
        **usage_fields(outcome.usage),
        **({"fails_before": list(outcome.fails_before)} if outcome.fails_before else {}),
        **({"refused": [refusal_fields(one) for one in outcome.refused]} if outcome.refused else {}),
        **({} if outcome.said is None else {"said": outcome.said}),
    }


def as_record(event: Event) -> dict[str, object]:
    """Return the JSON object of an event as a mapping, with `event` and `time` first."""
    record: dict[str, object] = {"event": NAMES[type(event)], "time": timestamp(event.time)}
    for item in fields(event):
        record |= _fields_of(item.name, getattr(event, item.name))
    if isinstance(event, RunFinished):
        from pipeline.verdict.words import as_fields  # noqa: PLC0415 - start-up stays quick

        record |= as_fields(event.verdict)
    return record


def _fields_of(name: str, value: object) -> dict[str, object]:  # noqa: PLR0911 - one return per type
    """Return the fields in JSON of a field of an event; those of a verdict are its own."""
    match value:
        case Outcome():
            return outcome_fields(value)
        case Conflict():
            tasks, files = list(value.tasks), list(value.files)
            return {"batch": value.batch, "tasks": tasks, "files": files, "message": str(value)}
        case PullRequest():
            own = {field.name: getattr(value, field.name) for field in fields(value)}
            return own | {"tasks": list(value.every_task)}
        case Usage():
            return {"cost": None, "tokens": {}} | usage_fields(value)
        case tuple():
            return {name: [_LISTS[name](one) for one in value]} if name in _LISTS else {}
        case float():
            return {name: round(value, 4)}
        case _:
            return {} if name == "time" else {name: value}


def _group_fields(group: GroupUsage) -> dict[str, object]:
    return {"number": group.number, "title": group.title, **usage_fields(group.usage)}


_LISTS: Mapping[str, Callable[[Any], dict[str, object]]] = {
    "outcomes": outcome_fields,
    "groups": _group_fields,
}


def as_json(event: Event) -> str:
    """Return an event as one line of JSON, in ASCII."""
    return json.dumps(as_record(event))

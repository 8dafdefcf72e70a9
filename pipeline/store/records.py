"""What the store keeps, as data, and how it stands in a row of a table."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.store.run_options import PublishOptions, StoredCall
from tasks.keys import AgentUse, InputHashes
from tasks.model import Mode, Outcome, Patch, PullRequest, Request, RunStatus, Status

if TYPE_CHECKING:
    from sqlalchemy import RowMapping


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored.

    `base` is a commit id, `base_name` the branch it was named by. `plan_text` is the plan as it was read, with
    secrets masked. `settings` say how it is published, and `call` how it was called, which is needed to
    resume it. `repository` is what clones of one repository have in common,
    `host` and `directory` are where it was worked on last (the directory holds its logs). `owner` works on it
    until `lease_until`, unless it renews that; `request` is what it was asked to do. `seconds` is its wall
    time, over every time that it was taken up.
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
class StoredTask:
    """A task of a run as it is stored: its outcome, what it builds on, and what was published of it.

    `start_branch` is the branch that holds what the task started from (`None` is the base itself), and
    `builds_on` the tasks whose changes are in it. `attempt` is the number of the attempt that it is from.
    """

    outcome: Outcome
    start_branch: str | None = None
    builds_on: tuple[str, ...] = ()
    finished_at: datetime | None = None
    log: Path | None = None
    request: PullRequest | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class StoredAttempt:
    """One time that a task was begun; `status` is `None` while it is under way, or when nobody saw its end.

    `number` counts from 1 within the task. `path` is the worktree's directory on `host`, `seconds` wall time.
    `patch` is what it had changed.
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


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step of a task as it is stored; `command` is one line, `seconds` its wall time."""

    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float
    error: str | None
    finished_at: datetime | None = field(default=None, compare=False)

    @property
    def started_at(self) -> datetime | None:
        """When it began."""
        return self.finished_at and self.finished_at - timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of a run; `sequence` counts from 1 without holes, `record` is what a line of JSON has."""

    sequence: int
    record: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """A branch that this program made: where it set it last, and what it pushed last."""

    name: str
    commit: str
    pushed: str | None


def new_run_id(moment: datetime) -> str:
    """Return an id for a run: sorts by time, and is short enough to type."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def text_of(moment: datetime) -> str:
    """Return a moment as the tables have it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment_of(text: str | None) -> datetime | None:
    """Return the moment that a text of a table says."""
    return None if text is None else datetime.fromisoformat(text)


def run_values(run: Run) -> dict[str, Any]:
    """Return the row of a run that is not over."""
    return {
        "id": run.id,
        "plan_path": run.plan_path,
        "plan_name": run.plan_name,
        "plan_title": run.plan_title,
        "plan_text": run.plan_text,
        "base": run.base,
        "base_name": run.base_name,
        "pool_size": run.pool_size,
        "status": run.status,
        "started_at": text_of(run.started_at),
        "settings": run.settings.as_json,
        "repository": run.repository,
        "host": run.host,
        "directory": run.directory,
        "call": run.call.as_json,
    }


def run_from(values: Mapping[str, Any]) -> Run:
    """Return the run that `run_values` are of."""
    kept = {
        **values,
        "status": RunStatus(values["status"]),
        "started_at": datetime.fromisoformat(values["started_at"]),
        "settings": PublishOptions.from_json(values["settings"]),
        "call": StoredCall.from_json(values["call"]),
    }
    return Run(**kept)


def run_of(row: "RowMapping") -> Run:
    """Return the run of a row."""
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    values["status"] = RunStatus(values["status"])
    values["started_at"] = datetime.fromisoformat(values["started_at"])
    values["finished_at"] = moment_of(values["finished_at"])
    values["lease_until"] = moment_of(values["lease_until"])
    values["settings"] = PublishOptions.from_json(values["settings"])
    values["call"] = StoredCall.from_json(values["call"])
    values["repository"] = values["repository"] or ""
    values["request"] = Request(values["request"]) if values["request"] else None
    return Run(**values)


def outcome_values(outcome: Outcome) -> dict[str, Any]:
    """Return what a row of `tasks` has of an outcome."""
    return {
        "title": outcome.title,
        "batch": outcome.batch,
        "status": outcome.status,
        "worktree": outcome.worktree,
        "seconds": outcome.seconds,
        "started_at": None if outcome.started_at is None else text_of(outcome.started_at),
        "finished_at": text_of(datetime.now(UTC)),
        "start": outcome.start,
        "branch": outcome.branch,
        "commit": outcome.commit,
        "exit_code": outcome.exit_code,
        "step": outcome.step,
        "error": outcome.error,
        "cost": outcome.cost,
        "cached": outcome.cached,
        **patch_values(outcome.patch, outcome.files),
    }


def patch_values(patch: Patch | None, files: tuple[str, ...]) -> dict[str, Any]:
    """Return what a row has of a patch."""
    return {
        "files": json.dumps(list(files)),
        "tree": None if patch is None else patch.tree,
        "patch": None if patch is None else patch.diff,
    }


def _patch_of(row: "RowMapping") -> Patch | None:
    files = tuple(json.loads(row["files"] or "[]"))
    return None if row["patch"] is None else Patch(row["start"], row["tree"], bytes(row["patch"]), files)


def task_of(row: "RowMapping") -> StoredTask:
    """Return the task of a row."""
    outcome = Outcome(
        task=row["task"],
        title=row["title"],
        batch=row["batch"],
        status=Status(row["status"]),
        worktree=row["worktree"],
        seconds=row["seconds"],
        started_at=moment_of(row["started_at"]),
        start=row["start"],
        branch=row["branch"],
        commit=row["commit"],
        files=tuple(json.loads(row["files"])),
        exit_code=row["exit_code"],
        step=row["step"],
        error=row["error"],
        patch=_patch_of(row),
        cost=row["cost"],
        cached=bool(row["cached"]),
    )
    request = None
    if row["request_number"] is not None:
        request = PullRequest(
            task=row["task"],
            number=row["request_number"],
            url=row["request_url"],
            branch=row["branch"],
            base=row["request_base"],
            action=row["request_action"],
        )
    return StoredTask(
        outcome=outcome,
        start_branch=row["start_branch"],
        builds_on=tuple(json.loads(row["builds_on"])),
        finished_at=moment_of(row["finished_at"]),
        log=None if row["log"] is None else Path(row["log"]),
        request=request,
        attempt=row["attempt"] or 1,
    )


def attempt_of(row: "RowMapping", outcome: Outcome | None) -> StoredAttempt:
    """Return the attempt of a row; the patch of the one that gave the task its outcome stands with that."""
    return StoredAttempt(
        task=row["task"],
        number=row["number"],
        title=row["title"],
        batch=row["batch"],
        started_at=datetime.fromisoformat(row["started_at"]),
        worktree=row["worktree"],
        path=None if row["path"] is None else Path(row["path"]),
        host=row["host"],
        start=row["start"],
        finished_at=moment_of(row["finished_at"]),
        status=None if row["status"] is None else Status(row["status"]),
        seconds=row["seconds"],
        exit_code=row["exit_code"],
        error=row["error"],
        patch=outcome.patch if outcome else _patch_of(row),
        log=None if row["log"] is None else Path(row["log"]),
    )


def step_of(row: "RowMapping") -> StoredStep:
    """Return the step of a row."""
    return StoredStep(
        number=row["number"],
        kind=row["kind"],
        command=row["command"],
        exit_code=row["exit_code"],
        seconds=row["seconds"],
        error=row["error"],
        finished_at=moment_of(row["finished_at"]),
    )


def inputs_values(inputs: InputHashes) -> dict[str, str | None]:
    """Return the row of a task's inputs."""
    agent = inputs.agent
    return {
        "key": inputs.key,
        "mode": inputs.mode,
        "start_tree": inputs.start_tree,
        "image": inputs.image,
        "agent": agent.name if agent else None,
        "agent_command": agent.command if agent else None,
        "agent_version": agent.version if agent else None,
        "environment": json.dumps(inputs.environment),
        "secrets": json.dumps(inputs.secrets),
    }


def inputs_of(row: "RowMapping") -> InputHashes:
    """Return the inputs of a row."""
    agent = AgentUse(row["agent"], row["agent_command"], row["agent_version"]) if row["agent"] else None
    return InputHashes(
        key=row["key"],
        mode=Mode(row["mode"]),
        start_tree=row["start_tree"],
        image=row["image"],
        agent=agent,
        environment=tuple(json.loads(row["environment"])),
        secrets=tuple(json.loads(row["secrets"])),
    )

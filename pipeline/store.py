"""Runs, outcomes, steps and patches in a database: SQLite by default, through SQLAlchemy.

This is the only module that knows the database. SQLAlchemy is imported when a store is opened, not before:
its import costs more than everything else that the command line loads.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tasks.errors import PatchyardError
from tasks.keys import AgentUse, Inputs
from tasks.model import Conflict, Mode, Outcome, Patch, PullRequest, RunStatus, Status, StepResult

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, RowMapping

FILE = "patchyard.db"


class StoreError(PatchyardError):
    """The database cannot be opened, read or written."""


class UnknownRunError(PatchyardError):
    """There is no such run, or no such task in it."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored.

    `base` is a commit id, `base_name` the branch it was named by. `plan_text` is the plan as it was read, with
    secrets masked. `settings` are those that publishing needs.
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
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task of a run as it is stored: its outcome, what it builds on, and what was published of it.

    `start_branch` is the branch that holds what the task started from (`None` is the base itself), and
    `builds_on` the tasks whose changes are in it.
    """

    outcome: Outcome
    start_branch: str | None = None
    builds_on: tuple[str, ...] = ()
    finished_at: datetime | None = None
    log: Path | None = None
    request: PullRequest | None = None


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step of a task as it is stored; `command` is one line, `seconds` its wall time."""

    number: int
    kind: str
    command: str
    exit_code: int | None
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class BranchRecord:
    """A branch that this program made: where it set it last, and what it pushed last."""

    name: str
    commit: str
    pushed: str | None


def new_run_id(moment: datetime) -> str:
    """Return an id for a run: sorts by time, and is short enough to type."""
    return f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Store:
    """An open database. A context manager. Blocks: callers on the event loop go through a thread.

    Raises:
        StoreError: From any method, when the database says no.
    """

    def __init__(self, url: "str | URL") -> None:
        """Open the database that a URL names, as SQLAlchemy writes them; make its tables where they lack."""
        from sqlalchemy import create_engine, event  # noqa: PLC0415 - slow; see above
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - slow; see above

        from pipeline.tables import Tables  # noqa: PLC0415 - imports SQLAlchemy

        self._error = SQLAlchemyError
        self._url = url
        self._tables = Tables()
        self._engine = create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
        with self._begin() as connection:
            self._tables.make(connection)

    @classmethod
    def beside(cls, common: Path) -> Self:
        """Open the store of a repository, in its common git directory, and make it where it lacks."""
        path = common / "patchyard" / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {path.parent}: {error.strerror}; make it writable") from None
        from sqlalchemy import URL  # noqa: PLC0415 - slow; see above

        return cls(URL.create("sqlite", database=str(path)))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return the store."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    # Writing

    def open_run(self, run: Run) -> None:
        """Keep a new run."""
        with self._begin() as connection:
            connection.execute(
                self._tables.runs.insert().values(
                    id=run.id,
                    plan_path=run.plan_path,
                    plan_name=run.plan_name,
                    plan_title=run.plan_title,
                    plan_text=run.plan_text,
                    base=run.base,
                    base_name=run.base_name,
                    pool_size=run.pool_size,
                    status=run.status,
                    started_at=_text_of(run.started_at),
                    settings=json.dumps(dict(run.settings)),
                ),
            )

    def close_run(
        self, run: str, status: RunStatus, *, seconds: float, speedup: float, efficiency: float
    ) -> None:
        """Keep how a run ended; `seconds` is its wall time."""
        runs = self._tables.runs
        with self._begin() as connection:
            connection.execute(
                runs.update()
                .where(runs.c.id == run)
                .values(
                    status=status,
                    finished_at=_text_of(datetime.now(UTC)),
                    seconds=seconds,
                    speedup=speedup,
                    efficiency=efficiency,
                ),
            )

    def keep_step(self, run: str, task: str, number: int, result: StepResult) -> None:
        """Keep a finished step."""
        with self._begin() as connection:
            connection.execute(
                self._tables.steps.insert().values(
                    run=run,
                    task=task,
                    number=number,
                    kind=result.step.kind,
                    command=result.step.title,
                    exit_code=result.exit_code,
                    seconds=result.seconds,
                    error=result.error,
                    finished_at=_text_of(datetime.now(UTC)),
                ),
            )

    def keep_outcome(  # noqa: PLR0913 - one row, written at once
        self,
        run: str,
        position: int,
        outcome: Outcome,
        *,
        start_branch: str | None = None,
        builds_on: Sequence[str] = (),
        log: Path | None = None,
        branches: Mapping[str, str] = MappingProxyType({}),
        inputs: Inputs | None = None,
    ) -> None:
        """Keep how a task ended, with its patch, and where its branches stand now.

        `position` is its place in the plan; `branches` are commits by name; `inputs` is what it was made from.
        """
        with self._begin() as connection:
            if inputs is not None:
                values = {"run": run, "task": outcome.task, **_inputs_values(inputs)}
                connection.execute(self._tables.inputs.insert().values(**values))
            for name, commit in branches.items():
                self._keep_branch(connection, name, {"commit": commit})
            connection.execute(
                self._tables.tasks.insert().values(
                    run=run,
                    task=outcome.task,
                    position=position,
                    title=outcome.title,
                    batch=outcome.batch,
                    status=outcome.status,
                    worktree=outcome.worktree,
                    seconds=outcome.seconds,
                    started_at=None if outcome.started_at is None else _text_of(outcome.started_at),
                    finished_at=_text_of(datetime.now(UTC)),
                    start=outcome.start,
                    start_branch=start_branch,
                    builds_on=json.dumps(list(builds_on)),
                    branch=outcome.branch,
                    commit=outcome.commit,
                    files=json.dumps(list(outcome.files)),
                    exit_code=outcome.exit_code,
                    step=outcome.step,
                    error=outcome.error,
                    cost=outcome.cost,
                    cached=outcome.cached,
                    log=None if log is None else str(log),
                    tree=None if outcome.patch is None else outcome.patch.tree,
                    patch=None if outcome.patch is None else outcome.patch.diff,
                ),
            )

    def keep_conflict(self, run: str, conflict: Conflict) -> None:
        """Keep that patches of a batch do not go together."""
        with self._begin() as connection:
            connection.execute(
                self._tables.conflicts.insert().values(
                    run=run,
                    batch=conflict.batch,
                    tasks=json.dumps(list(conflict.tasks)),
                    files=json.dumps(list(conflict.files)),
                ),
            )

    def keep_branch(self, name: str, *, commit: str | None = None, pushed: str | None = None) -> None:
        """Keep where a branch was set, or what of it was pushed."""
        values = {key: value for key, value in (("commit", commit), ("pushed", pushed)) if value is not None}
        with self._begin() as connection:
            self._keep_branch(connection, name, values)

    def _keep_branch(self, connection: "Connection", name: str, values: Mapping[str, str]) -> None:
        branches = self._tables.branches
        changed = connection.execute(branches.update().where(branches.c.name == name).values(**values))
        if changed.rowcount == 0:
            connection.execute(branches.insert().values(name=name, **values))

    def keep_request(self, run: str, request: PullRequest) -> None:
        """Keep the pull request of a task."""
        tasks = self._tables.tasks
        with self._begin() as connection:
            connection.execute(
                tasks.update()
                .where(tasks.c.run == run, tasks.c.task == request.task)
                .values(
                    request_number=request.number,
                    request_url=request.url,
                    request_base=request.base,
                    request_action=request.action,
                ),
            )

    # Reading

    def runs(self) -> tuple[Run, ...]:
        """Return every run, the oldest first."""
        table = self._tables.runs
        with self._begin() as connection:
            rows = connection.execute(table.select().order_by(table.c.started_at, table.c.id)).mappings()
            return tuple(_run(row) for row in rows)

    def run(self, name: str | None = None) -> Run:
        """Return one run: by its id or the beginning of it, the newest without a name.

        Raises:
            UnknownRunError: There is none, or the beginning fits several.
        """
        runs = self.runs()
        if not runs:
            raise UnknownRunError("there is no run yet in this repository; `patchyard run PLAN` makes one")
        if name is None or name == "latest":
            return runs[-1]
        found = [run for run in runs if run.id == name] or [run for run in runs if run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownRunError(f"{name} is the beginning of {len(found)} runs; give more of it")
        raise UnknownRunError(f"there is no run {name} in this repository; `patchyard runs` lists them")

    def tasks(self, run: str) -> tuple[StoredTask, ...]:
        """Return the tasks of a run that have ended, in the plan's order."""
        table = self._tables.tasks
        query = table.select().where(table.c.run == run).order_by(table.c.position)
        with self._begin() as connection:
            return tuple(_stored_task(row) for row in connection.execute(query).mappings())

    def has_ended(self, run: str, task: str) -> bool:
        """Whether a task of a run has its outcome."""
        table = self._tables.tasks
        query = table.select().where(table.c.run == run, table.c.task == task).with_only_columns(table.c.task)
        with self._begin() as connection:
            return connection.execute(query).first() is not None

    def steps(self, run: str, task: str) -> tuple[StoredStep, ...]:
        """Return the finished steps of a task, in order."""
        table = self._tables.steps
        query = table.select().where(table.c.run == run, table.c.task == task).order_by(table.c.number)
        with self._begin() as connection:
            return tuple(
                StoredStep(
                    row["number"], row["kind"], row["command"], row["exit_code"], row["seconds"], row["error"]
                )
                for row in connection.execute(query).mappings()
            )

    def inputs(self, run: str) -> Mapping[str, Inputs]:
        """Return what the tasks of a run were made from, by task; a task that never started has none."""
        table = self._tables.inputs
        with self._begin() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return {row["task"]: _inputs(row) for row in rows}

    def conflicts(self, run: str) -> tuple[Conflict, ...]:
        """Return the conflicts that a run found."""
        table = self._tables.conflicts
        with self._begin() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return tuple(
                Conflict(row["batch"], tuple(json.loads(row["tasks"])), tuple(json.loads(row["files"])))
                for row in rows
            )

    def branch(self, name: str) -> BranchRecord | None:
        """Return what is known of a branch that this program made."""
        table = self._tables.branches
        with self._begin() as connection:
            row = connection.execute(table.select().where(table.c.name == name)).mappings().first()
            return None if row is None else BranchRecord(row["name"], row["commit"], row["pushed"])

    def commits_of(self, run: str, branch: str) -> frozenset[str]:
        """Return the commits that a run is recorded to have set a branch to."""
        table = self._tables.tasks
        columns = (table.c.branch, table.c.commit, table.c.start_branch, table.c.start)
        query = (
            table.select().where(table.c.run == run, table.c.commit.is_not(None)).with_only_columns(*columns)
        )
        with self._begin() as connection:
            rows = connection.execute(query).all()
        pairs = [pair for row in rows for pair in ((row.branch, row.commit), (row.start_branch, row.start))]
        return frozenset(commit for name, commit in pairs if name == branch)

    @contextmanager
    def _begin(self) -> "Iterator[Connection]":
        """Open a transaction, and put the database's errors into one sentence."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except self._error as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(f"the database {self._url} cannot be used: {reason}") from error


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - DBAPI connections have no common type
    """Make commits durable and let readers go on while one process writes."""
    for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _run(row: "RowMapping") -> Run:
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    values["status"] = RunStatus(values["status"])
    values["started_at"] = datetime.fromisoformat(values["started_at"])
    values["finished_at"] = _moment(values["finished_at"])
    values["settings"] = json.loads(values["settings"])
    return Run(**values)


def _inputs_values(inputs: Inputs) -> dict[str, str | None]:
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


def _inputs(row: "RowMapping") -> Inputs:
    agent = AgentUse(row["agent"], row["agent_command"], row["agent_version"]) if row["agent"] else None
    return Inputs(
        key=row["key"],
        mode=Mode(row["mode"]),
        start_tree=row["start_tree"],
        image=row["image"],
        agent=agent,
        environment=tuple(json.loads(row["environment"])),
        secrets=tuple(json.loads(row["secrets"])),
    )


def _stored_task(row: "RowMapping") -> StoredTask:
    files = tuple(json.loads(row["files"]))
    patch = None if row["patch"] is None else Patch(row["start"], row["tree"], row["patch"], files)
    outcome = Outcome(
        task=row["task"],
        title=row["title"],
        batch=row["batch"],
        status=Status(row["status"]),
        worktree=row["worktree"],
        seconds=row["seconds"],
        started_at=_moment(row["started_at"]),
        start=row["start"],
        branch=row["branch"],
        commit=row["commit"],
        files=files,
        exit_code=row["exit_code"],
        step=row["step"],
        error=row["error"],
        patch=patch,
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
        finished_at=_moment(row["finished_at"]),
        log=None if row["log"] is None else Path(row["log"]),
        request=request,
    )

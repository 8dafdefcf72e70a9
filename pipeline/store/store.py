"""Runs, outcomes, steps and patches in a database: SQLite by default, through SQLAlchemy.

This is the only module that knows the database. SQLAlchemy is imported when a store is opened, not before:
its import costs more than everything else that the command line loads.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pipeline.store.database import Database, LeaseLostError, StoreError, StoreUnavailableError
from pipeline.store.records import (
    BranchRecord,
    Run,
    StoredAttempt,
    StoredEvent,
    StoredStep,
    StoredTask,
    attempt_of,
    inputs_of,
    inputs_values,
    outcome_values,
    patch_values,
    run_of,
    run_values,
    step_of,
    task_of,
    text_of,
)
from pipeline.store.run_options import PublishOptions, StoredCall
from tasks.errors import PatchyardError
from tasks.keys import InputHashes
from tasks.model import Conflict, Outcome, PullRequest, Request, RunStatus, StepResult

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Select, Table

__all__ = ["LeaseLostError", "Store", "StoreError", "StoreUnavailableError", "UnknownRunError"]
FILE = "patchyard.db"


class UnknownRunError(PatchyardError):
    """There is no such run, or no such task in it."""

    exit_code: ClassVar[int] = 2


class AmbiguousRunError(UnknownRunError):
    """Several runs begin with what was given."""


class Store(Database):
    """An open database. A context manager. Blocks: callers on the event loop go through a thread.

    Threads may share one; their writes go one after the other.

    Args:
        url: The database, as SQLAlchemy writes them. Its tables are made, or changed to those of this release.
        repository: What the clones of a repository have in common. Only its runs are seen; without it, all.

    Raises:
        StoreError: From any method, when the database says no.
    """

    def __init__(self, url: "str | URL", repository: str = "") -> None:
        super().__init__(url)
        self.repository = repository

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

    # Writing

    def open_run(self, run: Run) -> None:
        """Keep a new run; with an owner it is claimed as well."""
        values = run_values(run)
        with self._write() as connection:
            if run.owner is not None and run.lease_until is not None:
                until = self._clock(connection) + (run.lease_until - run.started_at)  # not this host's clock
                values |= {"owner": run.owner, "lease_until": text_of(until)}
            connection.execute(self._tables.runs.insert().values(**values))

    def close_run(  # noqa: PLR0913 - one row, written at once
        self,
        run: str,
        status: RunStatus,
        *,
        seconds: float,
        speedup: float,
        efficiency: float,
        request: Request | None = None,
    ) -> None:
        """Keep how a run ended; `seconds` is its wall time, `request` what still stands when it goes on."""
        self._change_run(
            run,
            status=status,
            finished_at=text_of(datetime.now(UTC)),
            seconds=seconds,
            speedup=speedup,
            efficiency=efficiency,
            request=request,
        )

    def set_status(self, run: str, status: RunStatus) -> None:
        """Keep where a run stands."""
        self._change_run(run, status=status)

    def place_run(self, run: str, directory: str, settings: PublishOptions, call: StoredCall) -> None:
        """Store where a run is worked on now, how it is published, and how it was called."""
        self._change_run(run, directory=directory, settings=settings.as_json, call=call.as_json)

    def _change_run(self, run: str, **values: object) -> None:
        runs = self._tables.runs
        with self._write(run=run) as connection:
            connection.execute(runs.update().where(runs.c.id == run).values(**values))

    def begin_attempt(self, run: str, attempt: StoredAttempt) -> None:
        """Keep that a task begins; once more is no harm."""
        table = self._tables.attempts
        key = (table.c.run == run, table.c.task == attempt.task, table.c.number == attempt.number)
        with self._write(run=run) as connection:
            known = connection.execute(table.select().where(*key).with_only_columns(table.c.task)).first()
            if known is None:
                connection.execute(table.insert(), {"run": run, **_attempt_values(attempt)})

    def end_attempt(self, run: str, attempt: StoredAttempt) -> None:
        """Keep how an attempt ended that gave its task no outcome, with what it had changed."""
        table = self._tables.attempts
        values = _attempt_values(attempt) | {
            "finished_at": text_of(datetime.now(UTC)),
            "status": attempt.status,
            "seconds": attempt.seconds,
            "exit_code": attempt.exit_code,
            "error": attempt.error,
            **patch_values(attempt.patch, attempt.patch.files if attempt.patch else ()),
        }
        key = (table.c.run == run, table.c.task == attempt.task, table.c.number == attempt.number)
        with self._write(run=run) as connection:
            changed = connection.execute(table.update().where(*key).values(**values))
            if changed.rowcount == 0:
                connection.execute(table.insert().values(run=run, **values))

    def keep_step(self, run: str, task: str, number: int, result: StepResult, attempt: int = 1) -> None:
        """Keep a finished step; once more is no harm."""
        table = self._tables.steps
        key = {"run": run, "task": task, "attempt": attempt, "number": number}
        values = {
            "kind": result.step.kind,
            "command": result.step.title,
            "exit_code": result.exit_code,
            "seconds": result.seconds,
            "error": result.error,
            "finished_at": text_of(datetime.now(UTC)),
        }
        with self._write(run=run) as connection:
            connection.execute(table.delete().where(*(table.c[name] == key[name] for name in key)))
            connection.execute(table.insert(), {**key, **values})

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
        inputs: InputHashes | None = None,
        attempt: int = 1,
    ) -> None:
        """Keep how a task ended, with its patch, and where its branches stand now.

        `position` is its place in the plan; `branches` are commits by name; `inputs` is what it was made from.
        What an earlier attempt left is replaced, except its pull request.
        """
        tables, task = self._tables, outcome.task
        values = {
            **outcome_values(outcome),
            "position": position,
            "start_branch": start_branch,
            "builds_on": json.dumps(list(builds_on)),
            "log": None if log is None else str(log),
            "attempt": attempt,
            "redo": False,
        }
        ended = {
            "finished_at": values["finished_at"],
            "status": outcome.status,
            "seconds": outcome.seconds,
            "exit_code": outcome.exit_code,
            "error": outcome.error,
            "files": values["files"],
            "start": outcome.start,
        }
        with self._write(run=run) as connection:
            key = (tables.tasks.c.run == run, tables.tasks.c.task == task)
            if connection.execute(tables.tasks.update().where(*key), values).rowcount == 0:
                connection.execute(tables.tasks.insert(), {"run": run, "task": task, **values})
            key = (tables.attempts.c.run == run, tables.attempts.c.task == task)
            one = tables.attempts.c.number == attempt
            connection.execute(tables.attempts.update().where(*key, one), ended)
            if inputs is not None:
                connection.execute(
                    tables.inputs.delete().where(tables.inputs.c.run == run, tables.inputs.c.task == task)
                )
                connection.execute(tables.inputs.insert(), {"run": run, "task": task, **inputs_values(inputs)})
            for name, commit in sorted(branches.items()):  # in one order, so that no two wait for each other
                self._keep_branch(connection, name, {"commit": commit})

    def redo(self, run: str, tasks: Collection[str]) -> None:
        """Let tasks be as if they had not run; their attempts, steps and pull requests stay."""
        table, attempts = self._tables.tasks, self._tables.attempts
        with self._write(run=run) as connection:
            for row in connection.execute(table.select().where(table.c.run == run)).mappings().all():
                if row["task"] not in tasks or row["redo"]:
                    continue
                key = (table.c.run == run, table.c.task == row["task"])
                connection.execute(table.update().where(*key).values(redo=True))
                key = (attempts.c.run == run, attempts.c.task == row["task"])
                connection.execute(
                    attempts.update()
                    .where(*key, attempts.c.number == (row["attempt"] or 1))
                    .values(tree=row["tree"], patch=row["patch"], files=row["files"], start=row["start"])
                )
            self._forget_conflicts(connection, run)

    def _forget_conflicts(self, connection: "Connection", run: str) -> None:
        conflicts = self._tables.conflicts
        connection.execute(conflicts.delete().where(conflicts.c.run == run))

    def keep_conflict(self, run: str, conflict: Conflict) -> None:
        """Keep that patches of a batch do not go together; once more is no harm."""
        table = self._tables.conflicts
        tasks = json.dumps(list(conflict.tasks))
        key = (table.c.run == run, table.c.batch == conflict.batch, table.c.tasks == tasks)
        values = {"run": run, "batch": conflict.batch, "tasks": tasks}
        with self._write(run=run) as connection:
            connection.execute(table.delete().where(*key))
            connection.execute(table.insert().values(**values, files=json.dumps(list(conflict.files))))

    def keep_branch(self, name: str, *, commit: str | None = None, pushed: str | None = None) -> None:
        """Keep where a branch was set, or what of it was pushed."""
        values = {key: value for key, value in (("commit", commit), ("pushed", pushed)) if value is not None}
        with self._write(run=self.acting_on) as connection:
            self._keep_branch(connection, name, values)

    def _keep_branch(self, connection: "Connection", name: str, values: Mapping[str, str]) -> None:
        """Keep something of a branch, which another run may do at the same moment."""
        key = {"repository": self.repository, "name": name}
        insert = self._insert(self._tables.branches).values(**key, **values)
        connection.execute(insert.on_conflict_do_update(index_elements=list(key), set_=dict(values)))

    def forget_branch(self, name: str) -> None:
        """Keep no more of a branch: it is gone."""
        table = self._tables.branches
        with self._write(run=self.acting_on) as connection:
            connection.execute(
                table.delete().where(table.c.name == name, table.c.repository == self.repository)
            )

    def forget_run(self, run: str) -> None:
        """Remove a run and all that is kept of it, except its branches."""
        runs = self._tables.runs
        with self._write() as connection:
            connection.execute(runs.delete().where(runs.c.id == run))

    def keep_request(self, run: str, request: PullRequest) -> None:
        """Keep the pull request of a task."""
        tasks = self._tables.tasks
        with self._write(run=run) as connection:
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

    def keep_events(self, run: str, records: Sequence[Mapping[str, object]]) -> None:
        """Keep what happened, after what did before. It is seen at once, and outlives this process."""
        with self._write(run=run, durable=False) as connection:
            first = (connection.execute(self._tables.last_event, {"run": run}).scalar() or 0) + 1
            rows = [
                {"run": run, "sequence": number, "record": json.dumps(dict(record))}
                for number, record in enumerate(records, first)
            ]
            if rows:
                connection.execute(self._tables.events.insert(), rows)

    # Reading

    def runs(self) -> tuple[Run, ...]:
        """Return every run, the oldest first."""
        table = self._tables.runs
        query = table.select().order_by(table.c.started_at, table.c.id)
        if self.repository:
            query = query.where(table.c.repository == self.repository)
        with self._read() as connection:
            return tuple(run_of(row) for row in connection.execute(query).mappings())

    def run(self, name: str | None = None) -> Run:
        """Return one run: by its id or the beginning of it, the newest without a name.

        Raises:
            UnknownRunError: There is none, or the beginning fits several.
        """
        if name is not None and (exact := self._exactly(name)):
            return exact
        runs = self.runs()
        if not runs:
            raise UnknownRunError("there is no run yet in this repository; `patchyard run PLAN` makes one")
        if name is None or name == "latest":
            return runs[-1]
        found = [run for run in runs if run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousRunError(f"{name} is the beginning of {len(found)} runs; give more of it")
        raise UnknownRunError(f"there is no run {name} in this repository; `patchyard runs` lists them")

    def _exactly(self, run: str) -> Run | None:
        """Return the run of an id: without a look at all the others, since servers ask all the time."""
        table = self._tables.runs
        query = table.select().where(table.c.id == run)
        if self.repository:
            query = query.where(table.c.repository == self.repository)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else run_of(row)

    def tasks(self, run: str, task: str | None = None, *, patches: bool = True) -> tuple[StoredTask, ...]:
        """Return the tasks of a run that have ended, in the plan's order; or one of them, if it has.

        Without `patches` theirs are left out, which may be large.
        """
        table = self._tables.tasks
        query = table.select().where(table.c.run == run, table.c.redo.is_not(True)).order_by(table.c.position)
        if task is not None:
            query = query.where(table.c.task == task)
        query = query if patches else _without_patches(query, table)
        with self._read() as connection:
            return tuple(task_of(row) for row in connection.execute(query).mappings())

    def to_redo(self, run: str) -> frozenset[str]:
        """Return the tasks that `redo` was told of and that have no outcome since."""
        table = self._tables.tasks
        query = table.select().where(table.c.run == run, table.c.redo).with_only_columns(table.c.task)
        with self._read() as connection:
            return frozenset(connection.execute(query).scalars())

    def has_ended(self, run: str, task: str) -> bool:
        """Whether a task of a run has its outcome."""
        table = self._tables.tasks
        key = (table.c.run == run, table.c.task == task, table.c.redo.is_not(True))
        with self._read() as connection:
            query = table.select().where(*key).with_only_columns(table.c.task)
            return connection.execute(query).first() is not None

    def attempts(self, run: str, task: str | None = None, *, patches: bool = True) -> tuple[StoredAttempt, ...]:
        """Return the attempts of a run's tasks in the order in which they began; `patches` as of `tasks`."""
        table = self._tables.attempts
        query = table.select().where(table.c.run == run).order_by(table.c.started_at, table.c.task)
        if task is not None:
            query = query.where(table.c.task == task)
        stored = self.tasks(run, task) if patches else ()
        ended = {(item.outcome.task, item.attempt): item.outcome for item in stored}
        query = query if patches else _without_patches(query, table)
        with self._read() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(attempt_of(row, ended.get((row["task"], row["number"]))) for row in rows)

    def steps(self, run: str, task: str, attempt: int | None = None) -> tuple[StoredStep, ...]:
        """Return the finished steps of a task, in order: of one attempt, the last without a number."""
        table = self._tables.steps
        query = table.select().where(table.c.run == run, table.c.task == task).order_by(table.c.number)
        with self._read() as connection:
            rows = connection.execute(query).mappings().all()
        number = max((row["attempt"] for row in rows), default=1) if attempt is None else attempt
        return tuple(step_of(row) for row in rows if row["attempt"] == number)

    def steps_of_run(self, run: str) -> Mapping[tuple[str, int], tuple[StoredStep, ...]]:
        """Return the finished steps of every attempt of a run, by task and number of the attempt."""
        table = self._tables.steps
        query = table.select().where(table.c.run == run).order_by(table.c.number)
        found: dict[tuple[str, int], list[StoredStep]] = {}
        with self._read() as connection:
            for row in connection.execute(query).mappings():
                found.setdefault((row["task"], row["attempt"]), []).append(step_of(row))
        return {key: tuple(steps) for key, steps in found.items()}

    def events(self, run: str, after: int = 0, limit: int = 500) -> tuple[StoredEvent, ...]:
        """Return what happened in a run after the event of a number, at most `limit` of it, in order."""
        table = self._tables.events
        query = table.select().where(table.c.run == run, table.c.sequence > after)
        with self._read() as connection:
            rows = connection.execute(query.order_by(table.c.sequence).limit(limit)).mappings()
            return tuple(StoredEvent(row["sequence"], json.loads(row["record"])) for row in rows)

    def last_event(self, run: str) -> int:
        """Return the number of a run's newest event; 0 where there is none."""
        with self._read() as connection:
            return int(connection.execute(self._tables.last_event, {"run": run}).scalar() or 0)

    def inputs(self, run: str) -> Mapping[str, InputHashes]:
        """Return what the tasks of a run were made from, by task; a task that never started has none."""
        table = self._tables.inputs
        with self._read() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return {row["task"]: inputs_of(row) for row in rows}

    def conflicts(self, run: str) -> tuple[Conflict, ...]:
        """Return the conflicts that a run found."""
        table = self._tables.conflicts
        with self._read() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return tuple(
                Conflict(row["batch"], tuple(json.loads(row["tasks"])), tuple(json.loads(row["files"])))
                for row in rows
            )

    def branches(self) -> tuple[BranchRecord, ...]:
        """Return every branch that this program made and that is not known to be gone."""
        table = self._tables.branches
        query = table.select().where(table.c.repository == self.repository).order_by(table.c.name)
        with self._read() as connection:
            rows = connection.execute(query).mappings()
            return tuple(BranchRecord(row["name"], row["commit"], row["pushed"]) for row in rows)

    def branch(self, name: str) -> BranchRecord | None:
        """Return what is known of a branch that this program made."""
        table = self._tables.branches
        query = table.select().where(table.c.name == name, table.c.repository == self.repository)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else BranchRecord(row["name"], row["commit"], row["pushed"])

    def commits_of(self, run: str, branch: str) -> frozenset[str]:
        """Return the commits that a run is recorded to have set a branch to, and to which it stands."""
        table = self._tables.tasks
        columns = (table.c.branch, table.c.commit, table.c.start_branch, table.c.start)
        stands = (table.c.commit.is_not(None), table.c.redo.is_not(True))
        query = table.select().where(table.c.run == run, *stands).with_only_columns(*columns)
        with self._read() as connection:
            rows = connection.execute(query).all()
        pairs = [pair for row in rows for pair in ((row.branch, row.commit), (row.start_branch, row.start))]
        return frozenset(commit for name, commit in pairs if name == branch)


def _attempt_values(attempt: StoredAttempt) -> dict[str, Any]:
    return {
        "task": attempt.task,
        "number": attempt.number,
        "title": attempt.title,
        "batch": attempt.batch,
        "started_at": text_of(attempt.started_at),
        "worktree": attempt.worktree,
        "path": attempt.path and str(attempt.path),
        "host": attempt.host,
        "start": attempt.start,
        "seconds": attempt.seconds,
        "log": attempt.log and str(attempt.log),
    }


def _without_patches(query: "Select[Any]", table: "Table") -> "Select[Any]":
    """Return a query that leaves the patches in the database."""
    from sqlalchemy import null  # noqa: PLC0415 - slow; see above

    kept = (column for column in table.columns if column is not table.c.patch)
    return query.with_only_columns(*kept, null().label("patch"))

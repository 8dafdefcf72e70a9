"""Store of runs, tasks, attempts, steps, events and branches in a database."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pipeline.store.connection import Connection
from pipeline.store.database_url import SQLITE, DatabaseUrl
from pipeline.store.errors import LeaseLostError, StoreError, StoreUnavailableError
from pipeline.store.foundations import divide
from pipeline.store.patches import small_text
from pipeline.store.reader import AmbiguousRunError, UnknownRunError, last_event
from pipeline.store.records import BaseCheck, Run, SharedBranch, StoredAttempt, StoredRound
from pipeline.store.removal import StoreRemoval
from pipeline.store.row_writes import (
    delete_rows,
    insert_missing_row,
    insert_row,
    insert_rows,
    update_rows,
    upsert_row,
)
from pipeline.store.rows import (
    attempt_values,
    base_check_values,
    inputs_values,
    outcome_values,
    patch_values,
    round_values,
    run_values,
    shared_branch_values,
    usage_values,
)
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.tables import (
    ATTEMPTS,
    BASE_CHECKS,
    BRANCHES,
    CONFLICTS,
    EVENTS,
    INPUTS,
    ROUNDS,
    RUNS,
    SHARED_BRANCHES,
    STEPS,
    TASKS,
)
from tasks.errors import remedy
from tasks.keys import InputHashes
from tasks.outcome import Conflict, Outcome, Patch, PullRequest, Request, RunStatus, StepResult
from tasks.usage import NO_USAGE, Usage

__all__ = [
    "AmbiguousRunError",
    "LeaseLostError",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "UnknownRunError",
]
FILE = "patchyard.db"


class Store(StoreRemoval):
    """An open store. A context manager. Blocking: on the event loop, call it in a thread.

    Threads may share one; their writes run one after the other.

    Args:
        url: The database, as its URL. Its tables are created or migrated to this release's schema.
        repository: The id of a repository; only its runs are visible. Empty for all runs.

    Raises:
        StoreError: From any method, when the database cannot be opened, read or written.
    """

    @classmethod
    def beside(cls, common: Path) -> Self:
        """Open the store in a repository's common git directory; create it if it is missing.

        Raises:
            StoreError: It cannot be created or opened.
        """
        path = common / "patchyard" / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create {path.parent}: {error.strerror}; {remedy(error)}") from None
        return cls(DatabaseUrl(SQLITE, str(path)))

    def open_run(self, run: Run) -> None:
        """Add a run; with an owner it is claimed, for as long as its lease lasted from its start."""
        values = run_values(run)
        with self._write() as connection:
            if run.owner is not None and run.lease_until is not None:
                until = connection.clock() + (run.lease_until - run.started_at)  # not this host's clock
                values |= {"owner": run.owner, "lease_until": until}
            insert_row(connection, RUNS, values)

    def add_missing_run(self, run: Run) -> None:
        """Add a run without an owner, unless it is there: another process or thread may add it at once."""
        with self._write() as connection:
            insert_missing_row(connection, RUNS, run_values(run))

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
        """Store how a run ended; `seconds` is wall time, `request` is honored when the run is resumed."""
        self._change_run(
            run,
            status=status,
            finished_at=datetime.now(UTC),
            seconds=seconds,
            speedup=speedup,
            efficiency=efficiency,
            request=request,
        )

    def name_plan(self, run: str, name: str) -> None:
        """Set the plan's part of a run's branch names."""
        self._change_run(run, plan_name=name)

    def set_status(self, run: str, status: RunStatus) -> None:
        """Set the state of a run."""
        self._change_run(run, status=status)

    def relocate_run(self, run: str, directory: str, settings: PublishOptions, call: StoredCall) -> None:
        """Set the directory of a run, the settings that publishing needs, and the call that resuming needs."""
        self._change_run(run, directory=directory, settings=settings, call=call)

    def _change_run(self, run: str, **values: object) -> None:
        with self._write(run=run) as connection:
            update_rows(connection, RUNS, {"id": run}, values)

    def begin_attempt(self, run: str, attempt: StoredAttempt) -> None:
        """Add an attempt that starts. Idempotent."""
        with self._write(run=run) as connection:
            insert_missing_row(connection, ATTEMPTS, {"run": run, **attempt_values(attempt)})

    def end_attempt(self, run: str, attempt: StoredAttempt) -> None:
        """Store the end and the patch of an attempt that gave its task no outcome. Idempotent."""
        values = attempt_values(attempt) | {"finished_at": datetime.now(UTC)}
        key = {"run": run, "task": attempt.task, "number": attempt.number}
        self._keep_large(run, attempt.patch)
        small = small_text(attempt.patch)
        with self._write(run=run) as connection:
            self._keep_small(connection, run, attempt.patch, small)
            upsert_row(connection, ATTEMPTS, key, values)

    def keep_wait(self, run: str, task: str, attempt: int, until: datetime | None) -> None:
        """Store until when an attempt waits for the provider of its agent; `None` when it continues."""
        key = {"run": run, "task": task, "number": attempt}
        with self._write(run=run) as connection:
            update_rows(connection, ATTEMPTS, key, {"waits_until": until})

    def keep_step(  # noqa: PLR0913 - one row, written at once
        self,
        run: str,
        task: str,
        number: int,
        result: StepResult,
        attempt: int = 1,
        *,
        usage: Usage = NO_USAGE,
    ) -> None:
        """Add a finished step; `usage` is that of an agent. Idempotent."""
        key = {"run": run, "task": task, "attempt": attempt, "number": number}
        values = {
            "kind": result.step.kind,
            "command": result.step.title,
            "exit_code": result.exit_code,
            "seconds": result.seconds,
            "error": result.error,
            "finished_at": datetime.now(UTC),
            **usage_values(usage),
        }
        with self._write(run=run) as connection:
            upsert_row(connection, STEPS, key, values)

    def keep_round(self, run: str, ended: StoredRound) -> None:
        """Add a round that has ended, with its patch. Idempotent."""
        self._keep_large(run, ended.patch)
        small = small_text(ended.patch)
        with self._write(run=run) as connection:
            self._keep_small(connection, run, ended.patch, small)
            key = {"run": run, "task": ended.task, "attempt": ended.attempt, "number": ended.number}
            upsert_row(connection, ROUNDS, key, round_values(ended))

    def keep_base_check(self, run: str, check: BaseCheck) -> None:
        """Add what a verification gives at a start point. Idempotent."""
        with self._write(run=run) as connection:
            upsert_row(connection, BASE_CHECKS, {"run": run, "key": check.key}, base_check_values(check))

    def forget_failed_base_checks(self, run: str) -> None:
        """Forget the checks that failed, so that they are made again: what was missing may be there now."""
        failed = [check.key for check in self.base_checks(run) if check.failure]
        with self._write(run=run) as connection:
            for key in failed:
                delete_rows(connection, BASE_CHECKS, {"run": run, "key": key})

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
        seconds: float | None = None,
    ) -> Outcome:
        """Store the outcome of a task with its patch. Idempotent.

        The outcome of an earlier attempt is replaced; the task's pull request is kept.

        Returns:
            The outcome; its patch is read from the database when it is needed, so that none stays in memory.

        Args:
            run: The run's id.
            position: The task's position in the plan.
            outcome: How the task ended.
            start_branch: The branch of its start point; `None` for the base.
            builds_on: The tasks whose changes its start point contains.
            log: Its log file.
            branches: Commits by name of the branches that were set.
            inputs: The hashes of its inputs.
            attempt: The number of the attempt.
            seconds: The wall time of the attempt; without it, what is stored stays.
        """
        key = {"run": run, "task": outcome.task}
        own, foundation = divide(builds_on)
        values = {
            **outcome_values(outcome),
            "position": position,
            "start_branch": start_branch,
            "builds_on": own,
            "foundation": foundation.digest if foundation else None,
            "log": log,
            "attempt": attempt,
            "redo": False,
            "feedback": None,
        }
        ended = {
            "finished_at": values["finished_at"],
            "status": outcome.status,
            **({} if seconds is None else {"seconds": seconds}),
            "exit_code": outcome.exit_code,
            "error": outcome.error,
            **{name: values[name] for name in ("files", "start", "tree", "patch_sha256", "patch_size")},
        }
        self._keep_large(run, outcome.patch)
        small, links = small_text(outcome.patch), self._missing_links(run, foundation)
        with self._write(run=run) as connection:
            self._keep_small(connection, run, outcome.patch, small)
            self._insert_links(connection, run, links)
            upsert_row(connection, TASKS, key, values)
            update_rows(connection, ATTEMPTS, {**key, "number": attempt}, ended)
            if inputs is not None:
                upsert_row(connection, INPUTS, key, inputs_values(inputs))
            for name, commit in sorted(branches.items()):  # sorted, so that two processes do not deadlock
                self._keep_branch(connection, name, {"commit": commit})
        self._remember_links(run, links)
        return self._stored(run, outcome)

    def _stored(self, run: str, outcome: Outcome) -> Outcome:
        patch = outcome.patch
        if patch is None:
            return outcome
        diff = self.patch_data(run, patch.diff.size, patch.diff.sha256)
        return replace(outcome, patch=replace(patch, diff=diff))

    def keep_patch(self, run: str, task: str, attempt: int, patch: Patch) -> None:
        """Store the patch of a task whose outcome, of an attempt with this number, has none. Idempotent."""
        key, values = {"run": run, "task": task}, {**patch_values(patch), "start": patch.start}
        self._keep_large(run, patch)
        small = small_text(patch)
        with self._write(run=run) as connection:
            self._keep_small(connection, run, patch, small)
            update_rows(connection, TASKS, key, values)
            update_rows(connection, ATTEMPTS, {**key, "number": attempt}, values)

    def mark_for_redo(
        self, run: str, tasks: Collection[str], feedback: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Hide the outcomes of tasks, so that they run again; attempts, steps and pull requests are kept.

        `feedback` is what the user says of some of them, for their agents; what was said before is kept.
        """
        with self._write(run=run) as connection:
            for task in sorted(tasks):
                said = {"feedback": feedback[task]} if task in feedback else {}
                key = {"run": run, "task": task}
                update_rows(connection, TASKS, key, {"redo": True, **said})
            self._forget_conflicts(connection, run)

    def _forget_conflicts(self, connection: Connection, run: str) -> None:
        delete_rows(connection, CONFLICTS, {"run": run})

    def keep_conflicts(self, run: str, conflicts: Iterable[Conflict]) -> None:
        """Add conflicts between patches of a batch. Idempotent."""
        with self._write(run=run) as connection:
            for one in conflicts:
                key = {"run": run, "batch": one.batch, "tasks": one.tasks}
                delete_rows(connection, CONFLICTS, key)
                insert_row(connection, CONFLICTS, {**key, "files": one.files})

    def keep_branch(self, name: str, *, commit: str | None = None, pushed: str | None = None) -> None:
        """Store the commit that a branch was set to, or the one that was pushed."""
        values = {key: value for key, value in (("commit", commit), ("pushed", pushed)) if value is not None}
        with self._write(run=self.acting_on) as connection:
            self._keep_branch(connection, name, values)

    def announce_branches(self, run: str, branches: Mapping[str, str]) -> None:
        """Store the commits that a run is about to set branches to, by name.

        They survive this process, but not a loss of power. Where it is killed after it set a branch, the commit
        of the branch is known as its own.
        """
        with self._write(run=run, durable=False) as connection:
            for name, commit in sorted(branches.items()):  # sorted, so that two processes do not deadlock
                self._keep_branch(connection, name, {"commit": commit})

    def _keep_branch(self, connection: Connection, name: str, values: Mapping[str, str]) -> None:
        """Insert or update a branch; another run may do so at the same time."""
        key = {"repository": self.repository, "name": name}
        upsert_row(connection, BRANCHES, key, values)

    def keep_pull_request(self, run: str, request: PullRequest) -> None:
        """Store the pull request of a task, or of several: those that it had before have none any more."""
        part = request.task if request.tasks else None
        values = {
            "request_number": request.number,
            "request_url": request.url,
            "request_base": request.base,
            "request_action": request.action,
            "request_part": part,
            "request_branch": request.branch if part else None,
        }
        with self._write(run=run) as connection:
            if part:
                update_rows(connection, TASKS, {"run": run, "request_part": part}, dict.fromkeys(values))
            for task in request.every_task:
                update_rows(connection, TASKS, {"run": run, "task": task}, values)

    def keep_shared_branches(self, run: str, branches: Sequence[SharedBranch]) -> None:
        """Store the shared branches of a run, before any of them is pushed; those of before are forgotten."""
        with self._write(run=run) as connection:
            delete_rows(connection, SHARED_BRANCHES, {"run": run})
            for branch in branches:
                insert_row(connection, SHARED_BRANCHES, {"run": run, **shared_branch_values(branch)})

    def keep_events(self, run: str, records: Sequence[Mapping[str, object]]) -> None:
        """Append events. They are visible at once and survive this process, but not a loss of power."""
        with self._write(run=run, durable=False) as connection:
            first = last_event(connection, run) + 1
            rows = [
                {"run": run, "sequence": number, "record": record}
                for number, record in enumerate(records, first)
            ]
            if rows:
                insert_rows(connection, EVENTS, rows)

"""Reading runs, tasks, attempts, steps, events and branches from the store."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pipeline.store.damage import DamagedRowError, checked
from pipeline.store.leases import Leases
from pipeline.store.patches import StoredPatches
from pipeline.store.records import (
    BaseCheck,
    BranchRecord,
    Run,
    SharedBranch,
    StoredAttempt,
    StoredEvent,
    StoredRound,
    StoredStep,
    StoredTask,
)
from pipeline.store.rows import (
    attempt_of,
    base_check_of,
    inputs_of,
    round_of,
    run_of,
    shared_branch_of,
    step_of,
    task_of,
)
from tasks.errors import PatchyardError
from tasks.keys import InputHashes
from tasks.outcome import Conflict
from tasks.usage import Usage, Work, total

if TYPE_CHECKING:
    from sqlalchemy import URL, RowMapping, Table

_NAMES = 500
"""Names in one statement: SQLite may have been built for 999 parameters (https://sqlite.org/limits.html)."""


class UnknownRunError(PatchyardError):
    """The run, or the task in it, does not exist."""

    exit_code: ClassVar[int] = 2


class AmbiguousRunError(UnknownRunError):
    """The ids of several runs start with the given text."""


class StoreReader(Leases, StoredPatches):
    """The methods of a store that read. Blocking.

    Args:
        url: The database, as a SQLAlchemy URL.
        repository: The id of a repository; only its runs are visible. Empty for all runs.
    """

    def __init__(self, url: "str | URL", repository: str = "") -> None:
        super().__init__(url)
        self.repository = repository

    def runs(self, *, skip_damaged: bool = False) -> tuple[Run, ...]:
        """Return all runs, the oldest first; with `skip_damaged` those that can be read.

        Raises:
            DamagedRowError: A run cannot be read.
        """
        table = self._tables.runs
        query = table.select().order_by(table.c.started_at, table.c.id)
        if self.repository:
            query = query.where(table.c.repository == self.repository)
        with self._read() as connection:
            rows = connection.execute(query).mappings()
            return tuple(run_of(row) for row in _checked_rows(table, rows, skip_damaged=skip_damaged))

    def run(self, name: str | None = None) -> Run:
        """Return the run of an id or of its unambiguous beginning; without a name, or for `latest`, the newest.

        Raises:
            UnknownRunError: There is no such run.
            AmbiguousRunError: Several ids start with the name.
        """
        if name is not None and (exact := self._run_of_id(name)):
            return exact
        runs = self.runs()
        if not runs:
            raise UnknownRunError("this repository has no runs yet; start one with `patchyard run PLAN`")
        if name is None or name == "latest":
            return runs[-1]
        found = [run for run in runs if run.id.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousRunError(f"{name} matches {len(found)} runs; use a longer prefix")
        raise UnknownRunError(f"there is no run {name} in this repository; `patchyard runs` lists them")

    def _run_of_id(self, run: str) -> Run | None:
        """Return the run of an id, without reading all runs: servers call this often."""
        table = self._tables.runs
        query = table.select().where(table.c.id == run)
        if self.repository:
            query = query.where(table.c.repository == self.repository)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else run_of(checked(table, row))

    def require_run(self, run: str) -> None:
        """Check that there is a run of an id, without reading the rest of its row.

        Raises:
            UnknownRunError: There is none.
        """
        table = self._tables.runs
        query = table.select().where(table.c.id == run).with_only_columns(table.c.id)
        if self.repository:
            query = query.where(table.c.repository == self.repository)
        with self._read() as connection:
            known = connection.execute(query).first()
        if known is None:
            raise UnknownRunError(f"there is no run {run} in this repository; write the whole id of a run")

    def tasks(self, run: str, task: str | None = None) -> tuple[StoredTask, ...]:
        """Return the tasks of a run that have an outcome, in the plan's order; with `task`, that one only."""
        table = self._tables.tasks
        query = table.select().where(table.c.run == run, table.c.redo.is_not(True)).order_by(table.c.position)
        if task is not None:
            query = query.where(table.c.task == task)
        with self._read() as connection:
            rows = connection.execute(query).mappings()
            return tuple(task_of(checked(table, row), self.patch_data) for row in rows)

    def tasks_to_redo(self, run: str) -> frozenset[str]:
        """Return the tasks that are marked for redo and have no new outcome yet."""
        table = self._tables.tasks
        query = table.select().where(table.c.run == run, table.c.redo).with_only_columns(table.c.task)
        with self._read() as connection:
            return frozenset(connection.execute(query).scalars())

    def feedback(self, run: str) -> Mapping[str, str]:
        """Return what the user said of tasks that are to run again, and that has not led to an outcome yet."""
        table = self._tables.tasks
        said = table.select().where(table.c.run == run, table.c.redo, table.c.feedback.is_not(None))
        with self._read() as connection:
            rows = connection.execute(said.with_only_columns(table.c.task, table.c.feedback)).mappings()
            return {row["task"]: row["feedback"] for row in rows}

    def has_ended(self, run: str, task: str) -> bool:
        """Whether a task of a run has an outcome."""
        table = self._tables.tasks
        key = (table.c.run == run, table.c.task == task, table.c.redo.is_not(True))
        with self._read() as connection:
            query = table.select().where(*key).with_only_columns(table.c.task)
            return connection.execute(query).first() is not None

    def attempts(self, run: str, task: str | None = None) -> tuple[StoredAttempt, ...]:
        """Return the attempts of a run's tasks in the order of their start; parameters as for `tasks`."""
        table = self._tables.attempts
        query = table.select().where(table.c.run == run).order_by(table.c.started_at, table.c.task)
        if task is not None:
            query = query.where(table.c.task == task)
        with self._read() as connection:
            rows = connection.execute(query).mappings()
            return tuple(attempt_of(checked(table, row), self.patch_data) for row in rows)

    def rounds(self, run: str, task: str | None = None) -> tuple[StoredRound, ...]:
        """Return the rounds that ended, by task, attempt and number; of all tasks, or of one.

        An attempt that succeeded in its first round has none.
        """
        table = self._tables.rounds
        query = table.select().where(table.c.run == run)
        if task is not None:
            query = query.where(table.c.task == task)
        with self._read() as connection:
            rows = connection.execute(query.order_by(table.c.task, table.c.attempt, table.c.number)).mappings()
            return tuple(round_of(checked(table, row), self.patch_data) for row in rows)

    def base_checks(self, run: str) -> tuple[BaseCheck, ...]:
        """Return what verification gave at the start points of a run, in the order in which it ended."""
        table = self._tables.base_checks
        query = table.select().where(table.c.run == run).order_by(table.c.finished_at, table.c.key)
        with self._read() as connection:
            return tuple(base_check_of(checked(table, row)) for row in connection.execute(query).mappings())

    def steps(self, run: str, task: str, attempt: int | None = None) -> tuple[StoredStep, ...]:
        """Return the finished steps of a task in order, of one attempt; without a number, of the last one."""
        table = self._tables.steps
        query = table.select().where(table.c.run == run, table.c.task == task).order_by(table.c.number)
        with self._read() as connection:
            rows = [checked(table, row) for row in connection.execute(query).mappings()]
        number = max((row["attempt"] for row in rows), default=1) if attempt is None else attempt
        return tuple(step_of(row) for row in rows if row["attempt"] == number)

    def seconds_of_steps(self, run: str, task: str, attempt: int) -> float:
        """Return how long the finished steps of an attempt took: all that is known of one that was killed."""
        return sum(step.seconds for step in self.steps(run, task, attempt))

    def work(self, run: str) -> Mapping[str, Work]:
        """Return the work on each task of a run so far, of all its attempts that have ended."""
        seconds, usages = defaultdict[str, float](float), defaultdict[str, list[Usage]](list)
        for attempt in self.attempts(run):
            seconds[attempt.task] += attempt.seconds
        for (task, _), steps in self.steps_of_run(run).items():
            usages[task] += [step.usage for step in steps]
        return {task: Work(seconds[task], total(usages[task])) for task in (*seconds, *usages)}

    def step_seconds(self, run: str) -> float:
        """Return how many seconds the finished steps of a run took together."""
        return sum(step.seconds for steps in self.steps_of_run(run).values() for step in steps)

    def steps_of_run(self, run: str) -> Mapping[tuple[str, int], tuple[StoredStep, ...]]:
        """Return the finished steps of a run by task and number of the attempt."""
        table = self._tables.steps
        query = table.select().where(table.c.run == run).order_by(table.c.number)
        found: dict[tuple[str, int], list[StoredStep]] = {}
        with self._read() as connection:
            for row in connection.execute(query).mappings():
                step = step_of(checked(table, row))
                found.setdefault((row["task"], row["attempt"]), []).append(step)
        return {key: tuple(steps) for key, steps in found.items()}

    def events(self, run: str, after: int = 0, limit: int = 500) -> tuple[StoredEvent, ...]:
        """Return at most `limit` events of a run in order, those after the event of a number."""
        table = self._tables.events
        query = table.select().where(table.c.run == run, table.c.sequence > after)
        with self._read() as connection:
            rows = connection.execute(query.order_by(table.c.sequence).limit(limit)).mappings()
            found = [checked(table, row) for row in rows]
            return tuple(StoredEvent(row["sequence"], row["record"]) for row in found)

    def last_event(self, run: str) -> int:
        """Return the number of a run's newest event, or 0."""
        with self._read() as connection:
            return int(connection.execute(self._tables.last_event, {"run": run}).scalar() or 0)

    def inputs(self, run: str) -> Mapping[str, InputHashes]:
        """Return the hashes of the inputs of a run's tasks, by task; a task that never started has none."""
        table = self._tables.inputs
        with self._read() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return {row["task"]: inputs_of(checked(table, row)) for row in rows}

    def conflicts(self, run: str) -> tuple[Conflict, ...]:
        """Return the conflicts of a run."""
        table = self._tables.conflicts
        with self._read() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            found = [checked(table, row) for row in rows]
            return tuple(Conflict(row["batch"], row["tasks"], row["files"]) for row in found)

    def shared_branches(self, run: str) -> Mapping[str, SharedBranch]:
        """Return the branches of a run that several of its tasks share, by their part of the name."""
        table = self._tables.shared_branches
        with self._read() as connection:
            rows = connection.execute(table.select().where(table.c.run == run)).mappings()
            return {row["part"]: shared_branch_of(checked(table, row)) for row in rows}

    def branches(self) -> tuple[BranchRecord, ...]:
        """Return the branches that patchyard created and did not remove."""
        table = self._tables.branches
        query = table.select().where(table.c.repository == self.repository).order_by(table.c.name)
        with self._read() as connection:
            rows = connection.execute(query).mappings()
            found = [checked(table, row) for row in rows]
            return tuple(BranchRecord(row["name"], row["commit"], row["pushed"]) for row in found)

    def pushed(self, branches: Sequence[str]) -> Mapping[str, str]:
        """Return the commit that patchyard last pushed of each of these branches, where it pushed one."""
        table, found = self._tables.branches, dict[str, str]()
        with self._read() as connection:
            for at in range(0, len(branches), _NAMES):
                query = table.select().where(table.c.repository == self.repository)
                query = query.where(table.c.name.in_(branches[at : at + _NAMES]), table.c.pushed.is_not(None))
                for name, commit in connection.execute(query.with_only_columns(table.c.name, table.c.pushed)):
                    found[name] = commit
        return found

    def branch(self, name: str) -> BranchRecord | None:
        """Return the record of a branch that patchyard created, or `None`."""
        table = self._tables.branches
        query = table.select().where(table.c.name == name, table.c.repository == self.repository)
        with self._read() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            row = checked(table, row)
            return BranchRecord(row["name"], row["commit"], row["pushed"])

    def commits_of(self, branches: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Return the commits that runs made for branches, each with the title of the plan, if it is known."""
        runs, tasks, shared = self._tables.runs, self._tables.tasks, self._tables.shared_branches
        announced, found = self._tables.branches, {name: dict[str, str | None]() for name in branches}
        columns = (
            (tasks.c.branch, tasks.c.commit),
            (tasks.c.start_branch, tasks.c.start),
            (shared.c.branch, shared.c.tip),
            (shared.c.start_branch, shared.c.start),
        )
        with self._read() as connection:
            for at in range(0, len(branches), _NAMES):
                names = branches[at : at + _NAMES]
                query = announced.select().where(announced.c.repository == self.repository)
                for row in connection.execute(query.where(announced.c.name.in_(names))).mappings():
                    if commit := checked(announced, row)["commit"]:
                        found[row["name"]][commit] = None
                for branch, commit in columns:
                    query = runs.join(branch.table, runs.c.id == branch.table.c.run).select()
                    if self.repository:
                        query = query.where(runs.c.repository == self.repository)
                    if branch.table is tasks:  # a start is a branch of the run only if there is a commit on it
                        query = query.where(tasks.c.commit.is_not(None))
                    query = query.where(branch.in_(names), commit.is_not(None))
                    for name, made, title in connection.execute(
                        query.with_only_columns(branch, commit, runs.c.plan_title)
                    ):
                        found[name][made] = title
        return found


def _checked_rows(
    table: "Table", rows: "Iterable[RowMapping]", *, skip_damaged: bool
) -> "Iterator[RowMapping]":
    for row in rows:
        try:
            yield checked(table, row)
        except DamagedRowError:
            if not skip_damaged:
                raise

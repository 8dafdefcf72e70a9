"""Reading runs, tasks, attempts, steps, events and branches from the store."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pipeline.store.connection import Connection
from pipeline.store.database_url import DatabaseUrl
from pipeline.store.foundations import StoredFoundations
from pipeline.store.leases import Leases
from pipeline.store.patches import StoredPatches
from pipeline.store.records import (
    BaseCheck,
    BranchRecord,
    PlanOfRun,
    Run,
    SharedBranch,
    StoredAttempt,
    StoredEvent,
    StoredRound,
    StoredStep,
    StoredTask,
)
from pipeline.store.row_reads import read_row, read_rows
from pipeline.store.rows import (
    attempt_of,
    base_check_of,
    inputs_of,
    round_of,
    run_of,
    shared_branch_of,
    step_of,
    task_of,
    usage_of,
    usage_values,
)
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
from tasks.errors import PatchyardError
from tasks.keys import InputHashes
from tasks.outcome import Conflict
from tasks.usage import NO_USAGE, Usage, Work, total

_NAMES = 500
"""Names in one statement: SQLite may have been built for 999 parameters (https://sqlite.org/limits.html)."""
_DONE = "redo IS NOT TRUE"
"""The condition of tasks with an outcome."""
_USAGE = tuple(usage_values(NO_USAGE))
_USED = " OR ".join(f"{name} IS NOT NULL" for name in _USAGE).join("()")
"""The condition of steps in which an agent used something that is known."""


class UnknownRunError(PatchyardError):
    """The run, or the task in it, does not exist."""

    exit_code: ClassVar[int] = 2


class AmbiguousRunError(UnknownRunError):
    """The ids of several runs start with the given text."""


class StoreReader(Leases, StoredPatches, StoredFoundations):
    """The methods of a store that read. Blocking.

    Args:
        url: The database, as its URL.
        repository: The id of a repository; only its runs are visible. Empty for all runs.
    """

    def __init__(self, url: str | DatabaseUrl, repository: str = "") -> None:
        super().__init__(url)
        self.repository = repository

    def runs(self, *, skip_damaged: bool = False) -> tuple[Run, ...]:
        """Return all runs, the oldest first; with `skip_damaged` those that can be read.

        Raises:
            DamagedRowError: A run cannot be read.
        """
        with self._read() as connection:
            rows = read_rows(
                connection, RUNS, self._visible(), order=("started_at", "id"), skip_damaged=skip_damaged
            )
            return tuple(run_of(row) for row in rows)

    def _visible(self) -> dict[str, str]:
        """Return the key of the runs of this repository."""
        return {"repository": self.repository} if self.repository else {}

    def run(self, name: str | None = None) -> Run:
        """Return the run of an id or of its unambiguous beginning; without a name, or for `latest`, the newest.

        Raises:
            UnknownRunError: There is no such run.
            AmbiguousRunError: Several ids start with the name.
        """
        if name is not None and (exact := self._run_of_id(name)):
            return exact
        ids = self.run_ids()
        if not ids:
            raise UnknownRunError("this repository has no runs yet; start one with `patchyard run PLAN`")
        found = ids[-1:] if name is None or name == "latest" else [one for one in ids if one.startswith(name)]
        if len(found) > 1:
            raise AmbiguousRunError(f"{name} matches {len(found)} runs; use a longer prefix")
        if not found or (run := self._run_of_id(found[0])) is None:
            raise UnknownRunError(f"there is no run {name} in this repository; `patchyard runs` lists them")
        return run

    def run_ids(self) -> tuple[str, ...]:
        """Return the ids of all runs, the oldest first; nothing else of them is read."""
        with self._read() as connection:
            rows = read_rows(connection, RUNS, self._visible(), columns=("id",), order=("started_at", "id"))
            return tuple(row["id"] for row in rows)

    def plans_of_runs(self) -> tuple[PlanOfRun, ...]:
        """Return which plan each run is of, the oldest run first; nothing else of the runs is read.

        Raises:
            DamagedRowError: A run cannot be read.
        """
        with self._read() as connection:
            columns = ("id", "plan_name", "plan_title", "plan_path")
            rows = read_rows(connection, RUNS, self._visible(), columns=columns, order=("started_at", "id"))
            return tuple(
                PlanOfRun(row["id"], row["plan_name"], row["plan_title"], row["plan_path"]) for row in rows
            )

    def _run_of_id(self, run: str) -> Run | None:
        """Return the run of an id, without reading all runs: servers call this often."""
        with self._read() as connection:
            row = read_row(connection, RUNS, {"id": run, **self._visible()})
            return None if row is None else run_of(row)

    def require_run(self, run: str) -> None:
        """Check that there is a run of an id, without reading the rest of its row.

        Raises:
            UnknownRunError: There is none.
        """
        with self._read() as connection:
            known = read_row(connection, RUNS, {"id": run, **self._visible()}, columns=("id",))
        if known is None:
            raise UnknownRunError(f"there is no run {run} in this repository; write the whole id of a run")

    def tasks(self, run: str, task: str | None = None) -> tuple[StoredTask, ...]:
        """Return the tasks of a run that have an outcome, in the plan's order; with `task`, that one only."""
        with self._read() as connection:
            rows = list(read_rows(connection, TASKS, _of(run, task), where=_DONE, order=("position",)))
            lineages = self._lineages(connection, rows)
        return tuple(
            task_of(row, self.patch_data, lineages[row["builds_on"], row["foundation"]]) for row in rows
        )

    def tasks_to_redo(self, run: str) -> frozenset[str]:
        """Return the tasks that are marked for redo and have no new outcome yet."""
        with self._read() as connection:
            rows = read_rows(connection, TASKS, {"run": run, "redo": True}, columns=("task",))
            return frozenset(row["task"] for row in rows)

    def feedback(self, run: str) -> Mapping[str, str]:
        """Return what the user said of tasks that are to run again, and that has not led to an outcome yet."""
        key, columns = {"run": run, "redo": True}, ("task", "feedback")
        with self._read() as connection:
            rows = read_rows(connection, TASKS, key, columns=columns, where="feedback IS NOT NULL")
            return {row["task"]: row["feedback"] for row in rows}

    def has_ended(self, run: str, task: str) -> bool:
        """Whether a task of a run has an outcome."""
        with self._read() as connection:
            return read_row(connection, TASKS, _of(run, task), columns=("task",), where=_DONE) is not None

    def attempts(self, run: str, task: str | None = None) -> tuple[StoredAttempt, ...]:
        """Return the attempts of a run's tasks in the order of their start; parameters as for `tasks`."""
        with self._read() as connection:
            rows = read_rows(connection, ATTEMPTS, _of(run, task), order=("started_at", "task"))
            return tuple(attempt_of(row, self.patch_data) for row in rows)

    def rounds(self, run: str, task: str | None = None) -> tuple[StoredRound, ...]:
        """Return the rounds that ended, by task, attempt and number; of all tasks, or of one.

        An attempt that succeeded in its first round has none.
        """
        with self._read() as connection:
            rows = read_rows(connection, ROUNDS, _of(run, task), order=("task", "attempt", "number"))
            return tuple(round_of(row, self.patch_data) for row in rows)

    def base_checks(self, run: str) -> tuple[BaseCheck, ...]:
        """Return what verification gave at the start points of a run, in the order in which it ended."""
        with self._read() as connection:
            rows = read_rows(connection, BASE_CHECKS, {"run": run}, order=("finished_at", "key"))
            return tuple(map(base_check_of, rows))

    def steps(self, run: str, task: str, attempt: int | None = None) -> tuple[StoredStep, ...]:
        """Return the finished steps of a task in order, of one attempt; without a number, of the last one."""
        with self._read() as connection:
            rows = list(read_rows(connection, STEPS, _of(run, task), order=("number",)))
        number = max((row["attempt"] for row in rows), default=1) if attempt is None else attempt
        return tuple(step_of(row) for row in rows if row["attempt"] == number)

    def seconds_of_steps(self, run: str, task: str, attempt: int) -> float:
        """Return how long the finished steps of an attempt took: all that is known of one that was killed."""
        return sum(step.seconds for step in self.steps(run, task, attempt))

    def work(self, run: str) -> Mapping[str, Work]:
        """Return the work on each task of a run so far, of all its attempts that have ended."""
        seconds, usages = defaultdict[str, float](float), self.usages(run)
        with self._read() as connection:
            for row in read_rows(connection, ATTEMPTS, {"run": run}, columns=("task", "seconds")):
                seconds[row["task"]] += row["seconds"]
        return {
            task: Work(seconds.get(task, 0.0), usages.get(task, NO_USAGE))
            for task in dict.fromkeys((*seconds, *usages))
        }

    def usages(self, run: str) -> Mapping[str, Usage]:
        """Return what agents used in the finished steps of each task of a run, if they used anything."""
        found = defaultdict[str, list[Usage]](list)
        with self._read() as connection:
            for row in read_rows(connection, STEPS, {"run": run}, columns=("task", *_USAGE), where=_USED):
                found[row["task"]].append(usage_of(row))
        return {task: total(usages) for task, usages in found.items()}

    def step_seconds(self, run: str) -> float:
        """Return how many seconds the finished steps of a run took together."""
        with self._read() as connection:
            rows = read_rows(connection, STEPS, {"run": run}, columns=("seconds",))
            return float(sum(row["seconds"] for row in rows))

    def steps_of_run(self, run: str) -> Mapping[tuple[str, int], tuple[StoredStep, ...]]:
        """Return the finished steps of a run by task and number of the attempt."""
        found: dict[tuple[str, int], list[StoredStep]] = {}
        with self._read() as connection:
            for row in read_rows(connection, STEPS, {"run": run}, order=("number",)):
                found.setdefault((row["task"], row["attempt"]), []).append(step_of(row))
        return {key: tuple(steps) for key, steps in found.items()}

    def events(self, run: str, after: int = 0, limit: int = 500) -> tuple[StoredEvent, ...]:
        """Return at most `limit` events of a run in order, those after the event of a number."""
        with self._read() as connection:
            rows = read_rows(
                *(connection, EVENTS, {"run": run}),
                where="sequence > ?",
                values=(after,),
                order=("sequence",),
                limit=limit,
            )
            return tuple(StoredEvent(row["sequence"], row["record"]) for row in rows)

    def last_event(self, run: str) -> int:
        """Return the number of a run's newest event, or 0."""
        with self._read() as connection:
            return last_event(connection, run)

    def inputs(self, run: str) -> Mapping[str, InputHashes]:
        """Return the hashes of the inputs of a run's tasks, by task; a task that never started has none."""
        with self._read() as connection:
            return {row["task"]: inputs_of(row) for row in read_rows(connection, INPUTS, {"run": run})}

    def conflicts(self, run: str) -> tuple[Conflict, ...]:
        """Return the conflicts of a run."""
        with self._read() as connection:
            rows = read_rows(connection, CONFLICTS, {"run": run})
            return tuple(Conflict(row["batch"], row["tasks"], row["files"]) for row in rows)

    def shared_branches(self, run: str) -> Mapping[str, SharedBranch]:
        """Return the branches of a run that several of its tasks share, by their part of the name."""
        with self._read() as connection:
            rows = read_rows(connection, SHARED_BRANCHES, {"run": run})
            return {row["part"]: shared_branch_of(row) for row in rows}

    def branches(self) -> tuple[BranchRecord, ...]:
        """Return the branches that patchyard created and did not remove."""
        with self._read() as connection:
            rows = read_rows(connection, BRANCHES, {"repository": self.repository}, order=("name",))
            return tuple(map(_branch_of, rows))

    def pushed(self, branches: Sequence[str]) -> Mapping[str, str]:
        """Return the commit that patchyard last pushed of each of these branches, where it pushed one."""
        found = dict[str, str]()
        with self._read() as connection:
            for row in self._branch_rows(connection, branches):
                if row["pushed"] is not None:
                    found[row["name"]] = row["pushed"]
        return found

    def branch(self, name: str) -> BranchRecord | None:
        """Return the record of a branch that patchyard created, or `None`."""
        with self._read() as connection:
            row = read_row(connection, BRANCHES, {"repository": self.repository, "name": name})
            return _branch_of(row) if row else None

    def _branch_rows(self, connection: Connection, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        for at in range(0, len(names), _NAMES):
            some = names[at : at + _NAMES]
            key, where = {"repository": self.repository}, f"name IN ({_marks(some)})"
            yield from read_rows(connection, BRANCHES, key, where=where, values=some)

    def commits_of(self, branches: Sequence[str]) -> Mapping[str, Mapping[str, str | None]]:
        """Return the commits that runs made for branches, each with the title of the plan, if it is known."""
        found = {name: dict[str, str | None]() for name in branches}
        with self._read() as connection:
            for row in self._branch_rows(connection, branches):
                if row["commit"]:
                    found[row["name"]][row["commit"]] = None
            for at in range(0, len(branches), _NAMES):
                for name, commit, title in self._commits(connection, branches[at : at + _NAMES]):
                    found[name][commit] = title
        return found

    def _commits(self, connection: Connection, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
        """Yield branches with the commits that runs made for them, and the titles of their plans."""
        of_repository = " AND runs.repository = ?" if self.repository else ""
        values = (*names, *self._visible().values())
        for table, branch, commit in (
            ("tasks", "branch", '"commit"'),
            ("tasks", "start_branch", "start"),  # a branch of the run only if there is a commit on it
            ("shared_branches", "branch", "tip"),
            ("shared_branches", "start_branch", "start"),
        ):
            has_commit = ' AND "commit" IS NOT NULL' if table == "tasks" else ""
            yield from connection.rows(
                f"SELECT {branch}, {commit}, plan_title FROM {table} JOIN runs ON runs.id = run "  # noqa: S608 - constants
                f"WHERE {branch} IN ({_marks(names)}) AND {commit} IS NOT NULL{has_commit}{of_repository}",
                values,
            )


def last_event(connection: Connection, run: str) -> int:
    """Return the number of a run's newest event, or 0. Blocking."""
    ((number,),) = connection.rows(f"SELECT max(sequence) FROM {EVENTS.name} WHERE run = ?", (run,))  # noqa: S608 - a constant
    return int(number or 0)


def _branch_of(row: Mapping[str, Any]) -> BranchRecord:
    return BranchRecord(row["name"], row["commit"], row["pushed"])


def _of(run: str, task: str | None) -> dict[str, str]:
    """Return the key of the rows of a run, or of one of its tasks."""
    return {"run": run} if task is None else {"run": run, "task": task}


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))

"""Removing records from the store: branches, runs, and tasks of a run."""

from collections.abc import Collection

from pipeline.store.reader import StoreReader
from pipeline.store.row_reads import read_rows
from pipeline.store.row_writes import delete_rows
from pipeline.store.tables import (
    ATTEMPTS,
    BASE_CHECKS,
    BRANCHES,
    CONFLICTS,
    INPUTS,
    PATCH_CHUNKS,
    ROUNDS,
    RUNS,
    STEPS,
    TASKS,
)


class StoreRemoval(StoreReader):
    """The methods of a store that remove. Blocking."""

    def forget_branches(self, names: Collection[str]) -> None:
        """Remove branches that do not exist any more."""
        with self._write(run=self.acting_on) as connection:
            for name in names:
                delete_rows(connection, BRANCHES, {"repository": self.repository, "name": name})

    def forget_run(self, run: str) -> None:
        """Remove a run and everything stored with it, except its branches."""
        with self._write() as connection:
            delete_rows(connection, RUNS, {"id": run})
        self._forget_links(run)

    def forget_tasks(self, run: str, tasks: Collection[str]) -> None:
        """Remove tasks of a run: outcomes, attempts, patches, steps, and the conflicts that they are in.

        The events of the run stay, and so do the patches that other tasks have too.
        """
        gone = set(tasks)
        with self._write(run=run) as connection:
            for table in (TASKS, ATTEMPTS, ROUNDS, STEPS, INPUTS, BASE_CHECKS):
                for task in sorted(gone):
                    delete_rows(connection, table, {"run": run, "task": task})
            for row in read_rows(connection, CONFLICTS, {"run": run}):
                if gone.intersection(row["tasks"]):
                    delete_rows(connection, CONFLICTS, {"id": row["id"]})
            kept = {
                row["patch_sha256"]
                for table in (TASKS, ATTEMPTS, ROUNDS)
                for row in read_rows(connection, table, {"run": run}, columns=("patch_sha256",))
            }
            chunks = read_rows(connection, PATCH_CHUNKS, {"run": run}, columns=("sha256",))
            for name in sorted({row["sha256"] for row in chunks} - kept):
                delete_rows(connection, PATCH_CHUNKS, {"run": run, "sha256": name})

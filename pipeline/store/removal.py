"""Removing records from the store: branches, runs, and tasks of a run."""

from collections.abc import Collection

from pipeline.store.reader import StoreReader
from pipeline.store.row_writes import delete_rows


class StoreRemoval(StoreReader):
    """The methods of a store that remove. Blocking."""

    def forget_branch(self, name: str) -> None:
        """Remove a branch that does not exist any more."""
        key = {"repository": self.repository, "name": name}
        with self._write(run=self.acting_on) as connection:
            delete_rows(connection, self._tables.branches, key)

    def forget_run(self, run: str) -> None:
        """Remove a run and everything stored with it, except its branches."""
        with self._write() as connection:
            delete_rows(connection, self._tables.runs, {"id": run})

    def forget_tasks(self, run: str, tasks: Collection[str]) -> None:
        """Remove tasks of a run: outcomes, attempts, patches, steps, and the conflicts that they are in.

        The events of the run stay, and so do the patches that other tasks have too.
        """
        tables, gone = self._tables, set(tasks)
        own = (tables.tasks, tables.attempts, tables.rounds, tables.steps, tables.inputs, tables.base_checks)
        with self._write(run=run) as connection:
            for table in own:
                for task in sorted(gone):
                    delete_rows(connection, table, {"run": run, "task": task})
            conflicts = tables.conflicts
            rows = connection.execute(conflicts.select().where(conflicts.c.run == run)).mappings().all()
            for row in rows:
                if gone.intersection(row["tasks"]):
                    connection.execute(conflicts.delete().where(conflicts.c.id == row["id"]))
            chunks, kept = tables.patch_chunks, set[str]()
            for table in (tables.tasks, tables.attempts, tables.rounds):
                query = table.select().where(table.c.run == run).with_only_columns(table.c.patch_sha256)
                kept |= {name for name in connection.execute(query).scalars() if name}
            query = chunks.select().where(chunks.c.run == run).with_only_columns(chunks.c.sha256).distinct()
            for name in sorted(set(connection.execute(query).scalars()) - kept):
                delete_rows(connection, chunks, {"run": run, "sha256": name})

"""The secret from which the script of a task reads what must not be part of the engine's cache key.

The value of a secret that the client sets is not part of a cache key, but its name is; and of secrets of one
name the last value counts for the whole session. So there is one secret for all tasks that run, with a line for
each, and a value is set when the one before it has been.
"""

import anyio

from containers.dagger_engine import step_script
from containers.dagger_engine.client.api import Client, Secret
from containers.dagger_engine.query import EngineClient
from containers.runner import Job, slot_variables
from containers.worktrees.worktree import Worktree

NAME = "patchyard-run"


class RunSecret:
    """The secret of one runner; `mark` distinguishes its execs from cached ones."""

    def __init__(self, client: Client, query: EngineClient, mark: str) -> None:
        self._client = client
        self._query = query
        self._mark = mark
        self._lines: dict[str, str] = {}
        self._lock = anyio.Lock()

    async def tell(self, job: Job, worktree: Worktree) -> Secret:
        """Add what a task has to know, and return the secret.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine rejects it.
        """
        async with self._lock:
            self._lines[job.task] = step_script.task_line(job.task, slot_variables(job, worktree))
            text = "".join([step_script.run_line(job.run, self._mark), *self._lines.values()])
            return await self._query(self._client.set_secret(NAME, text).loaded)

    def forget(self, job: Job) -> None:
        """Leave a task that has ended out of later values."""
        self._lines.pop(job.task, None)

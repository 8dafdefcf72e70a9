"""Take patches that could not be taken when their tasks ended from the worktrees that were set aside.

So `resume` does not run such a task again, which would set aside one more worktree each time.
"""

from collections.abc import Iterable

from containers.filesystem import is_directory
from containers.git.repository import GitError, Repository
from containers.git.working_tree.errors import SecretFoundError
from containers.worktrees.recovery import recover_unlocked
from containers.worktrees.worktree import AttemptRecord, Worktree, read_record
from pipeline.run.call.prepare import Prepared
from pipeline.run.stored.recovery import take_patch
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.outcome import Status


def take_set_aside(
    repository: Repository, store: Store, run: Run, prepared: Prepared, tasks: Iterable[StoredTask]
) -> frozenset[str]:
    """Store the patches of failed tasks whose worktrees are set aside, where they can be taken now. Blocking.

    Args:
        repository: The repository of the run.
        store: The store, for which the run is claimed.
        run: The run.
        prepared: Has its secrets, which patches must not contain, and the limit of their size.
        tasks: The stored tasks to look at.

    Returns:
        The tasks that stay failed: their patch cannot be taken yet, or one of their steps had failed.

    Raises:
        PoolError: A worktree cannot be locked.
        StoreError: A patch cannot be stored.
    """
    paths = {(item.task, item.number): item.path for item in store.attempts(run.id)}
    failed = set()
    for item in tasks:
        outcome = item.outcome
        path = paths.get((outcome.task, item.attempt))
        if not (path and _lacks_patch(item) and is_directory(path)):
            continue
        record = read_record(path)
        if record and (record.run, record.task, record.attempt) == (run.id, outcome.task, item.attempt):
            taker = _Taker(store, record, prepared)
            recover_unlocked(repository, path, taker)
            if outcome.step or not taker.is_done:
                failed.add(outcome.task)
    return frozenset(failed)


def _lacks_patch(item: StoredTask) -> bool:
    outcome = item.outcome
    return outcome.status is Status.FAILED and outcome.exit_code is None and outcome.patch is None


class _Taker:
    """Stores the patch of an attempt whose task has an outcome; called with each worktree that may have it."""

    def __init__(self, store: Store, record: AttemptRecord, prepared: Prepared) -> None:
        self.is_done = False
        self._store = store
        self._record = record
        self._prepared = prepared

    def __call__(self, worktree: Worktree, record: AttemptRecord) -> bool:
        """Return whether the patch is stored, so that the worktree may be used. Blocking."""
        if record != self._record:  # another run has used the worktree since
            return False
        try:
            patch = take_patch(worktree, record, self._prepared.secrets, self._prepared.settings.max_patch)
        except (GitError, SecretFoundError):
            return False
        if patch.files:
            self._store.keep_patch(record.run, record.task, record.attempt, patch)
        self.is_done = True
        return True

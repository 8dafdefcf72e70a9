"""Storing what a dead run left in worktrees, and removing worktrees."""

import os
from pathlib import Path

from containers.filesystem import is_directory, remove
from containers.git.repository import GitError, Repository
from containers.git.working_tree.worktree_paths import owner_file
from containers.processes import kill_processes_in
from containers.temporary import sweep
from containers.worktrees.locks import (
    WorktreeState,
    lock_file,
    lock_worktree,
    quarantine,
    quarantine_mark,
    state_of,
)
from containers.worktrees.worktree import (
    AttemptRecord,
    StoreWork,
    Worktree,
    number_of,
    read_record,
    record_file,
)
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

TASK_VARIABLE = "PATCHYARD_TASK"
"""A variable in the environment of every process of a task, and of no other process."""
_NAME = regex(r"wt-([1-9][0-9]*)")
_FILE = regex(r"\.?(wt-[1-9][0-9]*)(?:\.lock|\.kept|\.task|\.owner|\.aside)?")
"""Names of worktrees and of the files beside them."""


@dataclass(frozen=True, slots=True)
class RemovedWorktree:
    """A worktree that was removed, or would be in a dry run."""

    name: str
    path: Path

    def __str__(self) -> str:
        """Return its name and path, for messages."""
        return f"{self.name} ({self.path})"


def sweep_temporary_files(repository: Repository, directory: Path) -> None:
    """Remove the temporary files of killed processes from a repository and its pool's directory. Blocking.

    Runs have theirs in the repository's own directory too, so that nobody has to look into that of each run.
    """
    for place in (directory, repository.scratch, *repository.scratch.glob("results/*/")):
        sweep(place)


def recover(repository: Repository, path: Path, store_work: StoreWork) -> bool:
    """Store what a dead run left in a worktree that the caller has locked. Blocking.

    Returns:
        Whether the worktree may be used. If its work cannot be stored, it is quarantined.
    """
    record = read_record(path)
    checkout = repository.worktree(path) if record else None
    lost = record and not checkout and is_directory(path)  # `git worktree prune` removed its administration
    if lost or (record and checkout and not store_work(Worktree(path.name, path, checkout), record)):
        quarantine(path)
        return False
    record_file(path).unlink(missing_ok=True)
    return True


def recover_unlocked(repository: Repository, path: Path, store_work: StoreWork) -> None:
    """Store what a dead run left in a worktree, unless another run has it locked and recovers it. Blocking.

    A quarantined worktree may be used again if its work can be stored now.

    Raises:
        PoolError: The lock file cannot be opened.
    """
    if not path.parent.is_dir() or (lock := lock_worktree(path)) is None:
        return
    try:
        state = state_of(repository, path)
        if state in {WorktreeState.OWNED, WorktreeState.QUARANTINED} and read_record(path):
            kill_processes_in(path, TASK_VARIABLE)
            if recover(repository, path, store_work):
                quarantine_mark(path).unlink(missing_ok=True)
    finally:
        lock.release()


def quarantined_worktrees(directory: Path) -> tuple[Path, ...]:
    """Return the worktrees with work that no run could store, for the user to inspect and remove. Blocking."""
    marked = (mark.with_suffix("") for mark in directory.glob("wt-*.kept"))
    return tuple(sorted(path for path in marked if _NAME.fullmatch(path.name) and is_directory(path)))


def store_nothing(_worktree: Worktree, _record: AttemptRecord) -> bool:
    """Store nothing, so that every worktree with work is quarantined."""
    return False


def remove_worktrees(
    repository: Repository, directory: Path, *, dry_run: bool = False, store_work: StoreWork = store_nothing
) -> tuple[RemovedWorktree, ...]:
    """Remove a repository's worktrees from a pool's directory, except locked and quarantined ones. Blocking.

    Only worktrees of this repository's pool are removed, their lock files, and the directory if it is empty.

    Args:
        repository: The repository of the worktrees.
        directory: The directory of the pool.
        dry_run: Only return what would be removed.
        store_work: Stores what a dead run left in a worktree, before it is removed.

    Raises:
        GitError: A worktree cannot be removed.
        PoolError: A lock file cannot be opened.
    """
    if not dry_run:
        sweep_temporary_files(repository, directory)
    if not directory.is_dir():
        return ()
    directory = directory.resolve()
    found = (_FILE.fullmatch(child.name) for child in directory.iterdir())
    names = sorted({match[1] for match in found if match}, key=number_of)
    removed = [
        RemovedWorktree(name, directory / name)
        for name in names
        if _remove_unused(repository, directory / name, store_work, dry_run=dry_run)
    ]
    if not dry_run and not any(directory.iterdir()):
        directory.rmdir()
    return tuple(removed)


def _remove_unused(repository: Repository, path: Path, store_work: StoreWork, *, dry_run: bool) -> bool:
    """Remove a worktree and its lock file if no run has it locked; return whether there was a worktree."""
    file = lock_file(path)
    keep_file = file.exists()
    lock = lock_worktree(path)
    if lock is None:
        return False
    try:
        if not os.path.lexists(path) and not dry_run:
            quarantine_mark(path).unlink(missing_ok=True)
        state = state_of(repository, path)
        ours = state in {WorktreeState.OWNED, WorktreeState.ABANDONED}
        if ours and not dry_run:
            kill_processes_in(path, TASK_VARIABLE)
            if not recover(repository, path, store_work):
                return False
        if (ours or state is WorktreeState.VACANT) and not dry_run:
            _remove(repository, path, state)
            owner_file(path).unlink(missing_ok=True)
            record_file(path).unlink(missing_ok=True)
            keep_file = False
        return ours
    finally:
        if not keep_file:
            file.unlink(missing_ok=True)
        lock.release()


def _remove(repository: Repository, path: Path, state: WorktreeState) -> None:
    """Remove a worktree.

    Raises:
        GitError: It cannot be removed.
    """
    if state is WorktreeState.ABANDONED:
        try:
            remove(path)
        except OSError as error:
            raise GitError(f"cannot remove {error.filename}: {error.strerror}") from None
    elif is_directory(path) and not any(path.iterdir()):
        path.rmdir()
    elif repository.worktree(path) or os.path.lexists(path):
        repository.remove_worktree(path)

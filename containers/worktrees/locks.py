"""Locks and states of the pool's worktrees. All of it is kept in files beside the worktrees."""

from enum import Enum, auto
from pathlib import Path

from containers.file_lock import FileLock
from containers.git.repository import Repository
from containers.git.working_tree.worktree_paths import POOL_MARKER, is_vacant, read_owner
from containers.worktrees.worktree import PoolError


class WorktreeState(Enum):
    """What is at the path of a worktree of the pool."""

    VACANT = auto()
    """Nothing, or a worktree without files."""
    OWNED = auto()
    """A worktree of this pool."""
    ABANDONED = auto()
    """A worktree of this pool whose administration in the repository is gone, as after `git worktree prune`."""
    OTHER_POOL = auto()
    """A worktree of another repository's pool."""
    QUARANTINED = auto()
    """A worktree with work that could not be stored."""
    FOREIGN = auto()
    """Anything else."""


def state_of(repository: Repository, path: Path) -> WorktreeState:
    """Return what is at the path of a worktree. Blocking."""
    if quarantine_mark(path).exists():
        return WorktreeState.QUARANTINED
    if repository.worktree(path):
        return WorktreeState.OWNED
    if is_vacant(repository.common, path):
        return WorktreeState.VACANT
    admin = read_owner(path)
    if admin is None:
        return WorktreeState.FOREIGN
    if admin.parent == repository.common / "worktrees" and not (admin / "gitdir").exists():
        return WorktreeState.ABANDONED
    return WorktreeState.OTHER_POOL if (admin / POOL_MARKER).is_file() else WorktreeState.FOREIGN


def lock_file(path: Path) -> Path:
    """Return the lock file of the worktree at `path`; hidden, so that a listing shows worktrees only."""
    return path.with_name(f".{path.name}.lock")


def lock_worktree(path: Path) -> FileLock | None:
    """Lock the worktree at `path`; `None` if that is not possible. Blocking, but not until the lock is free.

    Raises:
        PoolError: The lock file cannot be opened.
    """
    lock = FileLock(lock_file(path))
    try:
        return lock if lock.acquire(0) else None
    except IsADirectoryError:  # a task may have put a directory there
        return None
    except OSError as error:
        raise PoolError(
            f"cannot lock {lock_file(path)}: {error.strerror}; name another directory with --worktrees"
        ) from None


def quarantine_mark(path: Path) -> Path:
    """Return the file whose existence quarantines the worktree at `path`."""
    return path.with_name(f"{path.name}.kept")


def quarantine(path: Path) -> None:
    """Quarantine the worktree at `path`: no run uses it until its work can be stored. Blocking."""
    quarantine_mark(path).touch()

"""Where the worktrees of a repository are by default."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from containers.git.repository import Repository
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolDirectory:
    """The directory of a pool; `avoided` is the checkout that has what is beside the repository in it."""

    path: Path
    avoided: Path | None = None

    @property
    def note(self) -> str | None:
        """A sentence for the user, if the directory is not beside the repository."""
        if self.avoided is None:
            return None
        return (
            f"the worktrees are in {self.path}: beside the repository they would be in the checkout of "
            f"{self.avoided}; name another directory with --worktrees"
        )


def default_directory(repository: Repository) -> PoolDirectory:
    """Return the default directory for the worktrees of a repository: beside it. Blocking.

    A submodule, a linked worktree or any repository inside of another one has the other's checkout beside it,
    where `git add --all` would take the worktrees. Theirs are in the user's state directory
    (https://specifications.freedesktop.org/basedir-spec/latest/), or in the git directory if that one is in a
    checkout too, or cannot be written. The git directory is the last resort: many tools leave out what is below
    a `.git`.
    """
    beside = repository.root.parent / f"{repository.name}-worktrees"
    avoided = repository.showing_checkout(beside / "wt-1")
    if avoided is None:
        return PoolDirectory(beside)
    for directory in _state_directories(repository):
        if _is_writable(directory) and repository.showing_checkout(directory / "wt-1") is None:
            return PoolDirectory(directory, avoided)
    return PoolDirectory(repository.common / "patchyard" / "worktrees", avoided)


def _state_directories(repository: Repository) -> Iterator[Path]:
    digest = hashlib.sha256(os.fsencode(repository.common)).hexdigest()[:8]
    home = repository.environ.get("HOME", "")
    for state in (repository.environ.get("XDG_STATE_HOME", ""), f"{home}/.local/state" if home else ""):
        if Path(state).is_absolute():
            yield Path(state, "patchyard", "worktrees", f"{repository.name}-{digest}")


def _is_writable(directory: Path) -> bool:
    """Whether a directory can be written, or made."""
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)

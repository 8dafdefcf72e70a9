"""The directories of a worktree, and how git links them (https://git-scm.com/docs/gitrepository-layout)."""

import os
from dataclasses import dataclass
from pathlib import Path

from containers.filesystem import is_directory

POOL_MARKER = "patchyard-pool"
"""A file in the administrative directory of every worktree that a pool made."""


@dataclass(frozen=True, slots=True)
class WorktreePaths:
    """The directories of a worktree.

    Args:
        path: The worktree itself.
        admin: Its administrative directory, below `worktrees/` in the common git directory.
        common: The common git directory.
    """

    path: Path
    admin: Path
    common: Path

    @property
    def scratch(self) -> Path:
        """The program's own directory in the repository."""
        return self.common / "patchyard"

    def own(self, suffix: str) -> Path:
        """Return a file that the program keeps for this worktree, out of reach of tasks."""
        return self.scratch / f"{self.admin.name}.{suffix}"

    def remove_own_files(self) -> None:
        """Remove the program's files for this worktree. Blocking.

        Raises:
            OSError: One cannot be removed.
        """
        for suffix in ("index", "staged", "base", "ignored", "excluded"):
            self.own(suffix).unlink(missing_ok=True)


def read_pointer(dot_git: Path) -> Path | None:
    """Return the directory that a worktree's `.git` file points to; `None` if it is not one. Blocking."""
    try:
        if dot_git.is_symlink():
            return None
        content = dot_git.read_bytes()
    except OSError:
        return None
    if not content.startswith(b"gitdir: "):
        return None
    return Path(os.path.normpath(dot_git.parent / os.fsdecode(content.removeprefix(b"gitdir: ").rstrip(b"\n"))))


def is_admin_of(admin: Path, path: Path) -> bool:
    """Whether an administrative directory is complete and points back to the worktree at `path`. Blocking."""
    try:
        worktree = os.fsdecode((admin / "gitdir").read_bytes().rstrip(b"\n"))
        common = os.fsdecode((admin / "commondir").read_bytes().rstrip(b"\n"))
    except OSError:
        return False
    return (
        os.path.normpath(admin / worktree) == str(path / ".git")
        and os.path.normpath(admin / common) == os.path.normpath(admin.parent.parent)
    )  # fmt: skip


def find_pool_admin(common: Path, path: Path) -> Path | None:
    """Return the administrative directory of a pool worktree, also if the worktree was removed. Blocking.

    Args:
        common: The common git directory.
        path: The worktree, with its parent resolved.
    """
    directory = common / "worktrees"
    admin = read_pointer(path / ".git")
    candidates = [admin] if admin else []
    if directory.is_dir() and not os.path.lexists(path):
        candidates += directory.iterdir()
    marked = (one for one in candidates if one.parent == directory and (one / POOL_MARKER).is_file())
    return next((one for one in marked if is_admin_of(one, path)), None)


def find_unfilled_admin(common: Path, path: Path) -> Path | None:
    """Return the administrative directory of a worktree without files; `None` if it is not one. Blocking."""
    admin = read_pointer(path / ".git")
    if admin is None or admin.parent != common / "worktrees" or (admin / "index").exists():
        return None
    return admin if [child.name for child in path.iterdir()] == [".git"] else None


def is_vacant(common: Path, path: Path) -> bool:
    """Whether a worktree can be added at `path`: nothing is there, or a worktree without files. Blocking."""
    if not os.path.lexists(path):
        return True
    return is_directory(path) and (not any(path.iterdir()) or find_unfilled_admin(common, path) is not None)

"""The directories of a worktree, and how git links them (https://git-scm.com/docs/gitrepository-layout)."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from containers.filesystem import is_directory, read_regular, remove, write_file
from containers.git.index import empty_index
from containers.temporary import write_atomically
from tasks.lazy.dataclasses import dataclass

LOCKED = ("index.lock", "staged.lock")
"""The lock files of git's own that a killed git leaves beside the program's indexes, as suffixes of `own`."""
_BRANCH = "ref: refs/heads/"
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

    @property
    def aside(self) -> Path:
        """A path beside the worktree, on its file system, for what is moved out of it for a moment."""
        return self.path.with_name(f".{self.path.name}.aside")

    def own(self, suffix: str) -> Path:
        """Return a file that the program keeps for this worktree, out of reach of tasks."""
        return self.scratch / f"{self.admin.name}.{suffix}"

    def write_excludes(self, patterns: Iterable[str], user_ignores: bytes) -> Path:
        """Write patterns to a file, and to another one with the user's; return that. Blocking."""
        added = os.fsencode("".join(f"{pattern}\n" for pattern in patterns))
        write_file(self.own("excluded"), added)
        together = self.own("ignored")
        write_file(together, user_ignores + b"\n" + added)
        return together

    def remove_own_files(self) -> None:
        """Remove the program's files for this worktree. Blocking.

        Raises:
            OSError: One cannot be removed.
        """
        for suffix in ("index", "staged", "base", "ignored", "excluded", "sparse"):
            self.own(suffix).unlink(missing_ok=True)
        for suffix in LOCKED:
            self.own(suffix).unlink(missing_ok=True)
        owner_file(self.path).unlink(missing_ok=True)
        remove(self.aside)


def read_pointer(dot_git: Path, base: Path | None = None) -> Path | None:
    """Return the directory that a `.git` file points to; `None` if it is not one. Blocking.

    Args:
        dot_git: The file.
        base: The directory that a relative path starts from; that of the file by default.
    """
    content = read_regular(dot_git)
    if content is None or not content.startswith(b"gitdir: "):
        return None
    target = os.fsdecode(content.removeprefix(b"gitdir: ").rstrip(b"\n"))
    return Path(os.path.normpath((base or dot_git.parent) / target))


def prevent_pruning(admin: Path, commit: str) -> None:
    """Leave a new index, which nobody reads, in an administrative directory. Blocking.

    While the worktree has no `.git`, `git gc` of the user removes an administrative directory that has none, or
    one that is months old (git: `should_prune_worktree` in `worktree.c`).

    Args:
        admin: The administrative directory.
        commit: Any object id of the repository.
    """
    index = admin / "index"
    if index.is_file():
        os.utime(index)
    else:
        write_file(index, empty_index(commit))


def read_heads(common: Path, *, is_bare: bool) -> Mapping[str, Path]:
    """Return the branches that are checked out, each with its worktree, as `git worktree list` does. Blocking.

    Args:
        common: The common git directory, whose refs are files; it is in the main worktree.
        is_bare: Whether there is no main worktree.
    """
    places = {} if is_bare else {common: common.parent}
    with suppress(OSError):
        for admin in (common / "worktrees").iterdir():
            if pointer := read_regular(admin / "gitdir"):
                places[admin] = Path(os.path.normpath(admin / os.fsdecode(pointer.rstrip(b"\n")))).parent
    found = {}
    for directory, worktree in places.items():
        path = directory / "HEAD"
        if path.is_symlink():  # of `core.preferSymlinkRefs`
            head = f"ref: {path.readlink()}"
        else:
            head = os.fsdecode(read_regular(path) or b"").rstrip()
        if head.startswith(_BRANCH):
            found[head.removeprefix(_BRANCH)] = worktree
    return found


def is_admin_of(admin: Path, path: Path) -> bool:
    """Whether an administrative directory is complete and points back to the worktree at `path`. Blocking."""
    worktree, common = read_regular(admin / "gitdir"), read_regular(admin / "commondir")
    if worktree is None or common is None:
        return False
    worktree_path, common_path = (os.fsdecode(line.rstrip(b"\n")) for line in (worktree, common))
    return (
        os.path.normpath(admin / worktree_path) == str(path / ".git")
        and os.path.normpath(admin / common_path) == os.path.normpath(admin.parent.parent)
    )  # fmt: skip


def find_pool_admin(common: Path, path: Path) -> Path | None:
    """Return the administrative directory of a pool worktree, also if the worktree was removed. Blocking.

    It is found in the repository alone: what is at `path` belongs to the task.

    Args:
        common: The common git directory.
        path: The worktree, with its parent resolved.
    """
    directory = common / "worktrees"
    first = directory / path.name  # git names it after the worktree, unless that name is taken
    if (first / POOL_MARKER).is_file() and is_admin_of(first, path):
        return first
    if not directory.is_dir():
        return None
    marked = (one for one in directory.iterdir() if (one / POOL_MARKER).is_file())
    return next((one for one in marked if is_admin_of(one, path)), None)


def owner_file(path: Path) -> Path:
    """Return the file beside the worktree at `path` that names its administrative directory."""
    return path.with_name(f".{path.name}.owner")


def write_owner(path: Path, admin: Path) -> None:
    """Record whose worktree is at `path`, out of the task's reach. Blocking.

    Raises:
        OSError: It cannot be written.
    """
    write_atomically(owner_file(path), os.fsencode(admin) + b"\n")


def read_owner(path: Path) -> Path | None:
    """Return the administrative directory of the worktree at `path`, as recorded beside it. Blocking.

    A worktree of an older release has no record; its `.git` file says it.
    """
    content = read_regular(owner_file(path))
    return Path(os.fsdecode(content.rstrip(b"\n"))) if content else read_pointer(path / ".git")


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

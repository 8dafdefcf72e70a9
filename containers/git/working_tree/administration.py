"""Add and remove the worktrees of a pool. Blocking; the caller holds the repository's lock."""

from pathlib import Path

from containers.filesystem import is_directory, remove
from containers.git.command import Git, GitError
from containers.git.loose_objects import OBJECT_ID
from containers.git.working_tree.errors import BrokenWorktreeError, UnusableWorktreeError
from containers.git.working_tree.task_files import make_owned
from containers.git.working_tree.worktree_paths import (
    LOCKED,
    POOL_MARKER,
    WorktreePaths,
    find_pool_admin,
    find_unfilled_admin,
    is_admin_of,
    prevent_pruning,
    read_pointer,
    write_owner,
)

_ADMINISTRATION = frozenset({"HEAD", "commondir", "gitdir", "index", "reftable", POOL_MARKER})
"""What a reset leaves in an administrative directory."""


def restore_administration(paths: WorktreePaths, commit: str) -> None:
    """Restore the administrative directory, without the state of unfinished git commands.

    Raises:
        BrokenWorktreeError: The worktree has to be removed and added again.
        OSError: A file cannot be written.
    """
    path, admin = paths.path, paths.admin
    if not is_directory(path):
        raise BrokenWorktreeError(f"{path} is not a directory any more")
    make_owned(path)
    if not is_admin_of(admin, path) or not (admin / "HEAD").is_file():
        raise BrokenWorktreeError(f"{path} is not a worktree any more: {admin} was changed")
    kept = _ADMINISTRATION | {"refs"} if (admin / "reftable").is_dir() else _ADMINISTRATION
    for child in admin.iterdir():
        if child.name not in kept:
            remove(child)
    for name in LOCKED:
        paths.own(name).unlink(missing_ok=True)
    prevent_pruning(admin, commit)


def detach(git: Git, paths: WorktreePaths, commit: str) -> None:
    """Detach HEAD, so that a reset does not move a branch that a task switched to.

    Args:
        git: A git of the worktree.
        paths: Its directories.
        commit: Id of the commit, if HEAD is not at one already.

    Raises:
        BrokenWorktreeError: The worktree has to be removed and added again.
    """
    head = paths.admin / "HEAD"
    if not head.is_symlink() and OBJECT_ID.fullmatch(head.read_text("utf-8", "replace").removesuffix("\n")):
        return
    try:
        git.run("update-ref", "--no-deref", "HEAD", commit)
    except GitError as error:
        raise BrokenWorktreeError(f"git cannot read the HEAD of {paths.path}: {error}") from error


def add_worktree(git: Git, common: Path, path: Path, commit: str) -> WorktreePaths:
    """Add a worktree at `path`, which must not exist or be empty. It has no files until it is reset.

    Args:
        git: A git of the repository.
        common: The common git directory.
        path: Where to add it.
        commit: Id of the commit that it is at.

    Raises:
        GitError: Something else is at `path`, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.parent.resolve() / path.name
        if is_directory(path) and (unfinished := find_unfilled_admin(common, path)):
            remove(path)
            remove(unfinished)
        arguments = ("worktree", "add", "--force", "--force", "--detach", "--no-checkout")
        git.run(*arguments, "--", str(path), commit)
        admin = read_pointer(path / ".git")
        if admin is None:
            raise GitError(f"git did not add a worktree at {path}")
        (admin / POOL_MARKER).touch()
        paths = WorktreePaths(path, admin, common)
        paths.remove_own_files()
        write_owner(path, admin)
    except OSError as error:
        raise GitError(f"cannot add a worktree at {path}: {error.strerror}") from None
    return paths


def remove_worktree(common: Path, path: Path) -> None:
    """Remove a pool worktree of a repository, and nothing else.

    Raises:
        UnusableWorktreeError: It cannot be removed.
        GitError: There is no such worktree at `path`.
    """
    path = path.parent.resolve() / path.name
    admin = find_pool_admin(common, path)
    if admin is None and is_directory(path):
        admin = find_unfilled_admin(common, path)
    if admin is None:
        raise GitError(f"{path} is not a pool worktree of {common}; it was not removed")
    try:
        remove(path)
        remove(admin)
        WorktreePaths(path, admin, common).remove_own_files()
        if not any(admin.parent.iterdir()):
            admin.parent.rmdir()
    except OSError as error:
        raise UnusableWorktreeError(f"cannot remove {error.filename or path}: {error.strerror}") from None

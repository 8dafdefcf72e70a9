"""Copy a task's changes from a container back into its worktree.

Removed paths are removed here, and the rest is exported by the engine. The engine's own way to apply a
changeset accepts neither names with a backslash nor bytes that are not UTF-8. Symbolic links in the worktree
are not followed: the worktree is at the task's start, and no task has run in it.
"""

import os
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread

from containers.dagger_engine._sdk import select_fields
from containers.dagger_engine.encoding import UNKNOWN, as_utf8
from containers.dagger_engine.query import EngineClient, EngineQueryError
from containers.filesystem import is_directory, remove
from containers.git.repository import GitError
from containers.worktrees.worktree import Worktree

if TYPE_CHECKING:
    from dagger import Changeset, Directory

GIT = ".git"
RULES = ".gitignore"
_EXECUTABLE, _READABLE = 0o755, 0o644
"""The permissions of directories and programs, and of other files, as git gives them with the usual umask."""
Export = Callable[["Directory", Path], Awaitable[None]]


@dataclass(slots=True)
class _Paths:
    """Paths that a task changed; a directory ends in a slash."""

    added: list[str]
    modified: list[str]
    removed: list[str]


async def sync_back(
    before: "Directory", after: "Directory", worktree: Worktree, ask: EngineClient, export: Export
) -> None:
    """Copy the changes between two trees into a worktree that is at the first.

    Neither tree has `.git`; that of the worktree is not changed. New files that git ignores are not copied.

    Raises:
        EngineError: The engine is unavailable.
        EngineQueryError: The changes could not be copied.
    """
    changes = after.changes(before)
    paths = await ask(partial(_changed_paths, changes))
    try:
        await to_thread.run_sync(_remove, worktree.path, paths.removed)
    except OSError as error:
        raise EngineQueryError(
            f"{error.filename} could not be removed from its worktree: {error.strerror}"
        ) from error
    if not (paths.added or paths.modified):
        return
    if changed_rules := [p for p in (*paths.added, *paths.modified) if p.rpartition("/")[2] == RULES]:
        rules = [tree.filter(include=[f"**/{RULES}"]) for tree in (before, after)]
        await ask(partial(export, rules[0].diff(rules[1]), worktree.path))
        # Git reads them next, and would wait for one that is a pipe.
        await to_thread.run_sync(_normalize, worktree.path, changed_rules)
    if ignored := await to_thread.run_sync(_ignored, worktree, paths.added):
        changes = after.without_files(ignored).changes(before)
    await ask(partial(export, changes.layer(), worktree.path))
    await to_thread.run_sync(_normalize, worktree.path, [*paths.added, *paths.modified])


async def _changed_paths(changes: "Changeset") -> _Paths:
    """Query all changed paths in one request, to save round trips."""
    return await select_fields(
        changes, _Paths, added="addedPaths", modified="modifiedPaths", removed="removedPaths"
    )


def _remove(root: Path, paths: Sequence[str]) -> None:
    """Remove the paths that a task removed. Blocking.

    Raises:
        OSError: Something could not be removed.
    """
    for path in paths:
        for found in _find_entries(root, path.rstrip("/").split("/")):
            if found.parent != root or found.name != GIT:
                remove(found)


def _normalize(root: Path, paths: Sequence[str]) -> None:
    """Give what came back the permissions that git has, and remove devices, pipes and sockets. Blocking.

    In the container every user may write, and a task may be root there: without this, set-id programs and
    directories that everybody may write to would come back to the host.
    """
    ahead = [entry for path in paths for entry in _find_entries(root, path.rstrip("/").split("/"))]
    parents = {parent for entry in ahead for parent in entry.parents if parent.is_relative_to(root)} - {root}
    while ahead:
        path = ahead.pop()
        with suppress(OSError):
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                parents.add(path)
                ahead += (child for child in path.iterdir() if child.parent != root or child.name != GIT)
            elif stat.S_ISREG(mode):
                _set_mode(path, mode, _EXECUTABLE if mode & stat.S_IXUSR else _READABLE)
            elif not stat.S_ISLNK(mode):
                path.unlink()
    for directory in parents:
        with suppress(OSError):
            _set_mode(directory, directory.lstat().st_mode, _EXECUTABLE)


def _set_mode(path: Path, mode: int, wanted: int) -> None:
    if stat.S_IMODE(mode) != wanted:
        path.chmod(wanted)


def _find_entries(directory: Path, parts: Sequence[str]) -> list[Path]:
    """Return the entries that match an engine's path, not through a link; several if it has `UNKNOWN` in it."""
    name, *rest = parts
    if name in {"", ".", ".."} or not is_directory(directory):
        return []
    if UNKNOWN in name:
        found = [entry for entry in directory.iterdir() if _as_engine_name(entry.name) == name]
    else:
        found = [directory / name]
    return [located for entry in found for located in (_find_entries(entry, rest) if rest else [entry])]


def _as_engine_name(name: str) -> str:
    """Return a file name in the form that the engine reports."""
    return as_utf8(os.fsencode(name).decode("utf-8", "surrogateescape"))


def _ignored(worktree: Worktree, added: Sequence[str]) -> list[str]:
    """Return the new paths that git ignores; a directory includes its content. Blocking."""
    try:
        found = worktree.checkout.ignored(sorted(added))
    except GitError:
        return []  # they are copied, and git leaves them out of the patch
    topmost: list[str] = []
    for path in found:
        if not (topmost and topmost[-1].endswith("/") and path.startswith(topmost[-1])):
            topmost.append(path)
    return topmost

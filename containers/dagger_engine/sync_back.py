"""How what a task changed in a container comes back into its worktree.

What the task removed is removed here, and the rest is exported by the engine, whose own way to apply changes
takes no name with a backslash and knows no bytes that are not UTF-8. Nothing that stands in the worktree is
followed: it is as the task's start has it, and no task has been there.
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

from containers.dagger_engine.encoding import UNKNOWN, as_utf8
from containers.dagger_engine.query import EngineClient, EngineQueryError
from containers.filesystem import is_directory, remove
from containers.git.repository import GitError
from containers.worktrees.worktree import Worktree

if TYPE_CHECKING:
    from dagger import Changeset, Directory

GIT = ".git"
RULES = ".gitignore"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
Export = Callable[["Directory", Path], Awaitable[None]]


@dataclass(slots=True)
class _Paths:
    """Paths that a task changed; those of directories end in a slash."""

    added: list[str]
    modified: list[str]
    removed: list[str]


async def sync_back(
    before: "Directory", after: "Directory", worktree: Worktree, ask: EngineClient, export: Export
) -> None:
    """Bring what changed from one tree to the other into a worktree that stands at the first.

    Neither tree has `.git`, which stays what it is. Of what is new nothing comes that git ignores.

    Raises:
        EngineError: The engine has gone.
        RefusedError: It could not be brought back.
    """
    changes = after.changes(before)
    paths = await ask(partial(_paths, changes))
    try:
        await to_thread.run_sync(_remove, worktree.path, paths.removed)
    except OSError as error:
        raise EngineQueryError(
            f"{error.filename} could not be removed from its worktree: {error.strerror}"
        ) from error
    if not (paths.added or paths.modified):
        return
    if any(path.rpartition("/")[2] == RULES for path in (*paths.added, *paths.modified)):
        rules = [tree.filter(include=[f"**/{RULES}"]) for tree in (before, after)]
        await ask(partial(export, rules[0].diff(rules[1]), worktree.path))
    if ignored := await to_thread.run_sync(_ignored, worktree, paths.added):
        changes = after.without_files(ignored).changes(before)
    await ask(partial(export, changes.layer(), worktree.path))
    await to_thread.run_sync(_close, worktree.path, [*paths.added, *paths.modified])


async def _paths(changes: "Changeset") -> _Paths:
    """Ask for all paths at once: each question is a way to the engine and back."""
    fields = {"added": "addedPaths", "modified": "modifiedPaths", "removed": "removedPaths"}
    # The SDK has no other way to ask for several fields, and no type for this one.
    several = changes._select_multiple(**fields)  # type: ignore[no-untyped-call]  # noqa: SLF001 - see above
    found: _Paths = await several.execute(_Paths)
    return found


def _remove(root: Path, paths: Sequence[str]) -> None:
    """Remove what a task removed. Blocks.

    Raises:
        OSError: Something could not be removed.
    """
    for path in paths:
        for found in _located(root, path.rstrip("/").split("/")):
            if found.parent != root or found.name != GIT:
                remove(found)


def _close(root: Path, paths: Sequence[str]) -> None:
    """Take from others the right to write, which any user has in a container. Blocks."""
    for path in paths:
        for found in _located(root, path.rstrip("/").split("/")):
            with suppress(OSError):
                mode = found.lstat().st_mode
                if mode & _OTHERS and not stat.S_ISLNK(mode):
                    found.chmod(stat.S_IMODE(mode) & ~_OTHERS)


def _located(directory: Path, parts: Sequence[str]) -> list[Path]:
    """Return what an engine may mean by a path, over no link: more than one where it has bytes of no UTF-8."""
    name, *rest = parts
    if name in {"", ".", ".."} or not is_directory(directory):
        return []
    if UNKNOWN in name:
        found = [entry for entry in directory.iterdir() if _shown(entry.name) == name]
    else:
        found = [directory / name]
    return [located for entry in found for located in (_located(entry, rest) if rest else [entry])]


def _shown(name: str) -> str:
    """Return a name as an engine says it."""
    return as_utf8(os.fsencode(name).decode("utf-8", "surrogateescape"))


def _ignored(worktree: Worktree, added: Sequence[str]) -> list[str]:
    """Return which new paths git ignores: a directory stands for all that is in it. Blocks."""
    try:
        found = worktree.checkout.ignored(sorted(added))
    except GitError:
        return []  # they come along, and git leaves them out when it takes the patch
    topmost: list[str] = []
    for path in found:
        if not (topmost and topmost[-1].endswith("/") and path.startswith(topmost[-1])):
            topmost.append(path)
    return topmost

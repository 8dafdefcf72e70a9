"""Copy a task's changes from a container back into its worktree.

Removed paths are removed here, and the rest is exported by the engine. The engine's own way to apply a
changeset accepts neither names with a backslash nor bytes that are not UTF-8. Symbolic links in the worktree
are not followed: the worktree is at the task's start, and no task has run in it.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from containers.concurrency import plain_task_group
from containers.dagger_engine._sdk import select_fields
from containers.dagger_engine.encoding import UNKNOWN, as_utf8
from containers.dagger_engine.query import EngineClient, EngineQueryError
from containers.dagger_engine.returned_files import ReturnedFiles
from containers.filesystem import is_directory, remove
from containers.git.repository import GitError
from containers.git.working_tree.task_files import GIT
from containers.worktrees.worktree import Worktree
from tasks.sizes import format_size

if TYPE_CHECKING:
    from dagger import Changeset, Directory

RULES = ".gitignore"
CHECK_INTERVAL = 1.0
"""Seconds between two checks of how much has arrived."""
Export = Callable[["Directory", Path], Awaitable[None]]


@dataclass(slots=True)
class _Paths:
    """Paths that a task changed; a directory ends in a slash."""

    added: list[str]
    modified: list[str]
    removed: list[str]


async def sync_back(  # noqa: PLR0913 - two trees, and how they come to a worktree
    before: "Directory",
    after: "Directory",
    worktree: Worktree,
    ask: EngineClient,
    export: Export,
    *,
    limit: int | None,
) -> None:
    """Copy the changes between two trees into a worktree that is at the first.

    Neither tree has `.git`; that of the worktree is not changed. New files that git ignores are not copied.
    `limit` is how large a patch may be, in bytes; of more than twice that, only a part is copied.

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
    returned = await to_thread.run_sync(ReturnedFiles.expect, worktree.path)
    copy = partial(_copy, returned, ask, export, limit)
    if any(path.rpartition("/")[2] == RULES for path in (*paths.added, *paths.modified)):
        rules = [tree.filter(include=[f"**/{RULES}"]) for tree in (before, after)]
        await copy(rules[0].diff(rules[1]))
    if ignored := await to_thread.run_sync(_ignored, worktree, paths.added):
        changes = after.without_files(ignored).changes(before)
    await copy(changes.layer())


async def _copy(
    returned: ReturnedFiles, ask: EngineClient, export: Export, limit: int | None, layer: "Directory"
) -> None:
    """Copy a directory of the engine into the worktree, and make its files like those that git creates.

    Raises:
        EngineError: The engine is unavailable.
        EngineQueryError: It could not be copied.
    """
    try:
        async with plain_task_group() as group:
            if limit is not None:
                group.start_soon(_watch_size, returned, limit)
            await ask(partial(export, layer, returned.root))
            group.cancel_scope.cancel()
    finally:
        # Git reads them next, and would wait for one that is a pipe.
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(returned.normalize)


async def _watch_size(returned: ReturnedFiles, limit: int) -> None:
    """Raise an error once much more has arrived than a patch may have.

    A file with holes takes no space in a container, and its whole size here.
    """
    while True:
        await anyio.sleep(CHECK_INTERVAL)
        if await to_thread.run_sync(returned.size) > 2 * limit:
            raise EngineQueryError(
                f"there are far more than max_patch allows, {format_size(limit)}; "
                "have git ignore what is not part of the result, or set max_patch higher"
            )


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

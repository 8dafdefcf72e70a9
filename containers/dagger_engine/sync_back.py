"""Copy a task's changes from a container back into its worktree.

Removed paths are removed here, and the rest is exported by the engine. The engine's own way to apply a
changeset accepts neither names with a backslash nor bytes that are not UTF-8. Symbolic links in the worktree
are not followed: the worktree is at the task's start, and no task has run in it.
"""

import os
import shutil
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from containers.concurrency import plain_task_group
from containers.dagger_engine.client.api import Changeset, Directory
from containers.dagger_engine.client.values import together
from containers.dagger_engine.encoding import UNKNOWN, as_utf8
from containers.dagger_engine.query import EngineClient, EngineQueryError
from containers.dagger_engine.returned_files import ReturnedFiles
from containers.filesystem import is_directory, remove
from containers.git.repository import GitError
from containers.git.working_tree.task_files import GIT
from containers.worktrees.worktree import Worktree
from tasks.lazy.dataclasses import dataclass
from tasks.sizes import format_size

RULES = ".gitignore"
CHECK_INTERVAL = 1.0
"""Seconds between two checks of how much has arrived."""
LITTLE_SPACE = 1_000_000_000
"""Free bytes of a disk below which a copy that failed may have filled it: engines do not say so."""
Export = Callable[[Directory, Path], Awaitable[None]]


@dataclass(slots=True)
class _Paths:
    """Paths that a task changed; a directory ends in a slash."""

    added: list[str]
    modified: list[str]
    removed: list[str]


async def sync_back(  # noqa: PLR0913 - two trees, and how they come to a worktree
    before: Directory,
    after: Directory,
    worktree: Worktree,
    ask: EngineClient,
    export: Export,
    *,
    limit: int | None,
    patience: float,
) -> None:
    """Copy the changes between two trees into a worktree that is at the first.

    Neither tree has `.git`; that of the worktree is not changed. New files that git ignores are not copied.
    `limit` is how large a patch may be, in bytes; of more than twice that, only a part is copied.
    `patience` is for how long, in seconds, nothing may arrive.

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
    copy = _Copy(returned, ask, export, limit, patience)
    if any(path.rpartition("/")[2] == RULES for path in (*paths.added, *paths.modified)):
        rules = [tree.filter(include=[f"**/{RULES}"]) for tree in (before, after)]
        await copy(rules[0].diff(rules[1]))
    if ignored := await to_thread.run_sync(_ignored, worktree, paths.added):
        changes = after.without_files(ignored).changes(before)
    await copy(changes.layer())


@dataclass(frozen=True, slots=True)
class _Copy:
    """How directories of an engine are copied into a worktree; see `sync_back` for `limit` and `patience`."""

    returned: ReturnedFiles
    ask: EngineClient
    export: Export
    limit: int | None
    patience: float

    async def __call__(self, layer: Directory) -> None:
        """Copy a directory, and make its files like those that git creates.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: It could not be copied.
        """
        layer = await self.ask.run_long(layer.sync)  # nothing arrives until it is made
        try:
            async with plain_task_group() as group:
                group.start_soon(self._watch)
                await self._export(layer)
                group.cancel_scope.cancel()
        finally:
            # Git reads them next, and would wait for one that is a pipe.
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self.returned.normalize)

    async def _export(self, layer: Directory) -> None:
        try:
            await self.ask(partial(self.export, layer, self.returned.root))
        except EngineQueryError as rejection:
            space = await to_thread.run_sync(_little_space, self.returned.root)
            raise EngineQueryError(f"{rejection}{space}") from rejection

    async def _watch(self) -> None:
        """Raise an error once much more has arrived than a patch may have, or when nothing arrives any more.

        A file with holes takes no space in a container, and its whole size here. An engine may stop in the
        middle of a copy without an error, as after another copy that filled the disk. Time is counted in
        checks, since the program itself may be stopped for a while.
        """
        arrived, idle = (0, 0), 0.0
        while idle < self.patience:
            await anyio.sleep(CHECK_INTERVAL)
            before, arrived = arrived, await to_thread.run_sync(self.returned.measure)
            if self.limit is not None and arrived[1] > 2 * self.limit:
                raise EngineQueryError(
                    f"there are far more than max_patch allows, {format_size(self.limit)}; "
                    "have git ignore what is not part of the result, or set max_patch higher"
                )
            idle = idle + CHECK_INTERVAL if arrived == before else 0.0
        space = await to_thread.run_sync(_little_space, self.returned.root)
        raise EngineQueryError(f"nothing has arrived from the engine for {self.patience:g} s{space}")


def _little_space(root: Path) -> str:
    """Return a note on a worktree's disk, to end an error with; "" if it has space. Blocking."""
    with suppress(OSError):
        free = shutil.disk_usage(root).free
        if free < LITTLE_SPACE:
            return f"; the disk of {root} may be full ({format_size(free)} are free): make room there"
    return ""


async def _changed_paths(changes: Changeset) -> _Paths:
    """Query all changed paths in one request, to save round trips."""
    return _Paths(*await together(changes.added_paths(), changes.modified_paths(), changes.removed_paths()))


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

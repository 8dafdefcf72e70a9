"""The trees of start points in an engine: what a checkout has, with a separate `.git`."""

from contextlib import suppress
from functools import partial
from typing import Protocol, runtime_checkable

from anyio import to_thread

from containers.concurrency import in_thread
from containers.dagger_engine.async_cache import AsyncCache
from containers.dagger_engine.client.api import Client, Directory
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.encoding import encoding_error
from containers.dagger_engine.query import EngineClient, EngineError, EngineQueryError
from containers.git.repository import GitError
from containers.git.working_tree.standalone import is_plain
from containers.git.working_tree.task_files import GIT
from containers.worktrees.worktree import Worktree
from tasks.lazy.patterns import regex

OBJECTS = ("objects", "shallow")
TAGS = ("packed-refs", "refs/tags")
UNFINISHED = ("**/tmp_*", "objects/incoming-*")
"""Files that git is writing; they may disappear during the upload."""
CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = true
[pack]
\tthreads = 1
\twindow = 0
[uploadpack]
\tallowAnySHA1InWant = true
"""
"""Git configuration that the engine sees; the user's own may hold a token. With one thread and no window, the
same objects give the same pack, so that the tree of a task is a cache hit (git-config(1), pack.threads)."""
_SPECIAL = regex(r"[\\*?\[\]!]")
"""Characters with a meaning in an engine's patterns."""


@runtime_checkable
class Prefetcher(Protocol):
    """Prepares for tasks before they start."""

    async def prefetch(self, start: str) -> None:
        """Prepare for tasks that start from a commit; errors are not raised."""
        ...


class StartTrees:
    """The trees of start points in one engine; each is made once, and tasks of one start share it."""

    def __init__(self, client: Client, config: ContainerConfig, ask: EngineClient) -> None:
        self._client = client
        self._config = config
        self._ask = ask
        self._trees: AsyncCache[Directory] = AsyncCache()
        self._committed: AsyncCache[Directory] = AsyncCache()

    async def prefetch(self, start: str) -> None:
        """Have the engine make the tree of a commit that tasks will start from.

        An error is not raised: if there is still a reason for it, the first task meets it.
        """
        common = self._config.common
        if await to_thread.run_sync(lambda: is_plain(common, start, has_submodules=False)):
            with suppress(EngineError, EngineQueryError):
                await self._from_objects(start)

    async def get(self, start: str, worktree: Worktree) -> Directory:
        """Return the tree of a commit, with the files that filters change as they are in a worktree at it.

        An engine has no filters. What a task adds to a pointer of Git LFS would be taken for its content.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The tree cannot be created.
        """
        return await self._trees.get(start, partial(self._make, start, worktree))

    async def _make(self, start: str, worktree: Worktree) -> Directory:
        try:
            if await to_thread.run_sync(worktree.checkout.is_plain, start):
                tree = await self._from_objects(start)
            else:
                tree = await self._from_checkout(start, worktree)
            filtered = await to_thread.run_sync(worktree.checkout.filtered)
        except GitError as error:
            raise EngineQueryError(f"its files cannot be given to a container: {error}") from error
        if not filtered:
            return tree
        if reason := encoding_error((f"the path {path}", path) for path in filtered):
            raise EngineQueryError(reason)
        include = [_SPECIAL.sub(r"\\\g<0>", path) for path in filtered]
        files = self._config.files.directory(self._client, worktree.path, include=include, exclude=[GIT])
        return tree.with_directory("/", await self._ask(files.sync))

    async def _from_objects(self, start: str) -> Directory:
        """Return the tree of a commit that any git can check out from the repository's own objects.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine cannot create it.
        """

        async def make() -> Directory:
            files, depth = self._config.files, self._config.depth
            include = OBJECTS if depth else OBJECTS + TAGS
            objects = files.directory(self._client, self._config.common, include=include, exclude=UNFINISHED)
            git = objects.with_new_file("HEAD", f"{start}\n").with_new_file("config", CONFIG)
            tree = git.with_new_directory("refs").as_git().ref(start).tree(depth=depth)
            return await self._ask(tree.sync)

        return await self._committed.get(start, make)

    async def _from_checkout(self, start: str, worktree: Worktree) -> Directory:
        """Return the tree of any other commit, from a repository that git makes of it.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine cannot create it.
            GitError: Git cannot.
        """
        async with in_thread(worktree.checkout.standalone(start, self._config.depth)) as made:
            return await self._ask(self._config.files.directory(self._client, made).sync)

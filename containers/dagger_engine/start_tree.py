"""The tree of a start point in an engine: what a checkout has, with a separate `.git`."""

from anyio import to_thread

from containers.concurrency import in_thread
from containers.dagger_engine.client.api import Client, Directory
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.encoding import encoding_error
from containers.dagger_engine.query import EngineClient, EngineQueryError
from containers.git.repository import GitError
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


async def start_tree(
    client: Client, config: ContainerConfig, ask: EngineClient, start: str, worktree: Worktree
) -> Directory:
    """Return the tree of a commit, with the files that filters change as they are in a worktree at the commit.

    An engine has no filters. What a task adds to a pointer of Git LFS would be taken for the file's content.

    Raises:
        EngineError: The engine is unavailable.
        EngineQueryError: The tree cannot be created.
    """
    try:
        tree = await _committed(client, config, ask, start, worktree)
        filtered = await to_thread.run_sync(worktree.checkout.filtered)
    except GitError as error:
        raise EngineQueryError(f"its files cannot be given to a container: {error}") from error
    if not filtered:
        return tree
    if reason := encoding_error((f"the path {path}", path) for path in filtered):
        raise EngineQueryError(reason)
    include = [_SPECIAL.sub(r"\\\g<0>", path) for path in filtered]
    files = config.files.directory(client, worktree.path, include=include, exclude=[GIT])
    return tree.with_directory("/", await ask(files.sync))


async def _committed(
    client: Client, config: ContainerConfig, ask: EngineClient, start: str, worktree: Worktree
) -> Directory:
    """Return the tree of a commit as git stores it.

    Raises:
        EngineError: The engine is unavailable.
        EngineQueryError: The engine cannot create it.
        GitError: Git cannot.
    """
    files, depth, checkout = config.files, config.depth, worktree.checkout
    if await to_thread.run_sync(checkout.is_plain, start):
        include = OBJECTS if depth else OBJECTS + TAGS
        objects = files.directory(client, config.common, include=include, exclude=UNFINISHED)
        git = objects.with_new_file("HEAD", f"{start}\n").with_new_file("config", CONFIG)
        tree = git.with_new_directory("refs").as_git().ref(start).tree(depth=depth)
        return await ask(tree.sync)
    async with in_thread(checkout.standalone(start, depth)) as made:
        return await ask(files.directory(client, made).sync)

"""Commits that are held by a ref of the program while a run needs them. Blocking."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from containers.git.command import Git, GitError
from containers.git.commit_cache import CommitCache
from containers.git.signatures import PATCHYARD_IDENTITY, Signature, create_commit

_PREFIX = "refs/patchyard/"


class HeldCommits:
    """The refs `refs/patchyard/RUN/NAME` of a repository.

    Args:
        git: Any git of the repository.
        commits: What is known of its commits.
        refs: Held while refs are changed.
    """

    def __init__(self, git: Git, commits: CommitCache, refs: AbstractContextManager[object]) -> None:
        self._git = git
        self._commits = commits
        self._refs = refs

    @contextmanager
    def reproducible(self, commit: str, base: str, run: str, name: str) -> Iterator[str]:
        """Create a commit with the tree of another one, the same in every run, with a ref while in the context.

        `refs/patchyard/RUN/NAME` points to it, because fetching by id needs a ref.

        Args:
            commit: The commit that has the tree.
            base: Its parent, whose date it gets.
            run: The run's id.
            name: The last part of the ref.

        Raises:
            GitError: One of the commits is not in the repository, or the ref cannot be written.
        """
        date = self._git.run("show", "--no-patch", "--format=@%ct +0000", base).text
        tree = self._commits.tree(commit)
        created = create_commit(
            self._git, tree, [base], b"What this task builds on\n", Signature(PATCHYARD_IDENTITY, date)
        )
        ref = f"{_PREFIX}{run}/{name}"
        with self._refs:
            self._git.run("update-ref", ref, created)
        try:
            yield created
        finally:
            with self._refs:
                self._git.run("update-ref", "-d", ref)

    def release(self, is_over: Callable[[str], bool]) -> None:
        """Remove the refs that killed processes left.

        Args:
            is_over: Whether no process executes a run, by its id.
        """
        with suppress(GitError):
            refs = self._git.run("for-each-ref", "--format=%(refname)", _PREFIX).text.split("\n")
            stale = [ref for ref in refs if ref and is_over(ref.removeprefix(_PREFIX).partition("/")[0])]
            if stale:
                lines = "".join(f"delete {ref}\n" for ref in stale).encode()
                with self._refs:
                    self._git.run("update-ref", "--no-deref", "--stdin", stdin=lines)

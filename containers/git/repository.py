"""A git repository: commits, branches, worktrees."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from containers.file_lock import FileLock
from containers.git.command import VERSION, Git, GitError
from containers.git.commit_cache import CommitCache, layout_call
from containers.git.discovery import DiscoveredRepository, NotARepositoryError, discover
from containers.git.held_commits import HeldCommits
from containers.git.loose_objects import set_aside_ref
from containers.git.object_writer import CommitWriter, TreeWriter
from containers.git.remote.places import url_call, url_of, urls_of
from containers.git.signatures import Identity, Signature
from containers.git.user_config import absolute_urls, find_ignore_file, identity_calls, read_identity
from containers.git.working_tree.sparse import SparseCheckout
from containers.git.working_tree.task_repository import TaskRepositoryTemplate, keeps_modes
from containers.git.working_tree.worktree_paths import WorktreePaths, find_pool_admin, read_heads
from tasks.errors import remedy
from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from containers.git.commits import Commit, History
    from containers.git.remote.remotes import Credential, Remote
    from containers.git.remote.submodule_remotes import SubmoduleRemotes
    from containers.git.working_tree.checkout import Checkout
    from containers.git.working_tree.uncommitted import Uncommitted

__all__ = [
    "BranchMovedError",
    "GitError",
    "Identity",
    "Merge",
    "NotARepositoryError",
    "Repository",
    "RevisionError",
    "Signature",
]

_HEADS = "refs/heads/"
_LIST = ("for-each-ref", "--format=%(objectname) %(refname)")
_NAMED_AT_ONCE = 1000
"""Commits that one git process is given as arguments, whose size is limited (execve(2))."""


class RevisionError(GitError):
    """A name that does not resolve to a commit."""

    exit_code: ClassVar[int] = 2


class BranchMovedError(GitError):
    """A branch is not at the expected commit; it was not changed."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of a merge: a commit, or the conflicting files."""

    commit: str | None
    conflicts: tuple[str, ...] = ()


class Repository:
    """A git repository, opened from one of its worktrees (or bare). Blocking.

    Args:
        git: A git that runs in `discovered.root`.
        discovered: Its directories and its HEAD.
        environ: The user's environment.
    """

    root: Path
    """Top level of the worktree that it was opened from; the git directory of a bare repository."""
    common: Path
    """The common git directory, absolute."""
    name: str
    """The directory's name without ".git"."""
    environ: Mapping[str, str]
    """The user's environment."""
    held: HeldCommits
    """Its commits with a ref of the program."""

    def __init__(self, git: Git, discovered: DiscoveredRepository, environ: Mapping[str, str]) -> None:
        self.root = discovered.root
        self.common = discovered.common
        self.name = discovered.root.name.removesuffix(".git") or "repository"
        self.environ = environ
        self._discovered = discovered
        git = git.at(environ={"GIT_DIR": str(discovered.git_dir)})
        # In the user's worktree, because a remote's URL may be a relative path, and for its ignore files. It is
        # named, because `core.bare` may be set by accident.
        work_tree = {} if discovered.is_bare else {"GIT_WORK_TREE": str(discovered.root)}
        self._here = git.at(discovered.root, work_tree)
        # Everything else runs where git does not find a .gitattributes of the user's checkout.
        self._git = git.at(discovered.common)
        if any((discovered.common / "objects" / "pack").glob("*.promisor")):
            # Git fetches the missing objects of a partial clone whenever it needs them.
            self._git = self._git.configured(absolute_urls(self._here))
        self._writing = self._git.durable()
        self._commits = CommitCache(self._git)
        if discovered.head and discovered.tree:
            self._commits.learn_tree(discovered.head, discovered.tree)
        self._commit_writer = CommitWriter(self._writing, self.common, self._commits)
        self._trees = TreeWriter(self._commits, self._commit_writer)
        # A table has one lock for all refs, for which git before 2.48 does not wait.
        self._refs = Lock() if self._has_tables else nullcontext()
        self.held = HeldCommits(self._git, self._commits, self._refs)
        self._identity: Identity | None = None
        self._ignore_file: Path | None = None
        self._template: TaskRepositoryTemplate | None = None
        self._modes: dict[Path, bool] = {}
        self._lock = Lock()  # for what is read once

    @cached_property
    def history(self) -> "History":
        """Its commit objects."""
        from containers.git.commits import History  # noqa: PLC0415 - start-up stays quick

        return History(self._writing)

    @classmethod
    def open(cls, path: Path, environ: Mapping[str, str], git: Git | None = None) -> "Repository":
        """Open the repository that contains a path.

        Args:
            path: A repository, or any directory in one.
            environ: The user's environment.
            git: What `discovering_ahead` yielded for them.

        Raises:
            NotARepositoryError: There is none, it has no commit, or git is missing or too old.
        """
        if not path.is_dir():
            raise NotARepositoryError(f"{path} is not a directory; name a git repository with --repo")
        try:
            git = git or Git.locate(environ, path)
            with git.ahead(VERSION):
                try:
                    discovered = discover(git, path)
                finally:
                    git.check_version()
        except NotARepositoryError:
            raise  # has its message already
        except GitError as error:
            raise NotARepositoryError(str(error), code=error.code, stderr=error.stderr) from None
        return cls(git, discovered, environ)

    def resolve(self, revision: str) -> str:
        """Return the id of the commit that a branch, tag or other revision names.

        Raises:
            RevisionError: It does not name a commit.
        """
        if revision == "HEAD":
            if self._discovered.head is None:
                raise RevisionError(
                    f"the current branch of {self.root} has no commit yet; create one, or name one with --base"
                )
            return self._discovered.head
        try:
            arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            return self._here.run(*arguments).text
        except GitError:
            raise RevisionError(
                f"{revision!r} does not name a commit in {self.root}; name a branch, a tag or a commit id"
            ) from None

    def branch(self) -> str | None:
        """Return the name of the current branch; `None` when HEAD is detached."""
        name = self._discovered.head_name
        return name.removeprefix(_HEADS) if name.startswith(_HEADS) else None

    def is_branch_name(self, name: str) -> bool:
        """Whether a name is valid for a branch (https://git-scm.com/docs/git-check-ref-format)."""
        if name.startswith("-") or name == "HEAD" or "\0" in name:
            return False
        return self._git.run("check-ref-format", f"{_HEADS}{name}", ok=(0, 1)).code == 0

    def identity(self) -> Identity:
        """Return the user's identity; patchyard's own if the user has none."""
        if self._identity is None:
            self._identity = read_identity(self._git, self.environ)
        return self._identity

    def commit(
        self, tree: str, parents: Sequence[str], message: str, signature: Signature | None = None
    ) -> str:
        """Create a commit, and return its id. No branch moves.

        Args:
            tree: Id of its tree.
            parents: Ids of its parents.
            message: Its message; NUL characters are left out.
            signature: Author, committer and date, which make the id reproducible; by default `identity`, now.

        Raises:
            GitError: The tree or a parent is not in the repository.
        """
        content = message.replace("\0", "").encode(errors="surrogateescape")
        commit = self._commit_writer.create(tree, parents, content, signature or Signature(self.identity()))
        self._commits.record(commit, parents, tree)
        return commit

    def write(self, commit: "Commit") -> str:
        """Write a commit object with its author and committer as they are; return its id. No branch moves."""
        written = self.history.write(commit)
        self._commits.record(written, commit.parents, commit.tree)
        return written

    def note_commit(self, commit: str, parents: Sequence[str], tree: str) -> None:
        """Note the parents and the tree of a commit that is here whole, so that git is not asked for them."""
        self._commits.record(commit, parents, tree, is_new=False)

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        return self._commits.tree(commit)

    def paths_in(self, commit: str, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the paths, from the repository's root, at which a commit has a file or a directory."""
        names = {f"{commit}:{path.rstrip('/')}": path for path in paths if "\n" not in path}
        return tuple(names[name] for name in self.history.present(names)) if names else ()

    def message(self, commit: str) -> str:
        """Return a commit's message.

        Raises:
            GitError: The commit is not in the repository.
        """
        content = self._git.run("cat-file", "commit", commit).stdout
        return content.partition(b"\n\n")[2].decode(errors="surrogateescape")

    def has(self, name: str) -> bool:
        """Whether the repository has an object."""
        return self._git.run("cat-file", "-e", name, ok=(0, 1, 128)).code == 0

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `old` is `new` or one of its ancestors."""
        return self._git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).code == 0

    def merge(self, ours: str, theirs: str, message: str, signature: Signature | None = None) -> Merge:
        """Merge two commits without a checkout.

        If one contains the other, it is the result; otherwise a new commit has both as parents.

        Raises:
            GitError: One of the commits is not in the repository.
        """
        if self._contains(ours, theirs):
            return Merge(ours)
        if self._contains(theirs, ours):
            return Merge(theirs)
        near = ours
        if parent := self._commits.far_parent(theirs, ours):
            # It is the merge base. Git would find it by reading every commit in between, so that the thousandth
            # patch of a batch takes as long as hundreds: it is given the files of `ours` right above that.
            near = self.commit(self.tree(ours), [parent], message, signature)
        tree, conflicts = self.history.merge_tree(near, theirs)
        if conflicts is not None:
            return Merge(None, conflicts)
        return Merge(self.commit(tree, [ours, theirs], message, signature))

    def _contains(self, new: str, old: str) -> bool:
        known = self._commits.contains(new, old)
        return self.is_ancestor(old, new) if known is None else known

    def branches(self, prefix: str) -> Mapping[str, str]:
        """Return the branches whose names start with `prefix`, with their commits."""
        found = self.branches_in(prefix.rpartition("/")[0])
        return {name: commit for name, commit in found.items() if name.startswith(prefix)}

    def branches_in(self, directory: str) -> Mapping[str, str]:
        """Return the branches below a directory, and the one of its name, with their commits; all for none."""
        return self._list_branches(f"{_HEADS}{directory}".rstrip("/"))

    def uncommitted(self, leave_out: Collection[str] = ()) -> "Uncommitted":
        """Count what is not committed in the user's checkout, but for some paths; a bare one has none."""
        from containers.git.working_tree.uncommitted import (  # noqa: PLC0415 - start-up stays quick
            Uncommitted,
            uncommitted,
        )

        return Uncommitted() if self._discovered.is_bare else uncommitted(self._here, leave_out)

    @contextmanager
    def preparing_ahead(self, remote: str) -> Iterator[None]:
        """Start git for what is asked for before a run starts, inside the context.

        Args:
            remote: The remote whose URL is probably asked for.
        """
        from containers.git.working_tree.uncommitted import STATUS  # noqa: PLC0415 - start-up stays quick

        here = [url_call(remote), *([] if self._discovered.is_bare else [STATUS])]
        with self._here.ahead(*here), self._git.ahead(*identity_calls(self.environ)):
            yield

    @contextmanager
    def reading_ahead(self, directory: str, commit: str) -> Iterator[None]:
        """Start git for what is asked for first in a run, inside the context.

        Args:
            directory: What `branches_in` is asked for.
            commit: What the first worktrees are reset to.
        """
        branches = (*_LIST, f"{_HEADS}{directory}".rstrip("/"))
        with self._git.ahead(branches, layout_call(commit)), self._here.ahead(*TaskRepositoryTemplate.CALLS):
            yield

    def branches_merged_into(self, commits: Collection[str]) -> Mapping[str, str]:
        """Return the branches whose commits are one of some commits, or ancestors of one."""
        options, found = [f"--merged={commit}" for commit in commits], dict[str, str]()
        for first in range(0, len(options), _NAMED_AT_ONCE):
            found |= self._list_branches(*options[first : first + _NAMED_AT_ONCE], _HEADS.rstrip("/"))
        return found

    def _list_branches(self, *arguments: str) -> Mapping[str, str]:
        lines = self._git.run(*_LIST, *arguments).text.split("\n")
        found = (line.partition(f" {_HEADS}")[::2] for line in lines if line)
        return {name: commit for commit, name in found}

    def checked_out(self) -> Mapping[str, Path]:
        """Return the branches that are checked out, each with its worktree."""
        if self.common.name == ".git" and not self._has_tables:
            return read_heads(self.common, is_bare=self._discovered.is_bare)
        with self.locked():
            fields = self._git.run("worktree", "list", "--porcelain", "-z").fields
        found, path = {}, self.root
        for line in fields:
            key, _, value = line.partition(" ")
            if key == "worktree":
                path = Path(value)
            elif key == "branch":
                found[value.removeprefix(_HEADS)] = path
        return found

    @property
    def _has_tables(self) -> bool:
        """Whether its refs are in tables, not in files (https://git-scm.com/docs/reftable)."""
        return (self.common / "reftable").is_dir()

    def delete_branches(self, branches: Mapping[str, str]) -> Mapping[str, GitError]:
        """Delete branches, each of which is at a commit.

        Git deletes all of them in one transaction, or none; then each is tried alone.

        Args:
            branches: Their commits, by their names.

        Returns:
            Why a branch was not deleted: it is at another commit, or git cannot delete it.
        """
        lines = "".join(f"delete {_HEADS}{name} {commit}\n" for name, commit in branches.items())
        try:
            arguments = ("update-ref", "-m", "patchyard", "--no-deref", "--stdin")
            with self._refs:
                self._git.run(*arguments, stdin=lines.encode(errors="surrogateescape"))
        except GitError as error:
            if len(branches) == 1:
                return dict.fromkeys(branches, error)
            failed = (self.delete_branches({name: commit}) for name, commit in branches.items())
            return {name: error for one in failed for name, error in one.items()}
        return {}

    def set_branch(self, name: str, commit: str, expected: str | None) -> None:
        """Create or move a branch.

        Args:
            name: The branch, without `refs/heads/`.
            commit: Its new commit.
            expected: Its current commit; `None` if it must not exist.

        Raises:
            BranchMovedError: It is at another commit.
            GitError: The name is not valid, or conflicts with another branch.
        """
        old = expected or "0" * len(commit)
        arguments = ("update-ref", "-m", "patchyard", "--no-deref", f"{_HEADS}{name}", commit, old)
        try:
            with self._refs:
                self._writing.run(*arguments)
        except GitError as error:
            if re.search(
                r"is at \w+ but expected|already exists|unable to resolve ref(?!.*broken)", error.stderr
            ):
                raise BranchMovedError(
                    f"branch {name} was updated concurrently; it was not changed",
                    code=error.code,
                    stderr=error.stderr,
                ) from None
            from containers.git.stale_locks import remove_stale_lock  # noqa: PLC0415 - start-up stays quick

            # A loss of power may leave a damaged file, or the lock of a git that is gone.
            if "reference broken" in error.stderr and set_aside_ref(self.common, f"{_HEADS}{name}"):
                self.set_branch(name, commit, None)
                return
            if remove_stale_lock(error.stderr):
                self.set_branch(name, commit, expected)
                return
            raise GitError(f"cannot set branch {name}: {error}", code=error.code, stderr=error.stderr) from None

    def remote(self, name: str) -> "Remote":
        """Return a remote by its name or URL; no check that it exists."""
        from containers.git.remote.remotes import Remote  # noqa: PLC0415 - start-up stays quick

        return Remote(self._here, name)

    def remote_urls(self, name: str) -> tuple[str, ...]:
        """Return the URLs that a remote is read from and pushed to, without credentials, if it exists."""
        return urls_of(partial(url_of, self._here, name))

    @property
    def scratch(self) -> Path:
        """The program's own directory in the repository, which has its temporary files."""
        return self.common / "patchyard"

    def submodules(self, remote: "Remote", credential: "Credential | None") -> "SubmoduleRemotes":
        """Return the remotes of its submodules, as seen from its own remote."""
        from containers.git.remote.submodule_remotes import (  # noqa: PLC0415 - start-up stays quick
            SubmoduleRemotes,
        )

        return SubmoduleRemotes(self._here, remote.url(push=True) or remote.name, credential)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the repository's lock, which patchyard takes to add, list or remove worktrees.

        Without it, concurrent `git worktree add` sometimes fails: "failed to read .git/worktrees/…/commondir".

        Raises:
            GitError: The lock file cannot be written.
        """
        path = self.scratch / "repository.lock"
        try:
            path.parent.mkdir(exist_ok=True)
            lock = FileLock(path)
            lock.acquire()
        except OSError as error:
            raise GitError(f"cannot lock {path}: {error.strerror}; {remedy(error)}") from None
        try:
            yield
        finally:
            lock.release()

    def prepare_patches(self, commit: str) -> None:
        """Load and read what the first patch relative to a commit needs, while nothing waits for that.

        Raises:
            GitError: The commit is not in the repository.
        """
        from containers.git.working_tree import conversions, secret_scan  # noqa: F401, PLC0415 - they are loaded

        self._commits.directories(commit, [""])
        self._commit_writer.read_configuration()

    def add_worktree(self, path: Path, commit: str) -> "Checkout":
        """Add a worktree at `path`, which must not exist or be empty. It has no files until it is reset.

        Raises:
            GitError: Something else is at `path`, or it cannot be written.
        """
        from containers.git.working_tree.administration import add_worktree  # noqa: PLC0415 - start-up stays quick

        with self.locked():
            paths = add_worktree(self._git, self.common, path, commit)
        return self._checkout(paths.path, paths.admin)

    def showing_checkout(self, path: Path) -> Path | None:
        """Return the checkout, of any repository, whose `git status` would show something at `path`."""
        from containers.git.working_tree.outer_checkouts import (  # noqa: PLC0415 - start-up stays quick
            find_showing_checkout,
        )

        own = None if self._discovered.is_bare else self.root
        return find_showing_checkout(self._here.unbound(), path, own, self._here)

    def worktree(self, path: Path) -> "Checkout | None":
        """Return the pool worktree of this repository at `path`; `None` if there is none."""
        path = path.parent.resolve() / path.name
        admin = find_pool_admin(self.common, path)
        return self._checkout(path, admin) if admin else None

    def _checkout(self, path: Path, admin: Path) -> "Checkout":
        from containers.git.working_tree.checkout import Checkout  # noqa: PLC0415 - start-up stays quick

        paths = WorktreePaths(path, admin, self.common)
        return Checkout(
            self._git,
            paths,
            self._commits,
            read_user_ignores=self._read_user_ignores,
            template=self._task_template,
            keeps_modes=self._keeps_modes,
            trees=self._trees,
        )

    def _task_template(self) -> TaskRepositoryTemplate:
        """Return what the repository of each task begins with, read once."""
        with self._lock:
            if self._template is None:
                self._template = TaskRepositoryTemplate.of(self._here, self.common, self._discovered.git_dir)
            return self._template

    def sparse_checkout(self) -> SparseCheckout | None:
        """Return which files of a commit the user's checkout has; `None` if it has all."""
        return self._task_template().sparse

    def _keeps_modes(self, directory: Path) -> bool:
        """Return whether the file system of a directory stores the executable bit, tried once."""
        with self._lock:
            if directory not in self._modes:
                self._modes[directory] = keeps_modes(directory)
            return self._modes[directory]

    def remove_worktree(self, path: Path) -> None:
        """Remove a pool worktree of this repository, and nothing else.

        Raises:
            UnusableWorktreeError: It cannot be removed.
            GitError: There is no such worktree at `path`.
        """
        from containers.git.working_tree.administration import remove_worktree  # noqa: PLC0415 - start-up stays quick

        with self.locked():
            remove_worktree(self.common, path)

    def _read_user_ignores(self) -> bytes:
        """Return the content of the user's global ignore file (https://git-scm.com/docs/gitignore)."""
        if self._ignore_file is None:
            self._ignore_file = find_ignore_file(self._git, self.environ)
        return self._ignore_file.read_bytes() if self._ignore_file.is_file() else b""

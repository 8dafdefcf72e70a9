"""The only caller of git. Everything here blocks: callers on the event loop go through a thread."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from filelock import FileLock

from containers.filesystem import is_directory, remove
from containers.git import remotes
from containers.git.checkout import MARKER, BrokenWorktreeError, Checkout, WorktreePaths, belongs, pointer
from containers.git.command import Git, GitError, GitTimeoutError
from containers.git.commits import History
from containers.git.discovery import DiscoveredRepository, NotARepositoryError, discover
from containers.git.remotes import TIMEOUT, Credential, Push, PushResult, RemoteError
from containers.git.secret_scan import SecretFoundError
from containers.git.staging import Commits

__all__ = [
    "BranchMovedError",
    "BrokenWorktreeError",
    "Checkout",
    "Credential",
    "GitError",
    "GitTimeoutError",
    "Identity",
    "Merge",
    "NotARepositoryError",
    "Push",
    "PushResult",
    "RemoteError",
    "Repository",
    "RevisionError",
    "SecretFoundError",
]

_HEADS = "refs/heads/"
_POLL = 0.002
"""Seconds between two looks at the repository's lock, which is held for milliseconds."""


class RevisionError(GitError):
    """A name that was given stands for no commit."""

    exit_code: ClassVar[int] = 2


class BranchMovedError(GitError):
    """A branch is not where it was expected to be, so it was left alone."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A name and an e-mail address, as git writes them into a commit."""

    name: str
    email: str


NOBODY = Identity("patchyard", "patchyard@localhost")
"""Who commits where the user has no identity, and what is the same in every run."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who commits, and when: a date as git reads it, such as `@1700000000 +0100`; `None` is now."""

    identity: Identity
    date: str | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The variables by which git commits so."""
        parts = {"NAME": self.identity.name, "EMAIL": self.identity.email}
        if self.date is not None:
            parts["DATE"] = self.date
        return {
            f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER") for part, value in parts.items()
        }


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge made without a checkout: a commit, or the files that conflict."""

    commit: str | None
    conflicts: tuple[str, ...] = ()


class Repository:
    """A git repository, seen from one of its worktrees (or bare).

    Args:
        git: A git that runs in `opened.root`.
        opened: What git says of the path.
        environ: The user's environment.
    """

    root: Path
    """Top level of the worktree that it was opened from; the git directory of a bare repository."""
    common: Path
    """The common git directory, absolute."""
    name: str
    """The directory's name without ".git"."""

    def __init__(self, git: Git, opened: DiscoveredRepository, environ: Mapping[str, str]) -> None:
        self.root = opened.root
        self.common = opened.common
        self.name = opened.root.name.removesuffix(".git") or "repository"
        self._opened = opened
        self._environ = environ
        # Where the user would run it: a remote's URL may be a relative path, and ignored is what its files say.
        self._here = git.at(opened.root, {"GIT_DIR": str(opened.git_dir)})
        # All else runs where no .gitattributes of the user's checkout can be found.
        self._git = self._here.at(opened.common)
        self._commits = Commits(self._git)
        self._identity: Identity | None = None
        self._ignored: Path | None = None

    @classmethod
    def open(cls, path: Path, environ: Mapping[str, str]) -> "Repository":
        """Open the repository that a path is in.

        Args:
            path: A repository, or any directory in one.
            environ: The user's environment.

        Raises:
            NotARepositoryError: Says what is wrong and what to do.
        """
        if not path.is_dir():
            raise NotARepositoryError(f"{path} is no directory; name a git repository with --repo")
        try:
            git = Git.find(environ, path)
            opened = discover(git, path)
        except NotARepositoryError:
            raise  # it is said already
        except GitError as error:
            raise NotARepositoryError(str(error), code=error.code, stderr=error.stderr) from None
        return cls(git, opened, environ)

    def resolve(self, revision: str) -> str:
        """Return the id of the commit that a name stands for.

        Raises:
            RevisionError: It stands for none.
        """
        if revision == "HEAD":
            return self._opened.head
        try:
            arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            return self._here.run(*arguments).text
        except GitError:
            raise RevisionError(
                f"{revision!r} names no commit in {self.root}; name a branch, a tag or a commit id"
            ) from None

    def branch(self) -> str | None:
        """Return the name of the current branch; `None` when HEAD is detached."""
        name = self._opened.head_name
        return name.removeprefix(_HEADS) if name.startswith(_HEADS) else None

    def is_branch_name(self, name: str) -> bool:
        """Whether git takes a name for a branch."""
        if name.startswith("-") or name == "HEAD" or "\0" in name:
            return False
        return self._git.run("check-ref-format", f"{_HEADS}{name}", ok=(0, 1)).code == 0

    def identity(self) -> Identity:
        """Return the user's identity; patchyard's own where the user has none."""
        if self._identity is None:
            name, email = (self._environ.get(f"GIT_AUTHOR_{what}", "") for what in ("NAME", "EMAIL"))
            if not (_printable(name) and _printable(email)):
                entries = self._git.run(
                    "config", "-z", "--get-regexp", r"^(user|author)\.(name|email)$", ok=(0, 1)
                ).fields
                known = dict(entry.partition("\n")[::2] for entry in entries)
                name = name or known.get("author.name") or known.get("user.name", "")
                email = email or known.get("author.email") or known.get("user.email", "")
            both = _printable(name) and _printable(email)
            self._identity = Identity(name, email) if both else NOBODY
        return self._identity

    def commit(
        self, tree: str, parents: Sequence[str], message: str, signature: Signature | None = None
    ) -> str:
        """Make a commit, and return its id. No branch moves.

        It is made in the name of `identity`, now; with a `signature` it is the same whenever and wherever it is
        made again.
        """
        environ = (signature or Signature(self.identity())).variables
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        text = message.replace("\0", "").encode(errors="surrogateescape")
        made = self._git.at(environ=environ).run("commit-tree", tree, *arguments, stdin=text).text
        self._commits.record(made, parents)
        return made

    @contextmanager
    def reproducible_commit(self, commit: str, base: str, name: str) -> Iterator[str]:
        """Give a commit of the same tree that is the same in every run: it says nothing of when and by whom.

        While the context is open, `refs/patchyard/<name>` holds it: who fetches by an id needs a ref.

        Args:
            commit: Whose tree it has.
            base: Its parent, whose date it has.
            name: The last part of the ref.
        """
        date = self._git.run("show", "--no-patch", "--format=@%ct +0000", base).text
        who = Signature(NOBODY, date).variables
        arguments = ("commit-tree", self.tree(commit), "-p", base, "-F", "-")
        made = self._git.at(environ=who).run(*arguments, stdin=b"What this task builds on\n").text
        self._git.run("update-ref", f"refs/patchyard/{name}", made)
        try:
            yield made
        finally:
            self._git.run("update-ref", "-d", f"refs/patchyard/{name}")

    @property
    def history(self) -> History:
        """Its commits, as they are written down and made again elsewhere."""
        return History(self._git)

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        return self._commits.tree(commit)

    def message(self, commit: str) -> str:
        """Return a commit's message."""
        content = self._git.run("cat-file", "commit", commit).stdout
        return content.partition(b"\n\n")[2].decode(errors="surrogateescape")

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        return self._git.run("cat-file", "-e", name, ok=(0, 1, 128)).code == 0

    def is_whole(self, commit: str, start: str) -> bool:
        """Whether a commit is there with every object that it has beyond another."""
        return self._git.run("rev-list", "--objects", "--quiet", commit, f"^{start}", ok=(0, 1, 128)).code == 0

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` holds all that `old` does."""
        return self._git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).code == 0

    def merge(self, ours: str, theirs: str, message: str, signature: Signature | None = None) -> Merge:
        """Merge two commits without a checkout.

        Where one holds the other already, it is the result. A new commit has both as parents.
        """
        if self._holds(ours, theirs):
            return Merge(ours)
        if self._holds(theirs, ours):
            return Merge(theirs)
        tree, conflicts = self.history.merge_tree(ours, theirs)
        if conflicts is not None:
            return Merge(None, conflicts)
        return Merge(self.commit(tree, [ours, theirs], message, signature))

    def _holds(self, new: str, old: str) -> bool:
        known = self._commits.holds(new, old)
        return self.is_ancestor(old, new) if known is None else known

    def branches(self, prefix: str) -> Mapping[str, str]:
        """Return the branches whose names begin with `prefix`, with their commits."""
        directory = prefix.rpartition("/")[0]
        lines = self._git.run(
            "for-each-ref", "--format=%(objectname) %(refname)", f"{_HEADS}{directory}".rstrip("/")
        ).text.split("\n")
        found = (line.partition(f" {_HEADS}")[::2] for line in lines if line)
        return {name: commit for commit, name in found if name.startswith(prefix)}

    def checked_out(self) -> Mapping[str, Path]:
        """Return the branches that are checked out, with the worktrees that have them."""
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

    def delete_branch(self, name: str, commit: str) -> None:
        """Remove a branch that stands at a commit.

        Raises:
            GitError: It is elsewhere, or cannot be removed.
        """
        self._git.run("update-ref", "-m", "patchyard", "--no-deref", "-d", f"{_HEADS}{name}", commit)

    def set_branch(self, name: str, commit: str, expected: str | None) -> None:
        """Let a branch stand at a commit.

        Args:
            name: The branch, without `refs/heads/`.
            commit: Its new commit.
            expected: Where it is now; `None` if it must not exist yet.

        Raises:
            BranchMovedError: It is elsewhere.
            GitError: Git does not take the name, or another branch is in its way.
        """
        old = expected or "0" * len(commit)
        try:
            self._git.run("update-ref", "-m", "patchyard", "--no-deref", f"{_HEADS}{name}", commit, old)
        except GitError as error:
            if re.search(r"is at \w+ but expected|already exists|unable to resolve ref", error.stderr):
                raise BranchMovedError(
                    f"branch {name} was moved by somebody else meanwhile, so it is left as it is",
                    code=error.code,
                    stderr=error.stderr,
                ) from None
            raise GitError(f"cannot set branch {name}: {error}", code=error.code, stderr=error.stderr) from None

    def remote_url(self, remote: str, *, push: bool = False) -> str | None:
        """Return the URL of a remote, as git uses it; `push` asks for the one that is pushed to."""
        return remotes.remote_url(self._here, remote, push=push)

    def configured_url(self, remote: str) -> str | None:
        """Return the URL of a remote as the user wrote it, which says more than where `insteadOf` leads."""
        return remotes.configured_url(self._here, remote)

    def set_remote_url(self, remote: str, url: str) -> None:
        """Let a remote lead to a URL; for a copy that is the program's own, never for the user's repository."""
        self._here.run("config", f"remote.{remote}.url", url)

    def remote_branches(
        self, remote: str, patterns: Sequence[str], credential: Credential | None, timeout: float = TIMEOUT
    ) -> Mapping[str, str]:
        """Return the branches of a remote that match patterns such as `patchyard/*`, with their commits.

        Raises:
            RemoteError: It cannot be asked.
        """
        return remotes.list_branches(self._here, remote, patterns, credential, timeout)

    def remote_default_branch(
        self, remote: str, credential: Credential | None, timeout: float = TIMEOUT
    ) -> str | None:
        """Return the name of the remote's default branch, if it has one.

        Raises:
            RemoteError: It cannot be asked.
        """
        return remotes.default_branch(self._here, remote, credential, timeout)

    def fetch(self, remote: str, commit: str, credential: Credential | None, timeout: float = TIMEOUT) -> None:
        """Get a commit from a remote, if it is not here; no ref changes.

        Raises:
            RemoteError: It cannot be had.
        """
        here = self._git.run("cat-file", "-e", f"{commit}^{{commit}}", ok=range(256)).code == 0
        if not here:
            remotes.fetch(self._here, remote, commit, credential, timeout)

    def push(
        self, remote: str, pushes: Sequence[Push], credential: Credential | None, timeout: float = TIMEOUT
    ) -> tuple[PushResult, ...]:
        """Push branches, all in one call, each only where the remote's is what its lease says.

        Returns one result for each, in the same order; what goes wrong is in them.
        """
        return remotes.push(self._here, remote, pushes, credential, timeout)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the repository's lock, which every process that makes or removes worktrees takes."""
        path = self.common / "patchyard" / "repository.lock"
        try:
            path.parent.mkdir(exist_ok=True)
            lock = FileLock(path, poll_interval=_POLL)
            lock.acquire()
        except OSError as error:
            raise GitError(f"cannot lock {path}: {error.strerror}; make it writable") from None
        try:
            yield
        finally:
            lock.release()

    def add_worktree(self, path: Path, commit: str) -> Checkout:
        """Make a worktree at `path`, which must not exist or be empty. It is empty until it is reset.

        Raises:
            GitError: Something else stands there.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path = path.parent.resolve() / path.name
            with self.locked():
                if is_directory(path) and (unfinished := self._unfinished(path)):
                    remove(path)
                    remove(unfinished)
                arguments = ("worktree", "add", "--force", "--force", "--detach", "--no-checkout")
                self._git.run(*arguments, "--", str(path), commit)
                admin = pointer(path / ".git")
                if admin is None:
                    raise GitError(f"git made no worktree at {path}")
                (admin / MARKER).touch()
                WorktreePaths(path, admin, self.common).forget()
        except OSError as error:
            raise GitError(f"cannot make a worktree at {path}: {error.strerror}") from None
        return self._checkout(path, admin)

    def shows(self, path: Path) -> bool:
        """Whether something at `path` would be seen by `git status` of the user's checkout."""
        path = path.resolve()
        if not path.is_relative_to(self.root) or path.is_relative_to(self.common):
            return False
        return self._here.run("check-ignore", "--quiet", f"{path}/", ok=(0, 1, 128)).code == 1

    def is_vacant(self, path: Path) -> bool:
        """Whether a worktree can be made at `path`: nothing is there, or one that was never filled."""
        if not os.path.lexists(path):
            return True
        return is_directory(path) and (not any(path.iterdir()) or self._unfinished(path) is not None)

    def _unfinished(self, path: Path) -> Path | None:
        """Return the administrative directory of a worktree that was never filled."""
        admin = pointer(path / ".git")
        if admin is None or admin.parent != self.common / "worktrees" or (admin / "index").exists():
            return None
        return admin if [child.name for child in path.iterdir()] == [".git"] else None

    def worktree(self, path: Path) -> Checkout | None:
        """Return the worktree of this repository's pools that belongs at `path`; `None` if there is none."""
        path = path.parent.resolve() / path.name
        admin = self._admin(path)
        return self._checkout(path, admin) if admin else None

    def _admin(self, path: Path) -> Path | None:
        """Return the administrative directory of a pool's worktree, also of one whose directory was removed."""
        directory = self.common / "worktrees"
        admin = pointer(path / ".git")
        found = [admin] if admin else []
        if directory.is_dir() and not os.path.lexists(path):
            found += directory.iterdir()
        ours = (one for one in found if one.parent == directory and (one / MARKER).is_file())
        return next((one for one in ours if belongs(one, path)), None)

    def _checkout(self, path: Path, admin: Path) -> Checkout:
        return Checkout(self._git, WorktreePaths(path, admin, self.common), self._commits, self._user_ignored)

    def remove_worktree(self, path: Path) -> None:
        """Remove a pool's worktree, and nothing that is not one of this repository.

        Raises:
            GitError: It is none, or it could not be removed.
        """
        path = path.parent.resolve() / path.name
        with self.locked():
            admin = self._admin(path) or (self._unfinished(path) if is_directory(path) else None)
            if admin is None:
                raise GitError(f"{path} is no worktree of a pool of {self.root}, so it is left as it is")
            try:
                remove(path)
                remove(admin)
                WorktreePaths(path, admin, self.common).forget()
                if not any(admin.parent.iterdir()):
                    admin.parent.rmdir()
            except OSError as error:
                raise GitError(f"cannot remove {error.filename or path}: {error.strerror}") from None

    def _user_ignored(self) -> bytes:
        """Return the content of the user's own file of ignored patterns."""
        if self._ignored is None:
            named = self._git.run("config", "-z", "--type=path", "--get", "core.excludesFile", ok=(0, 1)).fields
            config = self._environ.get("XDG_CONFIG_HOME") or f"{self._environ.get('HOME', '')}/.config"
            self._ignored = Path(named[-1]) if named else Path(config, "git", "ignore")
        return self._ignored.read_bytes() if self._ignored.is_file() else b""


def begin(path: Path, environ: Mapping[str, str]) -> None:
    """Make a repository of the files in a directory, with one commit that is the same for the same files.

    Raises:
        GitError: It cannot be made.
    """
    git = Git.find(environ, path)
    git.run("init", "--quiet", "--initial-branch", "main")
    git.run("add", "--all")
    tree = git.run("write-tree").text
    who = Signature(NOBODY, "@0 +0000").variables
    commit = git.at(environ=who).run("commit-tree", tree, "-F", "-", stdin=b"The files as they are\n").text
    git.run("update-ref", "refs/heads/main", commit)


def _printable(text: str) -> bool:
    """Whether git finds anything to write in a name or an address."""
    return bool(text.strip(" \t\n.,:;<>\"\\'"))

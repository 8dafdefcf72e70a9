"""A worktree of the pool, seen through git: reset it, take its patch.

What a task may have done to the worktree's own index, HEAD or `.git` is never relied on. The program keeps an
index of its own for each worktree, in the common git directory: `NAME.index` is what the last reset left, and
`NAME.staged` grows from it while patches are taken.
"""

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from containers.filesystem import empty_directory, is_directory, make_accessible, remove
from containers.git.command import Git, GitError
from containers.git.commits import CommitCache
from containers.git.secret_scan import quarantined, refuse_secrets
from containers.git.staging import Staging, Taken, transplant
from containers.git.standalone import create_standalone, is_plain
from containers.git.worktree_paths import POOL_MARKER, WorktreePaths, is_admin_of, read_pointer
from tasks.model import Patch
from tasks.secrets import Secrets

_ADMINISTRATION = frozenset({"HEAD", "commondir", "gitdir", "index", "reftable", POOL_MARKER})
_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\n?")
_ATTEMPTS = 3


class BrokenWorktreeError(GitError):
    """A worktree cannot be used as it is; it has to be made anew."""


class Checkout:
    """A worktree of the pool, seen through git. Everything here blocks.

    Args:
        git: Any git of the repository.
        paths: The directories of the worktree.
        commits: Cache of the repository's commits.
        read_user_ignores: Returns the content of the user's global ignore file.
    """

    def __init__(
        self, git: Git, paths: WorktreePaths, commits: CommitCache, read_user_ignores: Callable[[], bytes]
    ) -> None:
        self.path = paths.path
        self._paths = paths
        self._commits = commits
        self._read_user_ignores = read_user_ignores
        self._keeps_modes: bool | None = None
        self._reset_at: int | None = None
        work_tree = {"GIT_WORK_TREE": str(paths.path)}
        # A reset moves the worktree's HEAD. A patch asks the repository alone: a task may have broken the rest.
        index, staged = paths.own("index"), paths.own("staged")
        self._resetting = git.at(
            paths.path, {**work_tree, "GIT_DIR": str(paths.admin), "GIT_INDEX_FILE": str(index)}
        )
        self._staging = git.at(
            paths.path, {**work_tree, "GIT_DIR": str(paths.common), "GIT_INDEX_FILE": str(staged)}
        )

    def reset(self, commit: str, keep: Sequence[str] = ()) -> None:
        """Make the worktree what the commit says, with nothing left of what was there.

        Args:
            commit: Its id. HEAD is detached there; no branch moves.
            keep: Patterns as in `.gitignore`, of untracked files that stay.

        Raises:
            BrokenWorktreeError: It has to be made anew.
            GitError: The commit cannot be checked out.
        """
        self._restore_administration()
        self._detach(commit)
        index = self._paths.own("index")
        old = self._base()
        if old is None:
            index.unlink(missing_ok=True)
        self._paths.own("base").unlink(missing_ok=True)
        self._paths.own("staged").unlink(missing_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            if old is not None:
                self._free_directories(old)
            try:
                self._check_out(commit, old, keep)
                break
            except GitError:
                # What a task made read-only is made writable, and an index that git cannot read is built anew.
                accessible = make_accessible(self.path)
                if attempt == _ATTEMPTS or not (accessible or index.exists()):
                    raise
                if not accessible:
                    index.unlink()
        for_the_task = self._paths.admin / "index"
        remove(for_the_task)  # it may be a link that a task made
        # A copy bears the index's own time: git looks closer at files that are not older than that.
        shutil.copy2(index, for_the_task)
        self._paths.own("base").write_text(commit, "ascii")
        # By the worktree's own file system: a directory that a task touched has a later time, or this one.
        os.utime(self.path / ".git")
        self._reset_at = os.lstat(self.path / ".git").st_ctime_ns

    def _check_out(self, commit: str, old: str | None, keep: Sequence[str]) -> None:
        # First what no one tracks, by the index of the last reset: what a task put in the place of a directory
        # (a link, say) is gone before a file in it is compared.
        self._clean(keep)
        self._resetting.run(*self._options(), "reset", "--hard", "--quiet", "--no-recurse-submodules", commit)
        if old not in {None, commit}:
            self._clean(keep)  # what was in a directory that a task put in the place of a file

    def _clean(self, keep: Sequence[str]) -> None:
        said = self._resetting.run("clean", "-ffdxq", *(f"--exclude={pattern}" for pattern in keep)).stderr
        if "Permission denied" in said:
            raise GitError(f"cannot clean {self.path}: {said.strip()}")

    def _restore_administration(self) -> None:
        """Put right what makes the directory a worktree, and remove every state that a task left half-done."""
        path, admin = self._paths.path, self._paths.admin
        if not is_directory(path):
            raise BrokenWorktreeError(f"{path} is no directory any more")
        _make_owned(path)
        if not is_admin_of(admin, path) or not (admin / "HEAD").is_file():
            raise BrokenWorktreeError(f"{path} is no worktree any more: {admin} is not as git made it")
        kept = _ADMINISTRATION | {"refs"} if (admin / "reftable").is_dir() else _ADMINISTRATION
        for child in admin.iterdir():
            if child.name not in kept:
                remove(child)
        for name in ("index.lock", "staged.lock"):
            self._paths.own(name).unlink(missing_ok=True)
        dot_git = path / ".git"
        if read_pointer(dot_git) != admin:
            remove(dot_git)
            dot_git.write_bytes(b"gitdir: " + os.fsencode(admin) + b"\n")

    def _detach(self, commit: str) -> None:
        """Let HEAD name a commit, so that no branch which a task switched to is moved by the reset."""
        head = self._paths.admin / "HEAD"
        if not head.is_symlink() and _ID.fullmatch(head.read_text("utf-8", "replace")):
            return
        try:
            self._resetting.run("update-ref", "--no-deref", "HEAD", commit)
        except GitError as error:
            raise BrokenWorktreeError(f"{self.path} has no HEAD that git can read: {error}") from error

    def _base(self) -> str | None:
        """Return the commit that the kept index is of, if it is known."""
        with suppress(OSError, ValueError):
            base = self._paths.own("base").read_text("ascii")
            if _ID.fullmatch(base) and self._paths.own("index").is_file():
                return base
        return None

    def _free_directories(self, commit: str) -> None:
        """Undo what git does not see in tracked directories: no access, a repository inside, a pipe."""
        try:
            layout = self._commits.layout(commit)
        except GitError:  # the commit is gone from the repository: so is the use of what was kept of it
            self._paths.own("index").unlink(missing_ok=True)
            return
        root, since = str(self.path), self._reset_at
        _remove_special(root)
        real = {""}  # a directory below a link is not the worktree's
        for directory in layout.directories:
            if directory.rpartition("/")[0] in real and _free_directory(f"{root}/{directory}", since):
                real.add(directory)
        for gitlink in layout.gitlinks:
            path = self.path / gitlink
            if gitlink.rpartition("/")[0] in real and is_directory(path):
                _make_owned(path)
                empty_directory(path)

    def ignored(self, paths: Sequence[str]) -> list[str]:
        """Return which of some paths git would leave out if they stood there; directories end in a slash.

        Raises:
            GitError: A path leads over a link or into a submodule.
        """
        if not paths:
            return []
        # With a dot before it, no name says anything but itself to git, not even one that begins with a colon.
        names = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
        found = self._resetting.run("check-ignore", "-z", "--stdin", stdin=names, ok=(0, 1)).fields
        return [path.removeprefix("./") for path in found]

    def is_plain(self, commit: str) -> bool:
        """Whether any git can make a checkout of a commit from the repository's objects alone."""
        gitlinks = self._commits.layout(commit).gitlinks
        return is_plain(self._paths.common, commit, has_submodules=bool(gitlinks))

    @contextmanager
    def standalone(self, commit: str, depth: int) -> Iterator[Path]:
        """Make a repository of a commit and some of its history, for as long as the context lasts.

        Raises:
            GitError: It cannot be made.
        """
        with TemporaryDirectory(dir=self._paths.scratch, prefix="standalone-") as name:
            made = Path(name, "tree")
            create_standalone(self._staging, self._paths.common, commit, depth, made)
            yield made

    def snapshot(self, exclude: Sequence[str] = ()) -> str:
        """Return the id of the tree that stands in the worktree now.

        Args:
            exclude: Patterns as in `.gitignore`, of what stays out in addition to ignored files.
        """
        return self._stage(self._start(), exclude).take().tree

    def patch(
        self,
        start: str,
        *,
        baseline: str | None = None,
        exclude: Sequence[str] = (),
        secrets: Secrets | None = None,
    ) -> Patch:
        """Return what a task changed.

        Args:
            start: The id of the commit that it started from.
            baseline: A tree of `snapshot`: only what changed since then is in the patch.
            exclude: Patterns as in `.gitignore`, of what stays out in addition to ignored files.
            secrets: Values that must not be in the patch. It is looked through before anything of it gets
                into the repository.

        Raises:
            SecretFoundError: A secret is in it.
            GitError: It cannot be taken; the worktree still has everything.
        """
        staging = self._stage(start, exclude)
        if not secrets:
            taken = self._take(staging, baseline)
        else:
            taken = self._take_searched(staging, baseline, secrets)
        files = sorted({change.path for change in taken.changes})
        return Patch(start=start, tree=taken.tree, diff=taken.diff, files=tuple(files))

    def _take(self, staging: Staging, baseline: str | None) -> Taken:
        taken = staging.take()
        if baseline is None or baseline == (tree := self._commits.tree(staging.start)):
            return taken
        return staging.compare(transplant(staging, baseline, taken.tree, tree))

    def _take_searched(self, staging: Staging, baseline: str | None, secrets: Secrets) -> Taken:
        for _ in range(_ATTEMPTS):
            with quarantined(staging, self._paths.common / "objects") as apart:
                looked_through = self._take(apart, baseline)
                refuse_secrets(looked_through, apart.git, secrets)
            taken = self._take(staging, baseline)
            if taken == looked_through:
                return taken
        raise GitError(
            f"files in {self.path} keep changing, although the task has ended; end what still writes there"
        )

    def _stage(self, start: str, exclude: Sequence[str]) -> Staging:
        if not is_directory(self.path):
            raise GitError(f"its worktree {self.path} is gone, so there is nothing to take a patch of")
        _make_owned(self.path)
        index, staged = self._paths.own("index"), self._paths.own("staged")
        if index.is_file() and not staged.exists():
            shutil.copy2(index, staged)
        return Staging(
            git=self._staging,
            root=self.path,
            index=staged,
            scratch=self._paths.scratch,
            start=start,
            gitlinks=self._commits.layout(start).gitlinks,
            options=(*self._options(), *self._excluding(exclude)),
            excludes=self._paths.own("excluded") if exclude else None,
        )

    def _start(self) -> str:
        start = self._base()
        if start is None:
            raise GitError(f"{self.path} was not reset yet")
        return start

    def _excluding(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """Write patterns to a file, after those that the user ignores everywhere, and name it to git."""
        if not patterns:
            return ()
        own, together = self._paths.own("excluded"), self._paths.own("ignored")
        own.write_bytes(os.fsencode("".join(f"{pattern}\n" for pattern in patterns)))
        together.write_bytes(self._read_user_ignores() + b"\n" + own.read_bytes())
        return ("-c", f"core.excludesFile={together}")

    def _options(self) -> tuple[str, ...]:
        """Say whether the file system knows which files are executable, whatever the configuration says."""
        if self._keeps_modes is None:
            self._keeps_modes = keeps_modes(self.path.parent)
        return ("-c", f"core.fileMode={'true' if self._keeps_modes else 'false'}")


def _free_directory(path: str, since: int | None) -> bool:
    """Give access to a directory, and remove a repository in it; returns whether it is a directory.

    One that nobody touched `since` then, in nanoseconds, is as it should be.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if since is None or status.st_ctime_ns >= since:
        _make_owned(Path(path))
        _remove_special(path)
        if os.path.lexists(f"{path}/.git"):
            remove(Path(path, ".git"))
    return True


def _remove_special(directory: str) -> None:
    """Remove pipes, sockets and the like, which git does not see."""
    with os.scandir(directory) as entries:
        special = [entry.path for entry in entries if not (_is_plain(entry) or entry.is_symlink())]
    for path in special:
        Path(path).unlink()


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _make_owned(directory: Path) -> None:
    mode = directory.stat().st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        directory.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def keeps_modes(directory: Path) -> bool:
    """Whether the file system keeps the executable bit, which is what `core.fileMode` is about."""
    with suppress(OSError), TemporaryDirectory(dir=directory, prefix=".modes-") as name:
        probe = Path(name, "probe")
        probe.touch(0o600)
        probe.chmod(0o700)
        executable = probe.stat().st_mode & 0o100
        probe.chmod(0o600)
        return bool(executable) and not probe.stat().st_mode & 0o100
    return True

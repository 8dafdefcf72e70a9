"""The user's own checkout, which only `patchyard apply` changes. Blocking.

Git runs here with the user's settings for line ends, filters, sparse checkouts and the index, as their own git
would; without hooks, and without anything in the background.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, ClassVar, cast

from containers.git.changes import ABSENT, GITLINK, Change, read_changes
from containers.git.command import Git, GitError, Output, useful_line
from containers.git.given_settings import configured_pairs
from containers.git.index import LEFT_OUT, listed, read_tags
from containers.git.repository import Repository
from tasks.errors import PatchyardError
from tasks.patch_data import PatchData

_SAFE = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
    ("apply.whitespace", "nowarn"),
    ("apply.ignoreWhitespace", "no"),
    ("merge.conflictStyle", "merge"),
)


class CheckoutError(PatchyardError):
    """The checkout cannot be changed; it was left as it was."""

    exit_code: ClassVar[int] = 2


class UserCheckout:
    """The checkout of a repository, as it is used by a person.

    Args:
        repository: The repository, opened from that checkout.

    Raises:
        CheckoutError: It has none, or its branch has no commit.
    """

    def __init__(self, repository: Repository) -> None:
        self.root = repository.root
        self._scratch = repository.scratch
        git = _own_git(repository)
        found = git.run("rev-parse", "--absolute-git-dir", ok=(0, 128))
        directory = Path(found.text)
        if found.code != 0 or directory == self.root:
            raise CheckoutError(f"{self.root} has no checkout: it is a bare repository; use a clone of it")
        self._git = git.at(environ={"GIT_DIR": str(directory), "GIT_WORK_TREE": str(self.root)})
        head = self._git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}", ok=(0, 1, 128))
        if head.code != 0:
            raise CheckoutError(f"the branch of {self.root} has no commit yet; create one first")
        self.head = head.text
        """The commit that is checked out."""

    def changed_paths(self) -> tuple[str, ...]:
        """Return the tracked files that differ from the commit, in the index or in the tree."""
        self._git.run("update-index", "-q", "--refresh", "--ignore-submodules", ok=(0, 1))
        staged = self._git.run("diff-index", "--cached", *_NAMES, self.head).fields
        return tuple(dict.fromkeys((*staged, *self.unstaged_paths())))

    def unstaged_paths(self) -> tuple[str, ...]:
        """Return the tracked files that differ from the index."""
        return tuple(dict.fromkeys(self._git.run("diff-files", *_NAMES).fields))

    def changes_to(self, tree: str) -> tuple[Change, ...]:
        """Return what differs between the commit and a tree."""
        return read_changes(self._git, self.head, tree)

    def in_the_way(self, changes: Sequence[Change]) -> tuple[str, ...]:
        """Return files that git does not track, also ignored ones, where a change puts something."""
        gone = {change.path for change in changes if change.new_mode == ABSENT}
        new = [change for change in changes if change.old_mode == ABSENT]
        found = {path for change in new if (path := self._obstacle(change, gone))}
        return tuple(sorted(found))

    def _obstacle(self, change: Change, gone: set[str]) -> str | None:
        *parents, _ = _prefixes(change.path)
        for parent in parents:
            there = self.root / parent
            if (there.is_symlink() or (there.exists() and not there.is_dir())) and parent not in gone:
                return parent
        there = self.root / change.path
        if there.is_dir() and not there.is_symlink():
            if change.new_mode == GITLINK:
                return change.path if any(there.iterdir()) else None
            others = self._git.run("ls-files", "--others", "-z", "--", f":(literal){change.path}").fields
            return others[0] if others else None
        return change.path if os.path.lexists(there) else None

    def outside(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return those of some paths that are in the index only: a sparse checkout leaves them out."""
        wanted = set(paths)
        return tuple(path for path, tag in read_tags(self._git).items() if tag == LEFT_OUT and path in wanted)

    def switch(self, tree: str, changes: Sequence[Change]) -> None:
        """Put a tree into the index and the checkout, or change nothing. The commit and the branch stay.

        Args:
            tree: The tree.
            changes: What differs between the commit and the tree.

        Raises:
            CheckoutError: A file has changes or cannot be written; everything is as it was before.
        """
        arguments = ("read-tree", "-m", "-u", self.head, tree)
        tried = self._git.run(*arguments[:2], "-n", *arguments[2:], ok=range(256))
        if tried.code != 0:
            raise CheckoutError(f"nothing was applied: {useful_line(tried.stderr)}")
        try:
            self._git.run(*arguments)
        except BaseException as error:
            self._roll_back(changes)
            if isinstance(error, GitError):
                raise CheckoutError(f"nothing was applied: {useful_line(error.stderr) or error}") from None
            raise

    def _roll_back(self, changes: Sequence[Change]) -> None:
        """Write the files of the commit again; they had no changes, and those that are new were not there."""
        for change in changes:
            if change.old_mode == ABSENT and change.new_mode != GITLINK:
                path = self.root / change.path
                with suppress(OSError):
                    path.unlink()
                for parent in path.parents:
                    if parent == self.root or not _removed(parent):
                        break
        old = [change.path for change in changes if change.old_mode not in {ABSENT, GITLINK}]
        self._git.run("checkout-index", "--force", "--quiet", "-z", "--stdin", stdin=listed(old), ok=range(256))

    def merge_patch(self, diff: PatchData) -> Output:
        """Apply a patch with a three-way merge; what conflicts is left with conflict marks.

        Returns:
            What git said; its exit code is 0 if nothing conflicts.
        """
        with cast("BinaryIO", TemporaryFile(dir=self._scratch)) as file:
            for block in diff.blocks():
                file.write(block)
            file.seek(0)
            return self._git.run("apply", "--index", "--3way", stdin=file, ok=range(256))

    def unmerged_paths(self) -> tuple[str, ...]:
        """Return the files with conflicts."""
        fields = self._git.run("ls-files", "--unmerged", "-z").fields
        return tuple(dict.fromkeys(field.partition("\t")[2] for field in fields))

    def index_tree(self) -> str:
        """Return the tree that the index has; it must have no conflicts."""
        return self._git.run("write-tree").text


_NAMES = ("--name-only", "--no-renames", "--ignore-submodules=all", "-z")


def _own_git(repository: Repository) -> Git:
    """Return a git that runs at the top of the checkout, with the user's own settings where they matter."""
    git = Git.find(repository.environ, repository.root)
    kept = {name: value for name, value in git.environ.items() if not name.startswith("GIT_CONFIG_")}
    files = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM")
    kept |= {name: git.environ[name] for name in files if name in git.environ}
    return replace(git, environ=kept).configured((*configured_pairs(repository.environ), *_SAFE))


def _prefixes(path: str) -> list[str]:
    """Return a path with all that are above it: `a`, `a/b` and `a/b/c`."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True

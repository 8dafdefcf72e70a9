"""Copy untracked files of the user's working tree into worktrees."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from containers.git.repository import Repository
from containers.worktrees.worktree import CopyError
from tasks.sizes import format_size

if TYPE_CHECKING:
    from containers.worktrees.cloning import Found

NOTICED_SIZE = 1_000_000
"""Bytes that are copied before each task without a notice."""


class Copies:
    """The files that are copied into every worktree, if the commit does not have them.

    Args:
        repository: The repository whose working tree has the files.
        worktrees: The directory of the worktrees, which is not copied.
        patterns: Files, directories or globs, relative to the top of the working tree.
        on_notice: Receives a message, once, if much is copied that could not be cloned.

    Raises:
        CopyError: A pattern points outside the repository.
    """

    def __init__(
        self,
        repository: Repository,
        worktrees: Path,
        patterns: Sequence[str],
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._repository = repository
        self._worktrees = worktrees
        self._on_notice = on_notice
        self._noticed = False
        self.patterns = tuple(_checked(pattern) for pattern in patterns)
        self._digest: str | None = None

    def copy_into(self, worktree: Path) -> None:
        """Copy the files that a worktree does not have. Blocking.

        Raises:
            CopyError: A file cannot be copied, or points outside the repository.
        """
        if not self.patterns:
            return
        from containers.worktrees.cloning import TreeCopier  # noqa: PLC0415 - start-up stays quick

        tree = TreeCopier(worktree)
        for found in self._found():
            try:
                tree.copy(found)
            except FileNotFoundError:
                continue  # the user removed it just now
            except OSError as error:
                raise CopyError(f"copy: cannot copy {found.source}: {error.strerror}") from None
        tree.close()
        if tree.size >= NOTICED_SIZE and not self._noticed:
            self._noticed = True
            self._on_notice(
                f"copy: {format_size(tree.size)} in {tree.files:,} files are written for each task, since "
                f"{worktree.parent} cannot share them with the checkout; on one file system with reflinks, "
                "such as Btrfs or XFS, they would take no space"
            )

    def digest(self) -> str:
        """Return a SHA-256 digest of the copied files: paths, modes and contents. Blocking."""
        if self._digest is None:
            found = hashlib.sha256()
            for one in sorted(self._found(), key=lambda one: one.relative):
                with suppress(OSError):
                    part = hashlib.sha256(one.content()).hexdigest()
                    line = f"{one.relative}\0{os.lstat(one.source).st_mode:o}\0{part}\n"
                    found.update(line.encode(errors="surrogateescape"))
            self._digest = found.hexdigest()
        return self._digest

    def _found(self) -> "Iterator[Found]":
        root = self._repository.root
        if not self.patterns or root == self._repository.common:
            return iter(())
        from containers.worktrees.copied_files import copied_files  # noqa: PLC0415 - start-up stays quick

        return copied_files(root, self.patterns, self._worktrees)


def unmatched(root: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that no file of a working tree matches. Blocking."""
    return tuple(pattern for pattern in patterns if not any(root.glob(_checked(pattern))))


def _checked(pattern: str) -> str:
    """Return a valid pattern in its shortest form."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise CopyError(f"copy: {pattern!r} must be a path inside the repository, such as .env")
    return str(path)

"""Copy untracked files of the user's working tree into worktrees."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import ClassVar

from containers.git.repository import Repository
from tasks.errors import PatchyardError


class CopyError(PatchyardError):
    """A file cannot or must not be copied into a worktree. The message names it."""

    exit_code: ClassVar[int] = 2


class Copies:
    """The files that are copied into every worktree, if the commit does not have them.

    Args:
        repository: The repository whose working tree has the files.
        worktrees: The directory of the worktrees, which is not copied.
        patterns: Files, directories or globs, relative to the top of the working tree.

    Raises:
        CopyError: A pattern points outside the repository.
    """

    def __init__(self, repository: Repository, worktrees: Path, patterns: Sequence[str]) -> None:
        self._repository = repository
        self._worktrees = worktrees
        self.patterns = tuple(_checked(pattern) for pattern in patterns)
        self._digest: str | None = None

    def copy_into(self, worktree: Path) -> None:
        """Copy the files that a worktree does not have. Blocking.

        Raises:
            CopyError: A file cannot be copied, or points outside the repository.
        """
        for source, relative in self._files():
            _copy(source, worktree, relative)

    def digest(self) -> str:
        """Return a SHA-256 digest of the copied files: paths, modes and contents. Blocking."""
        if self._digest is None:
            found = hashlib.sha256()
            for source, relative in sorted(self._files(), key=lambda pair: str(pair[1])):
                with suppress(OSError):
                    content = str(source.readlink()).encode() if source.is_symlink() else source.read_bytes()
                    part = hashlib.sha256(content).hexdigest()
                    line = f"{relative}\0{source.lstat().st_mode:o}\0{part}\n"
                    found.update(line.encode(errors="surrogateescape"))
            self._digest = found.hexdigest()
        return self._digest

    def _files(self) -> Iterator[tuple[Path, Path]]:
        """Yield the files to copy, with their paths relative to the working tree."""
        root = self._repository.root
        if root == self._repository.common:
            return
        for pattern in self.patterns:
            for source in root.glob(pattern):
                relative, real = source.relative_to(root), source.resolve()
                if not relative.parts or source.is_relative_to(self._worktrees):
                    continue
                if not real.is_relative_to(root.resolve()):
                    raise CopyError(
                        f"copy: {source} points outside the repository; replace it by a copy of the file"
                    )
                # Git's own files may have credentials; a link of the commit may lead to them.
                if _is_git_file(relative) or _is_git_file(real.relative_to(root.resolve())):
                    continue
                if source.is_dir():
                    yield from _below(source.resolve(), relative)
                elif source.is_file():
                    yield source.resolve(), relative


def _is_git_file(path: Path) -> bool:
    """Whether a relative path leads to a git directory, or to the file in its place; file systems fold case."""
    return any(part.lower() == ".git" for part in path.parts)


def _checked(pattern: str) -> str:
    """Return a valid pattern in its shortest form."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise CopyError(f"copy: {pattern!r} must be a path inside the repository, such as .env")
    return str(path)


def _below(directory: Path, relative: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the files and relative links below a directory."""
    for parent, directories, every in os.walk(directory):
        current = Path(parent)
        directories[:] = [name for name in directories if not _is_git_file(Path(name))]
        names = [name for name in every if not _is_git_file(Path(name))]
        links = [name for name in directories if (current / name).is_symlink()]
        for name in (*names, *links):
            source = current / name
            if source.is_symlink() and source.readlink().is_absolute():
                continue  # it would point from the worktree back into the user's tree, or elsewhere
            yield source, relative / source.relative_to(directory)


def _copy(source: Path, worktree: Path, relative: Path) -> None:
    """Copy a file into a worktree that does not have it, but not through a link in the commit."""
    destination = worktree / relative
    try:
        if os.path.lexists(destination) or not destination.parent.resolve().is_relative_to(worktree):
            return
        kind = stat.S_IFMT(source.lstat().st_mode)
        if kind in {stat.S_IFREG, stat.S_IFLNK}:
            destination.parent.mkdir(parents=True, exist_ok=True)
        if kind == stat.S_IFREG:
            shutil.copy2(source, destination)
        elif kind == stat.S_IFLNK:
            destination.symlink_to(source.readlink())
    except FileNotFoundError:
        return  # the user removed it just now
    except OSError as error:
        raise CopyError(f"copy: cannot copy {source}: {error.strerror}") from None

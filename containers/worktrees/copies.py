"""Copy untracked files of the user's working tree into worktrees."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import ClassVar

from containers.git.repository import Repository
from containers.worktrees.cloning import Found, Kind, TreeCopier
from tasks.errors import PatchyardError
from tasks.sizes import format_size

GIT = ".git"
NOTICED_SIZE = 1_000_000
"""Bytes that are copied before each task without a notice."""


class CopyError(PatchyardError):
    """A file cannot or must not be copied into a worktree. The message names it."""

    exit_code: ClassVar[int] = 2


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
                    part = hashlib.sha256(_content(one)).hexdigest()
                    line = f"{one.relative}\0{os.lstat(one.source).st_mode:o}\0{part}\n"
                    found.update(line.encode(errors="surrogateescape"))
            self._digest = found.hexdigest()
        return self._digest

    def _found(self) -> Iterator[Found]:
        """Yield what to copy; a directory comes before what is in it."""
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
                if real.is_dir():
                    yield from self._below(str(real), str(relative))
                elif real.is_file():
                    yield Found(Kind.FILE, str(real), str(relative))

    def _below(self, directory: str, relative: str) -> Iterator[Found]:
        """Yield a directory, and the directories, files and links below it, through no link.

        A link out of the repository is left out: it would lead from the worktree back into the user's tree, or
        elsewhere. So is a directory with nothing but files of git.
        """
        left, avoided = [(directory, relative)], str(self._worktrees)
        while left:
            parent, at = left.pop()
            every = _entries(parent)
            entries = [entry for entry in every if entry.name.lower() != GIT and entry.path != avoided]
            if entries or not every:
                yield Found(Kind.DIRECTORY, parent, at)
            for entry in entries:
                kind, path = _kind(entry), f"{at}/{entry.name}"
                if kind is Kind.DIRECTORY:
                    left.append((entry.path, path))
                elif kind is Kind.FILE or (kind is Kind.LINK and not _leads_out(entry.path, path)):
                    yield Found(kind, entry.path, path)


def unmatched(root: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the patterns that no file of a working tree matches. Blocking."""
    return tuple(pattern for pattern in patterns if not any(root.glob(_checked(pattern))))


def _entries(directory: str) -> list["os.DirEntry[str]"]:
    """Return the entries of a directory; none if the user removed it just now.

    Raises:
        CopyError: It cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CopyError(f"copy: cannot read {directory}: {error.strerror}") from None


def _kind(entry: "os.DirEntry[str]") -> Kind | None:
    """Return what an entry of a directory is; `None` for pipes, sockets and devices."""
    if entry.is_symlink():
        return Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return Kind.DIRECTORY
    return Kind.FILE if entry.is_file(follow_symlinks=False) else None


def _leads_out(link: str, relative: str) -> bool:
    """Whether a link at a relative path in the repository leads out of it, or is absolute."""
    target = Path(link).readlink()
    there = os.path.normpath(Path(relative).parent / target)
    return target.is_absolute() or there.split("/", 1)[0] == ".."


def _content(found: Found) -> bytes:
    """Return the content of a file, or the target of a link. Blocking."""
    match found.kind:
        case Kind.FILE:
            return Path(found.source).read_bytes()
        case Kind.LINK:
            return os.fsencode(Path(found.source).readlink())
    return b""


def _is_git_file(path: Path) -> bool:
    """Whether a relative path leads to a git directory, or to the file in its place; file systems fold case."""
    return any(part.lower() == ".git" for part in path.parts)


def _checked(pattern: str) -> str:
    """Return a valid pattern in its shortest form."""
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise CopyError(f"copy: {pattern!r} must be a path inside the repository, such as .env")
    return str(path)

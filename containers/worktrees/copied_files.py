"""The files of the user's working tree that are copied into worktrees."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from containers.worktrees.cloning import Found, Kind
from containers.worktrees.worktree import CopyError

GIT = ".git"


def copied_files(root: Path, patterns: Iterable[str], avoided: Path) -> Iterator[Found]:
    """Yield what to copy; a directory comes before what is in it. Blocking.

    Args:
        root: The top of the working tree.
        patterns: Files, directories or globs, relative to it.
        avoided: A directory that is not copied.

    Raises:
        CopyError: A directory cannot be read, or something is outside of the working tree.
    """
    for pattern in patterns:
        for source in root.glob(pattern):
            relative, real = source.relative_to(root), source.resolve()
            if not relative.parts or source.is_relative_to(avoided):
                continue
            if not real.is_relative_to(root.resolve()):
                raise CopyError(
                    f"copy: {source} points outside the repository; replace it by a copy of the file"
                )
            # Git's own files may have credentials; a link of the commit may lead to them.
            if _is_git_file(relative) or _is_git_file(real.relative_to(root.resolve())):
                continue
            if real.is_dir():
                yield from _below(str(real), str(relative), str(avoided))
            elif real.is_file():
                yield Found(Kind.FILE, str(real), str(relative))


def _below(directory: str, relative: str, avoided: str) -> Iterator[Found]:
    """Yield a directory, and the directories, files and links below it, through no link.

    A link out of the repository is left out: it would lead from the worktree back into the user's tree, or
    elsewhere. So is a directory with nothing but files of git.
    """
    left = [(directory, relative)]
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


def _is_git_file(path: Path) -> bool:
    """Whether a relative path leads to a git directory, or to the file in its place; file systems fold case."""
    return any(part.lower() == ".git" for part in path.parts)

"""What a task may leave in a worktree and no git of the program may see: repositories, pipes, devices.

Git reads the configuration of a nested repository, and runs programs that it names (fsmonitor, filters), when
it looks for changes in it. It opens `.gitignore` and `.gitattributes`, and waits if they are pipes.
"""

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from containers.filesystem import empty_directory, is_directory, remove
from containers.git.command import Git, GitError
from containers.git.commit_cache import Layout
from tasks.lazy.dataclasses import dataclass

GIT = ".git"


@dataclass(slots=True)
class FoundFiles:
    """What a scan found: pipes, sockets and devices; and everything named `.git`, but the worktree's own.

    Also the untracked directories in tracked ones, the names of the files in each tracked directory that was
    listed, and the inodes of all tracked directories.
    """

    special: list[Path] = field(default_factory=list)
    git: list[Path] = field(default_factory=list)
    untracked: list[Path] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)
    inodes: dict[str, int] = field(default_factory=dict)


def scan(
    root: Path, layout: Layout, since: int | None = None, known: Mapping[str, int] | None = None
) -> FoundFiles:
    """Find special files and nested `.git` entries below a worktree. No link is followed. Blocking.

    Directories are made accessible to their owner on the way. What cannot be read is left out; git reports it.

    Args:
        root: The worktree.
        layout: The directories and submodules of the commit to which it was reset.
        since: A time in nanoseconds. Directories of the layout that did not change since have nothing to find.
        known: The inodes that directories of the layout had then. Another one may have been moved there, with
            directories in it that are older.
    """
    found = FoundFiles()
    tracked = dict.fromkeys(("", *layout.directories, *layout.gitlink_commits))
    known = known or {}
    for directory in tracked:
        # The inodes are of those that are not below a link.
        if directory and directory.rpartition("/")[0] not in found.inodes:
            continue
        path = f"{root}/{directory}" if directory else str(root)  # text is quicker than a Path
        with suppress(OSError):
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                found.inodes[directory] = status.st_ino
                is_same = since is not None and status.st_ctime_ns < since
                if not (is_same and directory and known.get(directory) == status.st_ino):
                    _scan_changed(path, directory, tracked, found)
    return found


def directory_inodes(root: Path, layout: Layout) -> dict[str, int]:
    """Return the inodes of the directories of a commit that was checked out just now. Blocking."""
    found = {}
    for directory in layout.directories:
        with suppress(OSError):
            found[directory] = os.lstat(f"{root}/{directory}").st_ino
    return found


def _scan_changed(path: str, relative: str, tracked: Collection[str], found: FoundFiles) -> None:
    """Scan one directory, and whole untracked directories below it."""
    pending, top = [path], True
    names = found.names[relative] = list[str]()
    while pending:
        directory = pending.pop()
        for entry in _entries(directory):
            if entry.name.lower() == GIT:
                if not (top and not relative and entry.name == GIT):
                    found.git.append(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                name = f"{relative}/{entry.name}" if relative else entry.name
                if not top:
                    pending.append(entry.path)
                elif name not in tracked:
                    pending.append(entry.path)
                    found.untracked.append(Path(entry.path))
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                found.special.append(Path(entry.path))
            elif top:
                names.append(entry.name)
        top = False


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        make_owned(directory)
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []


def make_owned(directory: Path | str) -> None:
    """Give the owner of a directory full access to it. Blocking.

    Raises:
        OSError: The directory is missing, or belongs to another user.
    """
    mode = os.stat(directory).st_mode  # noqa: PTH116 - text in a scan of many
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        Path(directory).chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def empty_submodules(root: Path, layout: Layout) -> None:
    """Remove the files of the submodules of a commit, through no link. Blocking.

    Raises:
        OSError: One cannot be removed.
    """
    for gitlink in layout.gitlinks:
        path = root / gitlink
        if is_directory(path) and path.resolve() == root.resolve() / gitlink:
            make_owned(path)
            empty_directory(path)


def clean(git: Git, keep: Sequence[str] = ()) -> None:
    """Remove all untracked files. Blocking.

    Args:
        git: Runs in the worktree, with an index.
        keep: Patterns as in `.gitignore`, of files that stay.

    Raises:
        GitError: A directory cannot be read, where git exits with 0.
    """
    stderr = git.run("clean", "-ffdxq", *(f"--exclude={pattern}" for pattern in keep)).stderr
    if "Permission denied" in stderr:
        raise GitError(f"cannot clean {git.cwd}: {stderr.strip()}")


def remove_special(found: FoundFiles) -> None:
    """Remove the special files of a scan, which git cannot store. Blocking.

    Raises:
        OSError: One cannot be removed.
    """
    for path in found.special:
        path.unlink(missing_ok=True)


@contextmanager
def without_git_files(found: FoundFiles, aside: Path) -> Iterator[Mapping[Path, Path]]:
    """Move the `.git` entries of a scan away while in the context; yield where each one is. Blocking.

    Args:
        found: The scan.
        aside: A directory on the same file system, so that nothing is copied; it is created and removed.

    Raises:
        GitError: One has a name that git accepts in no commit, or cannot be moved.
    """
    for path in found.git:
        if path.name != GIT:
            raise GitError(f"{path} cannot be part of a patch: git accepts no file of that name; rename it")
    if not found.git:
        yield {}
        return
    moved: dict[Path, Path] = {}
    try:
        remove(aside)
        aside.mkdir()
        for number, path in enumerate(found.git):
            path.rename(aside / str(number))
            moved[path] = aside / str(number)
        yield moved
    except OSError as error:
        raise GitError(f"cannot move {error.filename} out of the way: {error.strerror}") from None
    finally:
        for path, place in reversed(moved.items()):
            with suppress(OSError):
                place.rename(path)
        with suppress(OSError):
            aside.rmdir()

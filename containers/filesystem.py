"""Directories in any state that a task may leave: made accessible, emptied, removed. No link is followed."""

import os
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path


def is_directory(path: Path) -> bool:
    """Whether the path is a directory itself, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def make_accessible(root: Path, *, files: bool = False) -> bool:
    """Give the owner back the access that directories below `root` lack, and that files lack for reading.

    Returns whether anything lacked it.
    """
    changed = _allow(root, stat.S_IRWXU)
    for parent, directories, names in os.walk(root):
        for name in directories:
            changed |= _allow(Path(parent, name), stat.S_IRWXU)
        if files:
            for name in names:
                changed |= _allow(Path(parent, name), stat.S_IRUSR)
    return changed


def _allow(path: Path, wanted: int) -> bool:
    """Add permission bits to a file or a directory, but not to what a link names."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and mode & wanted != wanted:
            path.chmod(stat.S_IMODE(mode) | wanted)
            return True
    return False


def remove(path: Path) -> None:
    """Remove whatever stands at a path: a file, a link, or a whole directory.

    Raises:
        OSError: It could not be removed.
    """
    if not is_directory(path):
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except OSError:
        make_accessible(path)
        shutil.rmtree(path)


def empty_directory(path: Path) -> None:
    """Remove what is in a directory."""
    for child in path.iterdir():
        remove(child)


def nested_repositories(root: Path, skip: Collection[Path] = ()) -> list[Path]:
    """Return every directory below `root` that holds a `.git`, but none in or below those to skip."""
    found = []
    for parent, directories, names in os.walk(root):
        here = Path(parent)
        if here in skip:
            directories.clear()
            continue
        if here != root and (".git" in directories or ".git" in names):
            found.append(here)
        directories[:] = [name for name in directories if name != ".git"]
    return found

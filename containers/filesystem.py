"""Files and directories in any state that a task may leave. No symbolic link is followed."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tasks.lazy.patterns import regex

_BLOCK = 1 << 16
"""Bytes that are read at once of a file without a size, as in `/proc`."""
_OWN = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ESCAPED = regex(rb"[\s\\#]")
"""What the kernel writes as octal numbers in paths of mounts (Linux: `fs/proc_namespace.c`, `mangle`)."""


def write_file(path: Path, content: bytes) -> None:
    """Write a file that no other process reads meanwhile. Blocking.

    Raises:
        OSError: It cannot be written; unlike Python's own, the error of a full disk has the path.
    """
    with errors_of(path):
        path.write_bytes(content)


def overwrite_file(path: Path, content: bytes) -> None:
    """Write a small file in place, and create it only if it is missing. Blocking.

    That is quicker than a new file: for each of these, ext4 without a journal looks at the inodes that were
    freed in the last minute (Linux: `recently_deleted` in `fs/ext4/ialloc.c`), and it writes a file out at once
    that was emptied before (ext4(5), `auto_da_alloc`). A killed process may leave a part of the content, or the
    end of the old one. What leads elsewhere is replaced: a link, a pipe, a file with other names.

    Raises:
        OSError: It cannot be written.
    """
    with errors_of(path):
        descriptor = _open_own(path)
        if descriptor is None:
            path.unlink(missing_ok=True)
            descriptor = os.open(path, _OWN | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            written = 0
            while written < len(content):
                written += os.write(descriptor, content[written:])
            os.truncate(descriptor, written)
        finally:
            os.close(descriptor)


def _open_own(path: Path) -> int | None:
    """Open a regular file for writing that has no other name; `None` if it is something else, or is closed."""
    try:
        descriptor = os.open(path, _OWN)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Give errors without a path that of the file which is written, since the system does not know it then."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def read_small(path: Path, limit: int) -> bytes:
    """Return the content of a file that has at most `limit` bytes. Blocking.

    Raises:
        OSError: It cannot be read, is a pipe, which would block, or is larger; a device may have no end.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is a pipe", str(path))
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def is_directory(path: Path) -> bool:
    """Whether a path is a directory itself, not a link to one. Blocking."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def open_regular(path: Path) -> BinaryIO | None:
    """Open a regular file for reading; `None` for a pipe, a device or a directory. Blocking.

    It does not wait, whatever is at the path: opening a pipe blocks until a process writes to it (fifo(7)).

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """
    found = _open_regular(path)
    return os.fdopen(found[0], "rb") if found else None


def _open_regular(path: Path | str) -> tuple[int, int] | None:
    """Return a descriptor and the size of a regular file; as `open_regular` does."""
    mode = os.lstat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)  # it was replaced in between
    return None


def read_regular(path: Path | str, limit: int = 64 * 1024) -> bytes | None:
    """Return the content of a regular file; `None` for anything else, or more than `limit` bytes. Blocking."""
    try:
        if (found := _open_regular(path)) is None:
            return None
        descriptor, size = found
        try:  # file objects take several times as long, and a task reads dozens of files
            content = b""
            while len(content) <= limit:
                if not (more := os.read(descriptor, min(size or _BLOCK, limit) + 1)):
                    break
                content += more
        finally:
            os.close(descriptor)
    except OSError:
        return None
    return content if len(content) <= limit else None


def make_accessible(root: Path, *, files: bool = False) -> bool:
    """Give the owner full access to directories below `root`, and with `files` read access to files. Blocking.

    Returns:
        Whether any permission was missing.
    """
    changed, pending = False, [root]
    while pending:  # not os.walk: before Python 3.12, its depth is limited by the interpreter's stack
        directory = pending.pop()
        changed |= _allow(directory, stat.S_IRWXU)
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                elif files:
                    changed |= _allow(Path(entry.path), stat.S_IRUSR)
    return changed


def _allow(path: Path, wanted: int) -> bool:
    """Add permission bits to a file or a directory; not to the target of a link."""
    with suppress(OSError):
        mode = path.lstat().st_mode
        if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and mode & wanted != wanted:
            path.chmod(stat.S_IMODE(mode) | wanted)
            return True
    return False


def refuse_mounts(path: Path) -> None:
    """Raise an error if a file system is mounted at a path or below it, whose files are others'. Blocking.

    Raises:
        OSError: One is.
    """
    for point in mount_points(path.parent.resolve() / path.name):
        raise OSError(errno.EBUSY, "a file system is mounted there; unmount it", str(point))


def mount_points(path: Path) -> Iterator[Path]:
    """Yield where file systems are mounted, at a path without links and below it. Blocking.

    Mounts are known on Linux only (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return
    wanted, name = os.fsencode(path), os.fsencode(path.name)
    if name not in mounts and not _ESCAPED.search(name):  # the usual case: decoding every line takes longer
        return
    for line in mounts.splitlines():
        point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4])
        if point == wanted or point.startswith(wanted + b"/"):
            yield Path(os.fsdecode(point))


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory, if it exists. Blocking.

    Raises:
        OSError: It cannot be removed, or a file system is mounted in it.
    """
    if not is_directory(path):
        path.unlink(missing_ok=True)
        return
    refuse_mounts(path)
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        _remove_level_by_level(path)


def _remove_level_by_level(root: Path) -> None:
    """Remove a directory in which permissions are missing, or that is deeper than a path may be long.

    What is in a subdirectory is moved up, so that no path becomes longer, and nothing is recursive.
    """
    _allow(root, stat.S_IRWXU)
    pending, number = [entry.path for entry in os.scandir(root)], 0
    while pending:
        path = Path(pending.pop())
        if not is_directory(path):
            path.unlink()
            continue
        _allow(path, stat.S_IRWXU)
        for entry in list(os.scandir(path)):
            if entry.is_dir(follow_symlinks=False):
                _allow(Path(entry.path), stat.S_IRWXU)  # moving a directory changes its `..`
                number += 1
                above = root / f".removing-{number}-{os.urandom(4).hex()}"
                Path(entry.path).rename(above)
                pending.append(str(above))
            else:
                Path(entry.path).unlink()
        path.rmdir()
    root.rmdir()


def empty_directory(path: Path) -> None:
    """Remove everything in a directory. Blocking.

    Raises:
        OSError: Something cannot be removed.
    """
    for child in path.iterdir():
        remove(child)

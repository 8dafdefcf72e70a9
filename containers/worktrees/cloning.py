"""Copy trees of many files, as clones (reflinks) that share their blocks where the file system has them.

A clone takes no space until one of both files is changed
(https://man7.org/linux/man-pages/man2/ioctl_ficlone.2.html). Elsewhere than on Linux, files are copied as they
are. Owners, access control lists and extended attributes are not copied. Paths are strings, as objects for each
of many thousand files take longer than the system does.
"""

import fcntl
import os
import stat
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

from tasks.lazy.dataclasses import dataclass

FICLONE = getattr(fcntl, "FICLONE", 0x40049409)
CHUNK = 1 << 20


class Kind(Enum):
    """What is copied."""

    FILE = auto()
    LINK = auto()
    DIRECTORY = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be copied, and its path in the working tree."""

    kind: Kind
    source: str
    relative: str

    def content(self) -> bytes:
        """Return the content of a file, or the target of a link. Blocking."""
        match self.kind:
            case Kind.FILE:
                return Path(self.source).read_bytes()
            case Kind.LINK:
                return os.fsencode(Path(self.source).readlink())
        return b""


class TreeCopier:
    """Copies directories, files and links into a directory, which it never leaves through a link in it.

    `files` and `size` count the files that were not cloned, and their bytes.
    """

    def __init__(self, top: Path) -> None:
        self.files = 0
        self.size = 0
        self._top = top.resolve()
        self._entered = {"": True}
        self._modes: list[tuple[Path, int]] = []

    def copy(self, found: Found) -> None:
        """Copy a directory without its content, a file or a link, unless something is there. Blocking.

        Raises:
            OSError: It cannot be copied.
        """
        kind, source, relative = found.kind, found.source, found.relative
        if kind is Kind.DIRECTORY:
            self._enter(relative, source)
        elif self._enter(relative.rpartition("/")[0]):
            destination = f"{self._top}/{relative}"
            with suppress(FileExistsError):
                if kind is Kind.LINK:
                    Path(destination).symlink_to(Path(source).readlink())
                elif written := copy_file(source, destination):
                    self.files += 1
                    self.size += written

    def close(self) -> None:
        """Give the directories their modes, which may keep others from writing to them. Blocking."""
        while self._modes:
            path, mode = self._modes.pop()
            path.chmod(mode)

    def _enter(self, relative: str, source: str | None = None) -> bool:
        """Make a directory if it is missing; return whether it is one, and in the tree."""
        if relative in self._entered:
            return self._entered[relative]
        path, is_inside = self._top / relative, self._enter(relative.rpartition("/")[0])
        if is_inside:
            try:
                path.mkdir()
                if source:
                    self._modes.append((path, stat.S_IMODE(Path(source).stat().st_mode)))
            except FileExistsError:
                is_inside = path.is_dir() and path.resolve().is_relative_to(self._top)
        self._entered[relative] = is_inside
        return is_inside


def copy_file(source: str, destination: str) -> int:
    """Copy a regular file, with mode and times, and return the number of bytes written. Blocking.

    Raises:
        FileExistsError: Something is there.
        OSError: It cannot be copied.
    """
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(reading)
        if not stat.S_ISREG(status.st_mode):
            return 0
        mode = stat.S_IMODE(status.st_mode)
        writing = os.open(
            destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode | stat.S_IWUSR
        )
        try:
            written = 0 if _clone(reading, writing) else _write(reading, writing, status.st_size)
            os.fchmod(writing, mode)
            os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return written


def _clone(reading: int, writing: int) -> bool:
    """Clone an open file, if that is possible; to find out costs a few microseconds."""
    try:
        fcntl.ioctl(writing, FICLONE, reading)
    except OSError:
        return False
    return True


def _write(reading: int, writing: int, size: int) -> int:
    """Copy the content of an open file within the kernel if it can, and return the number of bytes."""
    written = 0
    with suppress(AttributeError, OSError):  # not on this system, or not between these file systems
        while written < size and (count := os.copy_file_range(reading, writing, size - written)):
            written += count
    while rest := memoryview(os.read(reading, CHUNK)):
        while rest:
            count = os.write(writing, rest)
            written += count
            rest = rest[count:]
    return written

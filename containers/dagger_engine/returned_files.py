"""Files that an engine writes into a worktree: given what git gives a file, and measured while they arrive.

An engine copies permissions with set-id bits, extended attributes (access control lists, capabilities) and
devices, and those of directories that it does not list as changed. In a container a task may be root.
"""

import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from containers.git.working_tree.task_files import GIT
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass

_READ_WRITE = 0o666
_USUAL = 0o755
_SECOND = 1_000_000_000
_LABELS = "security."
"""Attributes of this machine's security modules (https://man7.org/linux/man-pages/man7/xattr.7.html)."""
_CAPABILITY = "security.capability"


@dataclass(frozen=True, slots=True)
class ReturnedFiles:
    """What is written below a worktree from now on.

    `since` is the time in nanoseconds, by the clock of the file system. `program` are the permissions that a
    new program or directory gets, which depend on the umask.
    """

    root: Path
    since: int
    program: int

    @classmethod
    def expect(cls, root: Path) -> Self:
        """Return what will be written below a worktree after this call. Blocking."""
        with suppress(OSError), temporary_directory(root.parent, "modes") as temporary:
            probe = os.open(temporary / "probe", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o777)
            try:
                status = os.fstat(probe)
            finally:
                os.close(probe)
            return cls(root, status.st_ctime_ns, stat.S_IMODE(status.st_mode))
        return cls(root, time.time_ns() - _SECOND, _USUAL)

    def normalize(self) -> None:
        """Give the files the permissions that git gives, and remove devices, pipes and sockets. Blocking.

        Extended attributes are removed too. The worktree's own `.git` is left as it is.
        """
        for path, status in self._written():
            with suppress(OSError):
                if not stat.S_ISLNK(status.st_mode):
                    self._set_permissions(path, status.st_mode)
                _remove_attributes(path)

    def measure(self) -> tuple[int, int]:
        """Return how many files and directories there are, and the size of the files in bytes. Blocking."""
        found = [status for _, status in self._written()]
        return len(found), sum(status.st_size for status in found if stat.S_ISREG(status.st_mode))

    def _written(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Yield what was written; a directory before what is in it."""
        pending = [self.root]
        while pending:
            directory = pending.pop()
            for entry in _entries(directory):
                if entry.name == GIT and directory == self.root:
                    continue
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if status.st_ctime_ns >= self.since:
                        yield Path(entry.path), status
                    if stat.S_ISDIR(status.st_mode):
                        pending.append(Path(entry.path))

    def _set_permissions(self, path: Path, mode: int) -> None:
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            path.unlink()
            return
        is_program = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
        wanted = self.program if is_program else self.program & _READ_WRITE
        if stat.S_IMODE(mode) != wanted:
            path.chmod(wanted)


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(directory) as entries:
        return list(entries)
    return []


def _remove_attributes(path: Path) -> None:
    if sys.platform == "linux":
        for name in os.listxattr(path, follow_symlinks=False):
            if name == _CAPABILITY or not name.startswith(_LABELS):
                with suppress(OSError):
                    os.removexattr(path, name, follow_symlinks=False)

"""What of the system root alone may read or change: a task of root has its user id, and so no less."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from containers.filesystem import is_directory

PROC = Path("/proc")
_OF_PROCESSES = frozenset({"sysvipc", "pressure"})
"""Directories of `/proc` that are of the namespaces of the reader, or that change nothing but for it."""
_PRIVATE = (Path("/etc"), Path("/var"))
_DEPTH = 3
"""How deep files are looked for that are closed to others: `/etc/ssh/KEY`, `/var/lib/TOOL/FILE`."""
_MANY = 16
"""A directory with more files that are closed to others is hidden as a whole."""
_SHARED_HOMES = frozenset({"linuxbrew"})
"""Directories in `/home` with programs for all users."""


def kernel_settings() -> Iterator[Path]:
    """Yield what in `/proc` changes the whole system: the kernel lets root's user id write there. Blocking.

    Bubblewrap leaves it as it is where root is not its owner outside of a user namespace. With
    `/proc/sys/kernel/core_pattern`, a task would start a program as root (core(5)).
    """
    for path in sorted(PROC.iterdir()):
        if path.name.isdecimal() or path.is_symlink() or path.name in _OF_PROCESSES:
            continue
        with suppress(OSError):
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode) or mode & 0o222:
                yield path


def closed_to_others(directories: Iterable[Path] = _PRIVATE, depth: int = _DEPTH) -> Iterator[Path]:
    """Yield what in some directories other users than root may not read: keys, passwords, logs. Blocking."""
    for directory in directories:
        files: list[Path] = []
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                mode, path = entry.stat(follow_symlinks=False).st_mode, Path(entry.path)
                if stat.S_ISDIR(mode) and not mode & 0o005:
                    yield path
                elif stat.S_ISDIR(mode) and depth > 1:
                    yield from closed_to_others([path], depth - 1)
                elif stat.S_ISREG(mode) and not mode & 0o004:
                    files.append(path)
        yield from [directory] if len(files) > _MANY and directory not in _PRIVATE else files


def homes_of_others(home: Path | None) -> Iterator[Path]:
    """Yield the home directories of other users. Blocking."""
    for path in (Path("/root"), *(Path("/home").iterdir() if is_directory(Path("/home")) else ())):
        if is_directory(path) and path.name not in _SHARED_HOMES and not (home and home.is_relative_to(path)):
            yield path

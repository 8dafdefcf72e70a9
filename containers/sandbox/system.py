"""What of the system root alone may read or change: a task of root has its user id, and so no less."""

import math
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic

from containers.filesystem import is_directory

PROC = Path("/proc")
_OF_PROCESSES = frozenset({"sysvipc", "pressure"})
"""Directories of `/proc` that are of the namespaces of the reader, or that change nothing but for it."""
_NAME = 7
"""The number of the field of `/proc/net/unix` that has the name of a socket."""
_PRIVATE = ("/etc", "/var")
_DEPTH = 3
"""How deep files are looked for that are closed to others: `/etc/ssh/KEY`, `/var/lib/TOOL/FILE`."""
_MANY = 16
"""A directory with more files that are closed to others is hidden as a whole."""
_AGE = 10.0
"""Seconds after which is looked again, since the permissions of a file may change."""
_PAUSE = 1.0
"""Seconds after which is looked whether names changed: hundreds of directories have to be asked."""
HOMES = Path("/home")
_SHARED_HOMES = frozenset({"linuxbrew"})
"""Directories in `/home` with programs for all users."""


class RootFiles:
    """What a task of root would have, and another user has not. Its method is called by any thread, and blocks.

    Looking takes several milliseconds, so that tasks which start within `_AGE` share what one of them found,
    unless a name was added or removed since. Tasks that start within `_PAUSE` share it in any case.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: tuple[tuple[Path, ...], tuple[str, ...]] = ((), ())
        self._directories: dict[str, int] = {}
        self._looked = self._compared = -math.inf

    def find(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """Return what changes the whole system, and what other users may not read: keys, passwords, logs.

        The latter are paths without links on the way.
        """
        with self._lock:
            now = monotonic()
            if now - self._looked > _AGE or (now - self._compared > _PAUSE and self._has_changed()):
                self._directories = {}
                self._looked = now
                closed = tuple(_closed_to_others(_PRIVATE, _DEPTH, self._directories))
                self._found = tuple(kernel_settings()), closed
            return self._found

    def _has_changed(self) -> bool:
        self._compared = monotonic()
        try:
            for path, time in self._directories.items():  # as texts: there are hundreds, for each task
                if os.stat(path).st_mtime_ns != time:  # noqa: PTH116 - likewise
                    return True
        except OSError:
            return True
        return False


def kernel_settings() -> Iterator[Path]:
    """Yield what in `/proc` changes the whole system: the kernel lets root's user id write there. Blocking.

    Bubblewrap leaves it as it is where root is not its owner outside of a user namespace. With
    `/proc/sys/kernel/core_pattern`, a task would start a program as root (core(5)).
    """
    for path in PROC.iterdir():
        if path.name.isdecimal() or path.name in _OF_PROCESSES or path.is_symlink():
            continue
        with suppress(OSError):
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode) or mode & 0o222:
                yield path


def _closed_to_others(directories: Iterable[str], depth: int, seen: dict[str, int]) -> Iterator[str]:
    """Yield what in some directories other users may not read; note when the directories changed in `seen`."""
    for directory in directories:
        files: list[str] = []
        with suppress(OSError):
            seen[directory] = Path(directory).stat().st_mtime_ns  # before it is read
            with os.scandir(directory) as entries:
                found = [(entry.path, entry.stat(follow_symlinks=False).st_mode) for entry in entries]
            for path, mode in found:
                if stat.S_ISDIR(mode) and not mode & 0o005:
                    yield path
                elif stat.S_ISDIR(mode) and depth > 1:
                    yield from _closed_to_others([path], depth - 1, seen)
                elif stat.S_ISREG(mode) and not mode & 0o004:
                    files.append(path)
        yield from [directory] if len(files) > _MANY and directory not in _PRIVATE else files


def bound_sockets() -> Iterator[Path]:
    """Yield the files of sockets that servers of this machine have (proc_net(5)). Blocking.

    Others, as of a container with a network of its own, are not known.
    """
    with suppress(OSError):
        lines = (PROC / "net" / "unix").read_bytes().splitlines()[1:]
        names = {fields[_NAME] for line in lines if len(fields := line.split(None, _NAME)) > _NAME}
        yield from (Path(os.fsdecode(name)) for name in sorted(names) if name.startswith(b"/"))


def homes_of_others(home: Path | None) -> Iterator[Path]:
    """Yield the home directories of other users, also where links lead to them. Blocking."""
    homes = HOMES.resolve()
    for path in (Path("/root"), *(homes.iterdir() if is_directory(homes) else ())):
        with suppress(OSError):  # a link that leads nowhere
            real = path.resolve(strict=True)
            is_one = is_directory(real) and (real == path or real.stat().st_uid != 0)
            if is_one and path.name not in _SHARED_HOMES and not (home and home.is_relative_to(real)):
                yield real

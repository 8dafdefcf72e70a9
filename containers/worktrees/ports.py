"""Ports for the tasks of a run: a block for each slot, which no other run on this machine has meanwhile.

The locks are `flock`'s, like those of worktrees, on one file for each ten ports: so runs with other settings
exclude each other as well. Ports belong to the machine and not to a user, so the files are in a directory that
all users share. They are only ever opened for reading, and through no link: somebody else may have made them.
"""

import errno
import fcntl
import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

from containers.worktrees.worktree import PoolError

DIRECTORY = Path("/tmp/patchyard-ports")  # noqa: S108 - shared by all users, see above
PER_LOCK = 10
HIGHEST_PORT = 65535
TAKEN = frozenset({errno.EADDRINUSE, errno.EACCES})
"""Errors of bind(2) that say of a port that it cannot be used."""


class Ports:
    """Blocks of ports of one run. Methods block, and are called by one thread at a time.

    Args:
        base: The first port that may be given out.
        width: How many ports a slot gets; 0 for none.
        directory: Where the lock files are.
    """

    def __init__(self, base: int = 0, width: int = 0, *, directory: Path = DIRECTORY) -> None:
        self._base = base
        self._next = base
        self._width = width
        self._directory = directory
        self._locks: dict[int, int] = {}
        """Open files, by the number of the ten ports."""
        self._first: dict[int, int] = {}

    def of(self, slot: int) -> int | None:
        """Return the first port of a slot; `None` if slots get none."""
        return self._first.get(slot)

    def take(self, slot: int) -> None:
        """Give a slot the lowest block that is free and that nobody has.

        Raises:
            PoolError: There is none, or no lock file can be opened.
        """
        if not self._width:
            return
        while self._next + self._width - 1 <= HIGHEST_PORT:
            first, self._next = self._next, self._next + self._width
            if self._lock(first):
                self._first[slot] = first
                return
        raise PoolError(
            f"no {self._width} ports in a row from {self._base} on are free for slot {slot}; set a lower "
            "`port_base` or a smaller `port_width` in [worktree], or `port_width = 0` for tasks without ports"
        )

    def release(self) -> None:
        """Release all blocks for other runs."""
        while self._locks:
            os.close(self._locks.popitem()[1])
        self._first.clear()
        self._next = self._base

    def _lock(self, first: int) -> bool:
        """Lock the block that begins with a port; return whether it is this run's, and free."""
        last = first + self._width - 1
        tens = [ten for ten in range(first // PER_LOCK, last // PER_LOCK + 1) if ten not in self._locks]
        with ExitStack() as undo:
            for ten in tens:
                descriptor = self._lock_ten(ten)
                if descriptor is None:
                    return False
                undo.callback(self._unlock_ten, ten)
                self._locks[ten] = descriptor
            if not all(map(is_free, range(first, last + 1))):
                return False
            undo.pop_all()
        return True

    def _lock_ten(self, ten: int) -> int | None:
        """Return the open lock file of ten ports; `None` if another run has locked it.

        Raises:
            PoolError: It cannot be opened.
        """
        try:
            descriptor = _open(self._directory, f"{ten * PER_LOCK}.lock")
        except OSError as error:
            raise PoolError(
                f"cannot lock ports in {self._directory}: {error.strerror}; make it a directory that all users "
                "may write to, or set `port_width = 0` in [worktree] for tasks without ports"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return descriptor

    def _unlock_ten(self, ten: int) -> None:
        os.close(self._locks.pop(ten))


def is_free(port: int) -> bool:
    """Whether nothing listens at a TCP port of this machine, on any address. Blocking."""
    # On Linux one socket has the addresses of both families (ipv6(7)), where the machine has IPv6.
    found = _can_bind(socket.AF_INET6, port, of_both=True) if sys.platform == "linux" else None
    if found is None:
        found = all(_can_bind(one, port) is not False for one in (socket.AF_INET, socket.AF_INET6))
    return found


def _can_bind(family: socket.AddressFamily, port: int, *, of_both: bool = False) -> bool | None:
    """Whether nothing has a port; `None` if the system does not say, as without IPv6."""
    try:
        with socket.socket(family) as probe:
            if sys.platform == "linux":  # a port that was in use a moment ago is free, as for a server
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family is socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not of_both)
            probe.bind(("", port))
    except OSError as error:
        return False if error.errno in TAKEN else None
    return True


def _open(directory: Path, name: str) -> int:
    """Open a lock file, and make it and its directory if they are missing.

    The kernel may refuse `O_CREAT` for the file of another user in a directory like this
    (https://docs.kernel.org/admin-guide/sysctl/fs.html#protected-regular).
    """
    with suppress(FileExistsError):
        directory.mkdir()
        directory.chmod(0o777 | stat.S_ISVTX)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        for _ in range(2):
            with suppress(FileNotFoundError):
                return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
            with suppress(FileExistsError):
                return os.open(name, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=place)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=place)
    finally:
        os.close(place)

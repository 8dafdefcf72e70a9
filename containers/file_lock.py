"""A lock on a file, flock(2)'s: the system releases it when the process that holds it ends, however it ends."""

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

_POLL = 0.01
"""Seconds between two attempts at a lock that is waited for with a limit."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class FileLock:
    """A lock on a file, which is created and stays. One object holds it once; two objects exclude each other.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, timeout: float | None = None) -> bool:
        """Take the lock, and return whether it was free within `timeout` seconds. Blocking.

        Without a timeout this waits until it is free.

        Raises:
            OSError: The file cannot be opened, or its file system has no locks.
        """
        end = None if timeout is None else monotonic() + timeout
        while not self._take(waits=timeout is None):
            if end is None:
                continue  # the file was removed while this waited for it
            if monotonic() >= end:
                return False
            sleep(min(_POLL, end - monotonic() + _POLL / 10))
        return True

    def _take(self, *, waits: bool) -> bool:
        descriptor = os.open(self._path, _FLAGS, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
            if os.fstat(descriptor).st_nlink:  # else its holder has removed it: others lock another file
                self._descriptor, descriptor = descriptor, -1
                return True
        except BlockingIOError:
            return False
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return False

    def release(self) -> None:
        """Release the lock, if it is held; the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child process may have the descriptor until it executes
            os.close(descriptor)

"""Temporary files and directories of the program, which a later process sweeps after a kill. Blocking.

Each has a name that says what it is, and its process holds a lock on it (flock(2)), which the system releases
when the process ends, however it ends. So `sweep` removes what no living process holds, whatever its age. Child
processes do not inherit the lock.
"""

import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from containers.filesystem import errors_of, remove
from tasks.lazy.patterns import regex

_NAME = regex(r"\..+\.[0-9a-f]{8}\.patchyard", re.DOTALL)

_ATTEMPTS, _PAUSE = 100, 0.002
"""How often a file that is swept before it is locked is made, and the seconds in between."""


def temporary_path(parent: Path, purpose: str) -> Path:
    """Return a path for a temporary file or directory, which does not exist yet.

    Args:
        parent: The directory that is to have it.
        purpose: A word for people who find it.
    """
    return parent / f".{purpose}.{os.urandom(4).hex()}.patchyard"


@contextmanager
def temporary_directory(parent: Path, purpose: str) -> Iterator[Path]:
    """Make a directory that exists while in the context; only its owner may enter it. Blocking.

    Raises:
        OSError: It cannot be made.
    """
    with held_directory(temporary_path(parent, purpose)) as path:
        yield path


@contextmanager
def held_directory(path: Path) -> Iterator[Path]:
    """Make the directory at a `temporary_path`, which exists while in the context. Blocking.

    Raises:
        OSError: It cannot be made.
    """

    def make() -> int:
        path.mkdir(mode=0o700)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    descriptor = _hold(path, make)
    try:
        yield path
    finally:
        with suppress(OSError, RecursionError):
            remove(path)
        os.close(descriptor)


def write_atomically(
    path: Path, content: bytes | Iterable[bytes], *, mode: int | None = None, durable: bool = False
) -> None:
    """Write a file so that readers see the old content or the new, never a part of it. Blocking.

    Args:
        path: The file, which is replaced if it exists; its directory must exist.
        content: The whole content, or the pieces of it.
        mode: Permission bits, regardless of the umask; `None` for those that the umask gives.
        durable: Sync the content and the name to disk, so that the file is complete after a loss of power too.
            Without it, some file systems keep an empty file (https://lwn.net/Articles/322823/).

    Raises:
        OSError: The file cannot be written; the old one is unchanged.
    """
    # A name of its own: two processes may write the same file at the same time.
    temporary = temporary_path(path.parent, path.name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = _hold(temporary, lambda: os.open(temporary, flags, 0o666))
    try:
        with errors_of(path), os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync_directory(path: Path) -> None:
    """Sync the names in a directory to disk (https://man7.org/linux/man-pages/man2/fsync.2.html). Blocking.

    Raises:
        OSError: It cannot be synced.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hold(path: Path, make: Callable[[], int]) -> int:
    """Make a file or directory and lock it; return its descriptor.

    Where another process sweeps it before it is locked, it is made again.

    Raises:
        OSError: It cannot be made.
    """
    for left in range(_ATTEMPTS, 0, -1):
        try:
            descriptor = make()
        except (FileNotFoundError, FileExistsError):
            if left == 1 or not path.parent.is_dir():
                raise
        else:
            if _lock(descriptor) is not False and _is_at(path, descriptor):
                return descriptor
            os.close(descriptor)
        sleep(_PAUSE)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _lock(descriptor: int) -> bool | None:
    """Lock an open file; return whether it is locked now, `None` if the file system has no such locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    return False


def sweep(parent: Path) -> None:
    """Remove the temporary files and directories in a directory that no living process holds. Blocking.

    What cannot be removed is left.
    """
    with suppress(OSError), os.scandir(parent) as entries:
        found = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
        for path in found:
            _remove_unheld(path)


def _remove_unheld(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if _lock(descriptor) and _is_at(path, descriptor):
            with suppress(OSError, RecursionError):
                remove(path)
    finally:
        os.close(descriptor)

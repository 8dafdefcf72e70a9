"""A file system of its own, in memory, that can be filled. Only root can mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NO_MOUNT = "only root can mount a file system that is full or read-only"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason=NO_MOUNT)
FILLER = "filler"


@contextmanager
def mounted(path: Path, size: str) -> Iterator[None]:
    """A file system of its own, in memory, with room for so much."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def grow(path: Path, size: str) -> None:
    """Make room."""
    subprocess.run(["mount", "-o", f"remount,size={size}", path], check=True)


def fill(path: Path, left: int) -> None:
    """Fill a file system but for `left` bytes."""
    size = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize - left
    with (path / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, size))


def make_room(path: Path) -> None:
    """Remove what fills a file system."""
    (path / FILLER).unlink()

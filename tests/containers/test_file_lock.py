"""Tests of containers.file_lock."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest

from containers.file_lock import FileLock

HOLD = """
import sys, time
from pathlib import Path
from containers.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.acquire(0)
print("held", flush=True)
time.sleep(60)
"""


def test_two_objects_exclude_each_other(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert one.acquire(0)
    assert not other.acquire(0)
    one.release()
    assert other.acquire(0)
    other.release()
    other.release()
    assert (tmp_path / "lock").exists()


def test_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert not FileLock(path).acquire(0.05)
        holder.kill()
    assert FileLock(path).acquire(0)


def test_wait_for_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for timeout in (None, 20.0):
        one, other = FileLock(path), FileLock(path)
        one.acquire()
        release = threading.Timer(0.2, one.release)
        release.start()
        began = monotonic()
        assert other.acquire(timeout)
        assert monotonic() - began > 0.1
        other.release()
        release.join()


@pytest.mark.parametrize("timeout", [None, 0.5])
def test_file_that_was_removed_is_not_locked(tmp_path: Path, timeout: float | None) -> None:
    path = tmp_path / "lock"
    holder, waiting = FileLock(path), FileLock(path)
    holder.acquire()
    thread = threading.Thread(target=waiting.acquire, args=(timeout,))
    thread.start()
    sleep(0.1)
    path.unlink()
    holder.release()
    thread.join()
    assert path.exists()
    assert not FileLock(path).acquire(0)
    waiting.release()


def test_other_files_are_not_locked(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        FileLock(tmp_path / "directory").acquire(0)
    with pytest.raises(OSError, match="symbolic links"):
        FileLock(tmp_path / "link").acquire(0)
    assert FileLock(tmp_path / "pipe").acquire(0)  # and does not wait for a writer


def test_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    lock.acquire()
    with subprocess.Popen(["sleep", "60"]) as child:
        lock.release()
        assert FileLock(tmp_path / "lock").acquire(0)
        child.kill()

"""Temporary files and directories: one of a living process stays, one of a killed process is swept."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from containers.temporary import held_directory, sweep, temporary_directory, temporary_path, write_atomically

HOLDER = """
import sys, time
from pathlib import Path
from containers.temporary import temporary_directory
with temporary_directory(Path(sys.argv[1]), "held") as path:
    (path / "objects").mkdir()
    (path / "objects" / "secret").write_text("secret")
    print(path, flush=True)
    time.sleep(600)
"""


@contextmanager
def holder(parent: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Start a process that holds a temporary directory; yield both."""
    argv = [sys.executable, "-c", HOLDER, str(parent)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_directory_of_a_killed_process_is_swept_and_one_of_a_living_process_stays(tmp_path: Path) -> None:
    with holder(tmp_path) as (living, kept), holder(tmp_path) as (killed, left):
        for path in (kept, left):
            os.utime(path, (0, 0))  # age does not matter
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert {kept, left} == set(tmp_path.iterdir())
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [kept]
        assert (kept / "objects" / "secret").read_text() == "secret"
        assert living.poll() is None


def test_own_directory_is_held_too_and_removed_at_the_end(tmp_path: Path) -> None:
    with temporary_directory(tmp_path, "apply") as path:
        assert path.stat().st_mode & 0o777 == 0o700
        sweep(tmp_path)
        assert path.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_sweep_leaves_what_has_another_name_and_does_not_follow_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    place = tmp_path / "place"
    place.mkdir()
    for name in (".note.new", "wt-1", ".a.12345678.patchyard.txt"):
        (place / name).touch()
    temporary_path(place, "link").symlink_to(outside)
    os.mkfifo(temporary_path(place, "pipe"))
    before = {path.name for path in place.iterdir() if not path.is_fifo()}
    sweep(place)
    assert {path.name for path in place.iterdir()} == before
    assert (outside / "file").exists()
    sweep(tmp_path / "missing")


def test_unwritten_file_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    temporary_path(tmp_path, "run.json").write_bytes(b"half")
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), held_directory(tmp_path / "missing" / "scratch"):
        pass


def test_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_atomically(path, b"one")
    write_atomically(path, b"two", durable=True)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "note"
    write_atomically(path, b"", mode=0o666)
    assert path.stat().st_mode & 0o777 == 0o666


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(path, b"content")
    assert list(tmp_path.iterdir()) == [path]


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"as it was")
    path = tmp_path / "note"
    path.symlink_to(outside)
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert outside.read_bytes() == b"as it was"

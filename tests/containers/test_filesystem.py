"""Files and directories in any state that a task may leave."""

from pathlib import Path

import pytest

from containers.filesystem import write_atomically


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

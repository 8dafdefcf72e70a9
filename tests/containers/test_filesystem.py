"""Test files that are written in place."""

import os
from pathlib import Path

import pytest

from containers.filesystem import overwrite_file


def test_a_file_is_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "file"
    overwrite_file(path, b"first, and long")
    inode = path.stat().st_ino
    for content in (b"short", b"longer than that", b""):
        overwrite_file(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_ino == inode


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe"])
def test_what_leads_elsewhere_is_replaced(tmp_path: Path, kind: str) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_bytes(b"theirs")
    match kind:
        case "link":
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(tmp_path / "missing")
        case "hard link":
            os.link(other, path)
        case _:
            os.mkfifo(path)
    overwrite_file(path, b"ours")
    assert path.read_bytes() == b"ours"
    assert path.is_file()
    assert not path.is_symlink()
    assert other.read_bytes() == b"theirs"
    assert not (tmp_path / "missing").exists()


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as raised:
        overwrite_file(tmp_path, b"content")
    assert raised.value.filename == str(tmp_path)

"""Test files that are written in place."""

import errno
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


def test_all_of_it_is_written_or_an_error_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full takes a part, and refuses the next one."""
    write, left = os.write, 10

    def limited(descriptor: int, content: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(descriptor, content[: min(left, 4)])
        left -= written
        return written

    path = tmp_path / "file"
    monkeypatch.setattr(os, "write", limited)
    overwrite_file(path, b"10 letters")
    assert path.read_bytes() == b"10 letters"
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as raised:
        overwrite_file(path, b"more")
    assert raised.value.filename == str(path)


def test_a_file_that_may_not_be_written_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"of another user")
    opened = os.open

    def refuse(name: Path, flags: int, mode: int = 0o777) -> int:
        if not flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(name))
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    overwrite_file(path, b"ours")
    assert path.read_bytes() == b"ours"


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

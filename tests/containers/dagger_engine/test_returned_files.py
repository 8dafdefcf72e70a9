"""What an engine writes into a worktree is given the permissions of git, wherever it is."""

import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers.dagger_engine.returned_files import ReturnedFiles

ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((1, 7, 2**32 - 1), (2, 7, 1234), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1), (32, 5, 2**32 - 1))
)
"""An access control list that lets user 1234 write: see `linux/posix_acl_xattr.h`."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A worktree with files from before."""
    root = tmp_path / "pool" / "wt-1"
    (root / "kept").mkdir(parents=True)
    (root / "kept" / "private").write_text("x")
    (root / "kept" / "private").chmod(0o600)
    (root / "kept").chmod(0o700)
    time.sleep(0.05)  # the clock of a file system may advance only every 10 ms
    return root


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that lets nobody else read."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_that_was_written_and_nothing_else(root: Path) -> None:
    returned = ReturnedFiles.expect(root)
    (root / "new").mkdir()
    (root / "new" / "tool").write_text("x")
    (root / "new" / "tool").chmod(0o6755)
    (root / "new" / "file").write_text("x")
    (root / "new" / "file").chmod(0o666)
    (root / "new").chmod(0o6777)
    returned.normalize()
    assert mode(root / "new") == mode(root / "new" / "tool") == 0o755
    assert mode(root / "new" / "file") == 0o644
    assert (mode(root / "kept"), mode(root / "kept" / "private")) == (0o700, 0o600)


def test_a_directory_of_which_only_the_permissions_changed(root: Path) -> None:
    returned = ReturnedFiles.expect(root)
    (root / "kept").chmod(0o6777)
    returned.normalize()
    assert mode(root / "kept") == 0o755


@pytest.mark.usefixtures("umask")
def test_the_umask_is_honoured(root: Path) -> None:
    returned = ReturnedFiles.expect(root)
    for name, given in (("file", 0o644), ("tool", 0o755)):
        (root / name).write_text("x")
        (root / name).chmod(given)
    (root / "new").mkdir()
    (root / "new").chmod(0o755)
    returned.normalize()
    assert (mode(root / "file"), mode(root / "tool"), mode(root / "new")) == (0o600, 0o700, 0o700)


def test_special_files_are_removed_and_links_are_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o666)
    returned = ReturnedFiles.expect(root)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("..")
    returned.normalize()
    assert sorted(path.name for path in root.iterdir()) == ["kept", "link", "up"]
    assert mode(outside) == 0o666


def test_directories_without_permissions_are_looked_into(root: Path) -> None:
    returned = ReturnedFiles.expect(root)
    (root / "closed" / "deep").mkdir(parents=True)
    os.mkfifo(root / "closed" / "deep" / "pipe")
    (root / "closed" / "deep").chmod(0)
    (root / "closed").chmod(0)
    returned.normalize()
    assert list((root / "closed" / "deep").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="attributes as on Linux")
def test_attributes_are_removed(root: Path) -> None:
    def set_attribute(path: Path, name: str, value: bytes) -> None:
        try:
            os.setxattr(path, name, value)
        except OSError as error:
            pytest.skip(f"{name}: {error.strerror}")

    (root / ".git").mkdir()
    returned = ReturnedFiles.expect(root)
    (root / "file").write_text("x")
    for path in (root / "file", root / "kept", root / ".git"):
        set_attribute(path, "system.posix_acl_access", ACL)
        set_attribute(path, "user.note", b"x")
    set_attribute(root / "kept", "system.posix_acl_default", ACL)
    returned.normalize()
    assert os.listxattr(root / "file") == os.listxattr(root / "kept") == []
    assert os.listxattr(root / ".git")
    assert mode(root / "file") == 0o755  # what the list gives the owner


def test_size_counts_what_was_written(root: Path) -> None:
    returned = ReturnedFiles.expect(root)
    with (root / "holes").open("wb") as file:
        file.truncate(5_000_000)
    (root / "file").write_text("x")
    assert returned.measure()[1] == 5_000_001

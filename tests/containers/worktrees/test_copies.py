"""Files of the user's tree that are copied into worktrees: whole directories, cloned where that is possible."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from reflinks import with_reflinks
from repositories import Clone, contents, write

from containers.git.repository import Repository
from containers.worktrees.copies import Copies
from containers.worktrees.worktree import CopyError

MODULES = "node_modules"


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    path = tmp_path / "pool" / "wt-1"
    path.mkdir(parents=True)
    return path


def copies(clone: Clone, worktree: Path, *patterns: str, notices: list[str] | None = None) -> Copies:
    found: list[str] = [] if notices is None else notices
    repository = Repository.open(clone.path, clone.user.environ)
    return Copies(repository, worktree.parent, patterns or [MODULES], found.append)


def packages(root: Path, number: int = 3, size: int = 1000) -> None:
    """Dependencies as package managers install them: with programs, links and an empty directory."""
    for package in range(number):
        write(root / MODULES, {f"p{package}/lib/{name}.js": os.urandom(size) for name in "ab"})
    write(root / MODULES, {"p0/cli": "#!/bin/sh\n"})
    (root / MODULES / "p0/cli").chmod(0o755)
    (root / MODULES / ".bin").mkdir()
    (root / MODULES / ".bin/cli").symlink_to("../p0/cli")
    (root / MODULES / "p").symlink_to("p1")
    (root / MODULES / "empty").mkdir(mode=0o700)
    os.utime(root / MODULES / "p0/cli", ns=(10**18, 10**18))


def test_a_directory_is_copied_with_modes_times_and_links(clone: Clone, worktree: Path) -> None:
    packages(clone.path)
    copies(clone, worktree).copy_into(worktree)
    there = worktree / MODULES
    assert contents(there) == contents(clone.path / MODULES)
    assert (there / "p0/cli").stat().st_mode & 0o777 == 0o755
    assert (there / "p0/cli").stat().st_mtime_ns == 10**18
    assert (there / ".bin/cli").readlink() == Path("../p0/cli")
    assert (there / "p").readlink() == Path("p1")
    assert (there / "empty").stat().st_mode & 0o777 == 0o700
    (there / "p0/cli").write_text("changed")
    assert (clone.path / MODULES / "p0/cli").read_text() == "#!/bin/sh\n"


def test_a_directory_that_nobody_may_write_to_is_copied(clone: Clone, worktree: Path) -> None:
    packages(clone.path)
    for path in (clone.path / MODULES / "p1/lib", clone.path / MODULES / "p1/lib/a.js"):
        path.chmod(path.stat().st_mode & ~0o222)
    copies(clone, worktree).copy_into(worktree)
    assert contents(worktree / MODULES) == contents(clone.path / MODULES)
    assert (worktree / MODULES / "p1/lib").stat().st_mode & 0o222 == 0
    assert (worktree / MODULES / "p1/lib/a.js").stat().st_mode & 0o222 == 0


def test_what_the_commit_has_stays(clone: Clone, worktree: Path) -> None:
    packages(clone.path)
    write(worktree / MODULES, {"p0/lib/a.js": "tracked", "p1": "a file"})
    copies(clone, worktree).copy_into(worktree)
    assert (worktree / MODULES / "p0/lib/a.js").read_text() == "tracked"
    assert (worktree / MODULES / "p1").read_text() == "a file"
    assert (worktree / MODULES / "p0/lib/b.js").exists()


@pytest.mark.parametrize("target", ["../../outside", "/etc", "p0/../../../outside/key"])
def test_links_out_of_the_repository_are_left_out(
    clone: Clone, worktree: Path, tmp_path: Path, target: str
) -> None:
    write(tmp_path / "outside", {"key": "k"})
    packages(clone.path)
    (clone.path / MODULES / "out").symlink_to(target)
    (clone.path / MODULES / "p2/README").symlink_to("../../README.md")
    copies(clone, worktree).copy_into(worktree)
    assert not (worktree / MODULES / "out").is_symlink()
    assert (worktree / MODULES / "p2/README").readlink() == Path("../../README.md"), "this one is inside"


def test_no_link_in_the_worktree_is_followed(clone: Clone, worktree: Path, tmp_path: Path) -> None:
    packages(clone.path)
    (tmp_path / "outside").mkdir()
    (worktree / MODULES).mkdir()
    (worktree / MODULES / "p0").symlink_to(tmp_path / "outside")
    copies(clone, worktree).copy_into(worktree)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (worktree / MODULES / "p1/lib/a.js").exists()


def test_pipes_and_sockets_are_left_out(clone: Clone, worktree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages(clone.path)
    os.mkfifo(clone.path / MODULES / "pipe")
    monkeypatch.chdir(clone.path / MODULES)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        copies(clone, worktree).copy_into(worktree)
    assert {"pipe", "socket"}.isdisjoint(contents(worktree / MODULES))


def test_the_pool_is_not_copied_into_itself(clone: Clone) -> None:
    write(clone.path, {"build/x": "x", "build/pool/wt-1/y": "y"})
    worktree = clone.path / "build/pool/wt-1"
    copies(clone, worktree, "build").copy_into(worktree)
    assert set(contents(worktree)) == {"y", "build/x"}


def test_how_much_is_written_is_a_notice_once(clone: Clone, worktree: Path) -> None:
    packages(clone.path, size=400_000)
    notices: list[str] = []
    one = copies(clone, worktree, notices=notices)
    for name in ("wt-1", "wt-2"):
        (worktree.parent / name).mkdir(exist_ok=True)
        one.copy_into(worktree.parent / name)
    if not notices:
        pytest.skip("the file system of the tests has reflinks")
    (notice,) = notices
    assert notice == (
        f"copy: 2.4 MB in 7 files are written for each task, since {worktree.parent} cannot share them with "
        "the checkout; on one file system with reflinks, such as Btrfs or XFS, they would take no space"
    )
    few: list[str] = []
    copies(clone, worktree, f"{MODULES}/p0/cli", notices=few).copy_into(worktree.parent)
    assert few == []


def test_files_are_cloned_where_that_is_possible(make_repository: Callable[..., Clone], tmp_path: Path) -> None:
    place = tmp_path / "reflinks"
    with with_reflinks(place):
        clone = make_repository("reflinks/repo", {"README.md": "x"})
        packages(clone.path, number=10, size=3_000_000)
        os.sync()
        before = os.statvfs(place)
        worktree = place / "pool" / "wt-1"
        worktree.mkdir(parents=True)
        notices: list[str] = []
        copies(clone, worktree, notices=notices).copy_into(worktree)
        os.sync()
        after = os.statvfs(place)
        assert contents(worktree / MODULES) == contents(clone.path / MODULES)
        assert (before.f_bfree - after.f_bfree) * before.f_frsize < 6_000_000, "of 60 MB"
        (worktree / MODULES / "p0/lib/a.js").write_text("changed")
        assert len((clone.path / MODULES / "p0/lib/a.js").read_bytes()) == 3_000_000
    assert notices == []


def test_the_digest_is_of_paths_modes_and_contents(clone: Clone, worktree: Path) -> None:
    packages(clone.path)
    digests = [copies(clone, worktree).digest()]
    assert copies(clone, worktree).digest() == digests[0]
    (clone.path / MODULES / "p0/cli").chmod(0o700)
    digests.append(copies(clone, worktree).digest())
    (clone.path / MODULES / "p0/cli").write_text("other")
    digests.append(copies(clone, worktree).digest())
    (clone.path / MODULES / "p").unlink()
    (clone.path / MODULES / "p").symlink_to("p2")
    digests.append(copies(clone, worktree).digest())
    assert len(set(digests)) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_cannot_be_read_is_named(clone: Clone, worktree: Path) -> None:
    packages(clone.path)
    (clone.path / MODULES / "p1").chmod(0)
    with pytest.raises(CopyError, match=r"copy: cannot read .*/p1: Permission denied"):
        copies(clone, worktree).copy_into(worktree)

"""Objects of Git LFS are uploaded with a push, with the real git-lfs."""

import hashlib
import shutil
from pathlib import Path

import pytest
from repositories import Clone

from containers.git.remote.remotes import Push
from containers.git.repository import Repository

NEEDED = pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed")


@pytest.fixture
def stored(clone: Clone, tmp_path: Path) -> Clone:
    """A repository whose `*.bin` are in Git LFS, with a remote."""
    clone.git("init", "--quiet", "--bare", tmp_path / "remote.git")
    clone.git("remote", "add", "origin", f"file://{tmp_path}/remote.git")
    clone.git("lfs", "install", "--local")
    clone.commit({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "old.bin": b"old" * 99})
    clone.git("push", "--quiet", "origin", "main")
    return clone


def objects(directory: Path) -> set[str]:
    """Return the names of the LFS objects of a repository."""
    return {path.name for path in (directory / "lfs/objects").rglob("*") if path.is_file()}


@NEEDED
def test_objects_of_a_patch_are_uploaded_with_its_branch(stored: Clone, tmp_path: Path) -> None:
    repository = Repository.open(stored.path, stored.user.environ)
    checkout = repository.add_worktree(tmp_path / "pool" / "wt-1", stored.head)
    checkout.reset(stored.head)
    (checkout.path / "new.bin").write_bytes(b"new" * 1000)
    patch = checkout.patch(stored.head)
    commit = repository.commit(patch.tree, [stored.head], "large")
    before = (stored.path / ".git/config").read_bytes()

    results = repository.remote("origin").push([Push("large", commit, None)], None)

    assert [one.error for one in results] == [None]
    expected = {hashlib.sha256(content).hexdigest() for content in (b"old" * 99, b"new" * 1000)}
    assert objects(tmp_path / "remote.git") == expected
    assert (stored.path / ".git/config").read_bytes() == before


@NEEDED
def test_a_branch_whose_objects_cannot_be_uploaded_is_not_pushed(stored: Clone) -> None:
    commit = stored.commit({"new.bin": b"new" * 1000})
    shutil.rmtree(stored.path / ".git/lfs/objects")
    (stored.path / ".git/lfs/objects").mkdir()

    (result,) = (
        Repository.open(stored.path, stored.user.environ)
        .remote("origin")
        .push([Push("large", commit, None)], None)
    )

    assert result.error
    assert result.error.startswith("the objects of Git LFS cannot be sent to origin: ")
    assert stored.git("ls-remote", "origin", "large") == ""


def test_without_git_lfs_the_push_says_what_is_missing(clone: Clone, tmp_path: Path) -> None:
    clone.git("init", "--quiet", "--bare", tmp_path / "remote.git")
    clone.git("remote", "add", "origin", tmp_path / "remote.git")
    (clone.path / ".git/lfs/objects").mkdir(parents=True)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    environ = {**clone.user.environ, "PATH": str(programs)}

    (result,) = Repository.open(clone.path, environ).remote("origin").push([Push("a", clone.head, None)], None)

    assert result.error == (
        "the objects of Git LFS cannot be sent to origin: git-lfs is not on PATH; install it"
    )

"""A commit that is written as a file is the same as git's; what git would change is left to git."""

import pytest
from repositories import Clone

from containers.git.command import Git
from containers.git.commit_cache import CommitCache
from containers.git.object_writer import CommitWriter
from containers.git.signatures import Identity, Signature, create_commit

DATE = "@1700000000 +0530"


def writer(clone: Clone) -> CommitWriter:
    """What creates the commits of a repository."""
    git = Git.find(clone.user.environ, clone.path)
    return CommitWriter(git, clone.path / ".git", CommitCache(git))


def written(clone: Clone, message: bytes, signature: Signature) -> tuple[str | None, str]:
    """Return the commit that is written, and the one that git makes of the same."""
    git, tree = Git.find(clone.user.environ, clone.path), clone.git("rev-parse", "HEAD^{tree}")
    mine = writer(clone).write(tree, [clone.head], message, signature)
    return mine, create_commit(git, tree, [clone.head], message, signature)


@pytest.mark.parametrize("name", ["Uma User", "Ünï Cödé", "a", "J. R. de-la O'Hara", "名前", "Uma (she)"])
@pytest.mark.parametrize("message", ["feat: a\n", "a", "", "ünï\n\n  b \n\n\n", "\U0001f600"])
def test_commit_is_the_one_that_git_makes(clone: Clone, name: str, message: str) -> None:
    signature = Signature(Identity(name, "uma+x@example.com"), DATE)
    mine, gits = written(clone, message.encode(), signature)
    assert mine == gits
    clone.git("fsck", "--strict")
    assert (clone.path / ".git/objects" / gits[:2] / gits[2:]).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    "signature",
    [
        Signature(Identity("Uma.", "uma@example.com"), DATE),
        Signature(Identity(" Uma", "uma@example.com"), DATE),
        Signature(Identity("U <m> a", "uma@example.com"), DATE),
        Signature(Identity('"Uma"', "uma@example.com"), DATE),
        Signature(Identity("U\nma", "uma@example.com"), DATE),
        Signature(Identity("Uma", "<uma@example.com>"), DATE),
        Signature(Identity("Uma", "uma@example.com"), "@1700000000 -0000"),
        Signature(Identity("Uma", "uma@example.com"), "2020-01-01T00:00:00+0000"),
        Signature(Identity("Uma", "uma@example.com")),
    ],
)
def test_signature_that_git_would_change_is_left_to_git(clone: Clone, signature: Signature) -> None:
    mine, gits = written(clone, b"a\n", signature)
    assert mine is None
    assert gits


@pytest.mark.parametrize("message", [b"\xff\n", "\ufdd0".encode(), "\U0001ffff".encode()])
def test_message_that_git_would_change_is_left_to_git(clone: Clone, message: bytes) -> None:
    assert written(clone, message, Signature(Identity("Uma", "uma@example.com"), DATE))[0] is None


def test_missing_tree_and_shared_permissions_are_left_to_git(clone: Clone) -> None:
    signature = Signature(Identity("Uma", "uma@example.com"), DATE)
    commits, tree = writer(clone), clone.git("rev-parse", "HEAD^{tree}")
    assert commits.write("0" * 40, [clone.head], b"a", signature) is None
    assert commits.write(tree, [clone.head, clone.head], b"a", signature) is None
    clone.git("config", "core.sharedRepository", "group")
    assert writer(clone).write(tree, [clone.head], b"a", signature) is None


def test_damaged_file_of_the_commit_is_written_again(clone: Clone) -> None:
    signature = Signature(Identity("Uma", "uma@example.com"), DATE)
    commits, tree = writer(clone), clone.git("rev-parse", "HEAD^{tree}")
    name = commits.write(tree, [clone.head], b"a", signature)
    assert name
    assert commits.write(tree, [clone.head], b"a", signature) == name
    path = clone.path / ".git/objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    assert commits.write(tree, [clone.head], b"a", signature) == name
    assert clone.git("cat-file", "commit", name).endswith("\na")
    assert (clone.path / ".git/patchyard/damaged" / name).read_bytes() == b""

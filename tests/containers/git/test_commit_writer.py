"""A commit that is written as a file is the same as git's; what git would change is left to git."""

import pytest
from repositories import Clone

from containers.git.commit_writer import write_commit
from containers.git.commits import Identity, Signature, create_commit
from containers.git.repository import Repository

DATE = "@1700000000 +0530"


def written(clone: Clone, message: bytes, signature: Signature) -> tuple[str | None, str]:
    """Return the commit that is written, and the one that git makes of the same."""
    tree = clone.git("rev-parse", "HEAD^{tree}")
    mine = write_commit(clone.path / ".git", tree, [clone.head], message, signature)
    repository = Repository.open(clone.path, clone.user.environ)
    return mine, create_commit(repository._git, tree, [clone.head], message, signature)  # noqa: SLF001


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
    common, tree = clone.path / ".git", clone.git("rev-parse", "HEAD^{tree}")
    assert write_commit(common, "0" * 40, [clone.head], b"a", signature) is None
    assert write_commit(common, tree, [clone.head, clone.head], b"a", signature) is None
    clone.git("config", "core.sharedRepository", "group")
    assert write_commit(common, tree, [clone.head], b"a", signature) is None


def test_damaged_file_of_the_commit_is_left_to_git(clone: Clone) -> None:
    signature = Signature(Identity("Uma", "uma@example.com"), DATE)
    common, tree = clone.path / ".git", clone.git("rev-parse", "HEAD^{tree}")
    name = write_commit(common, tree, [clone.head], b"a", signature)
    assert name
    assert write_commit(common, tree, [clone.head], b"a", signature) == name
    path = common / "objects" / name[:2] / name[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    assert write_commit(common, tree, [clone.head], b"a", signature) is None

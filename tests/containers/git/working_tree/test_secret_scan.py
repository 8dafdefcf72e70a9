"""A secret that a task left is found before it gets into the repository's objects."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import Clone, write

from containers.git.repository import Repository
from containers.git.working_tree.checkout import Checkout
from containers.git.working_tree.errors import SecretFoundError
from tasks.secrets import Secrets

SECRET = "s3cr3t-value-4711"
KEY = "-----BEGIN KEY-----\nAAAAAAAAAAAAAAAAAAAA\nBBBBBBBBBBBBBBBBBBBB\n-----END KEY-----\n"
SECRETS = Secrets({"API_KEY": SECRET, "SSH_KEY": KEY})


@pytest.fixture
def clone(make_repository: Callable[..., Clone]) -> Clone:
    return make_repository("repo", {"README.md": "# Sample\n", "old.txt": f"a\nkey {SECRET}\nb\n" + "c\n" * 20})


@pytest.fixture
def checkout(clone: Clone, tmp_path: Path) -> Checkout:
    checkout = Repository.open(clone.path, clone.user.environ).add_worktree(tmp_path / "wt-1", clone.head)
    checkout.reset(clone.head)
    return checkout


def objects(clone: Clone) -> set[str]:
    return set(clone.git("cat-file", "--batch-check", "--batch-all-objects").split("\n"))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"a": f"x={SECRET}\n"}, "API_KEY in a"),
        ({"ü b\n": f"x={SECRET}"}, "API_KEY in ü b\n"),
        ({"a.bin": b"\0\1" + SECRET.encode() + b"\2"}, "API_KEY in a.bin"),
        ({"key": f"x\n{KEY}y\n"}, "SSH_KEY in key"),
        ({"key.bin": b"\0" + KEY.encode()}, "SSH_KEY in key.bin"),
        ({"old.txt": "gone\n"}, "API_KEY in old.txt"),
        ({"old.txt": f"A\nkey {SECRET}\nb\n" + "c\n" * 20}, "API_KEY in old.txt"),
        ({"a": b64encode(f"user:{SECRET}".encode())}, "API_KEY in a"),
        ({f"d/{SECRET}/f": "x"}, None),
    ],
)
def test_patch_with_a_secret_is_withheld(
    clone: Clone, checkout: Checkout, files: dict[str, str | bytes], found: str | None
) -> None:
    message = f"the patch holds the value of {found}, so it is withheld"
    if found is None:
        message = "the name of a file holds the value of API_KEY, so the patch is withheld"
    before = objects(clone)
    write(checkout.path, files)
    write(checkout.path, {"harmless": "x"})
    with pytest.raises(SecretFoundError) as error:
        checkout.patch(clone.head, secrets=SECRETS)
    assert str(error.value) == message
    assert objects(clone) == before
    assert [path.name for path in (clone.path / ".git/patchyard").iterdir() if path.is_dir()] == []
    for name in files:
        (checkout.path / name).unlink()
    clone.user.git("checkout", "-q", "--", ".", cwd=checkout.path)
    assert checkout.patch(clone.head, secrets=SECRETS).files == ("harmless",)


@pytest.mark.parametrize("before", [1, 1 << 20, (1 << 20) - 60, 2_500_000])
@pytest.mark.parametrize(
    ("filler", "value", "name"),
    [
        ("line\n", KEY, "SSH_KEY"),
        ("line\n", SECRET, "API_KEY"),
        ("x", SECRET, "API_KEY"),
        ("\0", KEY, "SSH_KEY"),
    ],
)
def test_secret_in_a_large_file_is_found(  # noqa: PLR0913, PLR0917 - the parts of the file
    clone: Clone, checkout: Checkout, before: int, filler: str, value: str, name: str
) -> None:
    """Wherever it is in the pieces that are read, also over several lines, and with the right file."""
    content = (filler * (before // len(filler))) + value + filler * 50_000
    write(checkout.path, {"a": "first\n", "b": filler * 300_000, "c": content, "d": "last\n"})
    with pytest.raises(SecretFoundError, match=f"the value of {name} in c,"):
        checkout.patch(clone.head, secrets=SECRETS)


def test_link_target_with_a_secret_is_withheld(clone: Clone, checkout: Checkout) -> None:
    (checkout.path / "link").symlink_to(f"/x/{SECRET}")
    with pytest.raises(SecretFoundError, match="in link"):
        checkout.patch(clone.head, secrets=SECRETS)


def test_search_does_not_change_a_patch_without_secrets(clone: Clone, checkout: Checkout) -> None:
    write(checkout.path, {"a": "x\n", "b.bin": b"\0\1\2", "n/f": "nested"})
    clone.user.git("init", "-q", cwd=checkout.path / "n")
    patch = checkout.patch(clone.head, secrets=SECRETS)
    assert patch == checkout.patch(clone.head)
    assert patch.files == ("a", "b.bin", "n/f")
    assert clone.git("cat-file", "-t", patch.tree) == "tree"


def test_secret_already_in_the_file_is_allowed(clone: Clone, checkout: Checkout) -> None:
    text = (clone.path / "old.txt").read_text()
    write(checkout.path, {"old.txt": text + "new\n"})
    assert checkout.patch(clone.head, secrets=SECRETS).files == ("old.txt",)


def test_secret_in_an_ignored_file_is_allowed(clone: Clone, checkout: Checkout) -> None:
    write(checkout.path, {".gitignore": "*.log\n", "a.log": SECRET, ".env": SECRET})
    assert checkout.patch(clone.head, exclude=["/.env"], secrets=SECRETS).files == (".gitignore",)


def test_secret_in_the_baseline_is_allowed(clone: Clone, checkout: Checkout) -> None:
    write(checkout.path, {"conf": f"x={SECRET}\n"})
    baseline = checkout.snapshot()
    write(checkout.path, {"a": "x\n"})
    assert checkout.patch(clone.head, baseline=baseline, secrets=SECRETS).files == ("a",)

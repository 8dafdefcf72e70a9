"""The user's checkout, changed by a tree: submodules, an index that is split or locked, and a roll back."""

from pathlib import Path

import pytest
from repositories import Clone

from containers.git.repository import GitError, Repository
from containers.git.user_checkout import CheckoutError, UserCheckout


def opened(clone: Clone) -> UserCheckout:
    return UserCheckout(Repository.open(clone.path, clone.user.environ))


def tree_of(clone: Clone, files: dict[str, str]) -> str:
    """Return the tree of a commit with changed files, which is not checked out."""
    clone.git("checkout", "--quiet", "--detach")
    clone.commit(files)
    tree = clone.git("rev-parse", "HEAD^{tree}")
    clone.git("checkout", "--quiet", "main")
    return tree


def switch(checkout: UserCheckout, tree: str) -> None:
    checkout.switch(tree, checkout.changes_to(tree))


def test_a_submodule_is_recorded_and_its_checkout_left_alone(clone: Clone, tmp_path: Path) -> None:
    user, library = clone.user, tmp_path / "library"
    user.git("init", "--quiet", library, cwd=tmp_path)
    for name in ("first", "second"):
        user.git("commit", "--quiet", "--allow-empty", "--message", name, cwd=library)
    second, first = user.git("log", "--format=%H", cwd=library).split()
    clone.git("submodule", "--quiet", "add", library, "lib")
    user.git("checkout", "--quiet", first, cwd=clone.path / "lib")
    clone.git("commit", "--quiet", "--all", "--message", "add lib")
    clone.git("update-index", "--cacheinfo", f"160000,{second},lib")
    tree = clone.git("write-tree")
    clone.git("reset", "--quiet")

    switch(opened(clone), tree)

    assert clone.git("ls-files", "--stage", "lib").startswith(f"160000 {second}")
    assert user.git("rev-parse", "HEAD", cwd=clone.path / "lib") == first


def test_a_file_that_only_looks_changed_is_not_one(clone: Clone) -> None:
    path = clone.path / "README.md"
    path.write_bytes(path.read_bytes())
    path.touch()

    assert opened(clone).changed_paths() == ()


def test_changes_that_git_was_asked_not_to_see_are_kept(clone: Clone) -> None:
    tree = tree_of(clone, {"README.md": "theirs\n", "new/file": "x\n"})
    clone.git("update-index", "--assume-unchanged", "README.md")
    (clone.path / "README.md").write_text("mine, not to be seen\n")

    with pytest.raises(CheckoutError, match="nothing was applied"):
        switch(opened(clone), tree)

    assert (clone.path / "README.md").read_text() == "mine, not to be seen\n"
    assert not (clone.path / "new").exists()


def test_a_locked_index_is_reported(clone: Clone) -> None:
    tree = tree_of(clone, {"README.md": "theirs\n"})
    (clone.path / ".git" / "index.lock").touch()

    with pytest.raises((CheckoutError, GitError), match=r"index\.lock"):
        switch(opened(clone), tree)
    assert clone.git("status", "--porcelain", "--untracked-files=no") == ""


def test_what_was_written_before_a_failure_is_taken_back(clone: Clone) -> None:
    before = (clone.path / "README.md").read_text()
    tree = tree_of(
        clone,
        {"README.md": "theirs\n", "a/b/new": "x\n", "z.bad": "x\n", ".gitattributes": "*.bad filter=bad\n"},
    )
    clone.git("config", "filter.bad.smudge", "false")
    clone.git("config", "filter.bad.required", "true")

    with pytest.raises(CheckoutError, match="filter"):
        switch(opened(clone), tree)

    assert clone.git("status", "--porcelain") == ""
    assert (clone.path / "README.md").read_text() == before
    assert not (clone.path / "a").exists()


def test_a_file_becomes_a_directory_and_the_reverse(clone: Clone) -> None:
    clone.git("checkout", "--quiet", "--detach")
    clone.git("rm", "--quiet", "-r", "src")
    clone.commit({"src": "a file\n"})
    tree = clone.git("rev-parse", "HEAD^{tree}")
    clone.git("checkout", "--quiet", "main")
    checkout = opened(clone)

    assert checkout.in_the_way(checkout.changes_to(tree)) == ()
    switch(checkout, tree)
    assert (clone.path / "src").read_text() == "a file\n"
    clone.git("reset", "--quiet", "--hard")
    (clone.path / "src" / "mine").write_text("x")
    assert checkout.in_the_way(checkout.changes_to(tree)) == ("src/mine",)

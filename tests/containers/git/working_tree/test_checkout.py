"""A worktree is reset to exactly what a commit holds, whatever a task did there."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import Clone, User, contents, write
from task_scripts import TASKS

from containers.filesystem import remove
from containers.git.repository import GitError, Repository
from containers.git.working_tree.checkout import Checkout
from containers.git.working_tree.errors import BrokenWorktreeError
from containers.git.working_tree.worktree_paths import is_vacant


@pytest.fixture
def clone(odd_clone: Clone) -> Clone:
    return odd_clone


@pytest.fixture
def repository(clone: Clone) -> Repository:
    return Repository.open(clone.path, clone.user.environ)


@pytest.fixture
def checkout(repository: Repository, clone: Clone, tmp_path: Path) -> Checkout:
    clone.git("branch", "feature")
    checkout = repository.add_worktree(tmp_path / "pool" / "wt-1", clone.head)
    checkout.reset(clone.head)
    return checkout


def sh(checkout: Checkout, user: User, script: str) -> None:
    """Do what a task may do."""
    subprocess.run(
        ["bash", "-e", "-c", script], cwd=checkout.path, env=user.environ, check=True, capture_output=True
    )


def assert_exact(checkout: Checkout, clone: Clone, commit: str) -> None:
    """The worktree holds what a fresh clone does, and its own git sees nothing to tell."""
    fresh = checkout.path.parent.parent / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    clone.git("clone", "-q", "--no-checkout", clone.path, fresh)
    clone.user.git("checkout", "-q", "--detach", commit, cwd=fresh)
    assert contents(checkout.path) == contents(fresh)
    status = clone.user.git("status", "--porcelain", "--ignored", "--untracked-files=all", cwd=checkout.path)
    assert status == ""
    assert clone.user.git("rev-parse", "HEAD", cwd=checkout.path) == commit
    assert clone.user.git("branch", "--show-current", cwd=checkout.path) == ""
    assert [found.parent for found in checkout.path.rglob(".git")] == [checkout.path]


class TestReset:
    @pytest.mark.parametrize("script", TASKS.values(), ids=TASKS)
    def test_reset_removes_every_change_of_a_task(self, clone: Clone, checkout: Checkout, script: str) -> None:
        branches = clone.git("for-each-ref", "refs/heads/main", "refs/heads/feature")
        sh(checkout, clone.user, script)
        checkout.reset(clone.head)
        assert_exact(checkout, clone, clone.head)
        assert clone.git("for-each-ref", "refs/heads/main", "refs/heads/feature") == branches
        if "precious" in script:
            assert (checkout.path.parent.parent / "precious").read_text() == "precious\n"

    @pytest.mark.parametrize("script", TASKS.values(), ids=TASKS)
    def test_reset_to_another_commit_after_a_patch(
        self, clone: Clone, checkout: Checkout, repository: Repository, script: str
    ) -> None:
        start = clone.head
        clone.git("rm", "-q", "-r", "src", "README.md")
        other = clone.commit(
            {"src": "a file now", "README.md/deep": "a directory now", "build/kept": "tracked"}
        )
        sh(checkout, clone.user, script)
        if "mkfifo" not in script:
            checkout.patch(start)
        fresh = Repository.open(clone.path, clone.user.environ)  # as a later run would find it
        again = fresh.worktree(checkout.path)
        for one in (again or checkout, checkout):
            one.reset(other)
            assert_exact(checkout, clone, other)
            one.reset(start)
            assert_exact(checkout, clone, start)
        assert repository.resolve("main") == other

    def test_a_directory_that_became_a_link_is_not_followed(
        self, clone: Clone, checkout: Checkout, tmp_path: Path
    ) -> None:
        precious = tmp_path / "precious"
        write(precious, {"lib/.git/HEAD": "precious", "app.py": "precious"})
        (precious / "lib").chmod(0o500)
        shutil.rmtree(checkout.path / "src")
        (checkout.path / "src").symlink_to(precious)
        checkout.reset(clone.head)
        assert_exact(checkout, clone, clone.head)
        assert (precious / "lib/.git/HEAD").read_text() == (precious / "app.py").read_text() == "precious"
        assert (precious / "lib").stat().st_mode & 0o777 == 0o500
        (precious / "lib").chmod(0o700)  # so that pytest can remove it

    def test_a_worktree_that_became_a_link_is_not_followed(
        self, clone: Clone, checkout: Checkout, tmp_path: Path
    ) -> None:
        write(tmp_path / "precious", {"a": "a"})
        shutil.rmtree(checkout.path)
        checkout.path.symlink_to(tmp_path / "precious")
        with pytest.raises(BrokenWorktreeError):
            checkout.reset(clone.head)
        with pytest.raises(GitError, match=r"its worktree .* is gone"):
            checkout.patch(clone.head)
        assert contents(tmp_path / "precious") == {"a": b"- a"}

    def test_kept_files_are_not_removed(self, clone: Clone, checkout: Checkout) -> None:
        write(
            checkout.path,
            {"node_modules/x/i.js": "x", "src/node_modules/y.js": "y", "other": "z", "a.log": "l"},
        )
        checkout.reset(clone.head, ["node_modules"])
        assert set(contents(checkout.path)) - set(contents(clone.path)) == {
            "node_modules/x/i.js",
            "src/node_modules/y.js",
        }

    def test_broken_index_is_rebuilt(self, clone: Clone, checkout: Checkout) -> None:
        (index,) = (clone.path / ".git/patchyard").glob("*.index")
        for damage in (b"junk", index.read_bytes()[:-30], b""):
            index.write_bytes(damage)
            write(checkout.path, {"README.md": "changed", "new": "new"})
            checkout.reset(clone.head)
            assert_exact(checkout, clone, clone.head)

    def test_a_worktree_without_its_administration_is_broken(self, clone: Clone, checkout: Checkout) -> None:
        shutil.rmtree(clone.path / ".git/worktrees/wt-1")
        with pytest.raises(BrokenWorktreeError, match=r"wt-1 is not a worktree any more"):
            checkout.reset(clone.head)

    def test_no_such_commit(self, clone: Clone, checkout: Checkout) -> None:
        with pytest.raises(GitError, match="reset --hard"):
            checkout.reset("1" * 40)
        checkout.reset(clone.head)
        assert_exact(checkout, clone, clone.head)

    def test_user_settings_do_not_change_line_endings_modes_and_links(
        self, clone: Clone, checkout: Checkout
    ) -> None:
        clone.user.configure(core_autocrlf="true", core_eol="crlf")
        clone.git("config", "core.fileMode", "false")
        clone.git("config", "core.symlinks", "false")
        clone.git("config", "core.sparseCheckout", "true")
        write(clone.path / ".git", {"info/sparse-checkout": "/docs/\n"})
        commit = clone.head
        before = {**contents(clone.path)}
        for name in ("README.md", "link", "run.sh"):
            (checkout.path / name).unlink()
        checkout.reset(commit)
        assert contents(checkout.path) == before

    def test_settings_of_the_task_s_repository_are_there_once(self, clone: Clone, checkout: Checkout) -> None:
        """A task changes one with `git config NAME VALUE`, which needs that."""
        names = clone.user.git("config", "--local", "--list", "--name-only", cwd=checkout.path).split("\n")
        assert "core.filemode" in names
        assert sorted(set(names)) == sorted(names)

    def test_populated_submodules_are_emptied(
        self, clone: Clone, checkout: Checkout, make_repository: Callable[..., Clone]
    ) -> None:
        library = make_repository("library", {"lib.txt": "lib"})
        clone.git("submodule", "add", "-q", str(library.path), "vendor/lib")
        commit = clone.commit()
        checkout.reset(commit)
        sh(
            checkout,
            clone.user,
            "git submodule update -q --init; echo more >> vendor/lib/lib.txt; test -f vendor/lib/lib.txt",
        )
        checkout.reset(commit)
        assert contents(checkout.path / "vendor") == {"lib": b"(empty directory)"}
        assert clone.user.git("status", "--porcelain", "--ignored", cwd=checkout.path) == ""
        assert not (clone.path / ".git/worktrees/wt-1/modules").exists()
        sh(checkout, clone.user, "git submodule update -q --init; test -f vendor/lib/lib.txt")


class TestWhereItBelongs:
    def test_worktree_is_found_by_path(self, checkout: Checkout, repository: Repository) -> None:
        found = repository.worktree(checkout.path)
        assert found
        assert found.path == checkout.path

    def test_users_own_worktree_is_not_a_pool_worktree(
        self, clone: Clone, repository: Repository, tmp_path: Path
    ) -> None:
        clone.git("worktree", "add", "-q", "--detach", tmp_path / "wt-2")
        assert repository.worktree(tmp_path / "wt-2") is None
        with pytest.raises(GitError, match=r"wt-2 is not a pool worktree of .*repo.*; it was not removed"):
            repository.remove_worktree(tmp_path / "wt-2")
        assert (tmp_path / "wt-2" / "README.md").exists()

    @pytest.mark.parametrize(
        "made", [{"README.md": "mine"}, {".git/HEAD": "ref: refs/heads/main\n"}, {".git": "junk"}]
    )
    def test_existing_files_are_not_overwritten(
        self, clone: Clone, repository: Repository, tmp_path: Path, made: dict[str, str]
    ) -> None:
        write(tmp_path / "pool/wt-1", made)
        assert not is_vacant(repository.common, tmp_path / "pool/wt-1")
        with pytest.raises(GitError, match="already exists"):
            repository.add_worktree(tmp_path / "pool/wt-1", clone.head)
        for name, content in made.items():
            assert (tmp_path / "pool/wt-1" / name).read_text() == content

    def test_unfinished_worktree_is_added_again(
        self, clone: Clone, repository: Repository, tmp_path: Path
    ) -> None:
        path = tmp_path / "pool" / "wt-1"
        path.parent.mkdir()
        clone.git("worktree", "add", "-q", "--no-checkout", "--detach", path)
        (clone.path / ".git/worktrees/wt-1/locked").write_text("initializing")
        assert is_vacant(repository.common, path)
        checkout = repository.add_worktree(path, clone.head)
        checkout.reset(clone.head)
        assert_exact(checkout, clone, clone.head)

    def test_worktree_that_is_being_reset_is_not_pruned(self, clone: Clone, checkout: Checkout) -> None:
        remove(checkout.path / ".git")  # as it is in the middle of a reset
        clone.git("gc", "--quiet", "--prune=now")
        checkout.reset(clone.head)
        assert_exact(checkout, clone, clone.head)

    def test_worktree_is_removed(self, clone: Clone, checkout: Checkout, repository: Repository) -> None:
        sh(checkout, clone.user, "mkdir -p build/a; > build/a/f; chmod 555 build/a; git checkout -q -b topic")
        repository.remove_worktree(checkout.path)
        assert not os.path.lexists(checkout.path)
        assert not (clone.path / ".git/worktrees").exists()
        assert [path.name for path in (clone.path / ".git/patchyard").iterdir()] == ["repository.lock"]
        assert clone.git("worktree", "list").count("\n") == 0
        assert clone.git("branch", "--list", "topic") == ""

"""The repository through git: opening it, commits, merges, branches."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import Any

import pytest
from project import PATIENCE
from repositories import Clone, CountedGit, User

from containers.git import commit_cache
from containers.git.command import Git, Output
from containers.git.commit_cache import CommitCache
from containers.git.discovery import discovering_ahead
from containers.git.repository import (
    BranchMovedError,
    GitError,
    Identity,
    Merge,
    NotARepositoryError,
    Repository,
    RevisionError,
    Signature,
)

Make = Callable[..., Clone]


def opened(clone: Clone) -> Repository:
    return Repository.open(clone.path, clone.user.environ)


class TestOpen:
    def test_from_the_top(self, clone: Clone) -> None:
        repository = opened(clone)
        assert repository.root == clone.path
        assert repository.common == clone.path / ".git"
        assert repository.name == "repo"
        assert repository.branch() == "main"
        assert repository.resolve("HEAD") == clone.head

    def test_from_a_subfolder_and_from_a_linked_worktree(self, clone: Clone, tmp_path: Path) -> None:
        assert Repository.open(clone.path / "src" / "lib", clone.user.environ).root == clone.path
        linked = tmp_path / "linked"
        clone.git("worktree", "add", "-q", "-b", "topic", linked)
        repository = Repository.open(linked / "src", clone.user.environ)
        assert repository.root == linked
        assert repository.common == clone.path / ".git"
        assert repository.branch() == "topic"

    def test_detached_head_has_no_branch(self, clone: Clone) -> None:
        clone.git("checkout", "-q", "--detach")
        assert opened(clone).branch() is None

    def test_a_bare_repository(self, clone: Clone, tmp_path: Path) -> None:
        bare = tmp_path / "store.git"
        clone.git("clone", "-q", "--bare", ".", bare)
        repository = Repository.open(bare, clone.user.environ)
        assert (repository.root, repository.common, repository.name) == (bare, bare, "store")
        assert repository.resolve("main") == clone.head

    def test_a_shallow_clone(self, clone: Clone, tmp_path: Path) -> None:
        clone.commit({"b": "b"})
        clone.git("clone", "-q", "--depth=1", f"file://{clone.path}", tmp_path / "shallow")
        assert Repository.open(tmp_path / "shallow", clone.user.environ).resolve("HEAD") == clone.head

    def test_git_variables_of_a_hook_are_ignored(self, clone: Clone, make_repository: Make) -> None:
        other = make_repository("other", {"a": "a"})
        led = {**clone.user.environ, "GIT_DIR": str(other.path / ".git"), "GIT_WORK_TREE": str(other.path)}
        assert Repository.open(clone.path, led).root == clone.path

    def test_missing_directory(self, user: User, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        with pytest.raises(
            NotARepositoryError, match=r"elsewhere is not in a git repository; run patchyard in one"
        ) as error:
            Repository.open(tmp_path / "elsewhere", user.environ)
        assert error.value.exit_code == 2
        with pytest.raises(
            NotARepositoryError, match="missing is not a directory; name a git repository with --repo"
        ):
            Repository.open(tmp_path / "missing", user.environ)

    def test_no_commit(self, make_repository: Make) -> None:
        with pytest.raises(NotARepositoryError, match="repo has no commit yet; create one first"):
            opened(make_repository())

    def test_the_tree_of_head_is_missing(self, clone: Clone) -> None:
        tree = clone.git("rev-parse", "HEAD^{tree}")
        (clone.path / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
        repository = opened(clone)
        assert repository.branch() == "main"
        assert repository.resolve("HEAD") == clone.head

    def test_a_commit_on_head_needs_no_look_at_its_tree(self, clone: Clone, tmp_path: Path) -> None:
        counted = CountedGit.at(tmp_path / "bin", clone.user)
        repository = Repository.open(clone.path, counted.environ)
        tree = clone.git("rev-parse", "HEAD^{tree}")
        signature = Signature(Identity("A", "a@example.com"), "@1700000000 +0000")
        commit = repository.commit(tree, [clone.head], "Empty", signature)
        assert clone.git("rev-parse", f"{commit}^{{tree}}") == tree
        assert [call for call in counted.calls() if call.startswith("rev-parse --verify")] == []

    def test_git_that_is_started_ahead(self, clone: Clone, tmp_path: Path) -> None:
        counted = CountedGit.at(tmp_path / "bin", clone.user)
        with discovering_ahead(clone.path, counted.environ) as git:
            assert Repository.open(clone.path, counted.environ, git).root == clone.path
        assert sorted(call.split()[0] for call in counted.calls()) == ["rev-parse", "version"]
        unusable = {**clone.user.environ, "PATH": str(tmp_path)}
        with discovering_ahead(clone.path, unusable) as git:
            assert git is None

    def test_what_is_asked_for_before_a_run_is_read_once(self, clone: Clone, tmp_path: Path) -> None:
        clone.git("remote", "add", "other", "https://example.org/other.git")
        (clone.path / "new.txt").write_text("new\n")
        counted = CountedGit.at(tmp_path / "bin", clone.user)
        repository = Repository.open(clone.path, counted.environ)
        counted.calls()
        with repository.preparing_ahead("other"):
            assert repository.uncommitted().untracked == 1
            assert repository.identity() == Identity("Uma User", "uma@example.com")
            assert repository.remote_urls("other") == ("https://example.org/other.git",) * 2
        calls = [call.split(" -z")[0] for call in counted.calls()]
        assert sorted(calls) == [
            "--no-optional-locks status --porcelain=v1",
            "config",
            "remote get-url -- other",
            "remote get-url --push -- other",
        ]

    def test_what_a_run_asks_for_first_is_read_once(self, clone: Clone, tmp_path: Path) -> None:
        counted = CountedGit.at(tmp_path / "bin", clone.user)
        repository = Repository.open(clone.path, counted.environ)
        clone.git("branch", "patchyard/plan/1.1")
        repository.add_worktree(tmp_path / "wt-1", clone.head)
        counted.calls()
        with repository.reading_ahead("patchyard", clone.head):
            assert repository.branches_in("patchyard") == {"patchyard/plan/1.1": clone.head}
            checkout = repository.worktree(tmp_path / "wt-1")
            assert checkout
            checkout.reset(clone.head)
        calls = [call.split()[0] for call in counted.calls()]
        assert {name: calls.count(name) for name in ("config", "for-each-ref", "ls-tree")} == {
            "config": 1,
            "for-each-ref": 2,
            "ls-tree": 1,
        }

    def test_path_inside_the_git_directory(self, clone: Clone) -> None:
        with pytest.raises(NotARepositoryError, match="is inside a git directory"):
            Repository.open(clone.path / ".git", clone.user.environ)

    def test_no_git(self, clone: Clone, tmp_path: Path) -> None:
        with pytest.raises(NotARepositoryError, match="git is not installed, or not on PATH"):
            Repository.open(clone.path, {**clone.user.environ, "PATH": str(tmp_path)})

    @pytest.mark.parametrize("code", [0, 129])
    def test_a_git_that_is_too_old(self, clone: Clone, tmp_path: Path, code: int) -> None:
        """It may not know the options that find a repository."""
        old = tmp_path / "bin" / "git"
        old.parent.mkdir()
        old.write_text(f'#!/bin/sh\ncase "$*" in *version) echo git version 2.37.9 ;; *) exit {code} ;; esac\n')
        old.chmod(0o755)
        with pytest.raises(
            NotARepositoryError, match=r"git version 2\.37\.9 at .* is too old; patchyard needs git 2\.38"
        ):
            Repository.open(clone.path, {**clone.user.environ, "PATH": str(old.parent)})


class TestNames:
    def test_revisions_are_resolved(self, clone: Clone) -> None:
        first = clone.head
        clone.commit({"b": "b"})
        clone.git("tag", "-m", "v1", "v1")
        repository = opened(clone)
        assert repository.resolve("HEAD~1") == first
        assert repository.resolve("v1") == clone.head
        assert repository.resolve(first[:10]) == first

    @pytest.mark.parametrize("revision", ["nowhere", "--all", "HEAD:README.md", "", "0" * 40])
    def test_unknown_revision_is_an_error(self, clone: Clone, revision: str) -> None:
        with pytest.raises(RevisionError, match="does not name a commit in") as error:
            opened(clone).resolve(revision)
        assert error.value.exit_code == 2

    @pytest.mark.parametrize(
        ("name", "good"),
        [
            ("patchyard/plan/1.1", True), ("ünï", True), ("a..b", False), ("a b", False), ("-a", False),
            ("a.lock", False), ("a/", False), ("", False), ("a\0b", False), ("@{-1}", False),
        ],
    )  # fmt: skip
    def test_branch_names(self, clone: Clone, name: str, good: bool) -> None:  # noqa: FBT001 - a case
        assert opened(clone).is_branch_name(name) is good


class TestIdentity:
    def test_identity_from_the_configuration(self, clone: Clone) -> None:
        assert opened(clone).identity() == Identity("Uma User", "uma@example.com")

    def test_environment_overrides_the_configuration(self, clone: Clone) -> None:
        named = {**clone.user.environ, "GIT_AUTHOR_NAME": "Eve", "GIT_AUTHOR_EMAIL": "eve@example.com"}
        assert Repository.open(clone.path, named).identity() == Identity("Eve", "eve@example.com")

    def test_repository_overrides_the_global_configuration(self, clone: Clone) -> None:
        clone.git("config", "user.email", "work@example.com")
        assert opened(clone).identity() == Identity("Uma User", "work@example.com")

    @pytest.mark.parametrize("email", ["", " <>"])
    def test_incomplete_identity_is_replaced(self, clone: Clone, email: str) -> None:
        (clone.user.home / ".gitconfig").write_text(f'[user]\n\tname = Uma\n\temail = "{email}"\n')
        repository = opened(clone)
        assert repository.identity() == Identity("patchyard", "patchyard@localhost")
        commit = repository.commit(repository.tree(clone.head), [clone.head], "x")
        assert clone.git("show", "-s", "--format=%an <%ae> %cn <%ce>", commit) == (
            "patchyard <patchyard@localhost> patchyard <patchyard@localhost>"
        )


class TestCommit:
    def test_commit_content(self, clone: Clone) -> None:
        repository = opened(clone)
        message = "Add ünï\n\n# not a comment\n\nPlan-Task: 1.1\n"
        commit = repository.commit(repository.tree(clone.head), [clone.head], message)
        assert clone.git("log", "-1", "--format=%an|%ae|%cn|%ce|%P|%T", commit) == "|".join(
            [
                "Uma User",
                "uma@example.com",
                "Uma User",
                "uma@example.com",
                clone.head,
                repository.tree(clone.head),
            ]
        )
        assert repository.message(commit) == message
        assert repository.is_ancestor(clone.head, commit)
        assert not repository.is_ancestor(commit, clone.head)

    def test_user_settings_do_not_change_a_commit(self, clone: Clone) -> None:
        clone.user.configure(commit_gpgSign="true", gpg_program="false", i18n_commitEncoding="latin1")
        repository = opened(clone)
        commit = repository.commit(repository.tree(clone.head), [clone.head], "ünï")
        assert clone.git("cat-file", "commit", commit).endswith("\n\nünï")
        assert "encoding" not in clone.git("cat-file", "commit", commit)


class TestMerge:
    def branch(self, clone: Clone, files: Mapping[str, str], start: str) -> str:
        clone.git("checkout", "-q", "--detach", start)
        commit = clone.commit(files)
        clone.git("checkout", "-q", "main")
        return commit

    def test_merge_without_conflict(self, clone: Clone) -> None:
        one = self.branch(clone, {"one": "1"}, "main")
        two = self.branch(clone, {"two": "2", "README.md": "# Changed\n"}, "main")
        merge = opened(clone).merge(one, two, "together")
        assert merge.conflicts == ()
        assert merge.commit
        assert clone.git("log", "-1", "--format=%P|%s", merge.commit) == f"{one} {two}|together"
        assert clone.git("ls-tree", "--name-only", merge.commit, "one", "two") == "one\ntwo"
        assert clone.git("show", f"{merge.commit}:README.md") == "# Changed"

    def test_merge_with_an_ancestor(self, clone: Clone) -> None:
        one = self.branch(clone, {"one": "1"}, "main")
        repository = opened(clone)
        assert repository.merge(clone.head, one, "x").commit == one
        assert repository.merge(one, clone.head, "x").commit == one
        assert repository.merge(one, one, "x").commit == one

    def test_an_older_commit_may_be_in_one_that_is_not_known(self, clone: Clone) -> None:
        base = clone.head
        one = self.branch(clone, {"one": "1"}, "main")
        two = self.branch(clone, {"two": "2"}, "main")
        above = opened(clone).merge(one, two, "of an earlier process").commit or ""
        later = opened(clone).merge(above, self.branch(clone, {"three": "3"}, "main"), "x").commit or ""
        repository = opened(clone)
        for commit in (one, two):
            repository.note_commit(commit, [base], clone.git("rev-parse", f"{commit}^{{tree}}"))
        assert repository.merge(above, two, "x").commit == above
        assert repository.merge(later, one, "x").commit == later
        # A merge of this process, on top of one of an earlier one, has what that has.
        four = self.branch(clone, {"four": "4"}, "main")
        new = repository.merge(above, four, "x").commit or ""
        assert clone.git("log", "-1", "--format=%P", new) == f"{above} {four}"
        assert repository.merge(new, two, "x").commit == new

    def test_git_is_not_asked_for_ancestors_of_older_commits(
        self, clone: Clone, user: User, tmp_path: Path
    ) -> None:
        base, commits = clone.head, list[str]()
        for number in range(40):
            clone.git("checkout", "-q", "--detach", "main")
            commits.append(clone.commit({f"new-{number}": "new"}))
        counted = CountedGit.at(tmp_path / "bin", user)
        repository = Repository.open(clone.path, counted.environ)
        for commit in commits:
            repository.note_commit(commit, [base], clone.git("rev-parse", f"{commit}^{{tree}}"))
        counted.calls()
        merged = base
        for commit in commits:
            merged = repository.merge(merged, commit, "x").commit or ""
        assert [call for call in counted.calls() if "merge-base" in call] == []
        assert len(clone.git("ls-tree", "--name-only", merged).split()) >= len(commits)
        assert clone.git("rev-list", "--count", "--merges", f"{base}..{merged}") == str(len(commits) - 1)

    def test_conflicts_name_the_files(self, clone: Clone) -> None:
        one = self.branch(clone, {"README.md": "# One\n", "src/a b\nü": "1"}, "main")
        two = self.branch(clone, {"README.md": "# Two\n", "src/a b\nü": "2", "fine": ""}, "main")
        merge = opened(clone).merge(one, two, "x")
        assert merge.commit is None
        assert merge.conflicts == ("README.md", "src/a b\nü")

    def test_file_in_place_of_a_directory_conflicts_by_its_name(self, clone: Clone) -> None:
        one = self.branch(clone, {"place": "1"}, "main")
        two = self.branch(clone, {"place/file": "2"}, "main")
        assert opened(clone).merge(one, two, "x").conflicts == ("place",)

    def test_users_checkout_and_settings_do_not_change_a_merge(self, clone: Clone) -> None:
        one = self.branch(clone, {"README.md": "# One\n"}, "main")
        two = self.branch(clone, {"README.md": "# Two\n"}, "main")
        clone.write({".gitattributes": "* merge=union\n"})
        clone.user.configure(merge_default="union", merge_conflictStyle="diff3", merge_renormalize="true")
        assert opened(clone).merge(one, two, "x").conflicts == ("README.md",)

    def test_renames_are_followed_regardless_of_user_settings(self, clone: Clone) -> None:
        clone.commit({"long.txt": "".join(f"line {n}\n" for n in range(30))})
        clone.git("checkout", "-q", "--detach", "main")
        clone.git("mv", "long.txt", "moved.txt")
        one = clone.commit()
        clone.git("checkout", "-q", "main")
        two = self.branch(clone, {"long.txt": "first\n" + "".join(f"line {n}\n" for n in range(30))}, "main")
        clone.user.configure(merge_renames="false", diff_renames="false")
        merge = opened(clone).merge(one, two, "x")
        assert merge.commit
        assert clone.git("show", f"{merge.commit}:moved.txt").startswith("first\nline 0\n")

    def test_unrelated_histories_are_merged(self, clone: Clone, make_repository: Make) -> None:
        other = make_repository("other", {"b": "b"})
        clone.git("fetch", "-q", other.path, "main")
        with pytest.raises(
            GitError, match=r"`git merge-tree .* failed with exit code 128: refusing to merge unrelated"
        ):
            opened(clone).merge(clone.head, other.head, "x")


class TestBranches:
    def test_reading(self, clone: Clone) -> None:
        for name in ("patchyard/a/1", "patchyard/a/2", "patchyardish", "other"):
            clone.git("branch", name)
        repository = opened(clone)
        assert repository.branches("patchyard/") == {"patchyard/a/1": clone.head, "patchyard/a/2": clone.head}
        assert set(repository.branches("patchyard")) == {"patchyard/a/1", "patchyard/a/2", "patchyardish"}
        assert set(repository.branches("")) == {
            "main",
            "other",
            "patchyard/a/1",
            "patchyard/a/2",
            "patchyardish",
        }
        assert repository.branches("nothing/") == {}

    def test_setting(self, clone: Clone) -> None:
        first = clone.head
        second = clone.commit({"b": "b"})
        repository = opened(clone)
        repository.set_branch("patchyard/x/1", first, None)
        repository.set_branch("patchyard/x/1", second, first)
        assert clone.git("rev-parse", "patchyard/x/1") == second

    def test_setting_side_by_side(self, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
        run, both = Git.run, Barrier(2)

        def together(self: Git, *arguments: str, **options: Any) -> Output:  # noqa: ANN401 - those of `run`
            both.wait(PATIENCE)
            return run(self, *arguments, **options)

        repository, head = opened(clone), clone.head
        with monkeypatch.context() as patched, ThreadPoolExecutor(2) as threads:
            patched.setattr(Git, "run", together)
            list(threads.map(lambda name: repository.set_branch(name, head, None), ["a", "b"]))
        assert {"a", "b"} <= repository.branches("").keys()

    def test_setting_in_tables_one_after_the_other(self, clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
        """They have one lock for all refs, for which not every git waits."""
        (clone.path / ".git/reftable").mkdir()  # git keeps them in files all the same
        run, order = Git.run, list[str]()

        def slow(self: Git, *arguments: str, **options: Any) -> Output:  # noqa: ANN401 - those of `run`
            order.append("begin")
            sleep(0.05)
            output = run(self, *arguments, **options)
            order.append("end")
            return output

        repository, head = opened(clone), clone.head
        with monkeypatch.context() as patched, ThreadPoolExecutor(2) as threads:
            patched.setattr(Git, "run", slow)
            list(threads.map(lambda name: repository.set_branch(name, head, None), ["a", "b"]))
        assert order == ["begin", "end"] * 2

    def test_moved_branch_is_not_changed(self, clone: Clone) -> None:
        first = clone.head
        second = clone.commit({"b": "b"})
        repository = opened(clone)
        with pytest.raises(BranchMovedError, match="branch gone was updated concurrently"):
            repository.set_branch("gone", second, first)
        clone.git("branch", "there", second)
        for expected in (None, first):
            with pytest.raises(BranchMovedError, match="branch there was updated concurrently"):
                repository.set_branch("there", first, expected)
        assert clone.git("rev-parse", "there") == second

    def test_conflicting_branch_name_is_an_error(self, clone: Clone) -> None:
        clone.git("branch", "patchyard")
        with pytest.raises(GitError, match=r"cannot set branch patchyard/1: .*'refs/heads/patchyard' exists"):
            opened(clone).set_branch("patchyard/1", clone.head, None)

    def test_checked_out_branches(self, clone: Clone, tmp_path: Path) -> None:
        clone.git("worktree", "add", "-q", "-b", "topic", tmp_path / "with space\nand line")
        clone.git("worktree", "add", "-q", "--detach", tmp_path / "detached")
        found = {"main": clone.path, "topic": tmp_path / "with space\nand line"}
        assert opened(clone).checked_out() == found
        (clone.path / ".git/HEAD").unlink()
        (clone.path / ".git/HEAD").symlink_to("refs/heads/main")  # as with `core.preferSymlinkRefs`
        assert opened(clone).checked_out() == found

    def test_no_user_hook_runs(self, clone: Clone, tmp_path: Path) -> None:
        hooks, ran = tmp_path / "hooks", tmp_path / "ran"
        hooks.mkdir()
        for name in ("reference-transaction", "post-checkout", "post-commit"):
            (hooks / name).write_text(f"#!/bin/sh\necho {name} >> {ran}\nexit 1\n")
            (hooks / name).chmod(0o755)
            shutil.copy(hooks / name, clone.path / ".git" / "hooks" / name)
        clone.user.configure(core_hooksPath=str(hooks))
        opened(clone).set_branch("new", clone.head, None)
        clone.git("config", "--global", "--unset", "core.hooksPath")
        opened(clone).set_branch("newer", clone.head, None)
        assert not ran.exists()


def test_opening_starts_two_processes(clone: Clone, tmp_path: Path) -> None:
    git = CountedGit.at(tmp_path / "bin", clone.user)
    repository = Repository.open(clone.path, git.environ)
    repository.resolve("HEAD")
    repository.branch()
    assert [call.split()[0] for call in git.calls()] == ["version", "rev-parse"]


def test_a_merge_of_own_commits_starts_two_processes(clone: Clone, tmp_path: Path) -> None:
    start = clone.head
    trees = []
    for name in ("one", "two", "three"):
        clone.git("checkout", "-q", "--detach", start)
        clone.commit({name: name})
        trees.append(clone.git("rev-parse", "HEAD^{tree}"))
    clone.git("checkout", "-q", "main")
    git = CountedGit.at(tmp_path / "bin", clone.user)
    repository = Repository.open(clone.path, git.environ)
    one, two, three = (repository.commit(tree, [start], "x") for tree in trees)
    git.calls()
    assert repository.merge(start, one, "x").commit == one
    assert repository.merge(one, start, "x").commit == one
    assert git.calls() == []
    both = repository.merge(one, two, "x").commit
    assert both
    assert [call.split()[0] for call in git.calls()] == ["merge-tree", "commit-tree"]
    assert repository.merge(both, one, "x").commit == both
    assert git.calls() == []
    every = repository.merge(both, three, "x").commit
    assert every
    assert clone.git("ls-tree", "--name-only", every, "one", "two", "three") == "one\nthree\ntwo"


def test_merges_of_many_patches_are_those_that_git_finds_by_the_history(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone.commit({"long.txt": "".join(f"line {n}\n" for n in range(30)), "same": "0\n"})
    start, trees = clone.head, []
    patches = [{f"{n}.txt": "x\n"} for n in range(4)]
    patches += [
        {"same": "1\n"},
        {"same": "2\n"},
        {"1.txt/below": "x\n"},
        {"long.txt": "short\n"},
        {"last": "x\n"},
    ]
    for files in patches:
        clone.git("checkout", "-q", "--detach", start)
        clone.commit(files)
        trees.append(clone.git("rev-parse", "HEAD^{tree}"))
    clone.git("checkout", "-q", "--detach", start)
    clone.git("mv", "long.txt", "moved.txt")
    clone.commit()
    trees.append(clone.git("rev-parse", "HEAD^{tree}"))
    clone.git("checkout", "-q", "main")
    who = Signature(Identity("A", "a@example.org"), "@1700000000 +0100")

    def merges(far: int) -> list[Merge]:
        monkeypatch.setattr(commit_cache, "FAR", far)
        repository, found, tip = opened(clone), [], start
        for tree in trees:
            found.append(repository.merge(tip, repository.commit(tree, [start], "x", who), "m", who))
            tip = found[-1].commit or tip
        above = repository.commit(clone.git("rev-parse", f"{trees[0]}"), [tip], "x", who)
        found.append(repository.merge(repository.merge(tip, above, "m", who).commit or "", start, "m", who))
        return found

    near, far = merges(0), merges(10**9)
    assert near == far
    assert [one.conflicts for one in near if one.commit is None] == [("same",), ("1.txt",)]


def test_what_contains_what_does_not_depend_on_the_order_of_records() -> None:
    known = CommitCache(Git("git", Path("/"), {}))
    known.record("child", ["parent"], "t")
    for name, below in (("1", "base"), ("2", "1"), ("parent", "2")):
        known.record(name, [below], "t")
    assert known.contains("child", "1")
    assert known.contains("child", "parent")
    assert known.contains("parent", "child") is False
    assert known.contains("parent", "other") is None

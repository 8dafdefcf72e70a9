"""A worktree has the files that the user's sparse checkout has; what it leaves out is in no patch."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from time import sleep

import pytest
from repositories import Clone, CountedGit, contents, write
from stages import Stage
from task_scripts import TASKS

from containers.git.repository import Repository
from containers.git.working_tree.sparse import SparseCheckout
from tasks.secrets import Secrets

PATTERNS = "/*\n!/out/\n!/src/hidden.py\n"
OUTSIDE = {"out/a": "a\n", "out/sub/b": "b\n", "src/hidden.py": "hidden\n"}


class SparseStage(Stage):
    """A worktree that leaves out a directory and a file."""

    def __init__(self, clone: Clone, directory: Path) -> None:
        clone.commit(OUTSIDE, message="more")
        clone.git("sparse-checkout", "set", "--no-cone", *PATTERNS.split())
        super().__init__(clone, directory)
        self.reset(self.start)

    def open(self, environ: Mapping[str, str]) -> None:
        """Open the repository and the worktree again, as a later run does."""
        self.repository = Repository.open(self.clone.path, environ)
        checkout = self.repository.worktree(self.path)
        assert checkout
        self.checkout = checkout

    def reset(self, commit: str) -> None:
        sparse = self.repository.sparse_checkout()
        assert sparse
        self.checkout.reset(commit, (), sparse)

    def assert_exact(self, commit: str) -> None:
        """The worktree has what a sparse clone has, and its own git finds no change."""
        fresh, user = self.directory / "sparse", self.clone.user
        shutil.rmtree(fresh, ignore_errors=True)
        self.clone.git("clone", "-q", "--no-checkout", self.clone.path, fresh)
        user.git("sparse-checkout", "set", "--no-cone", *PATTERNS.split(), cwd=fresh)
        user.git("checkout", "-q", "--detach", commit, cwd=fresh)
        assert contents(self.path) == contents(fresh)
        assert user.git("status", "--porcelain", "--ignored", "-uall", cwd=self.path) == ""
        assert user.git("rev-parse", "HEAD", cwd=self.path) == commit
        marked = [user.git("ls-files", "-t", cwd=place) for place in (self.path, fresh)]
        assert marked[0] == marked[1]


@pytest.fixture
def sparse(odd_clone: Clone, tmp_path: Path) -> SparseStage:
    odd_clone.git("branch", "feature")
    return SparseStage(odd_clone, tmp_path / "pool")


def changes(stage: Stage, tree: str) -> list[str]:
    """Return what a tree has changed, as git's status letters and paths."""
    found = stage.clone.git("diff", "--name-status", "--no-renames", stage.start, tree)
    return found.split("\n") if found else []


BEYOND = {
    "nothing": ("true", []),
    "a file inside": ("echo more >> README.md", ["M\tREADME.md"]),
    "a removed file": ("rm src/app.py", ["D\tsrc/app.py"]),
    "other content": ("mkdir out; echo other > out/a", ["M\tout/a"]),
    "the same content": ("mkdir out; echo a > out/a; echo hidden > src/hidden.py", []),
    "new files": (
        "mkdir -p out/sub; echo n > out/new; echo n > out/sub/new",
        ["A\tout/new", "A\tout/sub/new"],
    ),
    "a file in place of the directory": ("echo o > out", ["A\tout", "D\tout/a", "D\tout/sub/b"]),
    "a directory in place of a file": (
        "mkdir -p out/a; echo f > out/a/f",
        ["D\tout/a", "A\tout/a/f"],
    ),
    "a link in place of the directory": ("ln -s src out", ["A\tout", "D\tout/a", "D\tout/sub/b"]),
    "a repository": ("git init -q out; echo n > out/n", ["A\tout/n"]),
    "all files": ("git sparse-checkout disable; echo more >> out/a", ["M\tout/a"]),
    "another directory": ("git sparse-checkout add out; rm out/sub/b", ["D\tout/sub/b"]),
    "fewer files": ("git sparse-checkout set --no-cone src; echo more >> src/app.py", ["M\tsrc/app.py"]),
    "fewer, and one is removed": (
        "rm src/app.py; git add -A; git commit -qm r; git sparse-checkout set --no-cone docs",
        ["D\tsrc/app.py"],
    ),
    "files that it does not have are removed": ("git rm -q --sparse -r out", ["D\tout/a", "D\tout/sub/b"]),
    "files are moved": (
        "git mv --sparse out/a moved; rm -f moved; git commit -qm m; echo a > moved",
        ["D\tout/a", "A\tmoved"],
    ),
    "another commit": ("git checkout -q feature", ["D\tout/a", "D\tout/sub/b", "D\tsrc/hidden.py"]),
    "a new repository": ("rm -rf .git; git init -q; git add -A; git commit -qm n; echo n > n", ["A\tn"]),
    "no index": ("rm .git/index; echo n > n", ["A\tn"]),
    "a damaged index": ("echo junk > .git/index; echo n > n", ["A\tn"]),
    "an index of links": ("rm .git/index; ln -s /dev/zero .git/index; echo n > n", ["A\tn"]),
    "a file by name": ("git checkout -q --ignore-skip-worktree-bits HEAD -- out/a; rm -r out", []),
    "a commit": ("mkdir out; echo o > out/a; git add --sparse -A; git commit -qm mine", ["M\tout/a"]),
    "no .git": ("rm -rf .git; mkdir out; echo o > out/a", ["M\tout/a"]),
    "ignored files": ("mkdir out build; echo l > out/x.log; echo o > build/o", []),
    "patterns": ("echo '/*' > $(git rev-parse --git-path info/sparse-checkout)", []),
}

OTHER_IN_A_WHOLE_WORKTREE = {
    "a directory moved and linked",
    "a directory moved out and linked",
    "a fifo",
    "a nested worktree",
    "a rebase half-done",
    "everything gone",
}
"""What reaches the files that are left out, writes the id of a commit into a file, or has no patch."""


class TestPatch:
    @pytest.mark.parametrize(("script", "expected"), BEYOND.values(), ids=BEYOND)
    @pytest.mark.parametrize("secrets", [None, Secrets({"KEY": "not in the files"})], ids=["", "secrets"])
    def test_patch_has_what_the_task_changed(
        self, sparse: SparseStage, script: str, expected: list[str], secrets: Secrets | None
    ) -> None:
        sparse.sh(script)
        patch = sparse.patch(secrets=secrets)
        assert sorted(changes(sparse, patch.tree)) == sorted(expected)

    @pytest.mark.parametrize("name", sorted({*TASKS} - OTHER_IN_A_WHOLE_WORKTREE))
    def test_patch_is_that_of_a_whole_worktree(self, sparse: SparseStage, tmp_path: Path, name: str) -> None:
        whole = Stage(sparse.clone, tmp_path / "whole")
        for stage in (sparse, whole):
            stage.sh(TASKS[name])
        assert sparse.checkout.patch(sparse.start).tree == whole.checkout.patch(whole.start).tree

    def test_index_that_is_gone_is_made_again(self, sparse: SparseStage) -> None:
        sparse.sh("echo more >> README.md; rm src/app.py; mkdir out; echo o > out/a")
        for damage in (b"", b"junk", None):
            for suffix in ("index", "staged"):
                path = sparse.repository.scratch / f"wt-1.{suffix}"
                if damage is None:
                    path.unlink()
                elif path.exists():
                    path.write_bytes(damage)
            patch = sparse.patch()
            assert changes(sparse, patch.tree) == ["M\tREADME.md", "M\tout/a", "D\tsrc/app.py"]

    @pytest.mark.parametrize("planted", ["info", "info/sparse-checkout"])
    def test_link_in_the_git_directory_is_not_followed(
        self, sparse: SparseStage, tmp_path: Path, planted: str
    ) -> None:
        write(tmp_path / "precious", {"sparse-checkout": "precious"})
        place = sparse.clone.path / ".git/worktrees/wt-1" / planted
        sparse.sh(
            f"rm -rf {place}; ln -s {tmp_path}/precious{planted.removeprefix('info')} {place}; echo n > n"
        )
        assert changes(sparse, sparse.patch().tree) == ["A\tn"]
        assert (tmp_path / "precious/sparse-checkout").read_text() == "precious"

    def test_objects_that_the_user_pruned_are_stored_again(self, sparse: SparseStage) -> None:
        sparse.sh("echo more >> README.md")
        sparse.checkout.snapshot()
        sparse.clone.git("gc", "--quiet", "--prune=now")
        assert changes(sparse, sparse.patch().tree) == ["M\tREADME.md"]

    def test_changes_before_the_baseline_are_left_out(self, sparse: SparseStage) -> None:
        sparse.sh("mkdir out; echo set up > out/a; echo set up > set-up")
        baseline = sparse.checkout.snapshot()
        sparse.sh("echo more >> README.md; echo n > out/n")
        patch = sparse.patch(baseline=baseline)
        assert changes(sparse, patch.tree) == ["M\tREADME.md", "A\tout/n"]

    def test_patch_is_taken_by_a_later_process(self, sparse: SparseStage) -> None:
        sparse.sh("echo more >> README.md")
        sparse.open(sparse.clone.user.environ)
        assert changes(sparse, sparse.patch().tree) == ["M\tREADME.md"]


class TestReset:
    @pytest.mark.parametrize(
        "script", [*TASKS.values(), *(script for script, _ in BEYOND.values())], ids=[*TASKS, *BEYOND]
    )
    def test_reset_removes_every_change_of_a_task(self, sparse: SparseStage, script: str) -> None:
        sparse.sh(script)
        sparse.reset(sparse.start)
        sparse.assert_exact(sparse.start)

    @pytest.mark.parametrize("script", [script for script, _ in BEYOND.values()], ids=list(BEYOND))
    def test_only_what_changed_is_put_back(
        self, sparse: SparseStage, tmp_path: Path, script: str, request: pytest.FixtureRequest
    ) -> None:
        counted = CountedGit.at(tmp_path / "bin", sparse.clone.user)
        sparse.open(counted.environ)
        sparse.reset(sparse.start)
        sleep(1.02)  # so that no file is as new as the index of the next reset
        sparse.reset(sparse.start)
        counted.calls()
        sparse.sh(script)
        sparse.reset(sparse.start)
        sparse.assert_exact(sparse.start)
        if request.node.callspec.id in {"nothing", "other content", "new files", "a removed file"}:
            assert not [call for call in counted.calls() if " reset " in call]

    @pytest.mark.parametrize("script", [script for script, _ in BEYOND.values()], ids=list(BEYOND))
    def test_reset_to_another_commit_and_back(self, sparse: SparseStage, script: str) -> None:
        sparse.clone.git("sparse-checkout", "disable")
        sparse.clone.git("rm", "-q", "-r", "src", "out")
        other = sparse.clone.commit({"src": "a file now", "out": "a file now", "new/out": "n"})
        sparse.sh(script)
        sparse.checkout.patch(sparse.start)
        for commit in (other, sparse.start):
            sparse.reset(commit)
            sparse.assert_exact(commit)

    def test_other_patterns_and_none(self, sparse: SparseStage) -> None:
        write(sparse.path, {"out/a": "other\n"})
        sparse.checkout.reset(sparse.start)
        assert {*OUTSIDE} <= {*contents(sparse.path)}
        sparse.checkout.reset(sparse.start, (), SparseCheckout(b"/docs/\n", is_cone=False))
        assert [path.name for path in sparse.path.iterdir() if path.name != ".git"] == ["docs"]
        sparse.reset(sparse.start)
        sparse.assert_exact(sparse.start)

    def test_commit_with_submodules_is_checked_out_whole(
        self, sparse: SparseStage, make_repository: Callable[..., Clone]
    ) -> None:
        library = make_repository("library", {"lib.txt": "lib"})
        sparse.clone.git("submodule", "add", "-q", str(library.path), "vendor/lib")
        sparse.clone.git("commit", "-qm", "submodule")
        commit = sparse.clone.head
        sparse.reset(commit)
        assert {*OUTSIDE} <= {*contents(sparse.path)}
        sparse.sh("echo more >> out/a")
        assert sparse.checkout.patch(commit).files == ("out/a",)
        sparse.reset(sparse.start)
        sparse.assert_exact(sparse.start)

    def test_nothing_is_left_of_a_removed_worktree(self, sparse: SparseStage) -> None:
        sparse.repository.remove_worktree(sparse.path)
        assert [path.name for path in sparse.repository.scratch.iterdir()] == ["repository.lock"]


class TestTheUsersCheckout:
    def test_cone_is_one_in_the_task_too(self, odd_clone: Clone, tmp_path: Path) -> None:
        odd_clone.git("sparse-checkout", "set", "--cone", "src/lib")
        stage = Stage(odd_clone, tmp_path / "pool")
        stage.checkout.reset(stage.start, (), stage.repository.sparse_checkout())
        assert not (stage.path / "docs").exists()
        assert stage.clone.user.git("sparse-checkout", "list", cwd=stage.path) == "src/lib"
        stage.sh("git sparse-checkout add docs; echo more >> docs/a*")
        assert len(stage.patch().files) == 1

    def test_linked_worktree_has_its_own(self, odd_clone: Clone, tmp_path: Path) -> None:
        odd_clone.git("worktree", "add", "-q", "--detach", tmp_path / "linked")
        odd_clone.user.git("sparse-checkout", "set", "--cone", "src", cwd=tmp_path / "linked")
        environ = odd_clone.user.environ
        assert Repository.open(odd_clone.path, environ).sparse_checkout() is None
        assert Repository.open(tmp_path / "linked", environ).sparse_checkout()

    @pytest.mark.parametrize(
        ("value", "patterns"),
        [("false", "/src/\n"), ("0", "/src/\n"), ("no", "/src/\n"), ("true", None), ("true", "\n")],
    )
    def test_checkout_that_is_none(self, odd_clone: Clone, value: str, patterns: str | None) -> None:
        odd_clone.git("config", "core.sparseCheckout", value)
        if patterns is not None:
            write(odd_clone.path / ".git", {"info/sparse-checkout": patterns})
        assert Repository.open(odd_clone.path, odd_clone.user.environ).sparse_checkout() is None

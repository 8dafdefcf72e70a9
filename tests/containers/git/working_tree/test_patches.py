"""What a patch leaves out: what the user's settings would change, what was set up, submodules."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from repositories import Clone, CountedGit, User, contents, write
from stages import Stage

from containers.git.repository import GitError, Repository
from containers.git.working_tree.submodules import SubmoduleWorkError
from tasks.secrets import Secrets


class TestTheUsersSettings:
    def test_user_settings_do_not_change_a_patch(self, stage: Stage, tmp_path: Path) -> None:
        script = r"""
            printf 'one\r\n2\r\n' > crlf.txt; echo more >> README.md; mv src/app.py src/new.py; chmod 755 empty
            printf '\0\1' >> blob.bin; echo x > ünï; ln -s a b; echo '*.md diff=odd' > .gitattributes
        """
        stage.sh(script)
        plain = stage.patch()
        assert b"100755" in plain.diff.read()
        log = tmp_path / "ran"
        spy = tmp_path / "spy"
        spy.write_text(f"#!/bin/sh\necho ran >> {log}\ncat\n")
        spy.chmod(0o755)
        stage.clone.user.configure(
            core_autocrlf="true", core_safecrlf="true", core_eol="crlf", core_quotePath="false",
            core_fileMode="false",
            core_fsmonitor=str(spy), core_untrackedCache="true", core_splitIndex="true", core_pager=str(spy),
            core_bigFileThreshold="1", core_checkStat="minimal", core_trustctime="false", index_version="4",
            diff_noprefix="true", diff_mnemonicPrefix="true", diff_external=str(spy), diff_renames="copies",
            diff_context="0", diff_interHunkContext="9", diff_algorithm="patience", diff_submodule="log",
            diff_ignoreSubmodules="all", diff_odd_textconv=str(spy), diff_odd_command=str(spy),
            color_ui="always",
            diff_suppressBlankEmpty="true", diff_wsErrorHighlight="all", diff_orderFile=str(spy),
            add_ignoreErrors="true", feature_manyFiles="true", alias_add="!false", core_symlinks="false",
        )  # fmt: skip
        stage.clone.git("config", "core.autocrlf", "true")
        stage.clone.git("config", "core.fileMode", "false")
        stage.clone.git("config", "core.symlinks", "false")
        attributes = tmp_path / "attributes"
        attributes.write_text("* text=auto eol=crlf\n*.bin diff=odd\n* ident filter=odd\n")
        stage.clone.user.configure(
            core_attributesFile=str(attributes), filter_odd_clean=str(spy), filter_odd_smudge=str(spy)
        )
        environ = {
            **stage.clone.user.environ,
            "GIT_DIR": "/nowhere",
            "GIT_INDEX_FILE": "/nowhere/i",
            "GIT_WORK_TREE": "/nowhere",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_EXTERNAL_DIFF": str(spy),
            "GIT_DIFF_OPTS": "-u0",
            "GIT_PREFIX": "x/",
            "GIT_OBJECT_DIRECTORY": "/nowhere/o",
            "GIT_NAMESPACE": "n",
            "GIT_ATTR_SOURCE": "x",
            "GIT_DEFAULT_HASH": "sha256",
            "GIT_CEILING_DIRECTORIES": "/",
        }
        repository = Repository.open(stage.clone.path, environ)
        checkout = repository.worktree(stage.path)
        assert checkout
        assert checkout.patch(stage.start) == plain
        checkout.reset(stage.start)
        stage.sh(script)
        assert checkout.patch(stage.start) == plain
        assert not log.exists()

    def test_globally_ignored_files_are_excluded(self, stage: Stage) -> None:
        write(stage.clone.user.home, {".config/git/ignore": "*.swp\n"})
        write(stage.path, {"a.swp": "x", "b.orig": "x", "a": "x"})
        assert stage.patch().files == ("a", "b.orig")
        assert stage.patch(exclude=["nothing"]).files == ("a", "b.orig")
        write(stage.clone.user.home, {"ignore": "*.orig\n"})
        stage.clone.user.configure(core_excludesFile="~/ignore")
        stage.repository = Repository.open(stage.clone.path, stage.clone.user.environ)
        checkout = stage.repository.worktree(stage.path)
        assert checkout
        stage.checkout = checkout
        stage.checkout.reset(stage.start)
        write(stage.path, {"a.swp": "x", "b.orig": "x", "a": "x"})
        assert stage.patch(exclude=["nothing"]).files == ("a", "a.swp")


class TestExclude:
    def test_excluded_files_are_left_out_unless_tracked(self, stage: Stage) -> None:
        write(
            stage.path,
            {".env": "x", "sub/.env": "x", "node_modules/a": "x", "src/node_modules/b": "x", "a": "x"},
        )
        write(stage.path, {"README.md": "changed"})
        patch = stage.patch(exclude=["/.env", "node_modules", "README.md"])
        assert patch.files == ("README.md", "a", "sub/.env")

    def test_ignore_file_of_the_tree_does_not_override_excludes(self, stage: Stage) -> None:
        write(stage.path, {".env": "x", ".gitignore": "!.env\n", "a": "x"})
        assert stage.patch(exclude=["/.env"]).files == (".gitignore", "a")

    def test_global_patterns_do_not_override_the_ignore_file_of_the_tree(self, stage: Stage) -> None:
        write(stage.clone.user.home, {".config/git/ignore": "*.dat\n"})
        write(stage.path, {"a.dat": "x", ".gitignore": "!a.dat\n"})
        assert stage.patch(exclude=["/.env"]).files == (".gitignore", "a.dat")


class TestBaseline:
    def test_changes_before_the_baseline_are_left_out(self, stage: Stage) -> None:
        write(stage.path, {"lock": "installed", "src/app.py": "formatted\n", "gone": "x"})
        (stage.path / "empty").unlink()
        baseline = stage.checkout.snapshot()
        write(stage.path, {"README.md": "changed\n", "src/lib/util.py": "x = 2\n"})
        (stage.path / "gone").unlink()
        patch = stage.patch(baseline=baseline)
        assert patch.files == ("README.md", "src/lib/util.py")
        assert stage.content(patch, "src/app.py") == "print('app')"

    def test_unchanged_baseline_gives_the_same_patch(self, stage: Stage) -> None:
        baseline = stage.checkout.snapshot()
        assert baseline == stage.repository.tree(stage.start)
        write(stage.path, {"README.md": "changed\n"})
        assert stage.patch(baseline=baseline) == stage.patch()

    def test_a_file_that_both_changed_is_merged(self, stage: Stage) -> None:
        text = "".join(f"line {n}\n" for n in range(30))
        stage.start = stage.clone.commit({"long": text})
        stage.checkout.reset(stage.start)
        write(stage.path, {"long": text.replace("line 2\n", "set up\n")})
        baseline = stage.checkout.snapshot()
        write(stage.path, {"long": text.replace("line 2\n", "set up\n").replace("line 27\n", "by the task\n")})
        patch = stage.patch(baseline=baseline)
        assert stage.content(patch, "long") + "\n" == text.replace("line 27\n", "by the task\n")

    def test_task_wins_conflicts_with_the_baseline(self, stage: Stage) -> None:
        write(stage.path, {"README.md": "set up\n", "run.sh": "set up\n", "src/app.py": "set up\n"})
        baseline = stage.checkout.snapshot()
        write(stage.path, {"README.md": "by the task\n", ".gitattributes": "* merge=union\n"})
        (stage.path / "run.sh").unlink()
        shutil.rmtree(stage.path / "src")
        write(stage.path, {"src": "a file"})
        patch = stage.patch(baseline=baseline)
        assert patch.files == (".gitattributes", "README.md", "run.sh", "src", "src/app.py", "src/lib/util.py")
        assert stage.content(patch, "README.md") == "by the task"

    def test_reverting_the_baseline_gives_an_empty_patch(self, stage: Stage) -> None:
        write(stage.path, {"README.md": "set up\n", "new": "set up"})
        baseline = stage.checkout.snapshot()
        write(stage.path, {"README.md": (stage.clone.path / "README.md").read_bytes()})
        (stage.path / "new").unlink()
        assert stage.patch(baseline=baseline).files == ()

    def test_nested_repository_in_the_baseline(self, stage: Stage) -> None:
        stage.sh("git init -q tool; echo t > tool/t; git -C tool add t; git -C tool commit -qm t")
        baseline = stage.checkout.snapshot()
        stage.sh("echo x > y; echo more >> tool/t; git -C tool commit -qam more")
        patch = stage.patch(baseline=baseline)
        assert stage.tree(patch) >= {"y", "tool/t"}


class TestSubmodules:
    @pytest.fixture
    def stage(self, odd_clone: Clone, make_repository: Callable[..., Clone], tmp_path: Path) -> Stage:
        self.library = make_repository("library", {"lib.txt": "lib"})
        odd_clone.git("submodule", "add", "-q", str(self.library.path), "vendor/lib")
        odd_clone.commit()
        return Stage(odd_clone, tmp_path / "pool")

    def test_submodules_are_unchanged(self, stage: Stage) -> None:
        stage.sh("git submodule update -q --init; echo x > y")
        assert stage.patch().files == ("y",)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("echo more >> vendor/lib/lib.txt", "changed lib.txt in the submodule vendor/lib"),
            ("> vendor/lib/new", "changed new in the submodule vendor/lib"),
            ("rm vendor/lib/lib.txt", "changed lib.txt in the submodule vendor/lib"),
            (
                "cd vendor/lib; echo more >> lib.txt; git commit -qam mine",
                "made commits in the submodule vendor/lib that the submodule's remote does not have",
            ),
            ("cd vendor/lib; git checkout -q --orphan o; git commit -qm o", "made commits in the submodule"),
            (
                "cd vendor/lib; echo more >> lib.txt; git stash -q",
                "left a stash in the submodule vendor/lib, which cannot be part of the patch",
            ),
            (
                "cd vendor/lib; git commit -q --allow-empty -m w; git branch kept; git checkout -q HEAD~",
                "left commits on the branch kept in the submodule vendor/lib",
            ),
            (
                "cd vendor/lib; git checkout -qb work; git commit -q --allow-empty -m w; git checkout -q -",
                "left commits on the branch work in the submodule vendor/lib",
            ),
            ("rm vendor/lib/.git", "created files in the submodule vendor/lib"),
            ("echo junk > vendor/lib/.git", "repository of the submodule vendor/lib cannot be read"),
            ("rm vendor/lib/.git; ln -s ../../.git/modules/vendor/lib vendor/lib/.git", "cannot be read"),
        ],
    )
    def test_work_in_a_submodule_is_not_lost_in_silence(self, stage: Stage, script: str, message: str) -> None:
        stage.sh("git submodule update -q --init; " + script)
        with pytest.raises(SubmoduleWorkError, match=re.escape(message)):
            stage.checkout.patch(stage.start)
        stage.checkout.reset(stage.start)
        assert list((stage.path / "vendor/lib").iterdir()) == []

    def test_submodules_are_read_while_secrets_are_searched_for(self, stage: Stage) -> None:
        """The patch is staged with temporary objects then, and the submodule has its own."""
        secrets = Secrets({"TOKEN": "s3cr3t-value"})
        stage.sh("git submodule update -q --init; echo x > y")
        assert stage.patch(secrets=secrets).files == ("y",)
        newer = self.library.commit({"lib.txt": "newer"})
        stage.sh(f"git -C vendor/lib fetch -q; git -C vendor/lib checkout -q {newer}")
        assert stage.patch(secrets=secrets).files == ("vendor/lib", "y")

    def test_moved_or_removed_submodule(self, stage: Stage) -> None:
        newer = self.library.commit({"lib.txt": "newer"})
        stage.sh(
            f"git submodule update -q --init; git -C vendor/lib fetch -q; git -C vendor/lib checkout -q {newer}"
        )
        patch = stage.patch()
        assert patch.files == ("vendor/lib",)
        assert f"+Subproject commit {newer}".encode() in patch.diff.read()
        stage.checkout.reset(stage.start)
        stage.sh("git rm -q vendor/lib")
        assert stage.patch().files == (".gitmodules", "vendor/lib")

    def test_branch_that_a_remote_gave_is_not_work(self, stage: Stage) -> None:
        """Also when the remote does not have it any more."""
        self.library.commit({"lib.txt": "2"})
        stage.sh("git submodule update -q --init")
        self.library.git("commit", "-q", "--amend", "-m", "again")
        stage.sh("git -C vendor/lib fetch -q; git -C vendor/lib checkout -q --detach origin/main")
        assert stage.patch().files == ("vendor/lib",)

    def test_submodule_that_was_not_updated_within_a_newer_one(
        self, stage: Stage, make_repository: Callable[..., Clone]
    ) -> None:
        inner = make_repository("inner", {"i.txt": "1"})
        self.library.git("submodule", "add", "-q", str(inner.path), "inner")
        first = self.library.commit()
        newest = inner.commit({"i.txt": "2"})
        self.library.git("-C", "inner", "pull", "-q", "origin", "main")
        second = self.library.commit()
        stage.clone.git("-C", "vendor/lib", "fetch", "-q")
        stage.clone.git("-C", "vendor/lib", "checkout", "-q", first)
        stage.clone.commit()
        fill = "git submodule update -q --init --recursive; git -C vendor/lib checkout -q"
        later = Stage(stage.clone, stage.path.parent.parent / "later")
        later.sh(f"{fill} {second}")
        assert later.patch().files == ("vendor/lib",)
        later.checkout.reset(later.start)
        later.sh(f"{fill} {first}; git -C vendor/lib/inner checkout -q {newest}")
        with pytest.raises(SubmoduleWorkError, match="changed the commit of the submodule vendor/lib/inner"):
            later.checkout.patch(later.start)

    def test_added_submodule(self, stage: Stage) -> None:
        stage.sh(f"git submodule add -q {self.library.path} other; git init -q n; > n/f")
        patch = stage.patch()
        assert patch.files == (".gitmodules", "n/f", "other")
        assert f"+Subproject commit {self.library.head}".encode() in patch.diff.read()

    def test_submodule_replaced_by_files(self, stage: Stage) -> None:
        stage.sh("git rm -q vendor/lib; mkdir -p vendor/lib; echo mine > vendor/lib/lib.txt")
        patch = stage.patch()
        assert patch.files == (".gitmodules", "vendor/lib", "vendor/lib/lib.txt")

    def test_nested_repository_beside_a_submodule(self, stage: Stage) -> None:
        stage.sh("git submodule update -q --init; git init -q n; > n/f; git -C n add f; git -C n commit -qm n")
        assert stage.patch().files == ("n/f",)
        assert (stage.path / "vendor/lib/.git").is_file()
        assert (stage.path / "n/.git/HEAD").is_file()


def test_a_bare_and_a_shallow_repository(odd_clone: Clone, tmp_path: Path) -> None:
    for name, options in (("bare.git", ["--bare"]), ("shallow", ["--depth=1", "--no-local"])):
        odd_clone.git("clone", "-q", *options, odd_clone.path, tmp_path / name)
        stage = Stage(Clone(odd_clone.user, tmp_path / name), tmp_path / f"{name}-worktrees")
        stage.sh("echo more >> README.md; git commit -qam mine; git init -q n; > n/f")
        assert stage.checkout.patch(stage.start).files == ("README.md", "n/f")
        stage.checkout.reset(stage.start)
        assert contents(stage.path) == contents(odd_clone.path)


def test_a_repository_of_sha_256(user: User, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.mkdir()
    long = Clone(user, path)
    long.git("init", "-q", "--object-format=sha256")
    long.commit({"a": "a"})
    stage = Stage(long, tmp_path / "pool")
    baseline = stage.checkout.snapshot()
    stage.sh("echo more >> a; > new; git checkout -q -b b")
    patch = stage.checkout.patch(stage.start, baseline=baseline)
    assert (patch.files, len(patch.tree)) == (("a", "new"), 64)
    commit = stage.repository.commit(patch.tree, [stage.start], "x")
    stage.repository.set_branch("x", commit, None)
    stage.checkout.reset(commit)
    assert (stage.path / "new").exists()


def test_file_that_git_cannot_store_is_reported(stage: Stage) -> None:
    stage.sh("rm README.md; mkfifo README.md")
    with pytest.raises(GitError, match=r"README\.md"):
        stage.checkout.patch(stage.start)


@pytest.mark.parametrize("secrets", [None, Secrets({"KEY": "long enough to be searched for"})])
def test_objects_that_the_user_pruned_are_stored_again(stage: Stage, secrets: Secrets | None) -> None:
    stage.sh("echo one > one; mkdir deep; echo two > deep/two")
    first = stage.patch(secrets=secrets)
    stage.clone.git("prune", "--expire=now")
    with pytest.raises(AssertionError):
        stage.content(first, "one")

    assert stage.patch(secrets=secrets) == first
    assert stage.content(first, "deep/two") == "two"


def test_patch_starts_two_git_processes_and_reset_one(stage: Stage, tmp_path: Path) -> None:
    git = CountedGit.at(tmp_path / "bin", stage.clone.user)
    checkout = Repository.open(stage.clone.path, git.environ).worktree(stage.path)
    assert checkout
    checkout.reset(stage.start)
    for number in range(2):
        git.calls()
        write(stage.path, {"README.md": f"changed {number}", "new": "new"})
        assert checkout.patch(stage.start).files == ("README.md", "new")
        calls = git.calls()
        checkout.reset(stage.start)
        resets = git.calls()
    assert (len(calls), len(resets)) == (2, 1)  # what is asked once for each commit was asked before

"""A worktree where a task only added files is put back without git, and exactly as git puts it back."""

import os
import random
import subprocess
from pathlib import Path
from time import sleep

import pytest
from repositories import Clone, CountedGit, contents, write

from containers.git.repository import Checkout, Repository
from containers.git.working_tree import unchanged

ROUNDS = 10
NAMES = ("a", "b.log", "c d", "ü", "x\ny", "build", "deep", "-n")


@pytest.fixture
def counted(clone: Clone, tmp_path: Path) -> CountedGit:
    return CountedGit.at(tmp_path / "bin", clone.user)


@pytest.fixture
def checkout(clone: Clone, counted: CountedGit, tmp_path: Path) -> Checkout:
    write(
        clone.path,
        {
            ".gitignore": "*.log\nbuild/\n",
            "top": "t",
            "dir/one": "1",
            "dir/two": "2",
            "dir/sub/x": "x",
            "other/sub/y": "y",
            "c d/ü": "z",
        },
    )
    (clone.path / "link").symlink_to("dir")
    (clone.path / "run").write_text("#!/bin/sh\n")
    (clone.path / "run").chmod(0o755)
    clone.commit(message="tree")
    repository = Repository.open(clone.path, counted.environ)
    checkout = repository.add_worktree(tmp_path / "pool" / "wt-1", clone.head)
    checkout.reset(clone.head)
    sleep(0.02)  # so that no file is as new as the index of the next reset
    checkout.reset(clone.head)
    counted.calls()
    return checkout


def resets(counted: CountedGit) -> list[str]:
    """Return the calls since the last time that put files back."""
    return [call for call in counted.calls() if " reset " in f" {call} " or call.startswith("clean")]


@pytest.mark.parametrize(
    "script",
    [
        "true",
        "echo new > new; echo l > x.log; mkdir -p build/o dir/empty; > build/o/f; > dir/sub/new",
        "git init -q nested; git init -q dir/nested; mkfifo pipe dir/sub/pipe",
        "ln -s / outside; ln -s ../dir dir/back; ln -s gone dir/sub/gone",
        "git add -A; git commit -qm mine --allow-empty; git checkout -qb topic",
        "mkdir locked; > locked/f; chmod 0 locked",
    ],
)
def test_git_does_not_run_where_files_were_only_added(
    checkout: Checkout, clone: Clone, counted: CountedGit, script: str
) -> None:
    before = contents(checkout.path)
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert resets(counted) == []
    assert contents(checkout.path) == before


@pytest.mark.parametrize(
    "script",
    [
        "echo T > top",
        't=$(stat -c %y top); printf T > top; touch -d "$t" top',  # same size, same time of modification
        "cp -p top /tmp/$$; mv /tmp/$$ top",  # another file with the same content
        "chmod +x top",
        "rm dir/one",
        "rm -r dir; ln -s other dir",
        "rm link; mkdir link; > link/f",
        "rm top; mkdir top; > top/f",
        "ln -sfn other link",
        "mv dir t; mv other dir; mv t other",
        "mv dir/sub/x dir/sub/X",
        "rm run; mkfifo run",
    ],
)
def test_git_runs_where_a_file_was_changed(
    checkout: Checkout, clone: Clone, counted: CountedGit, script: str
) -> None:
    before = contents(checkout.path)
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert [call.split()[0] for call in resets(counted)] == ["clean", "-c"]
    assert contents(checkout.path) == before


def repository_of(checkout: Checkout) -> dict[str, tuple[int, int, bytes]]:
    """Return what the repository of a task has: modes, numbers of names, and contents."""
    found = {}
    for path in sorted((checkout.path / ".git").rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(checkout.path))] = (
            status.st_mode,
            status.st_nlink if path.is_file() else 0,
            content,
        )
    return found


def test_a_repository_that_no_git_has_used_is_kept(checkout: Checkout, clone: Clone) -> None:
    config = (checkout.path / ".git" / "config").lstat()
    write(checkout.path, {"new": "n"})
    checkout.reset(clone.head)
    assert (checkout.path / ".git" / "config").lstat().st_ino == config.st_ino


@pytest.mark.parametrize(
    "script",
    [
        "echo x >> .git/config",
        't=$(stat -c %y .git/config); sed -i s/gc/gd/ .git/config; touch -d "$t" .git/config',
        "echo x > .git/hooks/post-checkout; chmod +x .git/hooks/post-checkout",
        "ln .git/config ../config",
        "ln .git/info/exclude ../exclude",
        "cp -a .git/config ../other; ln -sf ../../other .git/config",
        "mv .git ../elsewhere; ln -s ../elsewhere .git",
        "mv .git/refs ../refs; ln -s ../../refs .git/refs",
        "rm .git/info/exclude; mkfifo .git/info/exclude",
        "rm .git/info/exclude; mkdir .git/info/exclude",
        "rmdir .git/hooks; touch .git/hooks",
        "rmdir .git/objects/pack",
        "chmod 666 .git/config",
        "chmod 777 .git/refs",
        "touch .git/index",
        "git stash -q 2> ../stash; git branch mine; git gc -q",
        "rm -r .git",
        "rm -r .git; echo gitdir: /tmp > .git",
    ],
)
def test_a_repository_with_any_change_is_made_again(checkout: Checkout, clone: Clone, script: str) -> None:
    before = repository_of(checkout)
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    assert repository_of(checkout) != before or "touch" in script or (checkout.path / ".git").is_symlink()
    checkout.reset(clone.head)
    assert repository_of(checkout) == before
    assert not (checkout.path / ".git").is_symlink()
    index = next((clone.path / ".git" / "patchyard").glob("*.index"))
    assert (checkout.path / ".git" / "index").stat().st_mtime_ns == index.stat().st_mtime_ns


def test_a_file_as_new_as_the_index_is_left_to_git(
    checkout: Checkout, clone: Clone, counted: CountedGit
) -> None:
    index = next((clone.path / ".git" / "patchyard").glob("*.index"))
    os.utime(index, ns=(0, (checkout.path / "top").stat().st_mtime_ns))
    checkout.reset(clone.head)
    assert resets(counted)


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_damaged_index_is_left_to_git(
    checkout: Checkout, clone: Clone, counted: CountedGit, cut: int
) -> None:
    before = contents(checkout.path)
    index = next((clone.path / ".git" / "patchyard").glob("*.index"))
    index.write_bytes(index.read_bytes()[:cut])
    checkout.reset(clone.head)
    assert resets(counted)
    assert contents(checkout.path) == before


@pytest.mark.parametrize("setting", [("index.version", "4"), ("feature.manyFiles", "true")])
def test_indexes_of_other_kinds_are_left_to_git(
    checkout: Checkout, clone: Clone, setting: tuple[str, str]
) -> None:
    clone.git("config", *setting)
    clone.commit({"more": "m"})
    for commit in (clone.head, "HEAD~1", clone.head, clone.head):
        checkout.reset(clone.git("rev-parse", commit))
        write(checkout.path, {"new": "n"})
        sleep(0.02)
    checkout.reset(clone.head)
    assert not (checkout.path / "new").exists()
    assert contents(checkout.path).keys() >= {"more", "top"}


ADDITIONS = (
    'test -e "$new" || echo added > "$new"',
    'mkdir -p "$new/deep/er"',
    'ln -s "$one" "$new"',
    'git init -q "$new"; echo f > "$new/f"',
    'mkfifo "$new"',
    'mkdir "$new"; echo f > "$new/f"; chmod 0 "$new"',
)
CHANGES = (
    'rm -rf "$one"',
    'mv -T "$one" "$two"',
    'mv "$one" "$two/"',
    'tr a-z A-Z < "$one" > "$one.x" && mv "$one.x" "$one"',
    'chmod 0 "$one"',
    'chmod 755 "$one"',
    'rm "$one" && mkdir "$one"',
    'touch -d 2001-01-01 "$one"',
)


def change_at_random(root: Path, choose: random.Random, *, only_add: bool) -> None:
    """Do a few things that a task may do; some of them fail."""
    for _ in range(choose.randint(1, 6)):
        found = [path for path in sorted(root.rglob("*")) if ".git" not in path.parts]
        one, two, new = (choose.choice(found) for _ in range(3))
        names = {"one": one, "two": two, "new": new.parent / choose.choice(NAMES)}
        script = choose.choice(ADDITIONS if only_add else ADDITIONS + 2 * CHANGES)
        environ = os.environ | {name: str(path) for name, path in names.items()}
        subprocess.run(["sh", "-c", script], cwd=root, env=environ, check=False, capture_output=True)


@pytest.mark.parametrize("seed", range(6))
def test_any_changes_are_undone_as_git_undoes_them(
    checkout: Checkout, clone: Clone, counted: CountedGit, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a task does: the files are those of the commit, and git finds nothing to clean."""
    choose, without_git = random.Random(seed), 0  # noqa: S311 - repeatable
    before = contents(checkout.path)
    for number in range(ROUNDS):
        only_add = bool(number % 2)
        if only_add:
            sleep(0.02)  # so that no file is as new as the index
            checkout.reset(clone.head)
        change_at_random(checkout.path, choose, only_add=only_add)
        counted.calls()
        checkout.reset(clone.head)
        without_git += not resets(counted)
        assert contents(checkout.path) == before
        assert clone.user.git("clean", "-ffdxn", cwd=checkout.path) == ""
        assert clone.user.git("status", "--porcelain", "--ignored", cwd=checkout.path) == ""
    assert 0 < without_git < ROUNDS
    monkeypatch.setattr(unchanged, "_LARGEST", 10)
    checkout.reset(clone.head)
    assert resets(counted)

"""A worktree is put back by what a task added or changed, and exactly as git puts it back."""

import errno
import os
import random
import re
import subprocess
from pathlib import Path
from time import sleep, time

import pytest
from repositories import Clone, CountedGit, contents, write

from containers.git.repository import GitError, Repository
from containers.git.working_tree import index_file, task_files, unchanged
from containers.git.working_tree.checkout import Checkout

ROUNDS = 10
NAMES = ("a", "b.log", "c d", "ü", "x\ny", "build", "deep", "-n")


@pytest.fixture
def counted(clone: Clone, tmp_path: Path) -> CountedGit:
    return CountedGit.at(tmp_path / "bin", clone.user)


@pytest.fixture(params=[100_000, 0], ids=["small", "large"])
def largest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The size of an index up to which the program looks at all files itself."""
    monkeypatch.setattr(index_file, "_LARGEST", request.param)
    return int(request.param)


@pytest.fixture
def checkout(clone: Clone, counted: CountedGit, tmp_path: Path, largest: int) -> Checkout:
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
    sleep(0.02 if largest else 1.02)  # so that no file is as new as the index of the next reset
    checkout.reset(clone.head)
    counted.calls()
    return checkout


WRITES = ("checkout-index", "clean", "reset")


def resets(counted: CountedGit) -> list[str]:
    """Return the commands of the calls since the last time that put files back."""
    calls = (call.split() for call in counted.calls())
    return [next(word for word in call if word in WRITES) for call in calls if set(call) & set(WRITES)]


def modes(root: Path) -> dict[str, int]:
    """Return the modes of the files below a directory."""
    found = (path for path in root.rglob("*") if not path.is_dir() and ".git" not in path.parts)
    return {str(path): path.lstat().st_mode for path in found}


ADDED = (
    "true",
    "echo new > new; echo l > x.log; mkdir -p build/o dir/empty; > build/o/f; > dir/sub/new",
    "git init -q nested; git init -q dir/nested; mkfifo pipe dir/sub/pipe",
    "ln -s / outside; ln -s ../dir dir/back; ln -s gone dir/sub/gone",
    "git add -A; git commit -qm mine --allow-empty; git checkout -qb topic",
    "mkdir locked; > locked/f; chmod 0 locked",
)
"""What a task does that changes no file of the commit."""
CHANGED = (
    "echo T > top",
    't=$(stat -c %y top); printf T > top; touch -d "$t" top',  # same size, same time of modification
    "cp -p top /tmp/$$; mv /tmp/$$ top",  # another file with the same content
    "chmod +x top",
    "rm top; echo t > top",
    "rm dir/one",
    "rm -r dir",
    "rm -r dir; ln -s other dir",
    "rm link; mkdir link; > link/f",
    "rm top; mkdir top; > top/f",
    "ln -sfn other link",
    "mv dir t; mv other dir; mv t other",
    "mv dir/sub/x dir/sub/X",
    "rm run; mkfifo run",
    "mkdir 'n*'; > 'n*/f'; > '[d]ir'; > 'dir/*'; echo T > 'c d/ü'; rm dir/sub/x",
    "rm -r * .gitignore",
)
"""What a task does that changes files of the commit."""


@pytest.mark.parametrize("script", ADDED)
def test_git_writes_nothing_where_files_were_only_added(
    checkout: Checkout, clone: Clone, counted: CountedGit, script: str
) -> None:
    before = contents(checkout.path)
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert resets(counted) == []
    assert contents(checkout.path) == before


@pytest.mark.parametrize("script", CHANGED)
def test_only_what_was_changed_is_checked_out(
    checkout: Checkout, clone: Clone, counted: CountedGit, script: str
) -> None:
    before, before_modes = contents(checkout.path), modes(checkout.path)
    others = {path: path.lstat().st_ino for path in checkout.path.glob("other/sub/*")}
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert resets(counted) == ["checkout-index"]
    assert contents(checkout.path) == before
    assert modes(checkout.path) == before_modes
    if "other" not in script and "-r *" not in script:
        assert {path: path.lstat().st_ino for path in others} == others


@pytest.mark.parametrize(
    "script",
    [
        "echo '* text eol=crlf' > .gitattributes; echo T > top",
        "mkdir a; echo '* ident' > a/.gitattributes; mv a/.gitattributes dir/; echo T > dir/one",
        "chmod 0 dir; chmod 311 other",
    ],
)
def test_attributes_and_permissions_of_a_task_are_gone_before(
    checkout: Checkout, clone: Clone, script: str
) -> None:
    before = contents(checkout.path)
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert contents(checkout.path) == before


def test_changed_attributes_are_left_to_git(
    checkout: Checkout, clone: Clone, counted: CountedGit, largest: int
) -> None:
    clone.commit({".gitattributes": "*.crlf text eol=crlf\n", "a.crlf": "a\n"})
    checkout.reset(clone.head)
    for script, wanted in (
        ("echo '* -text' > .gitattributes; echo b > a.crlf", "reset"),
        ("rm .gitattributes; rm a.crlf", "reset"),
        ("echo b > a.crlf", "checkout-index"),
    ):
        sleep(0.02 if largest else 1.02)  # so that no file is as new as the index
        checkout.reset(clone.head)
        counted.calls()
        subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
        checkout.reset(clone.head)
        assert resets(counted)[-1] == wanted
        assert (checkout.path / "a.crlf").read_bytes() == b"a\r\n"
        assert (checkout.path / ".gitattributes").read_text() == "*.crlf text eol=crlf\n"


@pytest.mark.parametrize("script", ["chmod 600 top run", "chmod 0 top; chmod 444 dir/one", "touch top"])
def test_modes_and_times_are_put_back_once(
    checkout: Checkout, clone: Clone, counted: CountedGit, script: str
) -> None:
    before = modes(checkout.path)
    sleep(1)  # git compares seconds
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    checkout.reset(clone.head)
    assert resets(counted) == ["checkout-index"]
    assert modes(checkout.path) == before
    sleep(0.02)
    checkout.reset(clone.head)
    resets(counted)
    checkout.reset(clone.head)
    assert resets(counted) == []


def test_a_directory_that_was_prepared_elsewhere_is_not_taken_for_the_old_one(
    checkout: Checkout, clone: Clone, tmp_path: Path
) -> None:
    """What it has in it is older than the reset, and was never listed."""
    before, elsewhere = contents(checkout.path), tmp_path / "elsewhere"
    write(elsewhere, {"one": "1", "two": "2", "sub/x": "x", "sub/new": "n"})
    subprocess.run(["git", "init", "-q", elsewhere / "sub"], env=clone.user.environ, check=True)
    sleep(0.02)
    checkout.reset(clone.head)
    (checkout.path / "dir").rename(tmp_path / "old")
    elsewhere.rename(checkout.path / "dir")
    assert checkout.patch(clone.head).files == ("dir/sub/new",)
    checkout.reset(clone.head)
    assert contents(checkout.path) == before
    assert not (checkout.path / "dir/sub/.git").exists()


@pytest.mark.parametrize("largest", [0], indirect=True)
def test_no_file_below_a_link_is_removed(
    checkout: Checkout, clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if something makes a link between the looks at the worktree."""
    before = contents(checkout.path)
    (checkout.path / "dir").rename(tmp_path / "outside")
    (checkout.path / "dir").symlink_to(tmp_path / "outside")
    outside = contents(tmp_path / "outside")
    monkeypatch.setattr(unchanged, "_remove_untracked", lambda *_: None)
    checkout.reset(clone.head)
    assert contents(tmp_path / "outside") == outside
    assert contents(checkout.path) == before


def test_many_changed_directories_are_cleaned(
    checkout: Checkout, clone: Clone, counted: CountedGit, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(unchanged, "_MOST_DIRECTORIES", 1)
    before = contents(checkout.path)
    write(checkout.path, {"new": "n", "dir/new": "n", "dir/sub/new": "n", "other/new/f": "n"})
    checkout.reset(clone.head)
    assert resets(counted) == ([] if largest else ["clean"])
    assert contents(checkout.path) == before


@pytest.mark.parametrize("largest", [0], indirect=True)
def test_git_writes_the_index_again_until_it_is_newer_than_the_files(
    checkout: Checkout, clone: Clone, counted: CountedGit
) -> None:
    """Else it would read all files of the last second at each look."""
    clone.commit({"more": "m"})
    for wait, wanted in ((0, ["clean", "reset", "clean"]), (1.02, ["clean", "reset"]), (0, [])):
        sleep(wait)
        checkout.reset(clone.head)
        assert resets(counted) == wanted


@pytest.mark.parametrize("script", ["true", "> top.log", "git status", "touch top", *ADDED[1:], *CHANGED])
def test_a_patch_is_the_same_as_that_of_git(
    checkout: Checkout, clone: Clone, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    subprocess.run(["sh", "-e", "-c", script], cwd=checkout.path, env=clone.user.environ, check=True)
    looked_at, error = None, ""
    try:
        looked_at = checkout.patch(clone.head)
    except GitError as raised:
        error = str(raised)
    monkeypatch.setattr("containers.git.working_tree.checkout.is_unchanged", lambda *_: False)
    if error:
        with pytest.raises(GitError, match=re.escape(error)):
            checkout.patch(clone.head)
    else:
        assert checkout.patch(clone.head) == looked_at


PATCHES = {"add", "diff-index", "diff-tree", "write-tree"}


def test_no_git_runs_for_the_patch_of_a_task_that_changed_nothing(
    checkout: Checkout, clone: Clone, counted: CountedGit, largest: int
) -> None:
    subprocess.run(["git", "log"], cwd=checkout.path, env=clone.user.environ, check=True)
    patch = checkout.patch(clone.head)
    assert (patch.files, patch.tree) == ((), clone.git("rev-parse", "HEAD^{tree}"))
    ran = [word for call in counted.calls() for word in call.split() if word in PATCHES]
    assert ran == ([] if largest else ["add", "diff-index"])


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_a_task_whose_set_up_changed_something_is_left_to_git(checkout: Checkout, clone: Clone) -> None:
    write(checkout.path, {"set-up": "s"})
    baseline = checkout.snapshot()
    assert checkout.patch(clone.head, baseline=baseline).files == ()
    (checkout.path / "set-up").unlink()
    assert checkout.patch(clone.head).files == ()
    assert checkout.patch(clone.head, baseline=baseline).files == ()


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_a_start_other_than_that_of_the_reset_is_left_to_git(checkout: Checkout, clone: Clone) -> None:
    before = clone.head
    clone.commit({"more": "m"})
    assert checkout.patch(clone.head).files == ("more",)
    assert checkout.patch(before).files == ()


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_a_change_in_the_second_of_the_reset_is_found_where_times_are_whole_seconds(
    checkout: Checkout, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index may be on another file system, whose times are finer."""

    def whole(state: index_file.State | None) -> index_file.State | None:
        return state and (*(value // 10**9 * 10**9 for value in state[:2]), *state[2:])

    def record_time(last: unchanged.LastReset, root: Path, *, is_known: bool) -> None:
        recorded(last, root, is_known=is_known)
        last.at = last.at and last.at // 10**9 * 10**9

    entries, state = index_file._entries, index_file.state_of  # noqa: SLF001 - they are wrapped
    recorded = unchanged.LastReset.record_time
    monkeypatch.setattr(index_file, "_entries", lambda *of: ((path, whole(one)) for path, one in entries(*of)))
    monkeypatch.setattr(unchanged, "state_of", lambda status: whole(state(status)))
    monkeypatch.setattr(unchanged.LastReset, "record_time", record_time)
    clone.commit({"top": "1"})
    while not 0.1 < time() % 1 < 0.3:
        sleep(0.01)
    checkout.reset(clone.head)
    (checkout.path / "top").write_text("2")
    assert checkout.patch(clone.head).files == ("top",)


def own_index(clone: Clone) -> Path:
    """Return the index that the program keeps for the worktree."""
    return next((clone.path / ".git" / "patchyard").glob("*.index"))


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_an_index_gets_a_later_time_than_its_files_once_they_were_seen_unchanged(
    checkout: Checkout, clone: Clone
) -> None:
    """Else git would read all files of the second in which it wrote the index, for each patch."""
    index = own_index(clone)
    clone.commit({"more": "m"})
    checkout.reset(clone.head)
    sleep(0.02)
    checkout.reset(clone.head)  # files that are as new as the index are looked at by git once
    newest = int(max(path.lstat().st_mtime for path in checkout.path.glob("*")))
    assert int(index.stat().st_mtime) <= newest + 1
    sleep(2)
    checkout.reset(clone.head)
    checkout.reset(clone.head)
    assert newest < index.stat().st_mtime <= time() - 1
    assert (checkout.path / ".git/index").stat().st_mtime == index.stat().st_mtime


@pytest.mark.parametrize("largest", [100_000], indirect=True)
@pytest.mark.parametrize("wait", [0, 1.02])
def test_an_index_keeps_its_time_while_a_file_may_have_changed_in_that_second(
    checkout: Checkout, clone: Clone, wait: float
) -> None:
    while not 0.1 < time() % 1 < 0.3:
        sleep(0.01)
    clone.commit({"top": "1"})
    checkout.reset(clone.head)
    sleep(wait)
    checkout.reset(clone.head)
    checkout.reset(clone.head)
    for content in ("2", "3"):
        (checkout.path / "top").write_text(content)
        os.utime(checkout.path / "top", ns=(1, index_file.SECOND * int(time())))
        assert checkout.patch(clone.head).files == ("top",)
        checkout.reset(clone.head)
        assert (checkout.path / "top").read_text() == "1"
        assert checkout.patch(clone.head).files == ()


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_directories_that_a_reset_has_listed_are_not_listed_for_the_next_patch(
    checkout: Checkout, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep(0.02)
    checkout.reset(clone.head)
    (checkout.path / "dir" / "new").write_text("n")
    listed = []
    entries = task_files._entries  # noqa: SLF001 - it is wrapped

    def recorded(directory: str) -> list[os.DirEntry[str]]:
        listed.append(Path(directory).name)
        return entries(directory)

    monkeypatch.setattr(task_files, "_entries", recorded)
    assert checkout.patch(clone.head).files == ("dir/new",)
    assert sorted(listed) == sorted([checkout.path.name, "dir"])


@pytest.mark.parametrize("has_links", [True, False])
def test_a_patch_leaves_the_index_of_the_reset_as_it_is(
    checkout: Checkout, clone: Clone, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    """Also on file systems without hard links."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    index = own_index(clone)
    before = (index.read_bytes(), index.stat().st_ino, index.stat().st_mtime_ns)
    write(checkout.path, {"top": "changed", "new": "n"})
    for _ in range(2):
        assert checkout.patch(clone.head).files == ("new", "top")
        assert (index.read_bytes(), index.stat().st_ino, index.stat().st_mtime_ns) == before
    checkout.reset(clone.head)
    assert checkout.patch(clone.head).files == ()


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


@pytest.mark.parametrize("largest", [100_000], indirect=True)
def test_a_repository_that_no_git_has_used_is_kept(checkout: Checkout, clone: Clone) -> None:
    config = (checkout.path / ".git" / "config").lstat()
    write(checkout.path, {"new": "n"})
    checkout.reset(clone.head)
    assert (checkout.path / ".git" / "config").lstat().st_ino == config.st_ino


@pytest.mark.parametrize("largest", [100_000], indirect=True)
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
    checkout: Checkout, clone: Clone, counted: CountedGit, largest: int
) -> None:
    index = next((clone.path / ".git" / "patchyard").glob("*.index"))
    os.utime(index, ns=(0, (checkout.path / "top").stat().st_mtime_ns))
    checkout.reset(clone.head)
    assert resets(counted) == (["checkout-index"] if largest else [])  # git itself compares the content


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


@pytest.mark.parametrize("older", ["*.base", "*.index"])
def test_an_index_and_a_commit_of_two_resets_do_not_belong_together(
    checkout: Checkout, clone: Clone, older: str
) -> None:
    """A loss of power may leave the older one of two files."""
    before, first = contents(checkout.path), clone.head
    path = next((clone.path / ".git" / "patchyard").glob(older))
    content = path.read_bytes()
    second = clone.commit({"top": "other", "more": "m"})
    checkout.reset(second)
    after = contents(checkout.path)
    path.write_bytes(content)
    for commit, wanted in ((first, before), (second, after)) if older == "*.base" else ((second, after),):
        checkout.reset(commit)
        assert contents(checkout.path) == wanted


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


@pytest.mark.parametrize("seed", range(4))
def test_any_changes_are_undone_as_git_undoes_them(
    checkout: Checkout, clone: Clone, counted: CountedGit, seed: int
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

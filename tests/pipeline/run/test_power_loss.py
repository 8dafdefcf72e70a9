"""After a loss of power, what is empty or damaged is made again from the stored patches."""

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from github_server import GitHubServer
from project import COMMAND, Project

from containers.git.stale_locks import remove_stale_lock

SCRIPTS = {
    "1.1": "mkdir -p deep/er; echo one > deep/er/one.txt",
    "1.2": "mkdir -p deep/er; echo two > deep/er/two.txt",
    "2.1": "echo three > three.txt",
    "3.1": 'cat deep/er/*.txt three.txt > all.txt; test -e "$SHARED/go"',
}
STACKED = {"1.1": "echo 1 > a", "1.2": "echo 2 > b", "1.3": "echo 3 > a; echo 3 > b", "2.1": "cat a b > all"}
"""Task 1.3 runs again, on top of both others."""
HARMS: Mapping[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "other": lambda _: zlib.compress(b"blob 5\0other"),
}


def loose_objects(project: Project) -> set[Path]:
    """Return the files of loose objects."""
    return set((project.root / ".git" / "objects").glob("[0-9a-f][0-9a-f]/*"))


def damage(paths: set[Path], harm: str) -> None:
    """Damage files as a loss of power does."""
    for path in paths:
        path.chmod(0o644)
        path.write_bytes(HARMS[harm](path.read_bytes()))


def branch_files(project: Project) -> set[Path]:
    """Return the files of the run's branches."""
    found = (project.root / ".git" / "refs" / "heads" / "patchyard").rglob("*")
    return {path for path in found if path.is_file()}


def fsck(project: Project) -> str:
    """Check the repository."""
    return project.clone.git("fsck", "--strict")


@pytest.fixture
def cut_off(project: Project) -> tuple[Project, str, set[Path], dict[str, str]]:
    """Provide a run whose last task failed; with the objects that it wrote, and its branches."""
    before = loose_objects(project)
    done = project.run(project.tasks(SCRIPTS), "--no-cache").expect(1)
    assert done.statuses == {"1.1": "changed", "1.2": "changed", "2.1": "changed", "3.1": "failed"}
    return project, done.run, loose_objects(project) - before, project.branches()


@pytest.mark.parametrize("harm", HARMS)
def test_damaged_objects_are_made_again_from_the_patches(
    cut_off: tuple[Project, str, set[Path], dict[str, str]], harm: str
) -> None:
    project, run, written, branches = cut_off
    damage(written, harm)
    (project.shared / "go").touch()

    done = project.call("retry", run, "--json").expect(0)

    assert set(done.statuses.values()) == {"changed"}
    kept = {name: commit for name, commit in branches.items() if name in project.branches()}
    assert {name: project.branches()[name] for name in kept} == kept
    assert project.show("patchyard/demo/3.1:all.txt") == "one\ntwo\nthree"
    fsck(project)


@pytest.mark.parametrize("content", [b"", bytes(41), None], ids=["empty", "zeros", "missing"])
def test_damaged_branches_are_set_again(
    cut_off: tuple[Project, str, set[Path], dict[str, str]], content: bytes | None
) -> None:
    project, run, _, branches = cut_off
    for path in branch_files(project):
        path.unlink() if content is None else path.write_bytes(content)
    (project.shared / "go").touch()

    project.call("retry", run, "--json").expect(0)

    assert project.branches().items() >= branches.items()
    fsck(project)


def test_objects_of_the_user_are_not_touched(
    cut_off: tuple[Project, str, set[Path], dict[str, str]],
) -> None:
    """A damaged object that the run's commits do not have stays as it is, to be repaired by its owner."""
    project, run, written, _ = cut_off
    project.clone.write({"mine.txt": "only in the index\n"})
    before = loose_objects(project)
    project.clone.git("add", "mine.txt")
    (mine,) = loose_objects(project) - before
    damage({mine, next(iter(written))}, "empty")
    (project.shared / "go").touch()

    project.call("retry", run, "--json").expect(0)

    assert mine.read_bytes() == b""


@pytest.mark.parametrize("scripts", [SCRIPTS, STACKED], ids=["plain", "stacked"])
def test_publish_makes_damaged_objects_again(
    hosted: Project, github: GitHubServer, scripts: Mapping[str, str]
) -> None:
    (hosted.shared / "go").touch()
    before = loose_objects(hosted)
    done = hosted.run(hosted.tasks(scripts), "--no-cache").expect(0)
    branches = hosted.branches()
    damage(loose_objects(hosted) - before, "empty")
    for path in branch_files(hosted):
        path.write_bytes(b"")

    published = hosted.call("publish", done.run).expect(0)

    assert "Traceback" not in published.err
    heads = {pull.head for pull in github.pull_requests("octo/demo")}
    assert heads == {f"patchyard/demo/{task}" for task in scripts}
    pushed = github.repository("octo/demo").path
    for head in heads:
        assert hosted.clone.user.git("rev-parse", head, cwd=pushed) == branches[head]
    assert hosted.branches() == branches
    if scripts is SCRIPTS:  # what an attempt that was replaced wrote is in no branch, and stays damaged
        fsck(hosted)


def test_objects_left_by_an_earlier_attempt_do_not_spoil_a_patch(project: Project) -> None:
    """Git takes an object that exists for whole, even an empty file."""
    before = loose_objects(project)
    plan = project.tasks({"1.1": "mkdir d; echo one > d/one.txt; sleep 0"})
    first = project.run(plan, "--no-cache").expect(0)
    commit = Path(project.branches()["patchyard/demo/1.1"])
    written = {path for path in loose_objects(project) - before if path.parent.name + path.name != str(commit)}
    damage(written, "empty")

    again = project.run(plan, "--no-cache").expect(0)

    assert again.statuses == first.statuses == {"1.1": "changed"}
    assert project.show("patchyard/demo/1.1:d/one.txt") == "one"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_objects_and_branch_are_on_disk_before_the_outcome_is_stored(project: Project, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    calls = "fsync,fdatasync,rename,link"
    argv: list[str | Path] = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls}", "-o", trace, *COMMAND, "run"]
    plan = project.tasks({"1.1": "mkdir d; echo one > d/one.txt"})
    done = subprocess.run(
        [*argv, plan, "--no-cache"], cwd=project.root, env=project.environ, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    synced = [line for line in trace.read_text().splitlines() if "fsync(" in line or "fdatasync(" in line]
    places = [
        next((name for name in ("/objects/", "refs/heads/patchyard/", "patchyard.db-wal") if name in line), "")
        for line in synced
    ]
    branch = places.index("refs/heads/patchyard/")
    assert places[:branch].count("/objects/") >= 3, synced  # files, trees, and the commit
    assert "patchyard.db-wal" in places[branch:], synced


def test_lock_of_a_branch_from_before_the_start_of_the_system_is_removed(project: Project) -> None:
    lock = project.root / ".git" / "refs" / "heads" / "patchyard" / "demo" / "1.1.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (0, 0))
    done = project.run(project.tasks({"1.1": "echo one > one.txt"})).expect(0)
    assert done.statuses == {"1.1": "changed"}
    assert not lock.exists()


def test_lock_that_may_be_held_stays(tmp_path: Path) -> None:
    lock = tmp_path / "1.lock"
    lock.touch()
    message = f"fatal: cannot lock ref 'refs/heads/a': Unable to create '{lock}': File exists."
    assert not remove_stale_lock(message)
    assert lock.exists()
    os.utime(lock, (0, 0))
    assert not remove_stale_lock("fatal: another error")
    assert remove_stale_lock(message)
    assert not lock.exists()

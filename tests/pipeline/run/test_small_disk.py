"""A full disk, of any of the places of the program: one sentence with the path, and all works again later."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from project import Done, Project
from repositories import Clone
from served import API, Serving
from small_disk import as_root, fill, make_room, mounted

SCRIPTS = {"1.1": "echo one > one", "2.1": 'test -e "$SHARED/go"; head -c 300000 /dev/urandom > two'}
KIB = 1024
PLACES = {
    "repository": ("repository", 0),
    "repository, a little": ("repository", 8 * KIB),
    "worktrees": ("worktrees", 0),
    "database": ("database", 8 * KIB),
    "logs": ("logs", 0),
    "temporary files": ("temporary files", 0),
}
"""What is on the disk, and how many bytes are left there."""
FULL = re.compile(r"No space left on device|disk is full|I/O error|unable to write")

pytestmark = as_root


class SmallDisk:
    """A project with one of its places on a small disk."""

    def __init__(self, clone: Clone, disk: Path, place: str, left: int) -> None:
        self.disk, self.left = disk, left
        if place == "repository":
            shutil.copytree(clone.path, disk / "repo", symlinks=True)
            clone = Clone(clone.user, disk / "repo")
        self.project = project = Project(clone)
        project.environ["PATCHYARD_WORKTREES"] = str(disk.parent / "pool")
        project.environ["PATCHYARD_NO_CACHE"] = "1"
        if place == "worktrees":
            project.environ["PATCHYARD_WORKTREES"] = str(disk / "pool")
        if place == "database":
            project.environ["PATCHYARD_DATABASE"] = f"sqlite:///{disk}/runs.db"
        if place == "temporary files":
            project.environ["TMPDIR"] = str(disk)
        if place == "logs":
            project.state.mkdir()
            (disk / "runs").mkdir()
            (project.state / "runs").symlink_to(disk / "runs")

    def call(self, *arguments: str | Path) -> Done:
        """Run the program; it says in a sentence what is wrong, and where."""
        done = self.project.call(*arguments)
        said = done.out + done.err
        assert "Traceback" not in said, said
        assert "ExceptionGroup" not in said, said
        assert done.code in {0, 1, 2}, said
        if done.code:
            assert FULL.search(said), said
            assert any(str(place) in said for place in (self.disk, self.project.state, "pool")), said
            assert "cannot rollback" not in said
            assert "make it writable" not in said
        return done


@pytest.fixture(params=list(PLACES.values()), ids=list(PLACES))
def small(clone: Clone, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """The project with one place on a disk of 6 MB."""
    place, left = request.param
    with mounted(tmp_path / "disk", "6m"):
        yield SmallDisk(clone, tmp_path / "disk", place, left)


def test_every_command_says_that_the_disk_is_full(small: SmallDisk) -> None:
    plan, output = small.project.tasks(SCRIPTS), small.disk / "written"
    run = small.project.run(plan).expect(1).run
    (small.project.shared / "go").touch()
    fill(small.disk, small.left)

    for arguments in (
        ("check", plan),
        ("run", plan),
        ("retry", run),
        ("report", run, "--output", small.disk / "report.html"),
        ("patches", run, "--output", output),
        ("clean",),
    ):
        small.call(*arguments)

    make_room(small.disk)
    if not _is_done(small, run):
        small.project.call("retry", run).expect(0)
    assert _is_done(small, run)
    assert small.project.show("patchyard/demo/1.1:one") == "one"
    small.project.clone.git("fsck", "--strict")
    small.project.call("clean").expect(0)


def _is_done(small: SmallDisk, run: str) -> bool:
    (status,) = small.project.call("status", run, "--json").expect(0).records
    return {task["status"] for task in status["tasks"]} == {"changed"}


@pytest.mark.parametrize("left", [40 * KIB, 120 * KIB, 300 * KIB])
def test_a_run_on_a_disk_that_fills_up_is_completed_later(clone: Clone, tmp_path: Path, left: int) -> None:
    with mounted(tmp_path / "disk", "6m"):
        small = SmallDisk(clone, tmp_path / "disk", "repository", left)
        plan = small.project.tasks(SCRIPTS)
        (small.project.shared / "go").touch()
        fill(small.disk, left)

        small.call("run", plan)

        make_room(small.disk)
        if small.project.call("runs", "--json").expect(0).out:
            small.project.call("resume", "latest").expect(0)
        else:  # the run could not be stored at all
            small.project.call("run", plan).expect(0)
        assert small.project.show("patchyard/demo/1.1:one") == "one"
        small.project.clone.git("fsck", "--strict")


def test_server_continues_when_the_disk_was_full(clone: Clone, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "6m"):
        small = SmallDisk(clone, tmp_path / "disk", "repository", 0)
        plan = small.project.tasks(SCRIPTS)
        (small.project.shared / "go").touch()
        roots: list[str | Path] = ["--root", small.project.root, "--root", small.project.plans]
        with Serving(small.project, roots) as server:
            fill(small.disk, 0)
            response = server.client.post(f"{API}/start", json={"plan_path": str(plan)})
            assert "Traceback" not in response.text
            make_room(small.disk)
            run = server.start(plan)
            assert server.wait(run)["status"] == "complete"

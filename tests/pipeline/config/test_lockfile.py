"""`patchyard.lock`: what it holds, and what a run does with it."""

import os
import shutil
import stat
from pathlib import Path

import pytest
from image_plan import PLAN_WITH_IMAGES
from project import Project, plan_text
from stand_in_engine import StandIn, command_line

from containers.dagger_engine.digests import digest_of, pinned
from containers.dagger_engine.session import CLI
from pipeline.config.lockfile import FILE, Lock, LockError

ONE, TWO = (f"sha256:{letter * 64}" for letter in "12")
IMAGES = {"python:3.13": ONE, "registry.example:5000/team/tool": TWO}


def test_written_lock_is_read_back(tmp_path: Path) -> None:
    lock = Lock.beside(tmp_path)
    assert lock == Lock(tmp_path / FILE, {})
    lock.with_images(IMAGES).write()
    assert Lock.beside(tmp_path).images == IMAGES
    lines = (tmp_path / FILE).read_text().splitlines()
    assert lines[1:] == [
        "version = 1",
        "",
        "[images]",
        f'"python:3.13" = "{ONE}"',
        f'"registry.example:5000/team/tool" = "{TWO}"',
    ]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_added_image_adds_one_line(tmp_path: Path) -> None:
    lock = Lock(tmp_path / FILE, IMAGES)
    more = lock.with_images({"node:22": ONE})
    assert [line for line in more.text.splitlines() if line not in lock.text.splitlines()] == [
        f'"node:22" = "{ONE}"'
    ]
    assert lock.with_images({"python:3.13": TWO}).images["python:3.13"] == TWO


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version = 1\n[images\n", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        ("[images]\n", "version None is unknown"),
        ("version = 2\n", "version 2 is unknown"),
        ('version = 1\n[images]\n"a:1" = "latest"\n', "a:1: expected a digest"),
        (f'version = 1\n[images]\n"a:1" = "{ONE}0"\n', "a:1: expected a digest"),
        ('version = 1\n[images]\n"a:1" = 3\n', "a:1: expected a digest"),
        ("version = 1\nimages = 3\n", "images: expected a digest"),
    ],
)
def test_invalid_lock_file_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LockError, match=message) as error:
        Lock.beside(tmp_path)
    assert error.value.exit_code == 2
    assert str(tmp_path / FILE) in str(error.value)


def test_pipe_in_place_of_the_lock_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(LockError, match=r"patchyard\.lock: cannot be read: it is a pipe"):
        Lock.beside(tmp_path)


def test_unwritable_directory_is_reported(tmp_path: Path) -> None:
    with pytest.raises(LockError, match="cannot write"):
        Lock(tmp_path / "nowhere" / FILE, IMAGES).write()


def test_digests_are_recognised() -> None:
    assert digest_of(f"python:3.13@{ONE}") == digest_of(f"python@{ONE}") == ONE
    for name in ("python:3.13", "python", f"python:{ONE}", "python@latest", f"python@{ONE}0", "me@home/x:1"):
        assert digest_of(name) is None
    assert pinned("python:3.13", {"python:3.13": ONE}) == f"python:3.13@{ONE}"
    assert pinned("python:3.12", {"python:3.13": ONE}) == "python:3.12"
    assert pinned(f"python@{TWO}", {f"python@{TWO}": ONE}) == f"python@{TWO}"


def test_unlocked_images_are_named(tmp_path: Path) -> None:
    lock = Lock(tmp_path / FILE, IMAGES)
    lock.check(["python:3.13", f"other@{ONE}"])
    with pytest.raises(LockError, match=r"^image a:1 is not in .*`patchyard lock --image a:1` adds it$"):
        lock.check(["a:1", "python:3.13", "a:1"])
    with pytest.raises(LockError, match=r"images a:1, b:2 are not in .*--image a:1 --image b:2` adds them$"):
        lock.check(["a:1", "b:2"])


def test_locked_run_refuses_unlocked_images_before_any_task(project: Project) -> None:
    plan = project.plan(PLAN_WITH_IMAGES)
    Lock(project.root / FILE, {"plan:1": ONE}).write()
    done = project.run(plan, "--mode", "dagger", "--locked").expect(2)
    assert done.out == ""
    assert "images task:1, batch:1 are not in" in done.err
    assert done.err.count("\n") == 1
    assert not project.worktrees.exists()
    configured = project.call("run", plan, "--mode", "dagger", environ={"PATCHYARD_LOCKED": "1"}).expect(2)
    assert configured.err == done.err
    project.configure("locked = true\n")
    assert project.call("run", plan, "--mode", "dagger").expect(2).err == done.err


def test_lock_is_not_read_for_tasks_without_containers(project: Project) -> None:
    (project.root / FILE).write_text("broken")
    plan = project.plan(plan_text({"1.1": "echo 1 > one"}))
    assert project.run(plan, "--locked").expect(0).statuses == {"1.1": "changed"}
    refused = project.run(plan, "--mode", "dagger").expect(2)
    assert "patchyard.lock: not valid TOML" in refused.err


def test_locked_images_need_no_engine(project: Project) -> None:
    Lock(project.root / FILE, {"plan:1": ONE, "task:1": TWO, "batch:1": ONE}).write()
    before = (project.root / FILE).read_bytes()
    done = project.call("lock", project.plan(PLAN_WITH_IMAGES)).expect(0)
    assert done.out == f"plan:1 {ONE} (kept)\ntask:1 {TWO} (kept)\nbatch:1 {ONE} (kept)\n"
    assert (project.root / FILE).read_bytes() == before
    pinned_plan = project.plan(PLAN_WITH_IMAGES.replace("plan:1", f"plan@{TWO}"), "pinned.md")
    assert "plan@" not in project.call("lock", pinned_plan).expect(0).out


def test_without_an_engine_nothing_is_written(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"  # where git is found, and no `dagger`
    empty.mkdir()
    (empty / "git").symlink_to(shutil.which("git") or "")
    done = project.call("lock", environ={"PATH": str(empty)}).expect(4)
    assert "dagger command line" in done.err
    assert not (project.root / FILE).exists()


def test_unavailable_engine_is_not_reported_as_missing_image(project: Project) -> None:
    with StandIn() as engine:
        engine.cut_at("imageRef")
        environ = {CLI: str(command_line(project.shared))}
        done = project.call("lock", "--engine", engine.address, environ=environ).expect(4)
    assert done.err.startswith(f"patchyard: {engine.address} is unavailable: ")
    assert done.err.count("\n") == 1
    assert not (project.root / FILE).exists()


def test_missing_image_is_named(project: Project) -> None:
    def refuse(_: str) -> str:
        raise ValueError("failed to resolve image")

    with StandIn(answers={"imageRef": refuse}) as engine:
        environ = {CLI: str(command_line(project.shared))}
        done = project.call("lock", "--engine", engine.address, "--image", "no:1", environ=environ).expect(2)
    assert done.err.startswith("patchyard: image not found: no:1; check the name")


def test_invalid_plan_is_not_locked(project: Project) -> None:
    done = project.call("lock", project.plan("# Nothing\n")).expect(2)
    assert "error:" in done.err

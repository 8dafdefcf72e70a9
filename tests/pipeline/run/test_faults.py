"""Faults around a run are reported in one sentence, and `resume` completes the run."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import Fault, GitHubServer
from project import Done, Project, wait_for
from repositories import Clone
from small_disk import as_root, grow, mounted
from stand_in_engine import StandIn, command_line

from containers.dagger_engine.session import CLI

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
NO_FAKETIME = "libfaketime is not installed, so the clock cannot be set back"
WAIT = 'touch "$SHARED/$PATCHYARD_TASK.in"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done\n'


def plain(done: Done) -> Done:
    """Check that the output of a command has sentences, and no traceback."""
    assert "Traceback" not in done.out + done.err
    assert "ExceptionGroup" not in done.out + done.err
    return done


def errors(done: Done) -> str:
    """Everything that a run says went wrong, of the run and of its tasks."""
    errors = [str(outcome["error"]) for outcome in done.finished["outcomes"]] if done.out else []
    return "\n".join([done.err, *errors])


def completed(project: Project, run: str, *tasks: str) -> Done:
    """Resume a run, and check that it is complete and that nothing is wrong with the repository."""
    done = plain(project.call("resume", run, "--json").expect(0))
    assert [task for task, status in done.statuses.items() if status == "changed"] == list(tasks)
    fsck = subprocess.run(
        ["git", "fsck", "--strict"], cwd=project.root, env=project.environ, check=False, capture_output=True
    )
    assert fsck.returncode == 0, fsck.stderr
    return done


@pytest.fixture
def cramped(clone: Clone, tmp_path: Path) -> Iterator[Project]:
    """The project with a repository on a disk with room for 3 MB; the worktrees have more."""
    disk = tmp_path / "disk"
    with mounted(disk, "3m"):
        moved = disk / "repo"
        shutil.copytree(clone.path, moved, symlinks=True)
        small = Project(Clone(clone.user, moved))
        small.environ |= {"PATCHYARD_WORKTREES": str(tmp_path / "pool")}
        yield small


@as_root
def test_full_disk_is_reported(cramped: Project) -> None:
    scripts = {"1.1": "head -c 9000000 /dev/urandom > big", "1.2": "echo small > small"}

    done = plain(cramped.run(cramped.tasks(scripts)))

    assert done.code == 1
    assert "No space left on device" in errors(done) or "database or disk is full" in errors(done)
    grow(cramped.root.parent, "64m")
    run = json.loads(cramped.call("runs", "--json").expect(0).out.splitlines()[-1])["run"]
    completed(cramped, run, "1.1", "1.2")


@as_root
def test_disk_without_space_for_worktrees_is_reported(project: Project, tmp_path: Path) -> None:
    project.clone.write({"big": os.urandom(3_000_000)})
    project.clone.git("add", "big")
    project.clone.git("commit", "--quiet", "-m", "big")
    with mounted(tmp_path / "pool", "4m"):
        project.environ["PATCHYARD_WORKTREES"] = str(tmp_path / "pool")
        done = plain(project.run(project.tasks({"1.1": "touch a; sleep 1", "1.2": "touch b; sleep 1"})))

        assert done.code == 1
        assert "unable to write file big" in errors(done)
        grow(tmp_path / "pool", "64m")
        completed(project, done.run, "1.1", "1.2")


def test_database_locked_for_a_while_is_waited_for(project: Project) -> None:
    project.run(project.tasks({"1.1": "true"}, "first.md")).expect(0)
    holder = sqlite3.connect(project.state / "patchyard.db", check_same_thread=False, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(3, lambda: holder.execute("COMMIT"))
    timer.start()

    done = project.run(project.tasks({"1.1": "touch a"}))

    timer.join()
    holder.close()
    assert plain(done).expect(0).statuses == {"1.1": "changed"}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_database_locked_permanently_is_reported(project: Project) -> None:
    plan = project.tasks({"1.1": WAIT + "touch a", "2.1": "touch b"})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "1.1.in").exists, "the task")
        wait_for(lambda: '"attempt": 1' in project.call("status", "--json").out, "the attempt")
        holder = sqlite3.connect(project.state / "patchyard.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        (project.shared / "go").touch()
        done = plain(started.done(patience=150))
    holder.execute("ROLLBACK")
    holder.close()

    assert done.code == 1
    assert "database is locked" in errors(done)
    completed(project, "latest", "1.1", "2.1")
    assert "diff --git a/a b/a" in project.call("diff", "latest", "1.1", "--attempt", "1").expect(0).out
    assert list(project.worktrees.glob("*.kept")) == []


@as_root
def test_read_only_database_is_reported(project: Project) -> None:
    with project.start("run", project.tasks({"1.1": WAIT + "touch a"}), "--json") as started:
        wait_for(lambda: project.call("runs", "--json").out, "the run")
        started.signal(signal.SIGKILL)
        started.done()
    (project.shared / "go").touch()
    subprocess.run(["mount", "--bind", project.state, project.state], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", project.state], check=True)
        done = plain(project.call("resume", "latest", "--json"))
    finally:
        subprocess.run(["umount", "--lazy", project.state], check=True)

    assert done.code != 0
    assert done.err.startswith("patchyard: ")
    assert done.err.count("\n") == 1
    completed(project, "latest", "1.1")


def test_deleted_log_directory_is_reported(project: Project) -> None:
    scripts = {"1.1": WAIT + "touch a", "2.1": "touch b"}
    with project.start("run", project.tasks(scripts), "--json") as started:
        wait_for((project.shared / "1.1.in").exists, "the task")
        shutil.rmtree(project.state / "runs")
        (project.state / "runs").write_text("in the way\n")
        (project.shared / "go").touch()
        done = plain(started.done())
    (project.state / "runs").unlink()

    assert done.code == 1
    assert "log" in errors(done)
    completed(project, "latest", "1.1", "2.1")


def test_deleted_worktree_is_reported(project: Project) -> None:
    scripts = {"1.1": WAIT + "touch a", "1.2": "touch b"}
    plan = project.tasks(scripts, front="pool_size: 1")  # so that no worktree is being created
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "1.1.in").exists, "the task")
        shutil.rmtree(project.worktrees / "wt-1")
        (project.shared / "go").touch()
        done = plain(started.done().expect(1))

    assert done.statuses["1.1"] == "failed"
    completed(project, done.run, "1.1", "1.2")


def test_git_gc_during_run_is_harmless(project: Project) -> None:
    scripts = {f"{batch}.{task}": f"echo {task} > {batch}{task}" for batch in (1, 2, 3) for task in range(1, 5)}
    ended = threading.Event()

    def collect() -> None:
        while not ended.is_set():
            subprocess.run(
                ["git", "gc", "--quiet", "--prune=now"],
                cwd=project.root,
                env=project.environ,
                check=False,
                capture_output=True,
            )

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        done = plain(project.run(project.tasks(scripts)))
    finally:
        ended.set()
        collector.join()
    if done.code:
        assert errors(done)
        done = completed(project, "latest", *scripts)
    assert set(done.statuses.values()) == {"changed"}


def test_lost_object_of_finished_task_is_recreated(project: Project) -> None:
    scripts = {"1.1": "echo one > one", "2.1": 'test -e "$SHARED/go"; touch two'}
    done = project.run(project.tasks(scripts)).expect(1)
    blob = project.clone.git("rev-parse", "patchyard/demo/1.1:one").strip()
    (project.root / ".git" / "objects" / blob[:2] / blob[2:]).unlink()

    (project.shared / "go").touch()
    again = plain(project.call("retry", done.run, "--json").expect(0))

    assert set(again.statuses.values()) == {"changed"}
    project.clone.git("fsck", "--strict")


@pytest.mark.skipif(FAKETIME is None, reason=NO_FAKETIME)
def test_clock_set_back_is_harmless(project: Project, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    environ = {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    scripts = {"1.1": WAIT + "touch a", "2.1": "touch b", "3.1": 'test -e "$SHARED/ok" && touch c'}
    with project.start("run", project.tasks(scripts), "--json", environ=environ) as started:
        wait_for((project.shared / "1.1.in").exists, "the task")
        clock.write_text("-3d")
        time.sleep(1)
        (project.shared / "go").touch()
        done = plain(started.done().expect(1))
    assert done.statuses == {"1.1": "changed", "2.1": "changed", "3.1": "failed"}
    assert all(0 <= outcome["seconds"] < 60 for outcome in done.finished["outcomes"])
    (project.shared / "ok").touch()

    again = plain(project.call("retry", "latest", "--json", environ=environ).expect(0))

    assert set(again.statuses.values()) == {"changed"}
    assert [item["task"] for item in project.call("status", "--json").records[0]["tasks"]] == list(scripts)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_github_outage_while_publishing_is_reported(hosted: Project, github: GitHubServer) -> None:
    tasks = {f"1.{number}": f"touch {number}" for number in range(1, 5)}
    github.inject(Fault(status=502, method="POST", path="/pulls$", skip=2, times=1000, drop=True))

    done = plain(hosted.call("run", hosted.tasks(tasks), "--json", "--publish", patience=300).expect(3))

    assert len(github.pull_requests("octo/demo")) == 2
    assert any(record["level"] == "error" for record in done.events("notice"))
    github.faults.clear()
    completed(hosted, done.run, *tasks)
    assert sorted(pull.head for pull in github.pull_requests("octo/demo")) == [
        f"patchyard/demo/{task}" for task in tasks
    ]


def test_task_without_engine_leaves_worktree_clean(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a"})
    with StandIn() as engine:
        engine.cut_at("stdout")
        environ = {CLI: str(command_line(project.shared))}
        flags = ("--mode", "dagger", "--engine", engine.address)
        done = project.call("run", plan, "--json", *flags, environ=environ).expect(4)
    assert f"{engine.address} is unavailable, and no other engine is left" in done.outcome("1.1")["error"]
    assert "stays in" not in done.out
    assert project.run(plan).expect(0).outcome("1.1")["worktree"] == "wt-1"

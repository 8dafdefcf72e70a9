"""`clean`: what is old and this program's own goes, and nothing else."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from project import Done, Project, wait_for


def grow_old(project: Project, run: str, days: float) -> None:
    """Let a run, and every result, be older than it is."""
    ended = time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(time.time() - days * 86400))
    with sqlite3.connect(project.state / "patchyard.db") as database:
        database.execute("UPDATE runs SET finished_at = ?, started_at = ? WHERE id = ?", (ended, ended, run))
    for path in (project.state / "results").glob("*/*.json"):
        os.utime(path, (time.time() - days * 86400,) * 2)


def make_runs(project: Project) -> tuple[Done, Done]:
    """An old run of which one branch is merged, and one of today."""
    old = project.run(project.tasks({"1.1": "echo a > a", "1.2": "echo b > b"}, title="Old")).expect(0)
    grow_old(project, old.run, 20)
    new = project.run(project.tasks({"1.1": "echo c > c"}, title="New")).expect(0)
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/old/1.1")
    return old, new


def test_what_is_old_goes(project: Project) -> None:
    old, new = make_runs(project)

    out = project.call("clean", "--older-than", "14d").expect(0).out

    assert sorted(project.branches()) == ["main", "patchyard/new/1.1", "patchyard/old/1.2"]
    assert [record["run"] for record in project.call("runs", "--json").records] == [new.run]
    assert [path.name for path in (project.state / "runs").iterdir()] == [new.run]
    assert len(list((project.state / "results").glob("*/*.json"))) == 1
    assert f"removed run {old.run}: Old, ended " in out
    assert "removed branch patchyard/old/1.1\n" in out
    assert "removed 2 cached results\n" in out
    assert not project.worktrees.exists()


def test_a_dry_run_removes_nothing_and_says_the_same(project: Project) -> None:
    make_runs(project)
    before = project.branches(), project.call("runs").out, sorted(project.state.rglob("*.log"))

    told = project.call("clean", "--older-than", "14d", "--dry-run").expect(0).out

    assert (project.branches(), project.call("runs").out, sorted(project.state.rglob("*.log"))) == before
    assert (project.worktrees / "wt-1").is_dir()
    done = project.call("clean", "--older-than", "14d").expect(0).out
    assert told.replace("would remove", "removed").replace("would be removed", "removed") == done


def test_a_run_that_was_cut_off_is_as_old_as_what_it_did_last(project: Project) -> None:
    script = 'test -e "$SHARED/again" || exit 1; touch "$SHARED/begun"; sleep 60'
    first = project.run(project.tasks({"1.1": script})).expect(1)
    grow_old(project, first.run, 20)
    (project.shared / "again").touch()
    with project.start("retry", first.run, "--json") as started:
        wait_for((project.shared / "begun").exists)
        started.signal(signal.SIGKILL)
        started.done()

    project.call("clean", "--older-than", "14d").expect(0)

    assert [record["run"] for record in project.call("runs", "--json").records] == [first.run]


def test_branches_that_are_not_its_own_stay(project: Project) -> None:
    old, _ = make_runs(project)
    project.clone.git("branch", "patchyard/old/mine", "main")
    project.clone.git("branch", "--force", "patchyard/old/1.1", "main")
    assert old.outcome("1.1")["commit"] != project.branches()["main"]

    project.call("clean", "--older-than", "14d").expect(0)

    assert {"patchyard/old/mine", "patchyard/old/1.1"} <= project.branches().keys()


def test_a_branch_that_is_merged_after_its_run_was_removed_goes_then(project: Project) -> None:
    make_runs(project)
    project.call("clean", "--older-than", "14d").expect(0)
    assert "patchyard/old/1.2" in project.branches()
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/old/1.2")

    project.call("clean", "--older-than", "14d").expect(0)

    assert sorted(project.branches()) == ["main", "patchyard/new/1.1"]


def test_a_branch_that_is_checked_out_stays(project: Project) -> None:
    make_runs(project)
    project.clone.git("checkout", "--quiet", "patchyard/old/1.1")

    project.call("clean", "--older-than", "14d").expect(0)

    assert "patchyard/old/1.1" in project.branches()


def test_a_branch_that_a_newer_run_needs_stays(project: Project) -> None:
    plan = project.tasks({"1.1": "echo a > a"})
    old = project.run(plan).expect(0)
    grow_old(project, old.run, 20)
    project.run(plan).expect(0)
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/demo/1.1")

    project.call("clean", "--older-than", "14d").expect(0)

    assert "patchyard/demo/1.1" in project.branches()


def test_without_an_age_runs_stay(project: Project) -> None:
    old, new = make_runs(project)

    project.call("clean").expect(0)

    assert [record["run"] for record in project.call("runs", "--json").records] == [old.run, new.run]


@pytest.mark.parametrize("age", ["14", "d", "-1d", "two weeks", ""])
def test_an_age_that_is_none(project: Project, age: str) -> None:
    done = project.call("clean", f"--older-than={age}").expect(2)

    assert "write for example 14d, 12h or 30m" in done.err


def test_other_files_beside_the_worktrees_stay(project: Project) -> None:
    make_runs(project)
    kept: Path = project.worktrees / "wt-1.txt"
    kept.write_text("mine\n")

    project.call("clean", "--older-than", "0d").expect(0)

    assert kept.read_text() == "mine\n"

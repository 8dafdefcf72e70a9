"""The command `clean` removes worktrees and old runs of this program, and nothing else."""

import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from project import Done, Project, meet, wait_for
from repositories import CountedGit

from pipeline.store.records import SharedBranch
from pipeline.store.store import Store


def grow_old(project: Project, run: str, days: float) -> None:
    """Make a run and all results older."""
    ended = time.strftime("%Y-%m-%dT%H:%M:%S.000000+00:00", time.gmtime(time.time() - days * 86400))
    with sqlite3.connect(project.state / "patchyard.db") as database:
        database.execute("UPDATE runs SET finished_at = ?, started_at = ? WHERE id = ?", (ended, ended, run))
    for path in (project.state / "results").glob("*/*.json"):
        os.utime(path, (time.time() - days * 86400,) * 2)


def make_runs(project: Project) -> tuple[Done, Done]:
    """Create an old run with one merged branch, and a new run."""
    old = project.run(project.tasks({"1.1": "echo a > a", "1.2": "echo b > b"}, title="Old")).expect(0)
    grow_old(project, old.run, 20)
    new = project.run(project.tasks({"1.1": "echo c > c"}, title="New")).expect(0)
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/old/1.1")
    return old, new


def test_old_runs_are_removed(project: Project) -> None:
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


def test_dry_run_prints_the_same_and_removes_nothing(project: Project) -> None:
    make_runs(project)
    before = project.branches(), project.call("runs").out, sorted(project.state.rglob("*.log"))

    reported = project.call("clean", "--older-than", "14d", "--dry-run").expect(0).out

    assert (project.branches(), project.call("runs").out, sorted(project.state.rglob("*.log"))) == before
    assert (project.worktrees / "wt-1").is_dir()
    done = project.call("clean", "--older-than", "14d").expect(0).out
    assert reported.replace("would remove", "removed").replace("would be removed", "removed") == done


def test_age_of_an_interrupted_run_counts_from_its_last_activity(project: Project) -> None:
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


def test_foreign_branches_are_kept(project: Project) -> None:
    old, _ = make_runs(project)
    project.clone.git("branch", "patchyard/old/mine", "main")
    project.clone.git("branch", "--force", "patchyard/old/1.1", "main")
    assert old.outcome("1.1")["commit"] != project.branches()["main"]

    project.call("clean", "--older-than", "14d").expect(0)

    assert {"patchyard/old/mine", "patchyard/old/1.1"} <= project.branches().keys()


def test_branch_merged_after_its_run_was_removed_is_removed(project: Project) -> None:
    make_runs(project)
    project.call("clean", "--older-than", "14d").expect(0)
    assert "patchyard/old/1.2" in project.branches()
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/old/1.2")

    project.call("clean", "--older-than", "14d").expect(0)

    assert sorted(project.branches()) == ["main", "patchyard/new/1.1"]


def test_branch_that_a_person_has_of_a_shared_one_is_kept(project: Project) -> None:
    """Patchyard sets such a branch on the remote only."""
    old, _ = make_runs(project)
    tip = project.clone.head
    with Store.beside(project.root / ".git") as store:
        store.keep_shared_branches(old.run, [SharedBranch("plan", "patchyard/old/plan", tip, tip=tip)])
        store.keep_branch("patchyard/old/plan", pushed=tip)
    project.clone.git("branch", "patchyard/old/plan", tip)

    for _ in range(2):
        project.call("clean", "--older-than", "14d").expect(0)

    assert "patchyard/old/plan" in project.branches()


def test_checked_out_branch_is_kept(project: Project) -> None:
    make_runs(project)
    project.clone.git("checkout", "--quiet", "patchyard/old/1.1")

    project.call("clean", "--older-than", "14d").expect(0)

    assert "patchyard/old/1.1" in project.branches()


def test_branch_needed_by_a_newer_run_is_kept(project: Project) -> None:
    plan = project.tasks({"1.1": "echo a > a"})
    old = project.run(plan).expect(0)
    grow_old(project, old.run, 20)
    project.run(plan).expect(0)
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", "patchyard/demo/1.1")

    project.call("clean", "--older-than", "14d").expect(0)

    assert "patchyard/demo/1.1" in project.branches()


def test_branches_are_looked_at_together(project: Project, tmp_path: Path) -> None:
    """Git is started as often for many branches as for one, merged or not."""
    scripts = {f"1.{number}": f"echo a > a{number}" for number in range(1, 9)}
    old = project.run(project.tasks(scripts, title="Old")).expect(0)
    grow_old(project, old.run, 20)
    names = [f"patchyard/old/{task}" for task in scripts]
    project.clone.git("merge", "--quiet", "--no-ff", "-m", "merged", *names[:5])
    project.clone.git("branch", "topic", "main~1")
    counted = CountedGit.at(tmp_path / "counted", project.clone.user)

    project.call("clean", "--older-than", "14d", environ=counted.environ).expect(0)

    assert sorted(project.branches()) == ["main", *names[5:], "topic"]
    calls = counted.calls()
    assert len([call for call in calls if "update-ref" in call]) == 1
    assert len([call for call in calls if "--merged" in call or "merge-base" in call]) == 1


def test_branch_that_cannot_be_removed_is_named(project: Project) -> None:
    make_runs(project)
    lock = project.root / ".git" / "refs" / "heads" / "patchyard" / "old" / "1.1.lock"
    lock.touch()

    out = project.call("clean", "--older-than", "14d").expect(0).out

    assert "removed nothing of branch patchyard/old/1.1: " in out
    assert "patchyard/old/1.1" in project.branches()


def test_runs_are_kept_without_an_age(project: Project) -> None:
    old, new = make_runs(project)

    project.call("clean").expect(0)

    assert [record["run"] for record in project.call("runs", "--json").records] == [old.run, new.run]


@pytest.mark.parametrize("age", ["14", "d", "-1d", "two weeks", ""])
def test_invalid_age(project: Project, age: str) -> None:
    done = project.call("clean", f"--older-than={age}").expect(2)

    assert "write for example 14d, 12h or 30m" in done.err


def test_other_files_beside_the_worktrees_are_kept(project: Project) -> None:
    make_runs(project)
    kept: Path = project.worktrees / "wt-1.txt"
    kept.write_text("mine\n")

    project.call("clean", "--older-than", "0d").expect(0)

    assert kept.read_text() == "mine\n"


def test_clean_removes_the_worktrees_and_nothing_else(project: Project) -> None:
    scripts = {"1.1": meet(3) + "echo a > a", "1.2": meet(3), "1.3": meet(3), "2.1": "cat a > c"}
    ended = project.run(project.tasks(scripts)).expect(0)
    branches = project.branches()
    (project.worktrees / "mine.txt").write_text("mine")

    would = project.call("clean", "--dry-run").expect(0).out
    assert (project.worktrees / "wt-1").is_dir()
    done = project.call("clean").expect(0).out

    assert would.count("would remove wt-") == done.count("removed wt-") == 3
    assert [path.name for path in project.worktrees.iterdir()] == ["mine.txt"]
    assert project.clone.git("worktree", "list").count("\n") == 0
    assert project.branches() == branches
    assert project.call("diff", ended.run, "2.1").expect(0).out != ""
    assert "no worktrees to remove" in project.call("clean").expect(0).out


def test_clean_keeps_the_worktrees_of_an_active_run(project: Project) -> None:
    script = 'touch "$SHARED/in"; while [ ! -e "$SHARED/go" ]; do sleep 0.01; done; touch a'
    with project.start("run", project.tasks({"1.1": script}), "--json", "--pool-size", "1") as run:
        wait_for((project.shared / "in").exists)
        assert "no worktrees to remove" in project.call("clean").expect(0).out
        (project.shared / "go").touch()
        assert run.done().expect(0).statuses == {"1.1": "changed"}

    assert "removed wt-1" in project.call("clean").expect(0).out

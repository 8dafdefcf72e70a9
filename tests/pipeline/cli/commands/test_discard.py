"""`patchyard discard` removes what a run made, and nothing that is published or that a person changed."""

import signal

import pytest
from github_server import GitHubServer
from project import Project, fingerprint, wait_for

from pipeline.store.store import Store

SCRIPTS = {"1.1": "seq 200000 > big", "1.2": "echo two > two.txt", "2.1": "cat two.txt > three.txt"}
FIELDS = {"2.1": "**Depends on:** Task 1.2"}


def results(project: Project) -> int:
    return len(list((project.state / "results").glob("??/*")))


def logs(project: Project, run: str) -> list[str]:
    return sorted(path.name for path in (project.state / "runs" / run).glob("*.log"))


def test_a_run_is_removed_with_all_that_it_made(project: Project) -> None:
    other = project.run(project.tasks({"1.1": "touch other"}, title="Other")).expect(0).run
    mine = project.branches(), results(project)
    run = project.run(project.tasks(SCRIPTS)).expect(0).run
    before = project.branches(), fingerprint(project.state / "runs"), results(project)

    planned = project.call("discard", run, "--dry-run").expect(0).out
    assert (project.branches(), fingerprint(project.state / "runs"), results(project)) == before
    done = project.call("discard", run).expect(0).out

    assert planned.replace("would remove", "removed") == done
    assert f"run {run}: removed 3 tasks and 4 branches" in done
    assert (project.branches(), results(project)) == mine
    assert [path.name for path in (project.state / "runs").iterdir()] == [other]
    assert [record["run"] for record in project.call("runs", "--json").records] == [other]
    assert project.clone.git("status", "--porcelain") == ""
    again = project.run(project.tasks(SCRIPTS)).expect(0)
    assert not any(outcome["cached"] for outcome in again.finished["outcomes"])


def test_branch_that_git_cannot_delete_keeps_no_other(project: Project) -> None:
    run = project.run(project.tasks(SCRIPTS)).expect(0).run
    stuck = project.root / ".git" / "refs" / "heads" / "patchyard" / "demo" / "1.2.lock"
    stuck.write_text("")

    out = project.call("discard", run).expect(0).out

    assert "removed nothing of branch patchyard/demo/1.2: " in out
    assert f"run {run}: removed 3 tasks and 3 branches" in out
    assert [name for name in project.branches() if name.startswith("patchyard/demo/")] == ["patchyard/demo/1.2"]


def test_a_task_is_removed_alone(project: Project) -> None:
    scripts = {**SCRIPTS, "2.10": "touch ten"}
    run = project.run(project.tasks(scripts, fields=FIELDS)).expect(0).run

    assert (
        f"discard all of them: `patchyard discard {run} 1.2 2.1 2.10`"
        in project.call("discard", run, "1.2").expect(2).err
    )
    assert "has nothing of a task 9" in project.call("discard", run, "9").expect(2).err
    out = project.call("discard", run, "2.10").expect(0).out

    assert "removed branch patchyard/demo/2.10 (" in out
    assert "patchyard/demo/2.10" not in project.branches()
    assert "patchyard/demo/2.1" in project.branches()
    assert logs(project, run) == ["1.1.log", "1.2.log", "2.1.log"]
    with Store.beside(project.root / ".git") as store:
        assert [item.outcome.task for item in store.tasks(run)] == ["1.1", "1.2", "2.1"]
        assert "2.10" not in {attempt.task for attempt in store.attempts(run)}
    assert "three" in project.call("diff", run, "2.1").expect(0).out
    again = project.call("resume", run, "--json").expect(0)
    assert [record["task"] for record in again.events("task_started")] == ["2.10"]


def test_what_a_person_changed_or_uses_stays(project: Project) -> None:
    run = project.run(project.tasks({"1.1": "touch a", "1.2": "touch b", "1.3": "touch c"})).expect(0).run
    other = project.root.parent / "other"
    project.clone.git("worktree", "add", "--quiet", other, "patchyard/demo/1.1")
    project.clone.user.git("commit", "--quiet", "--allow-empty", "--message", "mine", cwd=other)
    project.clone.git("worktree", "add", "--quiet", f"{other}2", "patchyard/demo/1.2")
    before = project.branches()

    out = project.call("discard", run).expect(0).out

    assert f"kept branch patchyard/demo/1.1: it is checked out in {other}" in out
    assert f"kept branch patchyard/demo/1.2: it is checked out in {other}2" in out
    assert project.branches() == {name: tip for name, tip in before.items() if not name.endswith("1.3")}


def test_a_branch_with_commits_of_a_person_or_of_a_later_run_stays(project: Project) -> None:
    run = project.run(project.tasks({"1.1": "touch a", "1.2": "touch b"})).expect(0).run
    project.clone.git("branch", "--force", "patchyard/demo/1.1", "main")
    later = project.run(project.tasks({"1.2": "touch newer"}), "--no-cache").expect(0)

    out = project.call("discard", run).expect(0).out

    assert "kept branch patchyard/demo/1.1: it has commits that patchyard did not make" in out
    assert "kept branch patchyard/demo/1.2: a later run has set it" in out
    assert project.branches()["patchyard/demo/1.2"] == later.outcome("1.2")["commit"]


def test_what_is_published_stays_with_what_it_builds_on(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks({**SCRIPTS, "2.2": "touch more"}, fields=FIELDS)).expect(0).run
    hosted.call("publish", run, "1.1").expect(0)
    number = github.pull_requests("octo/demo")[0].number

    message = hosted.call("discard", run, "1.1").expect(2).err
    assert f"task 1.1 of run {run} is not discarded: it is published in #{number}" in message
    out = hosted.call("discard", run).expect(0).out

    assert f"kept task 1.1: it is published in #{number}" in out
    assert "removed task 1.2: its outcome, attempts, patches and logs" in out
    assert {name for name in hosted.branches() if "demo/" in name} == {"patchyard/demo/1.1"}
    assert logs(hosted, run) == ["1.1.log"]
    assert hosted.call("publish", run).expect(0).out.splitlines()[-1].endswith("(1 updated) published")


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_a_run_that_runs_is_refused_and_one_that_was_killed_is_not(project: Project, end: int | None) -> None:
    plan = project.tasks({"1.1": 'touch half "$SHARED/begun"; sleep 60'})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "begun").exists, "the task")
        run = project.call("runs", "--json").records[-1]["run"]
        if end is None:
            assert f"`patchyard cancel {run}`" in project.call("discard", run).expect(2).err
            return
        started.signal(end)
        started.process.wait(60)

    out = project.call("discard", run).expect(0).out

    assert f"removed run {run}: Demo" in out
    assert project.call("runs", "--json").records == []
    assert "kept" not in project.call("clean").expect(0).out

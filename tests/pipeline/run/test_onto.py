"""`retry RUN TASK --onto OTHER`: a person solves a conflict by the order; the real command, with real git."""

import signal

import pytest
from project import Project, wait_for
from served import Serving

ADD = 'echo "$PATCHYARD_TASK" >> CHANGELOG.md'
SCRIPTS = {"1.1": ADD, "1.2": ADD, "1.3": "touch fine", "2.1": "cp CHANGELOG.md seen"}
STOP = {"1": "**On conflict:** stop"}


def parent(project: Project, task: str) -> str:
    return project.clone.git("rev-parse", f"patchyard/demo/{task}^")


def test_a_task_runs_again_on_top_of_the_one_it_conflicts_with(project: Project) -> None:
    run = project.run(project.tasks(SCRIPTS, batches=STOP)).run

    done = project.call("retry", run, "1.2", "--onto", "1.1", "--json").expect(0)

    assert project.show("patchyard/demo/1.2:CHANGELOG.md").splitlines()[-2:] == ["1.1", "1.2"]
    assert parent(project, "1.2") == project.branches()["patchyard/demo/1.1"]
    assert done.events("conflict") == []
    assert project.show("patchyard/demo/2.1:seen").splitlines()[-2:] == ["1.1", "1.2"]
    status = project.call("status", "--json").expect(0).records[0]
    reasons = [one["reason"] for one in status["attempts"] if one["task"] == "1.2"]
    assert (status["conflicts"], reasons) == ([], [None, "conflict with 1.1 in CHANGELOG.md"])


def test_the_earlier_task_can_be_the_one_on_top(project: Project) -> None:
    run = project.run(project.tasks(SCRIPTS, batches=STOP)).run

    project.call("retry", run, "1.1", "--onto", "1.2").expect(0)

    assert project.show("patchyard/demo/2.1:seen").splitlines()[-2:] == ["1.2", "1.1"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("1.2", "--onto", "1.3"), "tasks 1.2 and 1.3 do not conflict"),
        (("1.2", "--onto", "9"), "task 9 of run"),
        (("1.2", "--onto", "1.2"), "cannot run on top of itself"),
        (("--onto", "1.1"), "--onto needs the TASK that runs again"),
    ],
)
def test_what_cannot_be_on_top_is_refused(project: Project, arguments: tuple[str, ...], why: str) -> None:
    run = project.run(project.tasks(SCRIPTS, batches=STOP)).run
    before = project.branches()

    assert why in project.call("retry", run, *arguments).expect(2).err

    assert project.branches() == before


def test_one_that_was_killed_is_resumed_on_top(project: Project) -> None:
    slow = (
        f'{ADD}; if grep -q 1.1 CHANGELOG.md; then touch "$SHARED/begun"; test -e "$SHARED/go" || sleep 60; fi'
    )
    run = project.run(project.tasks({"1.1": ADD, "1.2": slow}, batches=STOP)).run
    with project.start("retry", run, "1.2", "--onto", "1.1", "--json") as started:
        wait_for((project.shared / "begun").exists, "the attempt")
        started.signal(signal.SIGTERM)
        started.done().expect(130)
    (project.shared / "go").touch()

    project.call("resume", run).expect(0)

    assert parent(project, "1.2") == project.branches()["patchyard/demo/1.1"]


def test_the_server_does_it_too(project: Project) -> None:
    with Serving(project, ["--root", str(project.root), "--root", str(project.plans)]) as server:
        run = server.start(project.tasks(SCRIPTS, batches=STOP))
        wait_for(lambda: server.status(run)["completed_at"])
        (conflict,) = server.get(f"/{run}/conflicts").json()
        refused = server.client.post(
            f"/api/v1/autonomous/{run}/retry", json={"tasks": ["1.2"], "onto": ["1.3"]}
        )
        server.post(f"/{run}/retry", json={"tasks": ["1.2"], "onto": ["1.1"]})
        wait_for(lambda: "patchyard/demo/2.1" in project.branches(), "the last task")

    assert (conflict["task"], conflict["others"], conflict["files"]) == ("1.2", ["1.1"], ["CHANGELOG.md"])
    ((file,),) = [pair["files"] for pair in conflict["pairs"]]
    assert [(hunk["ours"]["lines"], hunk["theirs"]["lines"]) for hunk in file["hunks"]] == [(["1.1"], ["1.2"])]
    assert (refused.status_code, "do not conflict" in refused.json()["detail"]) == (422, True)
    assert parent(project, "1.2") == project.branches()["patchyard/demo/1.1"]

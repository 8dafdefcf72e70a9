"""Publishing through the API: with a run, after a run, and when it fails."""

import os
import signal

import pytest
from github_server import TOKEN, Fault, GitHubServer
from project import Project, wait_for
from served import Serving, workers_of

NAME = "octo/demo"
SCRIPTS = {"1.1": "echo one > one.txt", "1.2": "true", "2.1": "echo two > two.txt"}


@pytest.fixture
def roots(hosted: Project) -> list[str]:
    """Options of a server with plans outside of the repository."""
    return ["--root", str(hosted.root), "--root", str(hosted.plans)]


def test_run_is_published_with_the_token_of_the_server(
    hosted: Project, github: GitHubServer, roots: list[str]
) -> None:
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks(SCRIPTS), publish=True)
        status = server.wait(run, "complete")
        wait_for(lambda: len(server.status(run)["active_prs"]) == 2)
        status = server.status(run)
        tasks = server.tasks(run)
        batches = server.client.get(f"/api/v1/autonomous/{run}/batches").text

    pulls = {pull.head: pull for pull in github.pull_requests(NAME)}
    assert status["active_prs"] == [
        {
            "task": task,
            "pr_number": pulls[f"patchyard/demo/{task}"].number,
            "status": "open",
            "url": tasks[task]["pr_url"],
        }
        for task in ("1.1", "2.1")
    ]
    assert {number: task["status"] for number, task in tasks.items()} == {
        "1.1": "pr_created",
        "1.2": "complete",
        "2.1": "pr_created",
    }
    assert tasks["1.1"]["pr_number"] == pulls["patchyard/demo/1.1"].number
    assert TOKEN not in batches


def test_publishing_a_finished_run_again_opens_no_second_pull_request(
    hosted: Project, github: GitHubServer, roots: list[str]
) -> None:
    github.inject(Fault(status=422, message="Validation Failed", method="POST", path="/pulls$", times=99))
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks(SCRIPTS))
        server.wait(run, "complete")
        assert server.status(run)["publishing"] is None
        server.post(f"/{run}/publish")
        wait_for(lambda: server.status(run)["publishing"] not in {None, "publishing"})
        assert server.status(run)["publishing"] != "done"
        github.faults.clear()
        for _ in range(2):
            server.post(f"/{run}/publish")
            wait_for(lambda: server.status(run)["publishing"] == "done")
            assert len(server.status(run)["active_prs"]) == 2
        assert server.status(run)["status"] == "complete"
    assert len(github.pull_requests(NAME)) == 2


def test_auto_merge_merges_the_pull_request(hosted: Project, roots: list[str]) -> None:
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks({"1.1": "echo one > one.txt"}), publish=True, auto_merge=True)
        server.wait(run, "complete")
        wait_for(lambda: server.tasks(run)["1.1"]["status"] == "merged")
        assert server.status(run)["active_prs"] == []
        assert server.tasks(run)["1.1"]["pr_number"]


def test_plan_has_one_pull_request(hosted: Project, github: GitHubServer, roots: list[str]) -> None:
    scripts = {"1.1": "echo one > one.txt", "1.2": "echo two > two.txt"}
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks(scripts), publish=True, pull_request="plan")
        server.wait(run, "complete")
        wait_for(lambda: server.status(run)["publishing"] == "done")
        (pull,) = github.pull_requests(NAME)
        assert {task: item["pr_number"] for task, item in server.tasks(run).items()} == {
            "1.1": pull.number,
            "1.2": pull.number,
        }
        assert [one["task"] for one in server.status(run)["active_prs"]] == ["1.1", "1.2"]


def test_interrupted_publishing_is_finished_by_the_next_server(
    hosted: Project, github: GitHubServer, roots: list[str]
) -> None:
    scripts = {f"1.{number}": f"echo {number} > {number}" for number in range(1, 6)}
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks(scripts), publish=True)
        wait_for(lambda: github.pull_requests(NAME))
        workers = workers_of(server)
        server.kill()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)

    with Serving(hosted, roots) as server:
        wait_for(lambda: len(github.pull_requests(NAME)) == len(scripts), "every pull request")
        wait_for(lambda: server.status(run)["status"] == "complete")
    assert len({pull.head for pull in github.pull_requests(NAME)}) == len(scripts)


def test_a_preview_is_given_and_some_tasks_are_published(
    hosted: Project, github: GitHubServer, roots: list[str]
) -> None:
    with Serving(hosted, roots) as server:
        run = server.start(hosted.tasks(SCRIPTS))
        server.wait(run, "complete")
        body = {"tasks": ["1.1"], "labels": ["plan"], "draft": True}
        found = server.post(f"/{run}/publish/preview", json=body).json()
        server.post(f"/{run}/publish", json=body)
        wait_for(lambda: server.status(run)["publishing"] == "done")
        unknown = server.client.post(f"/api/v1/autonomous/{run}/publish/preview", json={"tasks": ["9"]})

    (planned,) = found["pull_requests"]
    (pull,) = github.pull_requests(NAME)
    assert (planned["branch"], planned["title"], planned["base"]) == (pull.head, pull.title, pull.base)
    assert (planned["labels"], planned["draft"], planned["files"]) == (["plan"], True, ["one.txt"])
    assert pull.draft
    assert (unknown.status_code, "has no task 9" in unknown.json()["detail"]) == (422, True)

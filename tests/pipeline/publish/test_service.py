"""`run --publish` and `publish RUN`: the whole way, from a plan to pull requests on a server."""

import re
import signal

import pytest
from github_server import TOKEN, Fault, GitHubServer
from output_page import documented
from project import Project, wait_for

NAME = "octo/demo"
SCRIPTS = {"1.1": "echo one > one.txt", "1.2": "true", "2.1": "cat one.txt > two.txt"}


def test_run_opens_one_pull_request_per_task(hosted: Project, github: GitHubServer) -> None:
    done = hosted.run(hosted.tasks(SCRIPTS), "--publish").expect(0)

    published = done.events("pull_request")
    assert [set(record) for record in published] == [{"event", "time"} | documented()["pull_request"]] * 2
    assert [(record["task"], record["action"], record["base"]) for record in published] == [
        ("1.1", "opened", "main"),
        ("2.1", "opened", "patchyard/demo/batch-1"),
    ]
    pulls = {pull.head: pull.base for pull in github.pull_requests(NAME)}
    assert pulls == {
        "patchyard/demo/1.1": "main",
        "patchyard/demo/2.1": "patchyard/demo/batch-1",
    }
    (status,) = hosted.call("status", "--json").expect(0).records
    links = [task["pull_request"] and task["pull_request"]["url"] for task in status["tasks"]]
    assert links == [published[0]["url"], None, published[1]["url"]]
    assert TOKEN not in done.out + done.err


def test_pull_requests_name_what_they_conflict_with(hosted: Project, github: GitHubServer) -> None:
    scripts = {"1.1": "echo one > same.txt", "1.2": "echo two > same.txt", "2.1": "echo three > three.txt"}

    done = hosted.run(hosted.tasks(scripts), "--publish", "--keep-going", "--on-conflict", "stop").expect(1)

    finished, bodies = done.finished, {pull.head: pull.body or "" for pull in github.pull_requests(NAME)}
    first, second, _ = (record["url"] for record in done.events("pull_request"))
    assert (finished["status"], finished["counts"]) == ("failed", {"changed": 2, "conflict": 1})
    assert (finished["published"], finished["unpublished"]) == (["1.1", "1.2", "2.1"], [])
    assert "- It conflicts with task 1.2 in `same.txt`." in bodies["patchyard/demo/1.1"]
    late = f"- It conflicts with [#1]({first}) (task 1.1) in `same.txt`. Merge one, then solve the conflict"
    assert late in bodies["patchyard/demo/1.2"]
    without = f"- It is built without [#2]({second}) (task 1.2), which conflicts with task 1.1 in `same.txt`."
    assert without in bodies["patchyard/demo/2.1"]
    assert finished["without"] == {"2.1": ["1.2"]}
    warning = "batch 2 builds on task 1.1 without task 1.2: they conflict in same.txt"
    assert [one["message"] for one in done.events("notice") if one["level"] == "warning"] == [warning]
    text = hosted.call("status").expect(0).out
    assert "pulls/3" in text or "pull/3" in text
    assert "without task 1.2" in " ".join(text.split())
    assert "1 in conflict (1.2), 3 published, in " in text


def test_retry_of_a_published_run_shows_its_pull_requests(hosted: Project, github: GitHubServer) -> None:
    scripts = {"1.1": "echo one > one.txt", "1.2": 'test -e "$SHARED/ok"; echo two > two.txt'}
    plan = hosted.tasks(scripts)
    done = hosted.run(plan, "--publish").expect(1)
    (hosted.shared / "ok").touch()

    out = hosted.call("retry", done.run).expect(0).out

    assert "nothing published" not in out
    end = out[out.index("\ntask ") :]
    assert end.count("/pull/") == len(github.pull_requests(NAME)) == 2
    assert "patchyard/demo" not in end
    assert "\nsucceeded: 2 changed, 2 published, in " in end
    assert "patchyard publish" not in end


def test_publish_after_a_retry_is_what_helps(hosted: Project) -> None:
    scripts = {"1.1": "echo one > one.txt", "1.2": 'test -e "$SHARED/ok"; echo two > two.txt'}
    done = hosted.run(hosted.tasks(scripts)).expect(1)
    hosted.call("publish", done.run).expect(0)
    (hosted.shared / "ok").touch()

    out = hosted.call("retry", done.run).expect(0).out

    assert "succeeded: 2 changed, 1 published, 1 not published (1.2), in " in out
    assert re.search(rf"  patchyard publish {done.run} +opens the rest of the pull requests\n", out)


def test_second_publish_opens_no_pull_request(hosted: Project, github: GitHubServer) -> None:
    first = hosted.run(hosted.tasks(SCRIPTS), "--publish").expect(0)

    again = hosted.call("publish", first.run, "--json").expect(0)
    second = hosted.run(hosted.tasks({**SCRIPTS, "1.1": "echo new > one.txt"}), "--publish").expect(0)

    assert [record["action"] for record in again.events("pull_request")] == ["updated", "updated"]
    assert [record["action"] for record in second.events("pull_request")] == ["updated", "updated"]
    assert len(github.pull_requests(NAME)) == 2
    pushed = hosted.clone.user.git("rev-parse", "patchyard/demo/1.1", cwd=github.repository(NAME).path)
    assert pushed == second.outcome("1.1")["commit"]


def test_unpublished_task_gives_exit_code_3(hosted: Project, github: GitHubServer) -> None:
    github.inject(Fault(status=422, message="Validation Failed", method="POST", path="/pulls$", times=9))

    done = hosted.run(hosted.tasks(SCRIPTS), "--publish").expect(3)

    assert done.finished["status"] == "succeeded"
    errors = [record["message"] for record in done.events("notice") if record["level"] == "error"]
    assert any("task 1.1" in message for message in errors)
    github.faults.clear()
    hosted.call("publish", done.run, "--json").expect(0)
    assert len(github.pull_requests(NAME)) == 2


def test_failed_task_gives_exit_code_1_and_others_are_published(hosted: Project, github: GitHubServer) -> None:
    done = hosted.run(hosted.tasks({"1.1": "touch a", "1.2": "touch b; exit 3"}), "--publish").expect(1)

    assert [pull.head for pull in github.pull_requests(NAME)] == ["patchyard/demo/1.1"]
    assert done.finished["status"] == "failed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_publication_can_be_completed(hosted: Project, github: GitHubServer, number: int) -> None:
    slow = {"Retry-After": "50"}
    github.inject(Fault(status=429, message="slow down", method="POST", path="/pulls$", headers=slow))
    with hosted.start("run", hosted.tasks(SCRIPTS), "--json", "--publish") as started:
        wait_for(lambda: github.calls("POST", "/pulls$"), "the first pull request")
        started.signal(number)
        done = started.done().expect(130)

    assert done.finished["status"] == "cancelled"
    assert done.statuses == {"1.1": "changed", "1.2": "unchanged", "2.1": "changed"}
    assert any(f"`patchyard publish {done.run}`" in record["message"] for record in done.events("notice"))
    github.faults.clear()
    hosted.call("publish", done.run).expect(0)
    assert len(github.pull_requests(NAME)) == 2


def test_commit_of_a_person_is_replaced_when_it_is_named(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"}), "--publish").expect(0).run
    hub = github.repository("octo/demo")
    theirs = hub.write("patchyard/demo/1.1", {"theirs.txt": "mine\n"})

    assert f"--replace {theirs[:10]}`" in hosted.call("publish", run).expect(3).out
    hosted.call("publish", run, "--replace", theirs[:6]).expect(2)
    hosted.call("publish", run, "--replace", theirs[:10]).expect(0)

    assert hub.tip("patchyard/demo/1.1") == hosted.branches()["patchyard/demo/1.1"]

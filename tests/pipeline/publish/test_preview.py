"""`publish --dry-run`, and `publish` of some tasks: the same function says what is done, and does it."""

import json
from typing import Any

from github_server import GitHubServer
from project import Project, fingerprint

NAME = "octo/demo"
SCRIPTS = {
    "1.1": "echo one > one.txt",
    "1.2": "true",
    "1.3": "echo three > three.txt",
    "2.1": "cat one.txt > two.txt; echo more >> two.txt",
}
FIELDS = {"2.1": "**Depends on:** Task 1.1"}


def preview(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = project.call("publish", *arguments, "--dry-run", "--json").expect(code)
    found: dict[str, Any] = json.loads(done.out)
    return found


def planned(record: dict[str, Any]) -> dict[str, tuple[str, str, str | None]]:
    """Return action, base and push by task."""
    return {one["task"]: (one["action"], one["base"], one["push"]) for one in record["pull_requests"]}


def test_a_preview_is_what_publishing_then_does(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks(SCRIPTS)).expect(0).run
    before, hub = hosted.branches(), fingerprint(github.repository(NAME).path)

    found = preview(hosted, run, "--label", "plan", "--draft")

    assert planned(found) == {
        "1.1": ("open", "main", "create"),
        "1.3": ("open", "main", "create"),
        "2.1": ("open", "patchyard/demo/batch-1", "create"),
    }
    last = found["pull_requests"][-1]
    assert (last["title"], last["files"], last["added"], last["removed"]) == ("Do 2.1", ["two.txt"], 2, 0)
    assert (last["labels"], last["draft"], last["builds_on"]) == (["plan"], True, ["task 1.1", "task 1.3"])
    assert last["builds_on_total"] == 2
    assert [base["branch"] for base in found["bases"]] == ["patchyard/demo/batch-1"]
    assert (found["repository"], found["branch"], found["possible"]) == (NAME, "main", True)
    assert found["total"] == "would open 3 pull requests and push 4 branches"
    assert hosted.branches() == before
    assert fingerprint(github.repository(NAME).path) == hub
    assert not github.calls("POST", "/pulls$")

    done = hosted.call("publish", run, "--label", "plan", "--draft").expect(0)

    pulls = {pull.head: pull for pull in github.pull_requests(NAME)}
    assert {one["branch"]: (one["title"], one["base"]) for one in found["pull_requests"]} == {
        head: (pull.title, pull.base) for head, pull in pulls.items()
    }
    assert done.out.splitlines()[-1].endswith(f"run {run}: 3 pull requests (3 opened) published")
    again = preview(hosted, run)
    assert planned(again) == {
        "1.1": ("update", "main", None),
        "1.3": ("update", "main", None),
        "2.1": ("update", "patchyard/demo/batch-1", None),
    }
    assert [one["number"] for one in again["pull_requests"]] == [
        pulls[one["branch"]].number for one in again["pull_requests"]
    ]


def test_a_preview_needs_no_token(hosted: Project, github: GitHubServer) -> None:
    hub = github.repository(NAME).path
    hosted.environ.pop("GITHUB_TOKEN")
    hosted.clone.git("remote", "set-url", "origin", str(hub))
    hosted.run(hosted.tasks(SCRIPTS)).expect(0)

    done = hosted.call("publish", "--dry-run", "--github", NAME).expect(0)

    assert "note: GitHub was not asked, so this is what is known here: there is no token" in done.out
    assert "to octo/demo (origin), merged into main in the end\n" in done.out
    assert "task 1.1: open a pull request\n  title     Do 1.1\n  branch    patchyard/demo/1.1: push" in done.out
    assert "files     1, +2 -0\n            two.txt" in done.out
    assert "would open 3 pull requests and push 4 branches; nothing was changed" in done.out
    hub.rename(hub.with_name("moved"))
    done = hosted.call("publish", "--dry-run", "--github", NAME).expect(3)
    assert "would open 3 pull requests and push 4 branches; nothing was changed" in done.out
    assert "it cannot be published now: " in done.out


def test_some_tasks_are_published_with_what_they_build_on(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks(SCRIPTS, front="mode: parallel", fields=FIELDS)).expect(0).run

    assert "task 1.2 of run" in hosted.call("publish", run, "1.2").expect(2).err
    assert "has no task 9" in hosted.call("publish", run, "9").expect(2).err
    found = preview(hosted, "1.3")
    assert (list(planned(found)), found["added"]) == (["1.3"], [])
    hosted.call("publish", "1.3").expect(0)
    assert [pull.head for pull in github.pull_requests(NAME)] == ["patchyard/demo/1.3"]

    found = preview(hosted, run, "2.1")
    assert {"1.1", "2.1"} <= set(planned(found))
    assert "1.1" in found["added"]


def test_some_tasks_of_a_plan_share_a_pull_request(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks({"1.1": "touch a", "1.2": "touch b", "1.3": "touch c"})).expect(0).run
    scope = ("--pull-request", "plan")

    found = preview(hosted, run, "1.1", *scope)
    assert [one["tasks"] for one in found["pull_requests"]] == [["1.1"]]
    hosted.call("publish", run, "1.1", *scope).expect(0)
    assert "- task 1.2 (Do 1.2): it is not published yet" in (github.pull_requests(NAME)[0].body or "")
    assert [one["tasks"] for one in preview(hosted, run, "1.3")["pull_requests"]] == [["1.1", "1.3"]]
    hosted.call("publish", run, "1.3").expect(0)

    (pull,) = github.pull_requests(NAME)
    git, hub = hosted.clone.user.git, github.repository(NAME).path
    assert git("ls-tree", "--name-only", pull.head, cwd=hub).split()[1:-1] == ["README.md", "a", "c"]
    hosted.call("publish", run).expect(0)
    assert git("ls-tree", "--name-only", pull.head, cwd=hub).split()[1:-1] == ["README.md", "a", "b", "c"]


def test_a_preview_says_what_is_in_the_way(hosted: Project, github: GitHubServer) -> None:
    run = hosted.run(hosted.tasks(SCRIPTS)).expect(0).run
    github.repository(NAME).write("patchyard/demo/1.1", {"theirs.txt": "mine\n"})

    found = preview(hosted, run, code=3)

    obstacles = {one["task"]: one["obstacle"] for one in found["pull_requests"]}
    assert "has commits that neither this clone nor a pull request knows" in obstacles["1.1"]
    assert obstacles["1.3"] is None
    assert found["total"].endswith("1 task cannot be published")


def test_a_retry_keeps_the_scope_that_publish_was_given(hosted: Project, github: GitHubServer) -> None:
    scripts = {"1.1": "touch a", "1.2": 'test -e "$SHARED/mended"; touch b'}
    run = hosted.run(hosted.tasks(scripts), "--publish").expect(1).run
    hosted.call("publish", run, "--pull-request", "plan").expect(0)
    (hosted.shared / "mended").touch()

    done = hosted.call("retry", run, "--json").expect(0)

    assert {pull.head for pull in github.pull_requests(NAME)} == {"patchyard/demo/1.1", "patchyard/demo/plan"}
    assert [record["tasks"] for record in done.events("pull_request")] == [["1.1", "1.2"]]


def test_an_imported_run_keeps_the_names_of_its_branches(hosted: Project, github: GitHubServer) -> None:
    names = ("--branch", "team/{plan}-{task}")
    run = hosted.run(hosted.tasks({"1.1": "touch a"}), *names).expect(0).run
    out = hosted.shared / "out"
    hosted.call("patches", run, "--output", out).expect(0)
    hosted.call("clean", "--run", run).expect(0)
    hosted.call("publish", "--from", out, *names).expect(0)

    found = preview(hosted, run, "--pull-request", "plan")

    assert [one["branch"] for one in found["pull_requests"]] == ["team/demo-plan"]
    assert [pull.head for pull in github.pull_requests(NAME)] == ["team/demo-1.1"]

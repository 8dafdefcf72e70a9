"""`--pull-request group` and `plan`: one branch and one pull request for several tasks."""

import signal
from dataclasses import replace

from github_rules import Pull
from github_server import TOKEN, Fault, GitHubServer
from project import Project, wait_for

from containers.git.repository import Repository
from pipeline.forge.base import FileLimits
from pipeline.forge.github_client import GitHub
from pipeline.forge.note import without_note
from pipeline.publish.publication import Destination
from pipeline.publish.shared_publications import Sharing
from pipeline.publish.task_publications import publications_of
from pipeline.run.stored.status import plan_of
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.outcome import PullRequestScope, RunStatus
from tasks.secrets import Secrets

NAME = "octo/demo"
PLAN = "patchyard/demo/plan"


def pulls(github: GitHubServer) -> dict[str, Pull]:
    """The pull requests by branch; a branch has one."""
    found = github.pull_requests(NAME)
    by_branch = {pull.head: pull for pull in found}
    assert len(by_branch) == len(found)
    return by_branch


def text(pull: Pull) -> str:
    return without_note(pull.body or "")


def subjects(github: GitHubServer, project: Project, base: str, branch: str) -> list[str]:
    """The subjects of the commits of a branch on the remote, oldest first; each has one parent."""
    git, hub = project.clone.user.git, github.repository(NAME).path
    lines = git("log", "--reverse", "--format=%p|%s", f"{base}..{branch}", cwd=hub).splitlines()
    assert all(" " not in line.partition("|")[0] for line in lines)
    return [line.partition("|")[2] for line in lines]


def files(github: GitHubServer, project: Project, branch: str) -> dict[str, str]:
    """The contents of the text files at the top of a branch on the remote."""
    git, hub = project.clone.user.git, github.repository(NAME).path
    names = git("ls-tree", "--name-only", branch, cwd=hub).splitlines()
    return {name: git("show", f"{branch}:{name}", cwd=hub) for name in names if name.endswith(".txt")}


SCRIPTS = {
    "1.1": "echo one > one.txt",
    "1.2": "echo two > two.txt",
    "1.3": "true",
    "2.1": "cat one.txt two.txt > three.txt",
}


def test_a_plan_has_one_branch_with_a_commit_a_task(hosted: Project, github: GitHubServer) -> None:
    before = hosted.clone.git("status", "--porcelain", "--branch")

    done = hosted.run(hosted.tasks(SCRIPTS), "--publish", "--pull-request", "plan").expect(0)

    (pull,) = github.pull_requests(NAME)
    assert (pull.head, pull.base, pull.title) == (PLAN, "main", "Demo")
    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.2", "Do 2.1"]
    assert files(github, hosted, PLAN) == {"one.txt": "one", "two.txt": "two", "three.txt": "one\ntwo"}
    (published,) = done.events("pull_request")
    assert (published["task"], published["tasks"]) == ("plan", ["1.1", "1.2", "2.1"])
    body = text(pull)
    assert "3 of 4 tasks of *Demo*" in body
    assert [line for line in body.splitlines() if line.startswith("## ")] == [
        "## Task 1.1: Do 1.1",
        "## Task 1.2: Do 1.2",
        "## Task 2.1: Do 2.1",
    ]
    assert "Nothing to change: task 1.3" in body
    (status,) = hosted.call("status", "--json").expect(0).records
    links = {task["task"]: task["pull_request"] and task["pull_request"]["url"] for task in status["tasks"]}
    assert links == {"1.1": published["url"], "1.2": published["url"], "1.3": None, "2.1": published["url"]}
    assert hosted.clone.git("status", "--porcelain", "--branch") == before
    assert PLAN not in hosted.branches()

    tip = github.repository(NAME).tip(PLAN)
    pushes = len(github.calls("POST", "git-receive-pack$"))
    assert pushes
    again = hosted.call("publish", done.run, "--json").expect(0)
    assert [record["action"] for record in again.events("pull_request")] == ["updated"]
    assert github.repository(NAME).tip(PLAN) == tip
    assert text(pulls(github)[PLAN]) == body
    assert len(github.calls("POST", "git-receive-pack$")) == pushes
    assert "Pull requests</dt><dd><b>1</b>" in hosted.call("report", done.run, "--format", "html").expect(0).out


def test_a_failed_task_is_named_and_added_by_a_retry(hosted: Project, github: GitHubServer) -> None:
    scripts = {
        "1.1": "echo one > one.txt",
        "1.2": 'test -e "$SHARED/mended"; echo two > two.txt',
        "1.3": "echo three > three.txt",
        "2.1": "cat two.txt > four.txt",
    }
    plan = hosted.tasks(scripts, fields={"2.1": "**Depends on:** Task 1.2"})

    done = hosted.run(plan, "--publish", "--pull-request", "plan").expect(1)

    hub, pull = github.repository(NAME), pulls(github)[PLAN]
    first = str(hub.tip(PLAN))
    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.3"]
    assert "2 of 4 tasks" in text(pull)
    assert "## Not in this pull request" in text(pull)
    assert "- task 1.2 (Do 1.2): failed: " in text(pull)
    assert "- task 2.1 (Do 2.1): skipped: it depends on task 1.2, which failed" in text(pull)

    (hosted.shared / "mended").touch()
    retried = hosted.call("retry", done.run, "--json").expect(0)

    assert [record["action"] for record in retried.events("pull_request")] == ["updated"]
    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.3", "Do 1.2", "Do 2.1"]
    assert hub.tip(PLAN) != first
    assert hosted.clone.user.git("merge-base", "--is-ancestor", first, PLAN, cwd=hub.path) == ""
    assert "Not in this pull request" not in text(pulls(github)[PLAN])


def test_a_conflicting_task_is_left_out_with_what_builds_on_it(hosted: Project, github: GitHubServer) -> None:
    scripts = {
        "1.1": "echo one > same.txt",
        "1.2": "echo two > same.txt",
        "1.3": "echo three > three.txt",
        "1.4": "echo four > four.txt",
    }
    plan = hosted.tasks(scripts, fields={"1.4": "**Depends on:** Task 1.2"})

    done = hosted.run(plan, "--publish", "--pull-request", "plan", "--on-conflict", "stop").expect(1)

    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.3"]
    body = text(pulls(github)[PLAN])
    assert "- task 1.2 (Do 1.2): tasks 1.1 and 1.2 conflict in same.txt\n" in body
    assert "- task 1.4 (Do 1.4): it builds on task 1.2, which is left out\n" in body
    errors = [record["message"] for record in done.events("notice") if record["level"] == "error"]
    hint = f"`patchyard publish {done.run} --pull-request task` gives each task its own pull request"
    assert errors == [
        f"task 1.2 (patchyard/demo/1.2) was not published: tasks 1.1 and 1.2 conflict in same.txt; {hint}",
        f"task 1.4 (patchyard/demo/1.4) was not published: it builds on task 1.2, which is left out; {hint}",
    ]
    (status,) = hosted.call("status", "--json").expect(0).records
    assert [task["task"] for task in status["tasks"] if task["pull_request"]] == ["1.1", "1.3"]
    assert "is complete" in hosted.call("resume", done.run).err  # nothing is left that could be published

    hosted.call("publish", done.run, "--pull-request", "task").expect(0)
    assert set(pulls(github)) == {PLAN, *(f"patchyard/demo/1.{number}" for number in (1, 2, 3, 4))}


GROUPS = {
    "1.1": "echo one > one.txt",
    "1.2": "echo two > two.txt",
    "2.1": "cat one.txt > three.txt",
    "2.2": "cat two.txt > four.txt",
    "3.1": "echo free > free.txt",
}


def test_a_group_is_stacked_on_the_group_that_it_builds_on(hosted: Project, github: GitHubServer) -> None:
    plan = hosted.tasks(GROUPS, batches={"3": "**Dependencies:** None"})

    done = hosted.run(plan, "--publish", "--pull-request", "group").expect(0)

    one, two, three = (f"patchyard/demo/group-{number}" for number in (1, 2, 3))
    found = pulls(github)
    assert {head: pull.base for head, pull in found.items()} == {one: "main", two: one, three: "main"}
    assert subjects(github, hosted, "main", one) == ["Do 1.1", "Do 1.2"]
    assert subjects(github, hosted, one, two) == ["Do 2.1", "Do 2.2"]
    assert subjects(github, hosted, "main", three) == ["Do 3.1"]
    assert found[two].title == "Demo: Batch 2"
    assert f"- [#{found[one].number}](" in text(found[two])
    assert ") (the group 1)" in text(found[two])
    tips = {head: github.repository(NAME).tip(head) for head in found}

    again = hosted.call("publish", done.run, "--json").expect(0)  # as published last

    assert [record["action"] for record in again.events("pull_request")] == ["updated"] * 3
    assert {head: github.repository(NAME).tip(head) for head in pulls(github)} == tips


def test_killed_publication_is_completed_by_resume(hosted: Project, github: GitHubServer) -> None:
    slow = {"Retry-After": "50"}
    github.inject(Fault(status=429, message="slow down", method="POST", path="/pulls$", headers=slow))
    plan = hosted.tasks({"1.1": "echo 1 > one.txt", "1.2": "echo 2 > two.txt"})
    with hosted.start("run", plan, "--publish", "--pull-request", "plan") as started:
        wait_for(lambda: github.calls("POST", "/pulls$"), "the pull request")
        started.signal(signal.SIGKILL)
        started.done()
    tip = github.repository(NAME).tip(PLAN)
    github.faults.clear()

    hosted.call("resume", "latest").expect(0)

    assert set(pulls(github)) == {PLAN}
    assert github.repository(NAME).tip(PLAN) == tip
    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.2"]


def test_merged_groups_are_the_base_of_others_no_more(hosted: Project, github: GitHubServer) -> None:
    scripts = {"1.1": "echo 1 > one.txt", "1.2": "echo 2 > two.txt", "2.1": "cat one.txt two.txt > three.txt"}

    done = hosted.run(hosted.tasks(scripts), "--publish", "--pull-request", "group", "--auto-merge").expect(0)

    events = [(item["task"], item["base"], item["action"]) for item in done.events("pull_request")]
    assert events == [("group-1", "main", "merged"), ("group-2", "main", "merged")]
    assert files(github, hosted, "main") == {"one.txt": "1", "two.txt": "2", "three.txt": "1\n2"}
    again = hosted.call("publish", done.run, "--json").expect(0)
    assert [item["action"] for item in again.events("pull_request")] == ["merged", "merged"]


def test_what_people_did_stays(hosted: Project, github: GitHubServer) -> None:
    hub, plan = github.repository(NAME), hosted.tasks({"1.1": "echo 1 > one.txt", "1.2": "echo 2 > two.txt"})
    run = hosted.run(plan, "--publish", "--pull-request", "plan").expect(0).run
    theirs = hub.write(PLAN, {"theirs.txt": "mine\n"})

    refused = hosted.call("publish", run).expect(3)

    assert f"the plan ({PLAN}) was not published: branch {PLAN} on origin has commits that" in refused.out
    assert hub.tip(PLAN) == theirs
    hosted.call("publish", run, "--replace", theirs[:10]).expect(0)
    ours = hub.tip(PLAN)
    assert ours != theirs

    again = hosted.run(hosted.tasks({"1.1": "echo 3 > one.txt"}), "--publish", "--pull-request", "plan").expect(
        0
    )
    assert [record["action"] for record in again.events("pull_request")] == ["updated"]
    assert files(github, hosted, PLAN) == {"one.txt": "3"}

    hub.pulls[0].state = "closed"
    third = hosted.run(hosted.tasks({"1.1": "echo 4 > one.txt"}), "--publish", "--pull-request", "plan").expect(
        0
    )
    assert [record["action"] for record in third.events("pull_request")] == ["closed"]
    assert files(github, hosted, PLAN) == {"one.txt": "3"}


def test_groups_of_another_tools_plan(hosted: Project, github: GitHubServer) -> None:
    """What is left to a person becomes boxes in the section of the task."""
    text = "# L\n\n## Set up\n\n- [ ] add a\n- [ ] add b\n\n## Use: it\n\n- [ ] add c\n"
    hosted.clone.commit({"TODO.md": text})
    hosted.clone.git("push", "--quiet", github.repository(NAME).path, "main")
    agent = 'touch "$PATCHYARD_TASK.txt"'
    arguments = (
        "TODO.md",
        "--unit",
        "item",
        "--agent",
        agent,
        "--json",
        "--publish",
        "--pull-request",
        "group",
    )

    done = hosted.call("run", *arguments).expect(0)

    one, two = "patchyard/l/group-set-up", "patchyard/l/group-use-it"
    found = pulls(github)
    assert {head: (pull.base, pull.title) for head, pull in found.items()} == {
        one: ("main", "L: Set up"),
        two: (one, "L: Use: it"),
    }
    assert len(subjects(github, hosted, "main", one)) == 2
    assert len(subjects(github, hosted, one, two)) == 1
    (report,) = hosted.call("status", done.run, "--json").records
    numbers = [task["pull_request"]["number"] for task in report["tasks"]]
    assert numbers == [found[one].number, found[one].number, found[two].number]


def test_two_plans_do_not_share_a_branch(hosted: Project, github: GitHubServer) -> None:
    options = ("--publish", "--pull-request", "plan", "--branch", "work/{task}")
    hosted.run(hosted.tasks({"1.1": "echo 1 > one.txt"}), *options).expect(0)
    tip = github.repository(NAME).tip("work/plan")
    other = hosted.tasks({"2.1": "echo 2 > two.txt"}, name="other.md", title="Other")

    done = hosted.run(other, *options).expect(3)

    (error,) = (record["message"] for record in done.events("notice") if record["level"] == "error")
    assert error.startswith("the plan (work/plan) was not published: branch work/plan on origin has commits")
    assert github.repository(NAME).tip("work/plan") == tip
    assert pulls(github)["work/plan"].title == "Demo"


class SmallHost(GitHub):
    """A host that takes small files only."""

    @property
    def file_limits(self) -> FileLimits:
        return FileLimits("GitHub", most=100, advised=50, is_fixed=True)


def test_a_task_with_a_file_over_the_limit_is_left_out_before_a_push(
    hosted: Project, github: GitHubServer
) -> None:
    scripts = {"1.1": "printf %0200d 0 > big.txt", "1.2": "echo two > two.txt", "2.1": "cp big.txt more.txt"}
    manual = {"1.2": "**Verification:**\n- It looks right\n"}
    name = hosted.run(hosted.tasks(scripts, fields=manual)).expect(0).run
    repository = Repository.open(hosted.root, hosted.environ)
    destination = Destination(repository, SmallHost(github.url, NAME, TOKEN), "origin", "main")
    options = PublishOptions(pull_request=PullRequestScope.PLAN)
    with Store.beside(repository.common) as store:
        run, secrets = store.run(name), Secrets({"KEY": "looks right"})
        plan = plan_of(run)
        units = publications_of(store, run, plan, options, secrets)
        sharing = Sharing(store, run, plan, options=options, secrets=secrets, template="x/{task}")

        shared = sharing.share(destination, units)

        run = replace(run, status=RunStatus.RUNNING)  # its process was killed
        store.mark_for_redo(run.id, ["2.1"])
        sharing = Sharing(store, run, plan, options=options, secrets=secrets, template="x/{task}")
        (killed,) = sharing.share(destination, units[:2]).publications

    assert "- task 2.1 (Do 2.1): it did not run\n" in killed.body
    (publication,) = shared.publications
    assert (publication.tasks, publication.branch.name) == (("1.2",), "x/plan")
    assert [(failure.task, failure.reason.partition(",")[0]) for failure in shared.failures] == [
        ("1.1", "GitHub takes no file over 100 bytes"),
        ("2.1", "it builds on task 1.1"),
    ]
    assert "- task 1.1 (Do 1.1): GitHub takes no file over 100 bytes" in publication.body
    assert "- [ ] It ***" in publication.body.partition("## Task 1.2: ")[2]


def test_a_solved_conflict_is_stacked(hosted: Project, github: GitHubServer) -> None:
    plan = hosted.tasks({"1.1": "echo one >> same.txt", "1.2": "echo two >> same.txt"})

    done = hosted.run(plan, "--publish").expect(0)

    first, second = (pulls(github)[f"patchyard/demo/{task}"] for task in ("1.1", "1.2"))
    assert (first.base, second.base) == ("main", first.head)
    assert subjects(github, hosted, first.head, second.head) == ["Do 1.2"]
    hosted.call("publish", done.run, "--pull-request", "plan").expect(0)
    assert subjects(github, hosted, "main", PLAN) == ["Do 1.1", "Do 1.2"]
    assert files(github, hosted, PLAN)["same.txt"] == "one\ntwo"


def test_cost_of_each_task_and_of_all(hosted: Project, github: GitHubServer) -> None:
    script = 'touch $PATCHYARD_TASK.txt; echo "cost: 0.4"; [ $PATCHYARD_TASK != 1.2 ]'
    hosted.declare_agent(script, cost="cost: (?P<cost>[0-9.]+)")
    tasks = "### Task 1.1: A\n\nDo a.\n\n### Task 1.2: B\n\nDo b.\n\n### Task 1.3: C\n\n**Run:** `touch c`\n"
    hosted.run(
        hosted.plan(f"# Demo\n\n{tasks}"), "--publish", "--pull-request", "plan", "--repairs", "1"
    ).expect(1)
    body = text(pulls(github)[PLAN])
    assert body.startswith("2 of 3 tasks of *Demo*.\n\nTheir agents report $1.20 in all.\n\n")
    assert "### Cost\n\nThe agent reports $0.40.\n" in body.partition("## Task 1.1: A")[2]
    assert "Cost" not in body.partition("## Task 1.3: C")[2]

"""A report that the job without any right has forged: it says neither where nor how anything is published."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elsewhere import NAME, Elsewhere, opened
from project import Project
from repositories import Clone, make_repository

from pipeline.report.checks import BranchNames
from pipeline.report.importer import ImportedRun
from pipeline.report.model import ReportError
from tasks.outcome import RunStatus
from tasks.plan.parser import parse

Change = Callable[[dict[str, Any]], object]
PREFIX = "patchyard/some-plan"
PUBLISHING = {
    "auto_merge": True,
    "draft": True,
    "labels": ["forged"],
    "reviewers": ["mallory"],
    "github": "octo/other",
    "pull_request": "plan",
}


def test_how_a_run_is_published_comes_from_the_call_alone(elsewhere: Elsewhere, tmp_path: Path) -> None:
    hub = elsewhere.server.repository(NAME)
    hub.writers.add("mallory")
    main, other = hub.tip("main"), tmp_path / "other.git"
    elsewhere.project.clone.git("push", "-q", hub.path, "main:release")
    elsewhere.project.clone.git("init", "-q", "--bare", other)
    publishing = {**elsewhere.report["publishing"], **PUBLISHING, "remote": str(other)}
    elsewhere.change(publishing=publishing, base={**elsewhere.report["base"], "branch": "release"})

    done = elsewhere.publish()

    pulls = elsewhere.pulls
    assert {pull.base for head, pull in pulls.items() if head.endswith(("1.1", "1.2"))} == {"main"}
    assert {pull.state for pull in pulls.values()} == {"open"}
    assert [pull.head for pull in pulls.values() if pull.draft or pull.labels or pull.reviewers] == []
    assert (hub.tip("main"), elsewhere.project.clone.git("ls-remote", other)) == (main, "")
    (note,) = [one["message"] for one in done.events("notice") if one["level"] == "warning"]
    assert note.startswith(
        "not taken from the report: --remote, --github, --pull-request, --draft, --auto-merge, --label, "
        "--reviewer;"
    )
    (run,) = elsewhere.here.call("runs", "--json").expect(0).records
    assert run["run"] == elsewhere.run
    # A later publication has the options of the first.
    assert len(elsewhere.here.call("publish", elsewhere.run, environ=elsewhere.access).expect(0).out) > 0
    assert {pull.draft for pull in elsewhere.pulls.values()} == {False}


def test_one_pull_request_for_the_plan_is_asked_for_by_the_call(elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.publish("--pull-request", "plan")

    head, hub = f"{PREFIX}/plan", elsewhere.server.repository(NAME)
    (pull,) = elsewhere.pulls.values()
    assert (pull.head, pull.base) == (head, "main")
    tip = hub.tip(head)
    git = elsewhere.project.clone.user.git
    subjects = git("log", "--reverse", "--format=%s", f"main..{head}", cwd=hub.path).splitlines()
    assert subjects == ["Do 1.1", "Do 1.2", "Größe: add three", "Do 2.1", "Do 3.1"]
    assert "- task 1.4 (Do 1.4): failed: " in str(pull.body)

    git("clone", "-q", hub.path, tmp_path / "third", cwd=tmp_path)
    third = Project(Clone(elsewhere.project.clone.user, tmp_path / "third"))
    third.clone.git("remote", "set-url", "origin", elsewhere.server.clone_url(NAME))
    environ = {"PATCHYARD_PULL_REQUEST": "plan", **elsewhere.access}
    third.call("publish", "--from", elsewhere.directory, environ=environ).expect(0)
    assert (set(elsewhere.pulls), hub.tip(head)) == ({head}, tip)


def test_flags_environment_and_configuration_say_how_a_run_is_published(elsewhere: Elsewhere) -> None:
    elsewhere.server.repository(NAME).writers |= {"hubot", "mona"}
    (elsewhere.here.root / "patchyard.toml").write_text('draft = true\nlabels = ["configured"]\n')
    elsewhere.here.environ["PATCHYARD_REVIEWERS"] = "hubot"

    elsewhere.publish()
    assert {(pull.draft, *pull.labels) for pull in elsewhere.pulls.values()} == {(True, "configured")}
    assert {tuple(pull.reviewers) for pull in elsewhere.pulls.values()} == {("hubot",)}

    elsewhere.publish("--label", "one", "--label", "two", "--reviewer", "mona")
    labels = {label for pull in elsewhere.pulls.values() for label in pull.labels}
    assert labels == {"configured", "one", "two"}
    assert all("mona" in pull.reviewers for pull in elsewhere.pulls.values())


def first(report: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the first task of a report."""
    return report["tasks"][0]


def task(report: dict[str, Any], name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a task of a report."""
    return next(one for one in report["tasks"] if one["task"] == name)


FORGED: list[tuple[Change, str]] = [
    (
        lambda report: first(report).update(branch="release"),
        "task 1.1 has the branch 'release', but the template",
    ),
    (lambda report: first(report).update(branch="patchyard/other/1.1"), "the branch 'patchyard/other/1.1'"),
    (lambda report: first(report).update(branch=f"{PREFIX}/1.2"), f"task 1.1 has the branch '{PREFIX}/1.2'"),
    (lambda report: task(report, "1.4").update(branch="main"), "task 1.4 has the branch 'main'"),
    (
        lambda report: task(report, "2.1")["start"].update(branch="main"),
        "task 2.1 starts from the branch 'main'",
    ),
    (lambda report: task(report, "2.1")["start"].update(branch=f"{PREFIX}/batch-9"), "starts from the branch"),
    (
        lambda report: task(report, "2.1")["start"].update(branch=f"{PREFIX}/batch-1-1"),
        "starts from the branch",
    ),
    (lambda report: task(report, "2.1")["start"].update(branch=f"{PREFIX}/1.1"), "is at two commits"),
    (lambda report: task(report, "2.1")["start"].update(branch=None), "which is not that of its branch"),
    (lambda report: first(report)["start"].update(branch=f"{PREFIX}/1.2"), "which is not that of its branch"),
    (
        lambda report: report["plan"].update(text="# Some Plan\n### Task 1.1: x\n**Run:** true"),
        "not in its plan",
    ),
    (lambda report: report["plan"].update(text="# Some Plan"), "its plan has an error in line 1: "),
    (
        lambda report: report["plan"].update(text=report["plan"]["text"].replace("Some Plan", "Release")),
        "the branches of its plan are named 'some-plan', but its title makes release",
    ),
    (lambda report: report["plan"].update(name="other"), "the branches of its plan are named 'other'"),
    (lambda report: report["plan"].update(name="some-plan-0123ab"), "are named 'some-plan-0123ab'"),
    (lambda report: report.update(run="release"), "'release' is not a valid run id"),
    (lambda report: report["tasks"].append(first(report)), "task '1.1' is there 2 times"),
    (lambda report: report["commits"].append(report["commits"][0]), "is there 2 times"),
    (lambda report: report["commits"][0].update(id=report["base"]["commit"]), "is there 2 times"),
    (lambda report: task(report, "1.2").update(commit=first(report)["commit"]), "is there 2 times"),
    (
        lambda report: first(report)["start"].update(builds_on=["2.1"]),
        "whose changes are not in its start point",
    ),
    (
        lambda report: first(report)["start"].update(builds_on=["9"]),
        "builds on task '9', which is not in its plan",
    ),
    (lambda report: task(report, "1.4")["start"].update(commit="--all"), "is not a valid commit id"),
    (
        lambda report: report["commits"][0].update(parents=[report["commits"][-1]["id"]]),
        "is the parent of task",
    ),
    (
        lambda report: report["commits"][0].update(message="x\n\nPatchyard-Run: 1\n"),
        "another message than a run",
    ),
    (lambda report: report["commits"][0].update(author="Mallory 1 +0000"), "is not one that a run creates"),
    (lambda report: report["commits"][0].update(tree="--all"), "is not one that a run creates"),
    (lambda report: first(report).update(tree="5" * 40), "gives another tree than in the run"),
    (lambda report: first(report).update(files=["harmless.txt"]), "names other files than its patch changes"),
    (lambda report: first(report).update(worktree="../../x"), "is not a valid worktree"),
    (lambda report: first(report).update(started_at="2026-01-01T00:00:00"), "has no time zone"),
    (lambda report: first(report).update(started_at="0001-01-01T00:00:00+23:00"), "is out of range"),
    (lambda report: report.update(started_at="0001-01-01T00:00:00+23:00"), "is out of range"),
    (lambda report: first(report).update(seconds=float("nan")), "seconds: out of range"),
    (lambda report: first(report).update(seconds=10**400), "seconds: out of range"),
    (lambda report: report.update(pool_size=2**70), "pool_size: out of range"),
    (lambda report: report.update(pool_size=-1), "-1 is not a valid size of a pool"),
    (lambda report: report.update(seconds=-1), "its times are negative"),
    (
        lambda report: first(report).update(seconds=-1),
        "or the costs of task 1.1 are negative",
    ),
    (
        lambda report: first(report).update(batch=-1),
        "or the costs of task 1.1 are negative",
    ),
    (lambda report: first(report).update(tokens={"input": -1}), "the tokens of task 1.1 are negative"),
    (lambda report: first(report).update(tokens={"input": 2**70}), "tokens.input: out of range"),
    (lambda report: first(report).update(said="a\0b"), "said: not valid Unicode"),
    (
        lambda report: first(report)["steps"][0].update(number=-5),
        "are not numbered from 1",
    ),
    (lambda report: first(report)["steps"].append(first(report)["steps"][0]), "are not numbered from 1"),
    (lambda report: first(report).update(status="failed"), "has a commit, but the status 'failed'"),
    (lambda report: first(report).update(title="a\0b"), "title: not valid Unicode"),
    (lambda report: first(report).update(title="\ud800"), "title: not valid Unicode"),
    (lambda report: first(report).update(task="1.1\x1b[2J\n"), "is not a valid task id"),
]


def test_forged_report_is_rejected(elsewhere: Elsewhere) -> None:
    whole = json.dumps(elsewhere.report)
    with opened(elsewhere.here) as (repository, store):
        for change, message in FORGED:
            report = json.loads(whole)
            change(report)
            elsewhere.change(**report)
            with pytest.raises(ReportError, match=re.escape(message)) as caught:
                ImportedRun.read(elsewhere.directory).recreate(repository, store)
            assert str(caught.value).isprintable()
            assert (set(elsewhere.here.branches()), store.runs()) == ({"main"}, ())


def test_directory_with_other_than_plain_files_is_rejected(elsewhere: Elsewhere, tmp_path: Path) -> None:
    report, patch = elsewhere.directory / "report.json", elsewhere.directory / "1.1.patch"
    (tmp_path / "secret").write_bytes(patch.read_bytes())
    patch.unlink()
    patch.symlink_to(tmp_path / "secret")
    assert "1.1.patch: cannot be read" in elsewhere.publish(code=2).err
    report.unlink()
    os.mkfifo(report)
    assert "report.json: not a plain file" in elsewhere.publish(code=2).err
    report.unlink()
    report.write_text("[" * 200_000)
    assert "nested too deeply" in elsewhere.publish(code=2).err
    report.unlink()
    with report.open("wb") as file:
        file.truncate(2**27)
    assert "larger than 67 MB" in elsewhere.publish(code=2).err


@pytest.mark.parametrize("path", [".git/hooks/pre-push", "../outside", "src/.GIT/config"])
def test_patch_of_a_path_that_is_not_the_repositorys_does_not_apply(elsewhere: Elsewhere, path: str) -> None:
    text = (
        f"diff --git a/{path} b/{path}\nnew file mode 100755\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    )
    (elsewhere.directory / "1.1.patch").write_text(text)
    assert "the patch of task 1.1 does not apply here" in elsewhere.publish(code=2).err
    assert set(elsewhere.here.branches()) == {"main"}


def test_base_must_be_on_the_branch_that_the_pull_requests_go_to(elsewhere: Elsewhere, tmp_path: Path) -> None:
    project, hub = elsewhere.project, elsewhere.server.repository(NAME)
    project.clone.git("checkout", "-q", "-b", "side")
    base = project.clone.commit({"private.txt": "not on main\n"})
    project.clone.git("push", "-q", hub.path, "side")
    run = project.run(project.tasks({"1.1": "echo 1 > one"}, "side.md", title="Side")).expect(0).run
    project.call("patches", run, "-o", tmp_path / "side").expect(0)
    side = Elsewhere(project, elsewhere.here, elsewhere.server, tmp_path / "side", run)

    refused = side.publish(code=3)
    assert f"the base main ({base[:10]}) has 1 commit that is not on main of origin" in refused.err
    assert "--base: origin has no branch nosuch" in side.publish("--base", "nosuch", code=2).err
    assert (side.pulls, set(side.here.branches())) == ({}, {"main"})
    assert side.here.call("runs", "--json").out == ""

    side.publish("--base", "side")
    assert {head: pull.base for head, pull in side.pulls.items()} == {"patchyard/side/1.1": "side"}


def test_template_of_the_call_is_that_of_the_run(elsewhere: Elsewhere, tmp_path: Path) -> None:
    project, template = elsewhere.project, "bot/{task}-of-{run}"
    plan = project.tasks({"1.1": "echo 1 > one", "2.1": "cat one > two"}, title="Named")
    run = project.run(plan, "--branch", template).expect(0).run
    project.call("patches", run, "-o", tmp_path / "named").expect(0)
    named = Elsewhere(project, elsewhere.here, elsewhere.server, tmp_path / "named", run)

    assert f"has the branch 'bot/1.1-of-{run}'" in named.publish(code=2).err
    named.publish("--branch", template)
    assert {head: pull.base for head, pull in named.pulls.items()} == {
        f"bot/1.1-of-{run}": "main",
        f"bot/2.1-of-{run}": f"bot/batch-1-of-{run}",
    }
    assert "--branch needs --from" in elsewhere.here.call("publish", run, "--branch", template).expect(2).err


def test_start_branches_of_a_plan() -> None:
    text = "# P\n## Batch 1\n### Task 1.1: a\n**Run:** true\n## Batch 2\n### Task 2.1: b\n**Run:** true\n"
    plan = parse(text, "p.md").plan
    assert plan
    names = BranchNames("{plan:>9}/{task}-{task}", plan, "20260101-000000-aaaa")
    good = ("1.1", "2.1", "2.1-base", "batch-1", "batch-2", "batch-1-2", "batch-2-1")
    assert [part for part in good if not names.is_start(names.name(part))] == []
    bad = (
        "",
        "1.2",
        "batch-3",
        "batch-1-3",
        "batch-1-1",
        "batch-",
        "batch-01",
        "batch-1-base",
        "main",
        "-base",
    )
    assert [part for part in bad if names.is_start(names.name(part))] == []
    assert not names.is_start("p/1.1-2.1")


def test_another_run_with_the_id_of_a_report_is_not_touched(elsewhere: Elsewhere) -> None:
    project, whole = elsewhere.project, elsewhere.report
    text = whole["plan"]["text"].replace("# Some Plan\n", "# Some Plan\n\nMore.\n")
    elsewhere.change(plan={**whole["plan"], "text": text})
    assert (
        f"already has a run {elsewhere.run}, and it is another one"
        in elsewhere.publish(project=project, code=2).err
    )
    elsewhere.change(plan=whole["plan"])
    patch = elsewhere.directory / "1.1.patch"
    patch.write_bytes(patch.read_bytes() + b"\n")
    assert "has other patches" in elsewhere.publish(project=project, code=2).err
    assert elsewhere.pulls == {}


@pytest.mark.parametrize("status", ["pending", "running", "paused", "interrupted"])
def test_imported_run_is_over_and_has_no_pull_request_yet(elsewhere: Elsewhere, status: str) -> None:
    tasks = elsewhere.report["tasks"]
    tasks[0]["title"] = "\udc80 \x1b[2J @octocat"
    tasks[0]["pull_request"] = {"number": 1, "url": "https://example.com", "base": "main", "action": "merged"}
    elsewhere.change(status=status, tasks=tasks)
    with opened(elsewhere.here) as (repository, store):
        ImportedRun.read(elsewhere.directory).recreate(repository, store)
        assert store.run().status is RunStatus.CANCELLED
        assert {item.pull_request for item in store.tasks(elsewhere.run)} == {None}


def test_branch_of_a_person_on_the_remote_is_not_overwritten(elsewhere: Elsewhere, tmp_path: Path) -> None:
    hub = elsewhere.server.repository(NAME)
    person = make_repository(elsewhere.project.clone.user, tmp_path / "person", {"own": "1"})
    person.git("push", "-q", hub.path, f"main:{PREFIX}/1.1", f"main:{PREFIX}/batch-1")

    done = elsewhere.publish(code=3)

    assert {hub.tip(f"{PREFIX}/1.1"), hub.tip(f"{PREFIX}/batch-1")} == {person.head}
    errors = [one["message"] for one in done.events("notice") if one["level"] == "error"]
    assert len(errors) == 3  # 1.1, what depends on it, and what starts from the batch
    assert {pull.head for pull in elsewhere.pulls.values()} == {f"{PREFIX}/1.2", f"{PREFIX}/3.1"}

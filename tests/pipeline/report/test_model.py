"""The report of a run: `patchyard report`, and the directory that `patchyard patches` writes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from project import Project

from containers.git.commits import Commit
from pipeline.report.decode import decode
from pipeline.report.markdown import markdown
from pipeline.report.model import ReportError, read_report
from pipeline.report.parts import BasePart, ImagePart, PlanPart, Report, RequestPart, TaskPart
from tasks.keys import AgentUse
from tasks.outcome import Conflict

KEY = re.compile(r"[0-9a-f]{64}")
SCRIPTS = {
    "1.1": "echo one > one.txt; printf '\\0\\1' > bin",
    "1.2": "echo two > two.txt; ln -s one.txt 'a link'",
    "1.3": "echo half > half.txt; echo last words; exit 7",
    "1.4": "true",
    "2.1": "cat one.txt two.txt > three.txt",
    "2.2": "echo never",
}
FIELDS = {"1.1": "**Commit:** Größe: add one", "2.2": "**Dependencies:** Task 1.3"}


@pytest.fixture
def made(project: Project) -> tuple[Project, str, dict[str, Any]]:
    """A run with tasks of every kind, its id, and its report."""
    plan = project.tasks(SCRIPTS, fields=FIELDS, front="environment:\n  MODE: hidden value", title="A | B")
    done = project.run(plan, "--keep-going").expect(1)
    text = project.call("report", "--format", "json").expect(0).out
    return project, done.run, json.loads(text)


def test_report_contains_inputs_and_results(
    made: tuple[Project, str, dict[str, Any]],
) -> None:
    project, run, report = made
    head = project.clone.head
    tree = project.clone.git("rev-parse", "HEAD^{tree}")
    assert (report["version"], report["run"], report["status"]) == (1, run, "failed")
    assert report["base"] == {"commit": head, "tree": tree, "branch": "main"}
    assert report["plan"]["name"] == "a-b"
    assert report["plan"]["text"] == (project.plans / "plan.md").read_text()
    assert report["environment"] == ["MODE"]
    assert report["images"] == report["agents"] == []
    assert KEY.fullmatch(report["key"])
    tasks = {task["task"]: task for task in report["tasks"]}
    assert list(tasks) == list(SCRIPTS)
    one = tasks["1.1"]
    assert KEY.fullmatch(one["key"])
    assert (one["mode"], one["image"], one["agent"]) == ("parallel", None, None)
    assert one["start"] == {"commit": head, "tree": tree, "branch": None, "builds_on": [], "foundation": None}
    assert (one["patch"], one["files"]) == ("1.1.patch", ["bin", "one.txt"])
    assert one["tree"] == project.clone.git("rev-parse", f"{one['commit']}^{{tree}}")
    (step,) = one["steps"]
    assert (step["number"], step["kind"], step["exit_code"]) == (1, "run", 0)
    assert step["seconds"] >= 0
    assert tasks["1.3"]["exit_code"] == tasks["1.3"]["steps"][0]["exit_code"] == 7
    assert (tasks["1.3"]["patch"], tasks["1.3"]["commit"]) == (None, None)
    assert (tasks["1.4"]["status"], tasks["1.4"]["patch"]) == ("unchanged", None)
    assert KEY.fullmatch(tasks["1.4"]["key"])
    assert (tasks["2.2"]["status"], tasks["2.2"]["key"], tasks["2.2"]["start"]) == ("skipped", None, None)
    last = tasks["2.1"]["start"]
    assert (last["branch"], last["builds_on"]) == ("patchyard/a-b/batch-1", ["1.1", "1.2"])
    assert last["tree"] == project.clone.git("rev-parse", f"{last['commit']}^{{tree}}")
    made_commits = [commit["id"] for commit in report["commits"]]
    assert sorted(made_commits) == sorted(project.clone.git("rev-list", "--branches", "^main").splitlines())
    assert made_commits.index(last["commit"]) < made_commits.index(tasks["2.1"]["commit"])


def test_report_contains_no_environment_value_or_secret(project: Project) -> None:
    project.configure('secrets = ["API_KEY"]\n')
    environ = {"API_KEY": "sesame-1234"}
    plan = project.tasks(
        {"1.1": "echo $API_KEY; exit 1", "1.2": "echo 1 > one # not sesame-1234"},
        front="environment:\n  MODE: hidden value\n  COPY: sesame-1234",
    )
    project.run(plan, environ=environ).expect(1)
    out = project.root.parent / "out"
    project.call("patches", "latest", "-o", out).expect(0)
    for path in out.iterdir():
        assert "sesame" not in path.read_text()
    report = json.loads((out / "report.json").read_text())
    assert "# not ***" in report["plan"]["text"]
    assert report["environment"] == ["COPY", "MODE"]
    assert [task["secrets"] for task in report["tasks"]] == [["API_KEY"], ["API_KEY"]]
    assert "hidden value" not in json.dumps(report["tasks"])


def test_patches_and_report_are_written_together(made: tuple[Project, str, dict[str, Any]]) -> None:
    project, run, report = made
    out = project.root.parent / "out"
    done = project.call("patches", run, "--output", out).expect(0)
    assert done.out.splitlines() == [str(out / f"{task}.patch") for task in ("1.1", "1.2", "2.1")]
    assert {path.name for path in out.iterdir()} == {
        "1.1.patch",
        "1.2.patch",
        "2.1.patch",
        "report.json",
        "report.md",
    }
    assert json.loads((out / "report.json").read_text()) == report
    project.clone.git("apply", "--index", out / "1.1.patch")
    assert project.clone.git("write-tree") == report["tasks"][0]["tree"]
    read = read_report(out / "report.json")
    assert json.loads(read.as_json) == report
    assert (out / "report.md").read_text() == markdown(read)


def test_the_report_goes_to_a_file_in_either_form(made: tuple[Project, str, dict[str, Any]]) -> None:
    project, run, _ = made
    path = project.root.parent / "report"
    done = project.call("report", run, "--output", path).expect(0)
    assert done.out == ""
    assert path.read_text() == project.call("report", run, "--format", "markdown").out
    assert path.read_text().startswith("# A \\| B\n\n**failed**: 3 changed, ")
    project.call("report", run, "--format", "json", "-o", path).expect(0)
    assert json.loads(path.read_text())["run"] == run
    assert "cannot write" in project.call("report", run, "-o", path / "no").expect(2).err
    assert "cannot write" in project.call("patches", run, "-o", path / "no").expect(2).err


def test_report_without_commits(made: tuple[Project, str, dict[str, Any]]) -> None:
    project, run, report = made
    for branch in project.branches():
        if branch != "main":
            project.clone.git("branch", "-qD", branch)
    project.clone.git("reflog", "expire", "--expire=now", "--all")
    project.clone.git("gc", "-q", "--prune=now")
    again = json.loads(project.call("report", run, "--format", "json").expect(0).out)
    assert again == {**report, "commits": []}


@pytest.mark.parametrize("mode", ["local", "parallel"])
def test_same_key_gives_an_identical_patch(mode: str, project: Project) -> None:
    plan = project.tasks(SCRIPTS, fields=FIELDS, front="environment:\n  MODE: x")
    first = ran_again(project, plan, "parallel", "first")
    second = ran_again(project, plan, mode, "second")
    keys = [{task.task: task.key for task in one[0].tasks} for one in (first, second)]
    assert keys[0] == keys[1]
    assert first[0].key == second[0].key
    assert first[0].run != second[0].run
    assert first[1] == second[1]
    assert set(first[1]) == {"1.1.patch", "1.2.patch", "2.1.patch"}


def test_key_depends_on_values_and_base(project: Project) -> None:
    scripts = {"1.1": "echo $MODE > mode.txt"}
    keys = set()
    for number, value in enumerate(("x", "y", "y")):
        if number == 2:
            project.clone.commit({"unrelated": "1"})
        plan = project.tasks(scripts, front=f"environment:\n  MODE: {value}")
        keys.add(ran_again(project, plan, "parallel", str(number))[0].tasks[0].key)
    assert len(keys) == 3


def ran_again(project: Project, plan: Path, mode: str, name: str) -> tuple[Report, dict[str, bytes]]:
    """Run a plan, and return its report and patches."""
    out = project.root.parent / f"out-{name}"
    done = project.run(plan, "--keep-going", "--mode", mode)
    assert done.code in {0, 1}, done
    project.call("patches", done.run, "-o", out).expect(0)
    return read_report(out / "report.json"), {path.name: path.read_bytes() for path in out.glob("*.patch")}


def test_the_agent_is_in_the_report(project: Project) -> None:
    project.configure('[agents.mine]\ncommand = "cat > prompt.txt"\n')
    plan = project.tasks({"1.1": ""}, fields={"1.1": "**Implementation:**\nDo it.\n"})
    project.run(plan, "--agent", "mine").expect(0)
    report = json.loads(project.call("report", "--format", "json").expect(0).out)
    (task,) = report["tasks"]
    assert task["agent"]["name"] == "mine"
    assert task["agent"]["command"] == "cat > prompt.txt"
    assert report["agents"] == [task["agent"]]


def example(**more: Any) -> Report:  # noqa: ANN401 - any of its fields
    """Return a small report."""
    values = {
        "version": 1,
        "patchyard": "1.0",
        "run": "r-1",
        "status": "succeeded",
        "key": "k" * 64,
        "plan": PlanPart("plan.md", "plan", "Plan", "# Plan"),
        "base": BasePart("b" * 40, "t" * 40, None),
        "pool_size": 3,
        "started_at": "2026-01-01T00:00:00.000Z",
        "finished_at": None,
        "seconds": 4.26,
        "speedup": 2.5,
        "efficiency": 0.8,
        **more,
    }
    return Report(**values)


def test_markdown_shows_texts_verbatim() -> None:
    nasty = "a | b\n# c <img src=x> [d](e) `f` *g* \udcff"
    request = RequestPart(7, "https://github.test/pull/7", "main", "opened")
    report = example(
        plan=PlanPart("plan.md", "plan", nasty, ""),
        tasks=(
            TaskPart(
                "1.1",
                nasty,
                1,
                "changed",
                worktree="wt-1",
                seconds=1.26,
                files=("a", "b"),
                pull_request=request,
            ),
            TaskPart("1.2", "Fail", 1, "timed_out", worktree="wt-2", error="it *fails*\n```\nlast words\n"),
        ),
        conflicts=(Conflict(1, ("1.1", "1.2"), ("a_b.txt",)),),
        images=(ImagePart("python:3.13", "sha256:1"), ImagePart("gone:1", None)),
        agents=(AgentUse("claude", "claude -p", "2.1"),),
        environment=("A", "B"),
    )
    shown = "a \\| b \\# c \\<img src=x\\> \\[d\\](e) \\`f\\` \\*g\\* \ufffd"
    lines = markdown(report).splitlines()
    assert lines[0] == f"# {shown}"
    assert lines[2] == "**succeeded**: 1 changed, 1 timed out (1.2), 1 published, in 4.3 s"
    assert lines[4].startswith("2 tasks in 4.3 s: 2.5 times faster than one by one, ")
    assert lines[4].endswith("; run `r-1` of `plan.md`")
    assert f"| 1.1 | {shown} | changed | 1.3 s | 2 |  | [#7](<https://github.test/pull/7>) |" in lines
    assert "| 1.2 | Fail | timed out | 0.0 s |  |  |  |" in lines
    assert "**1.2** timed out: it \\*fails\\*" in lines
    at = lines.index("````text")
    assert lines[at : at + 4] == ["````text", "```", "last words", "````"]
    assert "- batch 1: tasks 1.1 and 1.2 conflict in a\\_b.txt" in lines
    assert lines[lines.index("## Made from") :] == [
        "## Made from",
        "",
        f"- base `{'b' * 40}`",
        f"- key `{'k' * 64}`",
        "- image `python:3.13` `sha256:1`",
        "- image `gone:1` (digest unknown)",
        "- agent `claude` `2.1`",
        "- environment `A`, `B`",
    ]


def test_markdown_of_an_unfinished_run_has_no_figures() -> None:
    report = example(status="running", seconds=None, speedup=None, tasks=())
    assert "**running**: no task\n\nrun `r-1` of `plan.md`" in markdown(report)
    assert "What did not succeed" not in markdown(report)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "not a report of version 1 or 2"),
        ({"run": 3}, "run: expected str"),
        ({"base": None}, "base: expected an object"),
        ({"base": {"commit": "x", "branch": None}}, "base.tree: missing"),
        ({"tasks": {}}, "tasks: expected a list"),
        (
            {"tasks": [{"task": "1", "title": "", "batch": True, "status": ""}]},
            r"tasks\[0\].batch: expected int",
        ),
        ({"seconds": "long"}, "seconds: expected float"),
    ],
)
def test_invalid_report_error_names_the_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**json.loads(example().as_json), **change}))
    with pytest.raises(ReportError, match=f"{path}.*{message}") as error:
        read_report(path)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_file_that_is_not_a_report_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(ReportError):
        read_report(path)
    with pytest.raises(ReportError, match="cannot be read"):
        read_report(tmp_path / "none.json")


def test_report_round_trip_with_unknown_and_missing_fields(tmp_path: Path) -> None:
    commit = Commit("c" * 40, "t" * 40, ("b" * 40,), "A <a@b> 1 +0000", "A <a@b> 1 +0000", "ä\udcff\n")
    report = example(tasks=(TaskPart("1", "T", 1, "changed", files=("\udcfe",)),), commits=(commit,))
    path = tmp_path / "report.json"
    path.write_text(report.as_json, "ascii")
    assert read_report(path) == report
    path.write_text(json.dumps({**json.loads(report.as_json), "news": 1}))
    assert read_report(path) == report


def test_integers_are_accepted_as_floats() -> None:
    assert decode(float | None, 3) == 3.0
    assert isinstance(decode(float, 3), float)
    assert decode(tuple[int, ...], [1, 2]) == (1, 2)

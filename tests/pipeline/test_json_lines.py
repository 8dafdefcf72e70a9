"""docs/output.md is an interface: the printed JSON has the fields of its tables."""

import json
import re
from datetime import datetime
from pathlib import Path

import pytest
from output_page import EVENTS, documented, named_by
from project import PATIENCE, STATUSES, Done, Project, Record

MANY = {
    "1.1": "echo a > 'with space.txt'",
    "1.2": "true",
    "1.3": "echo oops; exit 3",
    "1.4": "touch t; sleep 30",
    "1.5": "true",
    "1.6": "echo conflict > 'with space.txt'",
    "2.1": "true",
    "3.1": "touch three",
}
FIELDS = {
    "1.4": "**Timeout:** 0.3s\n\n**Verification:**\n- `true`",
    "1.5": "**Status:** completed",
    "3.1": "**Verification:**\n- `test -e three`",
}


OUTCOME = {  # the required fields; the page may have more
    "task",
    "title",
    "batch",
    "status",
    "worktree",
    "seconds",
    "branch",
    "commit",
    "files",
    "exit_code",
    "step",
    "error",
}


@pytest.fixture
def many(project: Project) -> Done:
    """A run with nearly every kind of event."""
    plan = project.tasks(MANY, fields=FIELDS, batches={"3": "**Dependencies:** None"})
    return project.run(plan, "--on-conflict", "stop").expect(1)


def test_every_line_has_the_documented_fields(many: Done) -> None:
    page = documented()
    assert page["outcome"] >= OUTCOME

    for record in many.records:
        assert set(record) == {"event", "time"} | page[record["event"]], record["event"]
        assert list(record)[:2] == ["event", "time"]
    assert {record["event"] for record in many.records} == EVENTS - {"pull_request", "notice"}
    for outcome in many.finished["outcomes"]:
        assert set(outcome) == page["outcome"]


def test_times_are_rfc_3339_in_utc_with_milliseconds_and_in_order(many: Done) -> None:
    times = [record["time"] for record in many.records]

    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times)
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(moments)


def test_a_task_that_did_not_run_has_no_start_and_no_worktree(many: Done) -> None:
    started = {record["task"]: record["worktree"] for record in many.events("task_started")}
    finished = {record["task"]: record for record in many.events("task_finished")}

    assert set(finished) == set(MANY)
    assert set(started) == set(MANY) - {"1.5", "2.1"}
    assert finished["1.5"]["worktree"] is finished["2.1"]["worktree"] is None
    assert all(re.fullmatch(r"wt-[1-3]", worktree) for worktree in started.values())
    assert all(finished[task]["worktree"] == worktree for task, worktree in started.items())


def test_events_are_in_order(many: Done) -> None:
    events = [record["event"] for record in many.records]
    assert events[0] == "run_started"
    assert events[-1] == "run_finished"
    assert events.count("run_started") == events.count("run_finished") == 1
    for task in ("1.1", "1.3", "3.1"):
        own = [record["event"] for record in many.records if record.get("task") == task]
        steps = ["step_started", "step_finished"] * (2 if task == "3.1" else 1)
        assert own == ["task_started", *steps, "task_finished"]


def test_last_line_has_all_outcomes(many: Done) -> None:
    finished, outcomes = many.finished, many.finished["outcomes"]
    steps = [step["seconds"] for step in many.events("step_finished")]

    assert [outcome["task"] for outcome in outcomes] == list(MANY)
    assert finished["status"] == "failed"
    assert {outcome["status"] for outcome in outcomes} <= STATUSES
    assert finished["speedup"] == pytest.approx(sum(steps) / finished["seconds"], rel=0.05)
    assert finished["efficiency"] == pytest.approx(finished["speedup"] / 3, rel=0.01)
    assert 0 <= finished["efficiency"] <= 1
    reported = {record["task"]: _without(record, "event", "time") for record in many.events("task_finished")}
    assert reported == {outcome["task"]: outcome for outcome in outcomes}


def _without(record: Record, *names: str) -> Record:
    return {name: value for name, value in record.items() if name not in names}


def test_status_and_runs_print_the_documented_fields(many: Done, project: Project) -> None:
    (status,) = project.call("status", "--json").expect(0).records
    (run,) = project.call("runs", "--json").expect(0).records

    assert list(run) == named_by("runs")
    assert set(status) == {*run, "tasks", "attempts", *documented()["verdict"], "cost", "tokens", "open"}
    assert {name: status[name] for name in documented()["verdict"]} == {
        name: many.finished[name] for name in documented()["verdict"]
    }
    fields = documented()["outcome"] | {"log", "pull_request"}
    assert [set(task) for task in status["tasks"]] == [fields] * len(MANY)
    assert [_without(task, "log", "pull_request") for task in status["tasks"]] == many.finished["outcomes"]
    assert (run["run"], run["status"]) == (many.run, "failed")
    logged = [task["task"] for task in status["tasks"] if task["log"]]
    assert logged == [task for task in MANY if task not in {"1.5", "2.1"}]
    assert all(Path(task["log"]).is_file() for task in status["tasks"] if task["log"])


def test_dry_run_and_check_print_the_documented_fields(project: Project) -> None:
    plan = project.tasks(MANY, fields={**FIELDS, "1.1": "**Files:**\n- Create: ../x"})

    would_run = project.run(plan, "--dry-run").expect(0).records
    checked = project.call("check", plan, "--json").expect(0).records

    assert [record["event"] for record in would_run] == ["would_run"] * len(MANY)
    assert {tuple(_without(record, "event", "time")) for record in would_run} == {
        tuple(named_by("run --dry-run"))
    }
    assert {record["event"] for record in checked} == {"diagnostic", "plan", "task"}
    rows = {
        "diagnostic": "check",
        "plan": "check`, of a plan without errors",
        "task": "check`, without an error",
    }
    for record in checked:
        row = rows[record["event"]]
        assert list(_without(record, "event", "time")) == named_by(row)


def test_unusual_file_names_in_json(project: Project) -> None:
    script = r"""
touch 'with space' "quote'\"" 'back\slash' "$(printf 'new\nline')" "$(printf 'tab\t')" 'ünï — 日本 😀'
touch "$(printf 'byte-\377')"
"""
    done = project.run(project.tasks({"1.1": script})).expect(0)

    assert done.out.isascii()
    assert set(done.outcome("1.1")["files"]) == {
        "with space",
        "quote'\"",
        "back\\slash",
        "new\nline",
        "tab\t",
        "ünï — 日本 😀",
        "byte-\udcff",
    }
    assert project.call("status").expect(0).code == 0
    assert json.loads(project.call("status", "--json").out)["tasks"][0]["files"] == done.outcome("1.1")["files"]


def test_task_output_is_not_on_standard_output(project: Project) -> None:
    done = project.run(
        project.tasks({"1.1": "echo to-stdout; echo to-stderr >&2; printf '\\377'; exit 1"})
    ).expect(1)

    assert done.err == ""
    assert [line for line in done.out.splitlines() if not line.startswith("{")] == []
    assert done.outcome("1.1")["error"].splitlines()[1:] == ["to-stdout", "to-stderr", "\ufffd"]


def test_closed_pipe_does_not_end_the_run(project: Project) -> None:
    plan = project.tasks(
        {"1.1": 'while [ ! -e "$SHARED/go" ]; do sleep 0.01; done; echo x > x', "2.1": "touch y"}
    )
    with project.start("run", plan, "--json") as started:
        assert started.process.stdout is not None
        assert json.loads(started.process.stdout.readline())["event"] == "run_started"
        started.process.stdout.close()
        (project.shared / "go").touch()
        code = started.process.wait(timeout=PATIENCE)
        assert started.process.stderr is not None
        assert started.process.stderr.read() == ""
        assert code == 0
        started.process.stdout = None

    assert set(project.branches()) == {
        "main",
        "patchyard/demo/1.1",
        "patchyard/demo/2.1",
        "patchyard/demo/batch-1",
    }
    assert project.call("status", "--json").records[0]["status"] == "succeeded"


def test_output_error_is_reported_on_standard_error(project: Project) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    plan = project.tasks({"1.1": "touch a"})

    done = project.call("run", plan, "--json", stdout=Path("/dev/full"))

    assert done.code == 1
    assert "cannot write the output" in done.err
    assert "Traceback" not in done.err
    assert "patchyard/demo/1.1" in project.branches(), "the run continued"

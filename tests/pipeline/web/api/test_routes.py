"""The API of a real server, with its own runs and those of the command line."""

import json
import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import httpx
import pytest
from github_server import Fault, GitHubServer
from project import Project, wait_for
from repositories import User, make_repository
from served import API, Serving, gate

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4}")


def test_run_is_reported_in_every_field(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": "echo a > a.txt", "1.2": "true", "2.1": f"{gate()}echo c > c.txt"})

    started = server.post("/start", json={"plan_path": str(plan)}).json()

    assert set(started) == {"execution_id", "status", "batches_scheduled", "dialect", "warnings"}
    run = started["execution_id"]
    assert RUN_ID.fullmatch(run)
    assert (started["status"], started["batches_scheduled"]) == ("started", [1, 2])
    wait_for(lambda: server.tasks(run)["2.1"]["status"] == "in_progress")
    status = server.status(run)
    assert status["status"] == "executing"
    assert {key: status[key] for key in ("execution_id", "current_batch", "total_batches")} == {
        "execution_id": run,
        "current_batch": 2,
        "total_batches": 2,
    }
    assert (status["tasks_completed"], status["tasks_total"], status["active_prs"]) == (2, 3, [])
    assert status["started_at"].endswith("Z")
    assert status["completed_at"] is None
    batches = server.get(f"/{run}/batches").json()
    assert [(batch["batch_number"], batch["status"]) for batch in batches] == [
        (1, "complete"),
        (2, "executing"),
    ]
    tasks = server.tasks(run)
    assert [task["status"] for task in tasks.values()] == ["complete", "complete", "in_progress"]
    assert tasks["1.1"]["branch_name"] == "patchyard/demo/1.1"
    assert tasks["1.1"]["commits"] == [project.branches()["patchyard/demo/1.1"]]
    assert (tasks["1.1"]["pr_number"], tasks["1.1"]["pr_url"], tasks["1.1"]["error"]) == (None, None, None)
    assert tasks["1.1"]["started_at"] < tasks["1.1"]["completed_at"] < tasks["2.1"]["started_at"]
    assert (tasks["2.1"]["completed_at"], tasks["2.1"]["worktree"], tasks["2.1"]["attempt"]) == (
        None,
        "wt-1",
        1,
    )
    (project.shared / "go").touch()
    status = server.wait(run)
    assert (status["status"], status["run_status"], status["tasks_completed"]) == ("complete", "succeeded", 3)
    assert status["started_at"] < status["completed_at"]
    assert 0 < status["efficiency"] <= 1


def test_mistakes_of_a_plan_are_reported(project: Project, server: Serving) -> None:
    plan = project.plan(
        "# Bad\n\n### Task 1.1: A\n\n**Dependencies:** Task 9.9\n\n### Task 1.1: A\n\n**Run:**\n- `true`\n"
    )
    lines = [
        {key: record[key] for key in ("path", "line", "column", "severity", "message")}
        for record in project.call("check", plan, "--json").expect(2).records
    ]

    refused = server.post("/start", 422, json={"plan_path": str(plan)}).json()

    assert len(lines) >= 2
    assert refused["diagnostics"] == lines
    assert server.get("").json()["total"] == 0


def test_command_line_and_server_share_one_store(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": "echo a > a.txt"})
    own = project.run(plan).expect(0).run
    served = server.start(plan)
    server.wait(served)

    listed = server.get("").json()

    assert [item["execution_id"] for item in listed["executions"]] == [served, own]
    assert listed["total"] == 2
    assert server.status(own)["status"] == "complete"
    assert {record["run"] for record in project.call("runs", "--json").expect(0).records} == {served, own}
    assert [item["execution_id"] for item in server.get("?limit=1&offset=1").json()["executions"]] == [own]
    assert server.status("latest")["execution_id"] == served
    assert server.status(own[:-2])["execution_id"] == own


def test_options_of_a_start_are_applied(project: Project, server: Serving) -> None:
    names = {"1.1": "true", "2.1": "echo b > b", "2.2": "true", "3.1": "true"}
    plan = project.tasks(names)
    base = project.clone.git("rev-parse", "HEAD")
    project.clone.commit({"late.txt": "late"}, "late")

    run = server.start(
        plan, start_batch=2, end_batch=3, tasks=["2.1", "3.1"], only=True, execution_mode="local", base=base
    )

    assert server.wait(run)["total_batches"] == 2
    assert server.status(run)["base"] == base
    assert set(server.tasks(run)) == {"2.1", "3.1"}
    batch_started = next(event for event in server.events(run) if event.name == "batch_started")
    assert batch_started.json["mode"] == "local"


def test_failed_run_reports_its_task_and_is_retried(project: Project, server: Serving) -> None:
    good = project.shared / "good"
    plan = project.tasks(
        {
            "1.1": "echo a > a.txt",
            "1.2": f"echo said; echo half > half.txt; test -e {good}",
            "2.1": "echo c > c",
        }
    )
    run = server.start(plan)

    status = server.wait(run)

    assert (status["status"], status["run_status"], status["tasks_failed"]) == ("failed", "failed", 2)
    tasks = server.tasks(run)
    assert {number: task["status"] for number, task in tasks.items()} == {
        "1.1": "complete",
        "1.2": "failed",
        "2.1": "failed",
    }
    assert (tasks["1.2"]["task_status"], tasks["2.1"]["task_status"]) == ("failed", "skipped")
    assert "exit code 1" in tasks["1.2"]["error"]
    assert [batch["status"] for batch in server.get(f"/{run}/batches").json()] == ["failed", "failed"]
    assert "+half" in server.get(f"/{run}/tasks/1.2/diff").text
    good.touch()
    assert server.post(f"/{run}/retry").json()["tasks"] == ["1.2", "2.1"]
    assert server.wait(run)["status"] == "complete"
    detail = server.get(f"/{run}/tasks/1.2").json()
    assert [(item["number"], item["status"]) for item in detail["attempts"]] == [(1, "failed"), (2, "changed")]
    assert [item["steps"][0]["exit_code"] for item in detail["attempts"]] == [1, 0]
    assert [item["number"] for item in server.get(f"/{run}/tasks/1.1").json()["attempts"]] == [1]
    assert server.get(f"/{run}/tasks/1.2/log?attempt=1").text.count("said\n") >= 1
    assert "exit code 1" in server.get(f"/{run}/tasks/1.2/log?attempt=1").text
    assert "exit code 0" in server.get(f"/{run}/tasks/1.2/log").text
    assert "+half" in server.get(f"/{run}/tasks/1.2/diff?attempt=1").text
    server.get(f"/{run}/tasks/1.2/log?attempt=3", 404)
    server.post(f"/{run}/retry", 409)
    assert server.post(f"/{run}/retry", json={"tasks": ["1.1"]}).json()["tasks"][0] == "1.1"
    assert server.wait(run)["status"] == "complete"
    assert server.post(f"/{run}/retry", 422, json={"tasks": ["7.7"]}).json()["detail"].startswith("run")


def test_run_is_cancelled(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": f"echo half > half.txt; {gate('never')}", "2.1": "true"})
    run = server.start(plan)
    wait_for((project.shared / "1.1.in").exists)

    server.post(f"/{run}/cancel")

    status = server.wait(run)
    assert (status["status"], status["run_status"], status["request"]) == ("failed", "cancelled", None)
    assert "+half" in server.get(f"/{run}/tasks/1.1/diff").text
    assert "has ended" in server.post(f"/{run}/cancel", 409).json()["detail"]
    assert "has ended" in server.post(f"/{run}/pause", 409).json()["detail"]


def test_run_is_cancelled_right_after_its_start(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": gate("never")})
    run = server.start(plan)

    server.post(f"/{run}/cancel")

    assert server.wait(run)["run_status"] == "cancelled"


def test_run_of_the_command_line_is_cancelled(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": gate("never")})
    with project.start("run", plan, "--json") as started:
        wait_for(lambda: server.get("").json()["total"])
        run = server.status("latest")["execution_id"]
        wait_for((project.shared / "1.1.in").exists)
        server.post(f"/{run}/retry", 409)
        server.post(f"/{run}/publish", 409)
        server.post(f"/{run}/cancel")
        assert started.done().finished["status"] == "cancelled"

    assert server.wait(run)["run_status"] == "cancelled"


def test_run_is_paused_and_resumed(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": f"{gate()}echo a > a", "2.1": "echo b > b"})
    run = server.start(plan)
    wait_for((project.shared / "1.1.in").exists)

    assert server.post(f"/{run}/pause").json()["request"] == "pause"

    server.wait(run, "paused")
    (project.shared / "go").touch()
    wait_for(lambda: server.tasks(run)["1.1"]["status"] == "complete")
    assert server.status(run)["status"] == "paused"
    assert server.tasks(run)["2.1"]["status"] == "pending"
    assert server.post(f"/{run}/resume").json()["status"] == "executing"
    assert server.wait(run)["status"] == "complete"
    assert "has ended" in server.post(f"/{run}/resume", 409).json()["detail"]


def test_pause_is_not_part_of_the_time_of_a_run(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": f"{gate()}echo a > a", "2.1": "echo b > b"}))
    wait_for((project.shared / "1.1.in").exists)
    server.post(f"/{run}/pause")
    server.wait(run, "paused")
    (project.shared / "go").touch()
    wait_for(lambda: server.tasks(run)["1.1"]["status"] == "complete")
    time.sleep(2)  # the time in question, not a guess at how long something takes

    server.post(f"/{run}/resume")

    server.wait(run)
    (record,) = project.call("runs", "--json").expect(0).records
    begin, end = (datetime.fromisoformat(record[name]) for name in ("started_at", "finished_at"))
    assert record["seconds"] < (end - begin).total_seconds() - 1


def test_cancelled_run_is_resumed_where_it_was(project: Project, server: Serving) -> None:
    plan = project.tasks({"1.1": 'echo x >> "$SHARED/times"', "2.1": f"{gate()}echo b > b"})
    run = server.start(plan)
    wait_for((project.shared / "2.1.in").exists)
    server.post(f"/{run}/cancel")
    server.wait(run)
    (project.shared / "go").touch()

    server.post(f"/{run}/resume")

    assert server.wait(run, "complete")["tasks_completed"] == 2
    assert (project.shared / "times").read_text() == "x\n"


def test_resume_right_after_a_cancel_is_not_lost(project: Project, server: Serving) -> None:
    """The cancelled worker has not exited yet when the run is resumed."""
    run = server.start(project.tasks({"1.1": f"{gate()}echo b > b"}))
    wait_for((project.shared / "1.1.in").exists)
    server.post(f"/{run}/cancel")
    wait_for(lambda: server.status(run)["run_status"] == "cancelled")
    (project.shared / "go").touch()

    server.post(f"/{run}/resume")

    assert server.wait(run, "complete")["tasks_completed"] == 1


def test_cancelled_run_is_not_paused(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": f"trap '' TERM; {gate()}"}))
    wait_for((project.shared / "1.1.in").exists)
    server.post(f"/{run}/cancel")

    assert server.post(f"/{run}/pause").json()["request"] == "cancel"

    wait_for(lambda: server.status(run)["run_status"] == "cancelled")
    assert server.status(run)["request"] is None


def test_retry_starts_from_what_the_failed_attempt_left(project: Project, server: Serving) -> None:
    """With `keep`; without it, from the start. What fails before any change is in the answers."""
    project.declare_agent('cat >> "$SHARED/asked"; echo "line" >> work.txt\n')
    enough = 'test "$(cat work.txt | wc -l)" = 2'
    text = f"# Demo\n\n### Task 1.1: Grow\n\nMake it grow.\n\n**Verification:**\n- `{enough}`\n"
    plan = project.plan(text)
    project.call("trust", plan).expect(0)
    run = server.start(plan, repairs=0, check_base=True)
    assert server.wait(run)["status"] == "failed"
    (task,) = server.tasks(run).values()
    assert task["fails_before"] == [enough]
    assert f"`{enough}` ended with exit code 1; it fails without the task's change too" in task["error"]

    server.post(f"/{run}/retry", json={})
    assert server.wait(run)["status"] == "failed"
    server.post(f"/{run}/retry", json={"keep": True})
    assert server.wait(run)["status"] == "complete"

    attempts = server.get(f"/{run}/tasks/1.1").json()["attempts"]
    assert [one["status"] for one in attempts] == ["failed", "failed", "changed"]
    assert project.show("patchyard/demo/1.1:work.txt") == "line\nline"
    asked = (project.shared / "asked").read_text()
    assert asked.count("# Again: try 1 of 1\n") == 2
    assert asked.count("What it left is in the current directory.") == 1
    kinds = [event.json["event"] for event in server.events(run)]
    assert kinds.count("base_check_finished") == 3  # a retry looks again at what had failed


def test_budget_is_raised_when_a_run_continues(project: Project, server: Serving) -> None:
    project.declare_agent('echo x >> "$SHARED/asked"; echo "cost: 1.00"', cost="cost: (?P<cost>[0-9.]+)")
    plan = project.plan("# Demo\n\n### Task 1.1: A\n\nDo a.\n\n### Task 1.2: B\n\nDo b.\n")
    project.call("trust", plan).expect(0)
    run = server.start(plan, budget=0.5, pool_size=1)
    assert server.wait(run)["status"] == "failed"
    server.post(f"/{run}/resume", json={"budget": 1})
    assert server.wait(run)["status"] == "failed"
    assert (project.shared / "asked").read_text() == "x\n"

    server.post(f"/{run}/resume", json={"budget": 1.5, "task_budget": 3})
    assert server.wait(run)["status"] == "complete"
    assert (project.shared / "asked").read_text() == "x\nx\n"
    for body in ({"budget": -1}, {"budget": "none"}, {"budgets": 1}):
        server.post(f"/{run}/resume", 422, json=body)


def test_refused_retry_changes_nothing(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": "touch a", "2.1": "touch b"}))
    server.wait(run)
    before = server.tasks(run)
    project.configure('pool_size = "x"\n')

    assert "pool_size" in server.post(f"/{run}/retry", 422, json={"tasks": ["1.1"]}).json()["detail"]

    assert server.tasks(run) == before
    assert server.status(run)["status"] == "complete"


def test_run_is_complete_when_its_pull_requests_exist(hosted: Project) -> None:
    plan = hosted.tasks({"1.1": "echo a > a", "1.2": "echo b > b"})
    with Serving(hosted, ["--root", hosted.root, "--root", hosted.plans]) as server:
        run = server.start(plan, publish=True)

        status = server.wait(run)

        assert (status["status"], status["publishing"]) == ("complete", "done")
        assert [item["task"] for item in status["active_prs"]] == ["1.1", "1.2"]


def test_failure_to_publish_a_run_is_reported(hosted: Project, github: GitHubServer) -> None:
    plan = hosted.tasks({"1.1": "echo a > a"})
    github.inject(Fault(403, "no", method="POST", path="/pulls", times=100))
    with Serving(hosted, ["--root", hosted.root, "--root", hosted.plans]) as server:
        run = server.start(plan, publish=True)

        status = server.wait(run)

        assert status["status"] == "complete"
        assert "could not be published" in status["publishing"]


def test_run_that_no_worker_can_start_reports_why(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": "true"}), publish=True)

    status = server.wait(run)

    assert (status["status"], status["run_status"]) == ("failed", "pending")
    assert "GitHub" in status["error"] or "remote" in status["error"], status["error"]
    assert "\n" not in status["error"]


def test_failure_of_the_publish_action_is_reported(project: Project, server: Serving) -> None:
    run = server.start(project.tasks({"1.1": "echo a > a"}))
    server.wait(run)

    assert server.post(f"/{run}/publish").json()["execution_id"] == run

    wait_for(lambda: server.status(run)["publishing"] != "publishing")
    assert "remote" in server.status(run)["publishing"] or "GitHub" in server.status(run)["publishing"]
    assert server.status(run)["status"] == "complete"


def test_concurrent_runs_share_only_the_repository(project: Project, server: Serving) -> None:
    plans = [
        project.tasks({"1.1": f"{gate()}echo {n} > {n}.txt"}, f"{n}.md", title=f"Plan {n}") for n in range(3)
    ]

    runs = [server.start(plan) for plan in plans]

    wait_for(lambda: all(server.tasks(run)["1.1"]["status"] == "in_progress" for run in runs))
    assert len({server.tasks(run)["1.1"]["worktree"] for run in runs}) == 3
    (project.shared / "go").touch()
    for number, run in enumerate(runs):
        server.wait(run, "complete")
        assert server.tasks(run)["1.1"]["files"] == [f"{number}.txt"]


@pytest.mark.parametrize(
    ("requested", "status", "content", "content_range"),
    [
        (None, 200, slice(None), None),
        ("bytes=0-3", 206, slice(0, 4), "bytes 0-3/{size}"),
        ("bytes=5-", 206, slice(5, None), "bytes 5-{last}/{size}"),
        ("bytes=-4", 206, slice(-4, None), "bytes {tail}-{last}/{size}"),
        ("bytes=0-99999999", 206, slice(None), "bytes 0-{last}/{size}"),
        ("bytes=-99999999", 206, slice(None), "bytes 0-{last}/{size}"),
        ("bytes=99999999-", 416, None, "bytes */{size}"),
        ("bytes=-0", 416, None, "bytes */{size}"),
        ("bytes=3-1", 200, slice(None), None),
        ("bytes=0-1,4-5", 200, slice(None), None),
        ("bytes=-", 200, slice(None), None),
        ("lines=0-1", 200, slice(None), None),
        ("bytes=a-b", 200, slice(None), None),
    ],
)
def test_range_of_a_log(
    ended: tuple[Serving, str, bytes],
    requested: str | None,
    status: int,
    content: slice | None,
    content_range: str | None,
) -> None:
    server, run, log = ended
    headers = {"Range": requested} if requested else {}

    response = server.get(f"/{run}/tasks/1.1/log", status, headers=headers)

    size = len(log)
    expected = content_range and content_range.format(size=size, last=size - 1, tail=size - 4)
    assert response.headers.get("content-range") == expected
    if content is not None:
        assert response.content == log[content]
        assert response.headers["accept-ranges"] == "bytes"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, str, bytes]]:
    """A server with an ended run, and the log of its task, with all kinds of bytes."""
    directory = tmp_path_factory.mktemp("ended")
    project = Project(make_repository(User.at(directory / "user"), directory / "repo", {"a": "a"}))
    plan = project.tasks(
        {"1.1": "printf 'gr\\303\\266\\303\\237e\\r\\377\\000 end'; echo b > b", "1.2": "true"}
    )
    with Serving(project, ["--root", project.root, "--root", project.plans]) as server:
        run = server.start(plan)
        server.wait(run)
        log = (project.state / "runs" / run / "1.1.log").read_bytes()
        assert "größe\r".encode() in log
        yield server, run, log


def test_diff_equals_that_of_the_command_line(ended: tuple[Serving, str, bytes]) -> None:
    server, run, _ = ended
    diff = server.get(f"/{run}/tasks/1.1/diff")
    assert diff.headers["content-type"] == "text/x-diff; charset=utf-8"
    assert diff.text == server.project.call("diff", run, "1.1").out
    assert "+b" in diff.text
    assert "patch" in server.get(f"/{run}/tasks/1.2/diff", 404).json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/20200101-000000-0000/status",
        "/20200101-000000-0000/batches",
        "/20200101-000000-0000/events",
        "/20200101-000000-0000/tasks/1.1",
        "/20200101-000000-0000/tasks/1.1/log",
        "/20200101-000000-0000/tasks/1.1/log/follow",
        "/20200101-000000-0000/tasks/1.1/diff",
        "/{run}/tasks/9.9",
        "/{run}/tasks/9.9/log",
        "/{run}/tasks/9.9/log/follow",
        "/{run}/tasks/9.9/diff",
        "/{run}/tasks/1.1/log?attempt=9",
        "/{run}/tasks/1.1/diff?attempt=9",
        "/{run}/nothing",
        "/nothing/at/all",
    ],
)
def test_missing_resource_is_404(ended: tuple[Serving, str, bytes], path: str) -> None:
    server, run, _ = ended
    server.get(path.format(run=run), 404)


@pytest.mark.parametrize("action", ["cancel", "pause", "resume", "retry", "publish"])
def test_action_on_a_missing_run_is_404(ended: tuple[Serving, str, bytes], action: str) -> None:
    server, _, _ = ended
    server.post(f"/20200101-000000-0000/{action}", 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"plan.md"',
        b"[" * 100_000,
        b"\xff",
        b'{"plan_path": 1}',
        b'{"plan_path": null}',
        b'{"plan_path": ""}',
        b'{"plan_path": "plan.md", "unknown": 1}',
        b'{"plan_path": "plan.md", "start_batch": "1"}',
        b'{"plan_path": "plan.md", "start_batch": -1}',
        b'{"plan_path": "plan.md", "start_batch": 1e400}',
        b'{"plan_path": "plan.md", "end_batch": 99999999999999999999}',
        b'{"plan_path": "plan.md", "execution_mode": "magic"}',
        b'{"plan_path": "plan.md", "pool_size": 0}',
        b'{"plan_path": "plan.md", "pool_size": true}',
        b'{"plan_path": "plan.md", "auto_merge": 1}',
        b'{"plan_path": "plan.md", "tasks": "1.1"}',
        b'{"plan_path": "plan.md", "tasks": ["; rm"]}',
        b'{"plan_path": "a\\u0000b"}',
        b'{"plan_path": "a\\ud800b"}',
        b'{"plan_path": "-"}',
        b'{"plan_path": "no/such/plan.md"}',
        b'{"plan_path": "."}',
        b'{"plan_path": "README.md", "repo": "src/nothing"}',
        b'{"plan_path": "plan.md", "base": "--help"}',
        b'{"plan_path": "plan.md", "base": "no-such-branch"}',
        b'{"plan_path": "plan.md", "agent": "no-such-agent-here"}',
        b'{"plan_path": "plan.md", "agent": "\\u0000"}',
        b'{"plan_path": "plan.md", "start_batch": 7}',
        b'{"plan_path": "plan.md", "start_batch": 2, "end_batch": 1}',
        b'{"plan_path": "plan.md", "tasks": ["9.9"]}',
        b'{"plan_path": "' + b"0" * 4000 + b'"}',
        b'{"plan_path": "plan.md", "repo": "' + b"0" * 4000 + b'"}',
        b'{"plan_path": "plan.md/x"}',
        b'{"plan_path": "plan.md", "repo": "plan.md"}',
        b'{"plan_path": "plan.md", "base": "' + b"0" * 4000 + b'"}',
    ],
    ids=lambda body: body[:60].decode("latin-1"),
)
def test_invalid_start_is_reported(ended: tuple[Serving, str, bytes], body: bytes) -> None:
    server, _, _ = ended
    (server.project.root / "plan.md").write_text(
        "# P\n### Task 1.1: A\n**Implementation:** Do it.\n", encoding="utf-8"
    )

    response = server.client.post(f"{API}/start", content=body, headers={"content-type": "application/json"})

    assert response.status_code in {400, 422}, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../outside.md", "{plans}/../outside.md", "link.md", "dir/x.md"]
)
def test_plan_and_repository_outside_of_the_roots_are_refused(
    ended: tuple[Serving, str, bytes], path: str, tmp_path: Path
) -> None:
    server, _, _ = ended
    root = server.project.root
    (root.parent / "outside.md").write_text("# P\n### Task 1.1: A\n**Run:**\n- `true`\n", encoding="utf-8")
    (tmp_path / "x.md").write_text("# P\n", encoding="utf-8")
    for link, target in ((root / "link.md", root.parent / "outside.md"), (root / "dir", tmp_path)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    path = path.format(plans=server.project.plans)

    outside = server.post("/start", 403, json={"plan_path": path}).json()
    repository = server.post("/start", 403, json={"plan_path": "plan.md", "repo": path}).json()

    assert "outside of" in outside["detail"]
    assert "outside of" in repository["detail"]
    assert (tmp_path / "x.md").exists()


@pytest.mark.parametrize("kind", ["link", "worktree"])
def test_repository_with_a_git_directory_outside_of_the_roots_is_refused(
    ended: tuple[Serving, str, bytes], kind: str, tmp_path: Path
) -> None:
    server, _, _ = ended
    other = make_repository(User.at(tmp_path / "user"), tmp_path / "other", {"a": "a"})
    inside = server.project.root / f"inside-{kind}"
    if kind == "link":
        inside.mkdir()
        (inside / ".git").symlink_to(other.path / ".git")
    else:
        other.git("worktree", "add", "--quiet", inside)

    refused = server.post("/start", 403, json={"plan_path": "plan.md", "repo": inside.name}).json()

    assert "outside of" in refused["detail"]


def test_plan_must_be_a_file_of_limited_size(ended: tuple[Serving, str, bytes]) -> None:
    server, _, _ = ended
    pipe, long = server.project.plans / "pipe.md", server.project.plans / "long.md"
    os.mkfifo(pipe)
    with long.open("wb") as file:
        file.truncate(5 * 1024 * 1024)

    assert "not a file" in server.post("/start", 422, json={"plan_path": str(pipe)}).json()["detail"]
    assert "longer" in server.post("/start", 422, json={"plan_path": str(long)}).json()["detail"]


def test_too_large_body_is_refused(ended: tuple[Serving, str, bytes]) -> None:
    server, _, _ = ended
    response = server.client.post(f"{API}/start", content=b"x" * 2_000_000)
    assert response.status_code == 413


def test_cross_site_requests_are_refused(ended: tuple[Serving, str, bytes]) -> None:
    server, run, _ = ended
    evil = {"Origin": "http://evil.example"}
    server.post("/start", 403, json={"plan_path": "plan.md"}, headers=evil)
    server.post("/start", 403, json={"plan_path": "plan.md"}, headers={"Host": "evil.example"})
    server.get(f"/{run}/events", 403, headers=evil)
    port = server.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"[::1]:{port}"):
        server.get(f"/{run}/status", headers={"Host": host, "Origin": f"http://{host}"})


def test_unsupported_method_is_405_with_the_allowed_ones(ended: tuple[Serving, str, bytes]) -> None:
    server, run, _ = ended
    response = server.client.delete(f"{API}/{run}/status")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.headers["content-type"] == "application/problem+json"


def test_documentation_loads_nothing_from_other_hosts(ended: tuple[Serving, str, bytes]) -> None:
    server, _, _ = ended
    page = server.client.get("/docs")
    assert page.status_code == 200
    assert re.findall(r"https?://|//[a-z]", page.text) == []
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    for name in (name for name in names if not name.startswith("data:")):
        found = server.client.get(f"/{name}")
        assert found.status_code == 200, name
        assert len(found.content) > 50
    assert server.client.get("/docs/../../pyproject.toml").status_code == 404
    assert server.client.get("/docs/other.js").status_code == 404


def test_openapi_has_every_path_and_errors_are_problems(ended: tuple[Serving, str, bytes]) -> None:
    server, _, _ = ended
    openapi = server.client.get("/openapi.json").json()
    expected = {
        *("start", "{execution_id}/status", "{execution_id}/batches", "{execution_id}/events"),
        *("{execution_id}/conflicts", "{execution_id}/publish/preview"),
        *(f"{{execution_id}}/{action}" for action in ("cancel", "pause", "resume", "retry", "publish")),
        *(f"{{execution_id}}/tasks/{{number}}{part}" for part in ("", "/log", "/log/follow", "/diff")),
    }
    assert set(openapi["paths"]) == {"/health", API, *(f"{API}/{path}" for path in expected)}
    refusals = [
        response
        for item in openapi["paths"].values()
        for operation in item.values()
        for status, response in operation["responses"].items()
        if status >= "400"
    ]
    assert {json.dumps(list(response["content"])) for response in refusals} == {'["application/problem+json"]'}
    assert "HTTPValidationError" not in json.dumps(openapi)


def test_connection_that_sends_garbage_is_closed(ended: tuple[Serving, str, bytes]) -> None:
    server, _, _ = ended
    host, port = server.url.removeprefix("http://").split(":")
    for garbage in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET\r\n\r\n" * 10,
    ):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(garbage)
            assert b" 200 " not in connection.recv(65536)
    assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200


@pytest.mark.parametrize("path", ["/status", "/batches", "/tasks/1.1"])
def test_damaged_run_is_reported_with_its_id(project: Project, server: Serving, path: str) -> None:
    run = project.run(project.tasks({"1.1": "echo a > a"})).run
    with closing(sqlite3.connect(project.state / "patchyard.db")) as connection, connection:
        connection.execute("UPDATE tasks SET status = 'garbage'")
        connection.execute("UPDATE runs SET settings = 'garbage'")

    answer = server.get(f"/{run}{path}", status=500)

    assert answer.json()["detail"].startswith(f"run {run} is damaged in the database (table ")

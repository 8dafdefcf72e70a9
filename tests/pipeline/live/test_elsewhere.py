"""A run of another process: `attach`, `status --watch` and `status`."""

import re

import pytest
from emulator import Emulator
from project import Project, Started, wait_for
from served import Serving

SCRIPTS = {
    "1.1": "echo 'no such symbol'; exit 3",
    "1.2": """
echo "a line of output"
touch b "$SHARED/in"
while [ ! -e "$SHARED/go" ]; do sleep 0.01; done
""",
    "2.1": "touch c",
}


def running(project: Project) -> Started:
    """Start a run whose second task waits for `$SHARED/go`."""
    started = project.start("run", project.tasks(SCRIPTS), "--keep-going", "--json")
    wait_for((project.shared / "in").exists, "the task")
    wait_for(lambda: "1 failed" in project.call("status").out, "the first task")
    return started


@pytest.mark.parametrize(
    ("command", "code"), [(["attach"], 1), (["attach", "latest"], 1), (["status", "--watch"], 0)]
)
def test_the_live_table_of_a_run_of_another_process(project: Project, command: list[str], code: int) -> None:
    with running(project) as started, Emulator(project, *command, columns=110) as terminal:
        terminal.wait_for(r"wt-\d +1\.2 +Do 1\.2 .* a line of output")
        terminal.wait_for(r"failed  1\.1 .* no such symbol\n0 of 3 tasks done, 1 failed, 1 running, \d+ s")
        (project.shared / "go").touch()
        assert terminal.exit_code() == code
        started.done().expect(1)

    shown = terminal.everything
    assert "running," not in shown
    assert re.search(r"wt-\d 1\.2 changed in .*: 1 file", shown)
    assert "failed: 2 changed, 1 failed (1.1)" in shown


def test_ctrl_c_leaves_the_run_alone(project: Project) -> None:
    with running(project) as started, Emulator(project, "attach") as terminal:
        terminal.wait_for("a line of output")
        terminal.type(b"\x03")
        assert terminal.exit_code() == 130
        (project.shared / "go").touch()
        done = started.done().expect(1)

    said = terminal.everything.replace("\n", "")
    assert f"run {done.run} continues; `patchyard cancel {done.run}` ends it" in said
    assert "running," not in terminal.everything
    assert done.statuses == {"1.1": "failed", "1.2": "changed", "2.1": "changed"}


def test_status_shows_what_runs_and_what_waits(project: Project) -> None:
    with running(project) as started:
        said = project.call("status").expect(0).out
        (found,) = project.call("status", "--json").expect(0).records
        (project.shared / "go").touch()
        started.done().expect(1)
    events = project.call("attach", "--json").expect(1)
    lines = project.call("attach").expect(1).out

    assert re.search(r"^run \S+: Demo: running for \d+s, base", said)
    rows = re.findall(r"^(\d\.\d) +Do \1 +(\w+)", said, re.MULTILINE)
    assert rows == [("1.1", "failed"), ("1.2", "running"), ("2.1", "pending")]
    assert "running: 1 failed (1.1), 1 running, 1 pending" in said
    assert [(task["task"], task["status"]) for task in found["open"]] == rows[1:]
    assert found["open"][0]["worktree"].startswith("wt-")
    assert [record["event"] for record in events.records][0 :: len(events.records) - 1] == [
        "run_started",
        "run_finished",
    ]
    assert "failed: 2 changed, 1 failed (1.1)" in lines


def test_a_run_whose_process_dies_ends_the_watch(project: Project) -> None:
    with running(project) as started, Emulator(project, "attach") as terminal:
        terminal.wait_for("a line of output")
        started.process.kill()
        code = terminal.exit_code()
    (project.shared / "go").touch()

    assert code == 130
    assert "interrupted: 1 failed (1.1), 1 interrupted, 1 pending" in terminal.everything


def test_a_run_of_the_server_is_shown_with_its_pauses(project: Project) -> None:
    plan = project.tasks({"1.1": SCRIPTS["1.2"], "2.1": "touch c"})
    with Serving(project, ["--root", project.root, "--root", project.plans]) as server:
        run = server.start(plan)
        with Emulator(project, "attach", run, columns=110) as terminal:
            terminal.wait_for("1.1 .* a line of output")
            server.post(f"/{run}/pause")
            terminal.wait_for("the run is paused: running tasks finish, and no others start")
            (project.shared / "go").touch()
            terminal.wait_for(r"1 of 2 tasks done, \d")
            server.post(f"/{run}/resume")
            assert terminal.exit_code() == 0

    assert "the run continues" in terminal.everything
    assert "succeeded: 2 changed" in terminal.everything

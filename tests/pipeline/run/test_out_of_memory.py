"""A task that was out of memory says so, wherever its end is shown."""

import os
import signal
from pathlib import Path

import control_groups
import pytest
from project import Project

pytestmark = [pytest.mark.cgroups, pytest.mark.timeout(900)]
TAKE = "python3 -c 'bytearray(400_000_000)'"


@pytest.fixture(autouse=True)
def _groups(project: Project) -> None:
    control_groups.require_groups()
    project.configure('[limits]\nmemory = "200MB"\nprocesses = 500\nfiles = "1GB"\n')
    for name in ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"):
        if name in os.environ:
            project.environ[name] = os.environ[name]


def test_failure_names_it(project: Project) -> None:
    done = project.run(project.tasks({"1.1": TAKE, "1.2": "echo small > small.txt"}), "--keep-going").expect(1)
    (started,) = done.events("run_started")
    assert started["limits"] == {
        "memory": "control group",
        "processes": "control group",
        "files": "resource limit",
    }
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}
    outcome = done.outcome("1.1")
    assert (outcome["exit_code"], "was killed: out of memory (limit 200 MB)" in str(outcome["error"])) == (
        137,
        True,
    )
    assert "[out of memory (limit 200 MB), exit code 137" in project.log(done.run, "1.1")
    assert "out of memory (limit 200 MB)" in project.call("report", done.run).out
    assert (
        "memory, processes by control group; files by resource limit" in project.call("doctor", "--offline").out
    )


def test_killed_program_leaves_nothing(project: Project) -> None:
    plan = project.tasks({"1.1": "cat /proc/self/cgroup > $SHARED/group; echo $$ > $SHARED/pid; sleep 600"})
    with project.start("run", plan, "--json") as started:
        control_groups.wait_for_file(project.shared / "pid")
        started.signal(signal.SIGKILL)
    group = (project.shared / "group").read_text().strip().removeprefix("0::")
    assert "patchyard-tasks-" in group
    control_groups.wait_until_gone(
        Path(f"/sys/fs/cgroup{group}"), control_groups.process_in(project.shared / "pid")
    )


def test_dry_run_says_by_what_limits_hold(project: Project) -> None:
    shown = project.call("run", project.tasks({"1.1": "true"}), "--dry-run").expect(0).out
    assert "limits: memory, processes by control group; files by resource limit" in shown

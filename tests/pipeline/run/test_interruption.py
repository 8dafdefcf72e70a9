"""Ctrl-C, TERM and timeouts: no process is left running, and no result is lost."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from threading import Event

import pytest
from project import PATIENCE, Done, Project, Started, meet, runs, wait_for
from stand_in_engine import StandIn, command_line

from containers.dagger_engine.session import CLI, HOST
from pipeline.run.execute import SAME_SIGNAL

TREE = """
echo $$ >> "$SHARED/pids"
echo half > half.txt
sh -c 'echo $$ >> "$SHARED/pids"; sleep 60 & echo $! >> "$SHARED/pids"; wait' &
sh -c 'trap "" TERM; echo $$ >> "$SHARED/pids"; sleep 60 & echo $! >> "$SHARED/pids"; wait' &
while [ "$(wc -l < "$SHARED/pids")" -lt 5 ]; do sleep 0.01; done
touch "$SHARED/$PATCHYARD_TASK.ready"
wait
"""
"""A script that starts processes below it, one of which does not mind TERM."""
SHORT_GRACE = {"PATCHYARD_GRACE": "0.2s"}


def pids(project: Project, name: str = "pids") -> list[int]:
    """Return the processes that the tasks have reported."""
    return [int(word) for word in (project.shared / name).read_text().split()]


def interrupted(project: Project, *options: str, number: int = signal.SIGINT) -> Started:
    """Start a run of two tasks that do not end, in batch 1 of 2, and interrupt it."""
    plan = project.tasks({"1.1": TREE, "1.2": TREE, "1.3": "echo done > done.txt", "2.1": "touch never"})
    started = project.start("run", plan, *options, environ=SHORT_GRACE)
    wait_for(
        lambda: (project.shared / "1.1.ready").exists() and (project.shared / "1.2.ready").exists(), "both"
    )
    wait_for(lambda: "patchyard/demo/1.3" in project.branches(), "the third task")
    wait_for(lambda: len(pids(project)) >= 10, "all processes")
    started.signal(number)
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_process_tree_and_keeps_patches(project: Project, number: int) -> None:
    with interrupted(project, "--json", number=number) as started:
        done = started.done().expect(130)

    assert runs(pids(project)) == []
    assert done.err == ""
    assert done.finished["status"] == "cancelled"
    assert done.statuses == {"1.1": "cancelled", "1.2": "cancelled", "1.3": "changed", "2.1": "cancelled"}
    assert done.outcome("1.1")["files"] == ["half.txt"]
    assert done.outcome("1.1")["branch"] is None
    assert done.outcome("1.1")["error"].startswith("the run was cancelled")
    assert done.outcome("2.1")["worktree"] is None
    assert [record["task"] for record in done.events("task_started")].count("2.1") == 0
    assert set(project.branches()) == {"main", "patchyard/demo/1.3"}
    assert "+half" in project.call("diff", done.run, "1.2").expect(0).out
    (status,) = project.call("status", "--json").expect(0).records
    assert status["status"] == "cancelled"
    assert [task["status"] for task in status["tasks"]] == ["cancelled", "cancelled", "changed", "cancelled"]


def test_text_after_ctrl_c_names_outcomes(project: Project) -> None:
    with interrupted(project) as started:
        done = started.done().expect(130)

    assert "cancelled: the running tasks are being ended, their patches are kept; a second Ctrl-C" in done.out
    assert "cancelled: 1 changed, 3 cancelled, in " in done.out
    assert re.search(r"  patchyard resume \S+ +runs what is left", done.out)
    assert re.search(r"^1 of 4 tasks done in \d+\.\d s", done.out.splitlines()[-1])
    assert done.out.count("cancelled") >= 3


STUBBORN = """
trap "" TERM
setsid sh -c 'trap "" TERM; echo $$ >> "$SHARED/pids"; while :; do sleep 1; done' &
echo half > half.txt
echo $$ >> "$SHARED/pids"
touch "$SHARED/ready"
while :; do sleep 1; done
"""


def test_second_ctrl_c_ends_the_tasks_at_once(project: Project) -> None:
    project.configure('[worktree]\nteardown = ["touch $SHARED/torn"]\n')
    plan = project.tasks({"1.1": STUBBORN})

    with project.start("run", plan, "--json", environ={"PATCHYARD_GRACE": "10m"}) as started:
        wait_for((project.shared / "ready").exists)
        wait_for(lambda: len(pids(project)) == 2, "both")
        started.signal(signal.SIGINT)
        time.sleep(SAME_SIGNAL + 0.1)
        started.signal(signal.SIGINT)
        done = started.done().expect(130)

    assert done.outcome("1.1")["files"] == ["half.txt"]
    assert [record["message"] for record in done.events("notice")] == [
        (
            "cancelled: the running tasks are being ended, their patches are kept; "
            "a second Ctrl-C ends them at once"
        ),
        "the running tasks are ended at once, their patches are kept",
        "teardown of task 1.1: its commands did not run, since the run was ended at once",
    ]
    assert not (project.shared / "torn").exists()
    assert runs(pids(project)) == []


def test_a_signal_that_is_passed_on_is_the_same_one(project: Project) -> None:
    with interrupted(project, "--json") as started:
        os.kill(started.process.pid, signal.SIGINT)
        done = started.done().expect(130)

    assert done.outcome("1.1")["files"] == ["half.txt"]
    assert runs(pids(project)) == []


def test_ctrl_c_of_whole_process_group_is_handled(project: Project) -> None:
    plan = project.tasks({"1.1": TREE})
    with project.start("run", plan, "--json", environ=SHORT_GRACE) as started:
        wait_for((project.shared / "1.1.ready").exists)
        os.killpg(started.process.pid, signal.SIGINT)
        done = started.done().expect(130)

    assert done.outcome("1.1")["files"] == ["half.txt"]
    assert runs(pids(project)) == []


def test_ignored_signals_stay_ignored(project: Project) -> None:
    plan = project.tasks({"1.1": 'touch "$SHARED/in"; while [ ! -e "$SHARED/go" ]; do sleep 0.01; done'})
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        started = project.start("run", plan, "--json", preloaded=False)
    finally:
        signal.signal(signal.SIGHUP, before)
    with started:
        wait_for((project.shared / "in").exists)
        started.signal(signal.SIGHUP)
        (project.shared / "go").touch()
        done = started.done().expect(0)

    assert done.finished["status"] == "succeeded"


def test_timeout_ends_process_tree_and_keeps_patch(project: Project) -> None:
    plan = project.tasks({"1.1": TREE, "1.2": meet(1) + "echo b > b"})

    done = project.call("run", plan, "--json", "--timeout", "1.5s", environ=SHORT_GRACE).expect(1)

    assert done.statuses == {"1.1": "timed_out", "1.2": "changed"}
    assert runs(pids(project)) == []
    assert done.outcome("1.1")["files"] == ["half.txt"]
    assert done.outcome("1.1")["error"].startswith("timed out after 1.5 s in run step 1 `echo $$ >>")
    assert "+half" in project.call("diff", done.run, "1.1").expect(0).out


def test_timeout_covers_all_steps_of_a_task(project: Project) -> None:
    plan = project.plan(
        """# Steps
### Task 1: Slow
**Timeout:** 1s
**Run:**
- `sleep 0.7`
- `sleep 0.7`
**Verification:**
- `true`
"""
    )

    done = project.run(plan).expect(1)

    assert done.statuses == {"1": "timed_out"}
    assert len(done.events("step_finished")) == 2


def test_background_processes_end_with_their_task(project: Project) -> None:
    plan = project.tasks({"1.1": 'sleep 60 & echo $! > "$SHARED/pids"; echo a > a'})

    done = project.call("run", plan, "--json", environ=SHORT_GRACE).expect(0)

    assert done.statuses == {"1.1": "changed"}
    assert runs(pids(project)) == []


def test_finished_step_is_stored_before_next_starts(project: Project) -> None:
    program = project.shared / "count.py"
    program.write_text(
        "import sqlite3, sys\n"
        "rows = sqlite3.connect(sys.argv[1]).execute('select count(*) from steps')\n"
        "print(rows.fetchone()[0])\n"
    )
    count = f"{sys.executable} {program} {project.state / 'patchyard.db'} >> $SHARED/steps"
    plan = project.plan(f"# Steps\n### Task 1: A\n**Run:**\n- `true`\n- `{count}`\n- `{count}`\n")

    project.run(plan).expect(0)

    assert (project.shared / "steps").read_text().split() == ["1", "2"]


def test_finished_task_survives_kill_of_run(project: Project) -> None:
    plan = project.tasks({"1.1": "echo a > a", "2.1": 'touch "$SHARED/in"; sleep 60'})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "in").exists)
        started.signal(signal.SIGKILL)
        started.process.wait()

    (status,) = project.call("status", "--json").expect(0).records

    assert status["status"] == "interrupted"
    assert [(task["task"], task["status"]) for task in status["tasks"]] == [("1.1", "changed")]
    report = project.call("report", "--format", "json").expect(0).out
    assert json.loads(report)["status"] == "interrupted"
    project.call("patches", status["run"], "--output", project.shared / "out").expect(0)
    assert json.loads((project.shared / "out" / "report.json").read_text())["status"] == "interrupted"
    assert "+a" in project.call("diff", status["run"], "1.1").expect(0).out
    project.run(project.tasks({"1.1": "true"}, "end.md")).expect(0)  # ends what was left


def test_interrupt_before_run_has_exit_code_130(project: Project, tmp_path: Path) -> None:
    pipe = tmp_path / "plan.md"
    os.mkfifo(pipe)
    with project.start("run", pipe, "--json") as started:
        descriptor = os.open(pipe, os.O_WRONLY)  # returns when the program reads the plan
        started.signal(signal.SIGTERM)
        done = started.done()
        os.close(descriptor)

    assert (done.code, done.out, done.err) == (130, "", "")


def silent_command_line(project: Project) -> Path:
    """Make a `dagger` command line that reaches nobody, and leaves its process's number."""
    path = project.shared / "dagger"
    path.write_text(f"#!/bin/sh\necho $$ > {project.shared}/pid\nexec sleep 1000\n")
    path.chmod(0o755)
    return path


def is_reported_as_cancelled(project: Project, done: Done) -> None:
    assert done.err == ""
    assert done.finished["status"] == "cancelled"
    assert done.statuses == {"1.1": "cancelled", "2.1": "cancelled"}
    assert done.outcome("1.1")["error"] == "it did not start: the run was cancelled"
    (status,) = project.call("status", "--json").expect(0).records
    assert status["status"] == "cancelled"


def test_interrupt_while_waiting_for_engine_ends_run(project: Project) -> None:
    environ = {CLI: str(silent_command_line(project)), HOST: "container://nobody"}
    plan = project.tasks({"1.1": "touch never", "2.1": "touch never"})
    with project.start("run", plan, "--json", "--mode", "dagger", environ=environ) as started:
        wait_for((project.shared / "pid").exists, "the session")
        wait_for((project.shared / "pid").read_text, "its number")
        started.signal(signal.SIGTERM)
        done = started.done().expect(130)
    assert runs(pids(project, "pid")) == []
    is_reported_as_cancelled(project, done)


def test_interrupt_while_resolving_digest_ends_run(project: Project) -> None:
    asked, over = Event(), Event()

    def wait(_: str) -> str:
        asked.set()
        over.wait(PATIENCE)
        return "image:1"

    with StandIn(answers={"imageRef": wait}) as engine:
        environ = {CLI: str(command_line(project.shared)), HOST: engine.address}
        plan = project.tasks({"1.1": "touch never", "2.1": "touch never"})
        with project.start("run", plan, "--json", "--mode", "dagger", environ=environ) as started:
            wait_for(asked.is_set, "the question")
            started.signal(signal.SIGINT)
            done = started.done().expect(130)
        over.set()
    is_reported_as_cancelled(project, done)


def is_bound(pid: int) -> bool:
    """Whether a process has asked for a signal when its input changes."""
    flags = Path(f"/proc/{pid}/fdinfo/0").read_text().partition("flags:")[2].split()[0]
    return bool(int(flags, 8) & os.O_ASYNC)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends it")
def test_kill_while_waiting_for_engine_leaves_no_session(project: Project) -> None:
    environ = {CLI: str(silent_command_line(project)), HOST: "container://nobody"}
    with project.start("run", project.tasks({"1.1": "true"}), "--mode", "dagger", environ=environ) as started:
        wait_for((project.shared / "pid").exists, "the session")
        wait_for((project.shared / "pid").read_text, "its number")
        wait_for(lambda: is_bound(*pids(project, "pid")), "its input")
        started.signal(signal.SIGKILL)
        started.process.wait()
    wait_for(lambda: not runs(pids(project, "pid")), "the end of the session")

"""Nothing of sandboxes is left when the program is killed, or after many tasks; a killed run is resumed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from project import PATIENCE, Project, wait_for
from sandboxes import ON

MOMENTS = int(os.environ.get("PATCHYARD_TEST_SANDBOX_KILLS", "6"))
MANY = int(os.environ.get("PATCHYARD_TEST_SANDBOX_TASKS", "24"))
SCRIPT = """
echo $PATCHYARD_TASK > $PATCHYARD_TASK.txt; echo x > ~/made; echo x > /tmp/made
(setsid sleep 600 &); sleep 0.1
"""
TASKS = [f"{batch}.{number}" for batch in (1, 2) for number in range(1, 5)]


def _mounts(project: Project) -> list[str]:
    """Return the mounts of this machine that are at a directory of the project, or show one."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(project.root.parent) in line]


def _files(project: Project) -> list[Path]:
    """Return what a sandbox makes on the disk, wherever a run keeps it."""
    places = (project.state, project.worktrees)
    return [path for place in places for path in place.rglob("*.patchyard") if path.is_dir()]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _seconds(project: Project) -> float:
    """Run the tasks, and return how long that takes."""
    plan = project.tasks(dict.fromkeys(TASKS, SCRIPT))
    began = time.monotonic()
    project.run(plan, "--no-cache", environ=ON).expect()
    return time.monotonic() - began


def _kill_after(project: Project, seconds: float, *arguments: str | Path) -> bool:
    """Start the program, and kill it alone, without its processes; return whether it had not ended before."""
    environ = {**ON, "PATCHYARD_NO_CACHE": "1"}
    with project.start(*map(str, arguments), "--json", environ=environ) as started:
        try:
            started.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        started.signal(signal.SIGSTOP)  # so that none of its processes is missed
        below = psutil.Process(started.process.pid).children(recursive=True)
        started.signal(signal.SIGKILL)
        started.process.wait(PATIENCE)
        wait_for(
            lambda: not [one for one in below if _is_alive(one)], "the end of all processes of the sandboxes"
        )
    return True


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_left_of_sandboxes_when_the_program_is_killed_at_any_moment(sandboxed: Project) -> None:
    whole = min(_seconds(sandboxed) for _ in range(3))  # the first may load modules while much else starts
    killed = 0
    for number in range(MOMENTS):
        plan = sandboxed.tasks(dict.fromkeys(TASKS, SCRIPT), title=f"Kill {number}")
        before = {record["run"] for record in sandboxed.call("runs", "--json").expect().records}
        killed += _kill_after(sandboxed, whole * (number + 0.5) / MOMENTS, "run", plan)
        assert _mounts(sandboxed) == []
        new = [
            run["run"] for run in sandboxed.call("runs", "--json").expect().records if run["run"] not in before
        ]
        done = (
            sandboxed.call("resume", new[0], "--json", environ=ON) if new else sandboxed.run(plan, environ=ON)
        )
        if "is complete" not in done.err:
            assert set(done.expect().statuses.values()) == {"changed"}
        for task in TASKS:
            assert sandboxed.show(f"patchyard/kill-{number}/{task}:{task}.txt") == task
        assert _files(sandboxed) == []
    assert killed


@pytest.mark.timeout(300)
def test_nothing_is_left_of_many_sandboxes(sandboxed: Project) -> None:
    """With `PATCHYARD_TEST_SANDBOX_TASKS=200`, as many as in the benchmark."""
    names = [str(number) for number in range(1, MANY + 1)]
    plan = sandboxed.tasks(dict.fromkeys(names, SCRIPT))
    below: dict[int, psutil.Process] = {}
    with sandboxed.start("run", plan, "--no-cache", "--json", "--pool-size", "8", environ=ON) as started:
        program = psutil.Process(started.process.pid)
        for line in started.process.stdout or ():
            if '"step_finished"' in line:
                below |= {one.pid: one for one in program.children(recursive=True)}
        assert started.process.wait(PATIENCE) == 0
    assert len(below) >= len(names)
    assert [one for one in below.values() if _is_alive(one)] == []
    assert _mounts(sandboxed) == []
    assert _files(sandboxed) == []

"""Limits of a task as a whole, by control groups of the kernel."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import control_groups
import pytest
import sandboxes
from runner_contract import Place

from containers.limits.groups import RunGroups, open_groups
from containers.limits.limits import Limits
from containers.local import LocalRunner
from containers.sandbox.policy import Policy
from containers.sandbox.sandbox import Sandbox
from containers.worktrees.worktree import Worktree
from tasks.outcome import StepResult

pytestmark = [pytest.mark.anyio, pytest.mark.cgroups, pytest.mark.timeout(600)]
TAKE = "python3 -c 'bytearray({size}); print(\"had it\")'"
MEMORY = Limits(memory=200_000_000)


@pytest.fixture(autouse=True, scope="module")
def _groups() -> None:
    control_groups.require_groups()


@pytest.fixture
def place(user_environ: Mapping[str, str], bare_worktree: Worktree, tmp_path: Path) -> Place:
    return Place(LocalRunner(user_environ), bare_worktree, tmp_path / "run")


@contextmanager
def opened(limits: Limits) -> Iterator[RunGroups]:
    with open_groups(limits, os.environ) as groups:
        assert isinstance(groups, RunGroups), groups
        yield groups


async def run(
    limits: Limits,
    place: Place,
    *scripts: str,
    sandbox: Sandbox | None = None,
    groups: RunGroups | None = None,
) -> tuple[tuple[StepResult, ...], str]:
    """Run steps; return their results and the log."""
    if groups is None:
        with opened(limits) as made:
            return await run(limits, place, *scripts, sandbox=sandbox, groups=made)
    limited = replace(place, runner=LocalRunner(os.environ, sandbox, limits, groups))
    results = await limited.run(replace(limited.job(*scripts), timeout=300))
    return results, limited.log


async def test_task_that_takes_too_much_memory_is_out_of_memory(place: Place) -> None:
    results, log = await run(MEMORY, place, TAKE.format(size=10_000_000), TAKE.format(size=400_000_000))
    assert results[0].ok
    assert results[0].out_of_memory is None
    assert (results[1].exit_code, results[1].out_of_memory) == (137, "out of memory (limit 200 MB)")
    assert not results[1].ok
    assert "[out of memory (limit 200 MB), exit code 137, " in log
    assert log.count("\nhad it\n") == 1


async def test_memory_is_that_of_all_processes_together(place: Place) -> None:
    """Each of them takes less than the limit. All are killed, also those that took little."""
    one = "python3 -c 'import time; x = bytearray(b\"x\" * 60_000_000); time.sleep(60)' & "
    results, _ = await run(MEMORY, place, f"sleep 60 & {one}{one}{one}{one}wait; echo survived")
    assert results[-1].out_of_memory == "out of memory (limit 200 MB)"
    assert results[-1].seconds < 60


async def test_memory_of_others_is_not_the_task_s(place: Place) -> None:
    limits = Limits(memory=1_000_000_000)
    with opened(limits) as groups:
        (groups.path / "memory.max").write_text("100000000")
        (groups.path / "memory.swap.max").write_text("0")
        results, _ = await run(limits, place, TAKE.format(size=400_000_000), groups=groups)
    assert results[-1].out_of_memory == "out of memory (the machine had none left)"


async def test_processes_are_those_of_the_task(place: Place) -> None:
    """Also of root. What its other tasks have does not count."""
    limits = Limits(processes=20)
    results, log = await run(limits, place, "for n in $(seq 10); do sleep 1 & done; wait; echo fine")
    assert results[-1].ok, log
    results, log = await run(limits, place, "for n in $(seq 40); do sleep 1 & done; wait")
    assert not results[-1].ok
    assert "fork" in log.lower()


async def test_processors_and_files(place: Place) -> None:
    script = "cat /sys/fs/cgroup/$(cut -d: -f3 /proc/self/cgroup)/cpu.max; grep 'Max file' /proc/self/limits"
    _, log = await run(Limits(cpus=2, files=1_000_000), place, script)
    assert "\n200000 100000\n" in log
    assert " 1000000 " in log


async def test_nothing_is_left_of_a_task(place: Place, tmp_path: Path) -> None:
    """Its group is removed, and with it processes that nothing else finds."""
    noted = tmp_path / "pid"
    with opened(Limits(processes=1000)) as groups:
        hidden = f"prlimit --rttime=unlimited env -i setsid -f sh -c 'echo $$ > {noted}; exec sleep 600'"
        script = f"{hidden} > /dev/null 2>&1; until test -s {noted}; do sleep 0.1; done"
        results, log = await run(Limits(processes=1000), place, script, groups=groups)
        assert results[-1].ok, log
        assert not [path for path in groups.path.iterdir() if path.is_dir()]
    control_groups.wait_until_gone(groups.path, control_groups.process_in(noted))


async def test_limits_hold_in_the_sandbox(place: Place, tmp_path: Path) -> None:
    program = sandboxes.require_sandbox()
    sandbox = Sandbox(program, Policy(), tmp_path / "checkout", tmp_path / "common", None)
    with closing(sandbox):
        results, log = await run(
            Limits(memory=200_000_000, processes=50),
            place,
            "! (echo 0 > /sys/fs/cgroup/cgroup.procs) 2> /dev/null",
            TAKE.format(size=400_000_000),
            sandbox=sandbox,
        )
    assert results[0].ok, log
    assert results[-1].out_of_memory == "out of memory (limit 200 MB)", log


async def test_task_that_runs_patchyard_gets_none(place: Place) -> None:
    root = Path(__file__).parents[3]
    script = f"cd {root} && {sys.executable} -m containers.limits.trial '[1, 100000000, 100, null]'"
    results, log = await run(Limits(processes=100), place, script)
    assert results[-1].ok, log
    assert '[[], "this is itself a task of patchyard"]' in log


def test_killed_program_leaves_no_group_and_no_process() -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "from containers.limits.groups import open_groups\n"
        "from containers.limits.limits import Limits\n"
        "with open_groups(Limits(processes=100), os.environ) as groups, groups.task() as group:\n"
        "    child = subprocess.Popen(group.command(['sleep', '600']))\n"
        "    while not (group.path / 'cgroup.procs').read_text(): time.sleep(0.01)\n"
        "    print(groups.path, child.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = (sys.executable, "-c", script)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as program:
        assert program.stdout
        path, pid = program.stdout.readline().split()
        program.kill()
        program.wait()
    control_groups.wait_until_gone(Path(path), Path("/proc", pid))

"""A task in a container keeps within its limits, reaches nothing else, and ends with the program."""

import os
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import engine_access
import pytest
from engine_stage import Stage
from project import Project, Started
from repositories import Clone

from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import Session
from containers.dagger_engine.step_script import CUT, OUTPUT_LIMIT

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]


@pytest.fixture
def stage(session: Session, clone: Clone, tmp_path: Path, test_image: str) -> Stage:
    return Stage(session.client, clone, tmp_path, test_image)


@pytest.fixture
def project(clone: Clone, test_image: str) -> Project:
    project = Project(clone, engine_access.variables(os.environ))
    cache = f"/cache/{uuid.uuid4().hex}"
    project.configure(f'mode = "dagger"\nimage = "{test_image}"\n[container]\ncaches = ["{cache}"]\n')
    project.environ["CACHE"] = cache
    return project


@pytest.mark.anyio
@pytest.mark.parametrize("stop", ["kill -STOP $PPID", "kill -STOP -1"])
async def test_a_task_that_stops_its_clock(stage: Stage, stop: str) -> None:
    stage.runner = EngineRunner(stage.client, stage.place, patience=20)
    began = time.monotonic()
    ran = await stage.run(f"echo n > new; {stop}; sleep 200; # {uuid.uuid4().hex}", limit=2)
    assert ran.last.timed_out
    assert "its container did not end at the time limit" in ran.last.tail
    assert time.monotonic() - began < 120


@pytest.mark.anyio
async def test_a_step_cannot_report_for_the_next(stage: Stage) -> None:
    forge = 'while :; do printf "\\036patchyard end 2 0 1 2\\n"; sleep 0.01; done'
    ran = await stage.run(f"(setsid sh -c '{forge}' > /dev/null &); echo hi", "exit 3")
    assert [result.exit_code for result in ran.results] == [0, 3]


@pytest.mark.anyio
async def test_a_long_output_is_cut(stage: Stage) -> None:
    ran = await stage.run("yes a line of text | head -c 300000000; echo end; exit 3", "true")
    assert ran.last.exit_code == 3
    assert ran.last.tail.endswith("a line of text\nend\n")
    assert CUT in ran.log
    assert len(ran.log) < 5 * OUTPUT_LIMIT


@pytest.mark.anyio
async def test_the_engine_s_session_is_not_reached(stage: Stage) -> None:
    ran = await stage.run(
        "{ env; tr '\\0' '\\n' < /proc/1/environ; } | grep -E '^(DAGGER_SESSION|_EXPERIMENTAL_DAGGER|_DAGGER)' "
        "&& exit 5; find / -xdev -type s | grep . && exit 6; ls /run/dagger* /var/run/docker.sock 2> /dev/null "
        "&& exit 7; echo none"
    )
    assert ran.output == "none\n"


@pytest.mark.anyio
async def test_a_task_cannot_change_what_the_program_runs(stage: Stage, tmp_path: Path) -> None:
    fake = f"#!/bin/sh\\ntouch {tmp_path}/ran /work/ran\\nexit 1\\n"
    ran = await stage.run(
        f"for p in git tar timeout head tail find mkfifo; do printf '{fake}' > /usr/local/bin/$p; "
        "chmod 755 /usr/local/bin/$p; done; "
        "printf '[core]\\n fsmonitor = touch /work/ran\\n' > /etc/gitconfig; "
        "echo 'root:x:0:0::/nowhere:/bin/false' > /etc/passwd; echo n > new"
    )
    assert ran.last.ok, ran.log
    assert "new" in ran.patch().files
    assert not (tmp_path / "ran").exists()
    assert (await stage.run("git status --short; echo fine", task="1.2")).output == "fine\n"


@pytest.mark.anyio
async def test_caches_are_those_of_the_repository(
    stage: Stage, session: Session, make_repository: Callable[..., Clone], tmp_path: Path, test_image: str
) -> None:
    cache = f"/cache/{uuid.uuid4().hex}"
    stage.settings(caches=(cache,), repository="one")
    await stage.run(f"echo mine > {cache}/file")
    other = Stage(session.client, make_repository("other", {"f": "1\n"}), tmp_path / "other", test_image)
    other.settings(caches=(cache,), repository="two")
    assert (await other.run(f"ls -A {cache}; echo end")).output == "end\n"


def wait_for_beats(started: Started) -> None:
    """Wait until the task ends that waits for the other one's beats."""
    for line in started.process.stdout or ():
        if '"task_finished"' in line:
            return


@pytest.mark.parametrize("also", [False, True], ids=["the program", "the program and its session"])
def test_a_killed_program_s_containers_end(project: Project, *, also: bool) -> None:
    cache = project.environ["CACHE"]
    loop = f"trap '' INT TERM HUP; while :; do echo beat >> {cache}/beats; sleep 0.1; done"
    look = f"test -s {cache}/beats; a=$(wc -l < {cache}/beats); sleep 2; test $a = $(wc -l < {cache}/beats)"
    plan = project.tasks({"1.1": loop, "1.2": f"until test -s {cache}/beats; do sleep 0.1; done"})
    with project.start("run", plan, "--json") as started:
        wait_for_beats(started)
        children = Path(f"/proc/{started.process.pid}/task/{started.process.pid}/children").read_text().split()
        started.signal(signal.SIGKILL)
        for child in children if also else ():
            os.kill(int(child), signal.SIGKILL)
    time.sleep(5)
    project.run(project.tasks({"1.1": look}, "look.md")).expect(0)

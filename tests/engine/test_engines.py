"""A pool of two engine addresses, one of which is disconnected during a run."""

import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from engine_stage import Stage, script
from project import Project
from relay import Relay
from repositories import Clone

from containers.dagger_engine.address import EngineAddress
from containers.dagger_engine.engines import Engines
from containers.dagger_engine.session import HOST, Session
from containers.runner import Job
from tasks.outcome import StepResult

pytestmark = [pytest.mark.engine, pytest.mark.anyio, pytest.mark.timeout(300)]


@pytest.fixture
def address() -> str:
    """The engine's own address; the second one is a relay in front of it."""
    address = os.environ.get(HOST, "")
    if not address.startswith(("tcp://", "unix://")):
        pytest.skip(f"{HOST} names no address that can be relayed")
    return address


@pytest.fixture
def relay(address: str, tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path / "relay.sock", address) as relay:
        yield relay


@pytest.fixture
def project(clone: Clone, address: str) -> Project:
    return Project(clone, {name: value for name, value in os.environ.items() if "DAGGER" in name and address})


@pytest.fixture
def stage(session: Session, clone: Clone, tmp_path: Path, test_image: str) -> Stage:
    return Stage(session.client, clone, tmp_path, test_image)


async def test_tasks_of_an_unavailable_engine_start_again_on_the_other(
    stage: Stage, tmp_path: Path, address: str, relay: Relay
) -> None:
    worktrees = [stage.worktree() for _ in range(4)]
    notices: list[str] = []
    results: dict[int, tuple[StepResult, ...]] = {}
    engines = Engines(
        [EngineAddress(address), EngineAddress(relay.address)],
        stage.place,
        os.environ,
        tmp_path / "log",
        notices.append,
    )

    async def run(number: int) -> None:
        job = Job(
            run="run-7",
            task=f"1.{number}",
            steps=(script(f"sleep 4; date +%s%N > made-{number}"),),
            log=tmp_path / f"{number}.log",
            scratch=tmp_path / "scratch",
            start=stage.clone.head,
            image=stage.image,
        )
        results[number] = await engines.run(job, worktrees[number], stage.watcher)

    async with engines, anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(run, number)
        with anyio.fail_after(60):
            while len(stage.watcher.events) < 4:  # noqa: ASYNC110 - waits for the engines
                await anyio.sleep(0.05)
        await anyio.sleep(1)
        relay.cut()
    assert [(results[number][0].exit_code, results[number][0].error) for number in range(4)] == [(0, None)] * 4
    assert all((worktrees[number].path / f"made-{number}").exists() for number in range(4))
    assert notices[0].startswith(f"{relay.address} is unavailable: ")
    assert len(notices) == 3
    assert all(notice.endswith(" starts again on another engine") for notice in notices[1:])
    assert stage.watcher.events.count("started 1") == 6


def test_run_ends_with_one_sentence_if_its_only_engine_becomes_unavailable(
    project: Project, relay: Relay, test_image: str
) -> None:
    plan = project.tasks({"1.1": "sleep 100", "1.2": "sleep 100"})
    arguments = ("run", str(plan), "--mode", "dagger", "--engine", relay.address, "--image", test_image)
    with project.start(*arguments) as started:
        for line in started.process.stdout or ():
            if "1.2 run 1" in line:
                break
        relay.cut()
        done = started.done()
    assert done.code == 4
    assert (
        f"patchyard: {relay.address} is unavailable, and no other engine is left: it does not answer any more ("
        in done.err
    )
    assert "stays in" not in done.out
    assert "Traceback" not in done.err
    assert "ExceptionGroup" not in done.err


def test_unavailable_engine_is_skipped_with_a_warning(project: Project, address: str, test_image: str) -> None:
    nowhere = f"unix://{project.shared}/nowhere.sock"
    flags = ("--mode", "dagger", "--engine", f"{nowhere}=2", "--engine", f"{address}=2", "--image", test_image)
    done = project.run(project.tasks({"1.1": "echo 1 > one"}), *flags).expect(0)
    assert done.statuses == {"1.1": "changed"}
    (warning,) = [record for record in done.events("notice") if record["level"] == "warning"]
    assert warning["message"].startswith(f"{nowhere} does not answer: cannot connect (")


def test_run_without_an_engine_exits_with_4_and_a_remedy(project: Project) -> None:
    nowhere = f"unix://{project.shared}/nowhere.sock"
    done = project.call("run", project.tasks({"1.1": "true"}), "--mode", "dagger", "--engine", nowhere)
    assert done.code == 4
    assert done.err.startswith(f"patchyard: {nowhere} does not answer: cannot connect (")
    assert done.err.endswith(f"; start it, or name another with --engine or {HOST}\n")

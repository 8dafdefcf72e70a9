"""What every runner promises, held against processes on this machine; and what only these do."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from runner_contract import HEARTBEAT, Contract, Place, Recorder
from sandboxes import require_sandbox

from containers.local import LocalRunner
from containers.sandbox.policy import Policy
from containers.sandbox.sandbox import Sandbox
from containers.worktrees.worktree import Worktree

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


@pytest.fixture(params=["with all rights", "in the sandbox"])
def place(
    request: pytest.FixtureRequest, user_environ: Mapping[str, str], bare_worktree: Worktree, tmp_path: Path
) -> Iterator[Place]:
    sandbox = _sandbox(tmp_path, Path(user_environ["HOME"])) if request.param == "in the sandbox" else None
    yield Place(LocalRunner(user_environ, sandbox), bare_worktree, tmp_path / "run")
    if sandbox:
        sandbox.close()


def _sandbox(directory: Path, home: Path) -> Sandbox:
    program, common = require_sandbox(), directory / "checkout" / ".git"
    (common / "objects").mkdir(parents=True)
    return Sandbox(program, Policy(), common.parent, common, home)


class TestProcesses(Contract):
    """The contract."""


async def test_both_outputs_reach_the_log_in_order_and_as_they_are(place: Place) -> None:
    await place.run(place.job(r"echo one; echo two >&2; printf 'three\r\n\377\000end'", "true"))
    assert place.log == (
        r"$ echo one; echo two >&2; printf 'three\r\n\377\000end'"
        "\none\ntwo\nthree\r\n\udcff\0end\n[exit code 0, N s]\n\n$ true\n[exit code 0, N s]\n"
    ).replace("\r\n", "\n")  # text mode, on reading
    assert b"one\ntwo\nthree\r\n\xff\x00end\n[" in (place.directory / "task.log").read_bytes()


async def test_output_reaches_the_log_as_it_comes(place: Place) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(place.run, place.job("echo ready; sleep 60"))
        await place.until_logged("ready\n")
        assert "exit code" not in place.log
        group.cancel_scope.cancel()


async def test_a_task_knows_itself_and_its_environment(place: Place) -> None:
    job = place.job(
        'echo "$PATCHYARD_TASK $PATCHYARD_RUN $COLOUR $TOKEN"',
        environment={"COLOUR": "dark green", "TOKEN": "the plan's", "PATCHYARD_TASK": "9.9"},
        secrets={"TOKEN": "abc"},
    )
    assert [result.tail for result in await place.run(job)] == ["1.2a run-7 dark green abc\n"]


async def test_a_task_knows_its_worktree(place: Place) -> None:
    say = 'echo "$PATCHYARD_SLOT $PATCHYARD_PORT $PATCHYARD_ATTEMPT"; test "$PATCHYARD_WORKTREE" = "$PWD"'
    place.worktree = replace(place.worktree, port=20010)
    job = place.job(say, environment={"PATCHYARD_SLOT": "9"})
    assert [result.tail for result in await place.run(replace(job, attempt=3))] == ["1 20010 3\n"]
    place.worktree = replace(place.worktree, port=None)
    results = await place.run(place.job('test -z "${PATCHYARD_PORT+set}"'))
    assert results[0].ok


async def test_a_step_that_would_begin_too_late_does_not(place: Place) -> None:
    watcher = Recorder(pause=3.2)
    results = await place.run(place.job("true", "touch never", timeout=3), watcher)
    assert [(result.exit_code, result.timed_out) for result in results] == [(0, False), (None, True)]
    assert watcher.events == [("started", 1), ("finished", 1), ("finished", 2)]
    assert not (place.files / "never").exists()
    assert place.log.endswith("$ touch never\n[timed out before it began]\n")


async def test_cancelling_ends_everything_and_keeps_the_files(place: Place) -> None:
    watcher = Recorder(pause=0.05)
    job = place.job(
        "echo one > one.txt",
        f"{HEARTBEAT} until test -e beats; do sleep 0.01; done; echo ready; sleep 60",
        "touch never",
    )
    passed_on = False
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await place.until_logged("ready\n")
                scope.cancel()

            group.start_soon(cancel)
            try:
                await place.run(job, watcher)
            except anyio.get_cancelled_exc_class():
                passed_on = True
                assert watcher.events[-1] == ("finished", 2)
                raise
    assert passed_on
    assert [(result.ok, result.cancelled) for result in watcher.results] == [(True, False), (False, True)]
    assert (place.files / "one.txt").read_text() == "one\n"
    assert not (place.files / "never").exists()
    assert await place.is_quiet()
    assert re.search(r"ready\n\[cancelled(, exit code \d+)?, N s\]\n$", place.log)


async def test_a_step_that_ended_is_kept_when_the_cancellation_comes_just_then(place: Place) -> None:
    with anyio.CancelScope() as scope:
        watcher = Recorder(pause=0.05, then=lambda _: scope.cancel())
        await place.run(place.job("true", "touch never"), watcher)
    assert scope.cancelled_caught
    assert watcher.events == [("started", 1), ("finished", 1)]
    assert [result.exit_code for result in watcher.results] == [0]
    assert not (place.files / "never").exists()


async def test_an_error_of_the_watcher_ends_the_task(place: Place) -> None:
    def fail(number: int) -> None:
        raise RuntimeError(f"step {number} could not be kept")

    with pytest.raises(RuntimeError, match="step 1 could not be kept"):
        await place.run(place.job("true", "touch never"), Recorder(then=fail))
    assert not (place.files / "never").exists()


async def test_tasks_run_side_by_side(place: Place, tmp_path: Path) -> None:
    places = []
    for number in range(16):
        path = tmp_path / f"side-{number}"
        path.mkdir()
        tree = Worktree(f"wt-{number}", path, place.worktree.checkout)
        places.append(Place(place.runner, tree, tmp_path / f"run-{number}"))
    async with anyio.create_task_group() as group:
        for each in places:
            group.start_soon(each.run, each.job("date +%s.%N > begin; sleep 2; date +%s.%N > end"))
    begins = [float((each.files / "begin").read_text()) for each in places]
    ends = [float((each.files / "end").read_text()) for each in places]
    assert max(begins) < min(ends)

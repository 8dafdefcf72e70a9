"""What a step may take, held against processes of this machine."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from runner_contract import Place

from containers.limits.limits import UNLIMITED, Limits, LimitsError
from containers.limits.resource_limits import limited_command, require_programs
from containers.local import LocalRunner
from containers.worktrees.worktree import Worktree

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]
PYTHON = "python3 -c"


@pytest.fixture
def place(user_environ: Mapping[str, str], bare_worktree: Worktree, tmp_path: Path) -> Place:
    return Place(LocalRunner(user_environ), bare_worktree, tmp_path / "run")


async def _run(limits: Limits, script: str, place: Place, environ: Mapping[str, str]) -> str:
    limited = replace(place, runner=LocalRunner(environ, None, limits))
    await limited.run(limited.job(script))
    return limited.log


@pytest.mark.parametrize(
    ("limits", "script", "expected"),
    [
        (Limits(memory=100_000_000), f"{PYTHON} 'bytearray(300_000_000)'", "MemoryError"),
        (Limits(memory=400_000_000), f"{PYTHON} 'bytearray(100_000_000); print(\"allocated\")'", "allocated"),
        (Limits(files=1_000_000), f'{PYTHON} \'open("f", "wb").write(bytes(2_000_000))\'', "File too large"),
        (Limits(cpus=1), "nproc", "\n1\n"),
        (
            Limits(processes=50),
            f"{PYTHON} 'import resource as r; print(r.getrlimit(r.RLIMIT_NPROC))'",
            "(50, 50)",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_limit(
    limits: Limits, script: str, expected: str, place: Place, user_environ: Mapping[str, str]
) -> None:
    assert expected in await _run(limits, script, place, user_environ)


async def test_missing_program_is_named_as_without_limits(
    place: Place, user_environ: Mapping[str, str]
) -> None:
    assert "exit code 127" in await _run(Limits(cpus=1), "no-such-program", place, user_environ)


def test_without_limits_the_command_is_as_it_is() -> None:
    assert limited_command(UNLIMITED, ["true"], 1) == ("true",)
    assert not UNLIMITED
    require_programs(UNLIMITED, "")


def test_tasks_side_by_side_get_other_processors() -> None:
    there = len(os.sched_getaffinity(0))
    found = [limited_command(Limits(cpus=1), ["true"], slot)[2] for slot in range(1, there + 2)]
    assert len(set(found)) == there
    assert found[0] == found[there]


def test_missing_tools_are_named(tmp_path: Path) -> None:
    with pytest.raises(LimitsError, match="install util-linux"):
        require_programs(Limits(memory=1), str(tmp_path))

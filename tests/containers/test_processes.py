"""Processes that left their group are found by the mark of their task."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from threading import Event, get_native_id
from time import sleep

import pytest
from project import PATIENCE, wait_for

from containers.process_marks import ProcessMark
from containers.processes import Group, may_have_escaped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the ids of Linux are assigned in order")


@pytest.fixture
def groups() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(stack: ExitStack, script: str, mark: ProcessMark, directory: Path) -> Group:
    """Start a script that ends with the test."""
    with Path(os.devnull).open("wb") as output:
        group = Group(
            ["sh", "-c", script],
            directory=directory,
            environment={"PATH": os.defpath, **mark.variables},
            stdin=None,
            output=output.fileno(),
            mark=mark,
        )
    stack.callback(end, group)
    return group


def end(group: Group) -> None:
    """Kill what is left of a group, and wait for its leader."""
    group.signal(Signals.SIGKILL)
    while group.exit_code() is None:
        sleep(0.01)
    group.release()


def watch(monkeypatch: pytest.MonkeyPatch, named_by: Callable[[int], int] = os.getsid) -> list[int]:
    """Return a list of all processes that are looked at from now on, by default of their sessions."""
    looked_at: list[int] = []

    def look(_mark: ProcessMark, pid: int) -> bool:
        looked_at.append(named_by(pid))
        return False

    monkeypatch.setattr(ProcessMark, "is_in_environment_of", look)
    return looked_at


def written_id(path: Path) -> int:
    """Return the process id that a script writes."""
    wait_for(lambda: path.is_file() and path.read_text().strip(), "the process id")
    return int(path.read_text())


def test_processes_of_other_tasks_are_not_looked_at(
    tmp_path: Path, groups: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be dozens, and to read what a process was started with takes long."""
    marks = [ProcessMark({"JOB": f"{number}"}) for number in range(3)]
    first = started(groups, "sleep 60", marks[0], tmp_path)
    others = [started(groups, "sleep 60 & sleep 60", mark, tmp_path) for mark in marks[1:]]
    looked_at = watch(monkeypatch)
    assert not may_have_escaped(marks[0], first.id)
    assert not {group.id for group in others} & set(looked_at)


def test_threads_of_this_process_are_not_looked_at(
    tmp_path: Path, groups: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have ids as processes have, and a wide pool has many of them."""
    first = started(groups, "sleep 60", mark := ProcessMark({"JOB": "1"}), tmp_path)
    looked_at, is_over, ids = watch(monkeypatch, named_by=int), Event(), list[int]()

    def wait() -> None:
        ids.append(get_native_id())
        is_over.wait(PATIENCE)

    with ThreadPoolExecutor(8) as threads:
        try:
            for _ in range(8):
                threads.submit(wait)
            wait_for(lambda: len(ids) == 8, "the threads")
            assert not may_have_escaped(mark, first.id)
        finally:
            is_over.set()
    assert not set(ids) & set(looked_at)


@pytest.mark.parametrize("way", ["setsid", "env -i setsid", "timeout 60", "setsid env -i"])
def test_a_process_that_left_its_group_is_found(tmp_path: Path, groups: ExitStack, way: str) -> None:
    mark, other = ProcessMark({"JOB": "1"}), ProcessMark({"JOB": "2"})
    first = started(groups, f"{way} sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' &", mark, tmp_path)
    pid = written_id(tmp_path / "pid")
    groups.callback(os.kill, pid, Signals.SIGKILL)
    while first.exit_code() is None:
        sleep(0.01)
    assert may_have_escaped(mark, first.id)
    assert not may_have_escaped(other, first.id)


def test_a_session_whose_leader_is_reaped_is_looked_at(
    tmp_path: Path, groups: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another session may get its id."""
    mark, other = ProcessMark({"JOB": "1"}), ProcessMark({"JOB": "2"})
    first = started(groups, "exit 0", other, tmp_path)
    left = started(groups, f"sleep 60 & echo $! > {tmp_path}/pid", mark, tmp_path)
    written_id(tmp_path / "pid")
    while left.exit_code() is None:
        sleep(0.01)
    looked_at = watch(monkeypatch)
    may_have_escaped(other, first.id)
    assert left.id not in looked_at
    assert left.is_alive()
    may_have_escaped(other, first.id)
    assert left.id in looked_at

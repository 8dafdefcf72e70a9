"""Holders of namespaces that a killed program left end at the next run; those of a running one do not."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from project import wait_for
from sandboxes import require_sandbox

from containers.process_marks import ProcessMark
from containers.sandbox.holder import _HOLDER, end_left_holders, held_namespaces


def children(pid: int) -> list[int]:
    """Return the ids of the child processes of a process."""
    return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_child_that_waits_for_a_killed_bubblewrap_is_ended() -> None:
    waited_for, writing = os.pipe()  # in place of the descriptor that it waits for if it is not mapped yet
    options = ["--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--block-fd", str(waited_for)]
    command = [require_sandbox(), *options, "--", "/bin/sh", "-c", _HOLDER]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(waited_for,)) as bubblewrap:
        wait_for(lambda: children(bubblewrap.pid) != [], "its child")
        (child,) = children(bubblewrap.pid)
        end_left_holders()
        assert is_running(child)  # it is not left yet
        bubblewrap.kill()
    assert is_running(child)

    end_left_holders()

    wait_for(lambda: not is_running(child), "its end")
    os.close(waited_for)
    os.close(writing)


def test_holders_of_others_are_not_ended() -> None:
    with (
        ThreadPoolExecutor(1) as starter,
        held_namespaces(starter, require_sandbox(), ProcessMark({}), ["--unshare-user"], []) as first,
    ):
        end_left_holders()
        assert is_running(first)

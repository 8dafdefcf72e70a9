"""A control group of version 2, which limits the processes of a task together.

See https://docs.kernel.org/admin-guide/cgroup-v2.html.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from containers.limits.limits import Limits
from tasks.outcome import OUT_OF_MEMORY
from tasks.sizes import format_size

CONTROLLERS = {"cpus": "cpu", "memory": "memory", "processes": "pids"}
"""The kernel's controllers, by the limits that they hold."""
PERIOD = 100_000
"""Microseconds in which a group may use so much of the processors: the kernel's default."""
REMOVAL_TIMEOUT = 10.0
"""Seconds that killed processes may take to exit."""
LONGEST_PAUSE = 0.05
_ENTER = 'echo 0 > "$1" && shift && exec "$@"'


class ControlGroup:
    """The control group of one task. Methods block.

    Args:
        path: Its directory, which is created.
        limits: The limits that it holds.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self._memory = limits.memory
        self._events: Mapping[str, int] = {}
        path.mkdir()
        for name, value in _files(limits).items():
            try:
                (path / name).write_text(value)
            except FileNotFoundError:
                if name != "memory.swap.max":  # a kernel without accounting of swap
                    raise

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the argument vector that runs a command in the group: its process enters it before."""
        return ("/bin/sh", "-c", _ENTER, "sh", str(self.path / "cgroup.procs"), *argv)

    def out_of_memory(self) -> str | None:
        """Return that, and whose, memory ended since the last call; `None` if it did not.

        The group's `oom` counts only where its own limit was reached. Else a group above, or the machine, had
        no more memory.
        """
        if self._memory is None:
            return None
        before, self._events = self._events, _read_events(self.path / "memory.events")
        grown = {name for name, count in self._events.items() if count > before.get(name, 0)}
        if "oom_kill" not in grown:
            return None
        if "oom" in grown:
            return f"{OUT_OF_MEMORY} (limit {format_size(self._memory)})"
        return f"{OUT_OF_MEMORY} (the machine had none left)"

    def remove(self) -> None:
        """Kill all processes of the group, and remove it."""
        remove_group(self.path)


def remove_group(path: Path) -> None:
    """Kill all processes of a group and of those in it, and remove them. Blocking.

    A group whose processes do not exit in `REMOVAL_TIMEOUT` seconds, since they wait for the kernel, is left.
    """
    end, pause = monotonic() + REMOVAL_TIMEOUT, 0.001
    while path.is_dir():
        _kill(path)
        for directory, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
        if monotonic() > end:
            return
        if path.is_dir():
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _kill(path: Path) -> None:
    with suppress(OSError):
        if (path / "cgroup.kill").exists():  # Linux 5.14
            (path / "cgroup.kill").write_text("1")
            return
    for directory, _, _ in os.walk(path):
        with suppress(OSError):
            for pid in Path(directory, "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)


def _files(limits: Limits) -> dict[str, str]:
    """Return the content of the group's files."""
    files = {}
    if limits.cpus is not None:
        files["cpu.max"] = f"{limits.cpus * PERIOD} {PERIOD}"
    if limits.memory is not None:
        # All processes are killed together: a task that lost one of them at random would end as it likes.
        files |= {"memory.max": str(limits.memory), "memory.swap.max": "0", "memory.oom.group": "1"}
    if limits.processes is not None:
        files["pids.max"] = str(limits.processes)
    return files


def _read_events(path: Path) -> dict[str, int]:
    rows = (line.split() for line in path.read_text().splitlines())
    return {name: int(count) for name, count in rows}

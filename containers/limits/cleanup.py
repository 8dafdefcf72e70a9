"""A process that ends the tasks of a run and removes their control groups when patchyard is killed."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import FileIO
from pathlib import Path

from containers.processes import open_pipe

_WAIT_FOR_END = """\
trap '' HUP INT TERM
read -r path || exit 0
read -r _
for attempt in $(seq 100); do
    [ -d "$path" ] || exit 0
    echo 1 > "$path/cgroup.kill"
    find "$path" -depth -type d -exec rmdir {} \\;
    sleep 0.1
done
"""
"""Reads the path of the group, then waits for the end of the pipe, which comes with the end of patchyard."""


@contextmanager
def cleanup_process() -> Iterator[Callable[[Path], None]]:
    """Start the process, and give a function that names the group of the tasks to it. Blocking.

    It stays in the control group, and so in the log-in session, that this process starts it in: if this one
    moves to another, a session that it began in lasts as long as it does.
    """
    with open_pipe() as (held, lifeline):
        process = subprocess.Popen(
            ("/bin/sh", "-c", _WAIT_FOR_END),
            stdin=held,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
        )
        try:
            yield partial(_name, lifeline)
        finally:
            lifeline.close()
            process.wait()


def _name(lifeline: FileIO, path: Path) -> None:
    with suppress(BrokenPipeError):  # somebody has killed it
        lifeline.write(f"{path}\n".encode())

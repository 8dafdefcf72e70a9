"""Run the command on a terminal of its own."""

import os
import pty
import subprocess
from pathlib import Path

from project import COMMAND, PATIENCE, Project


def on_terminal(project: Project, *arguments: str | Path) -> str:
    """Return what `patchyard` writes to a terminal; it must succeed."""
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=project.root,
            env=project.environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        output = _read(ours)
        assert process.wait(PATIENCE) == 0, output
    finally:
        os.close(ours)
    return output.decode()


def _read(descriptor: int) -> bytes:
    """Return what is written to a terminal until its last writer closes it, which Linux reports as an error."""
    output = b""
    while True:
        try:
            output += (data := os.read(descriptor, 65536))
        except OSError:
            return output
        if not data:
            return output

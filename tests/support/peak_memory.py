"""The highest memory use of the command line's process, in bytes.

Run as a program, it is the command line, which first writes that to the file that its first argument names.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Never

MEGABYTE = 1_000_000


def peak(process: int | str = "self") -> int:
    """Return the highest memory use of a process so far.

    The kernel's mark begins again with `execve`; `ru_maxrss` of `getrusage` does not (proc_pid_status(5)).
    """
    status = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found, status
    return int(found[1]) * 1024


def measured(root: Path, environ: Mapping[str, str], file: Path, *arguments: str | Path, code: int = 0) -> int:
    """Run a command in a directory, with its output to a file, and return its highest memory use."""
    marks = file.with_suffix(".peak")
    with file.open("wb") as out:
        done = subprocess.run(
            [sys.executable, __file__, marks, *arguments],
            cwd=root,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
            timeout=300,
        )
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr.decode()
    return int(marks.read_text("ascii"))


def main() -> None:
    """Run the command line, which ends its process by `os._exit`."""
    path, end = Path(sys.argv.pop(1)), os._exit

    def write_and_end(status: int) -> Never:
        path.write_text(str(peak()), "ascii")
        end(status)

    os._exit = write_and_end
    from pipeline.__main__ import main as command_line  # noqa: PLC0415 - after the above

    command_line()


if __name__ == "__main__":
    main()

"""What the console command calls: the command line, with a quick start and a quick end."""

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line and end the process with its exit code.

    The process ends without the interpreter's own way out, which frees every object of every library one by
    one and takes longer than all that a short command does. By then everything is closed: runs, files and the
    database are context managers, and the two streams are flushed here.
    """
    # A run is short and keeps what it makes: collecting less often saves a tenth of the start-up.
    gc.set_threshold(50_000, 20, 20)

    from pipeline.cli.main import main as command_line  # noqa: PLC0415 - the threshold holds for its imports too

    code: str | int | None = 0
    try:
        command_line(prog_name="patchyard")
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        sys.exit(code)  # the interpreter prints it
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it has gone
            stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()

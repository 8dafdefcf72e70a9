"""Entry point of the console command: run the command line with a fast start and exit."""

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line and end the process with its exit code.

    The process exits with `os._exit`, because the regular shutdown of the interpreter frees every object of
    every library and takes longer than a short command. Everything is closed by then: runs, files and the
    database are context managers, and the two streams are flushed here.
    """
    # A run is short and frees little. The start and a run of 40 tasks create 130,000 objects, not worth
    # a search for cycles; 200,000 take less than 30 MB.
    gc.set_threshold(200_000, 20, 20)

    from containers.environment import take_secrets  # noqa: PLC0415 - the threshold applies to its imports too

    secrets = take_secrets()  # before the slow imports: until then, other processes can read them

    from pipeline.cli.main import main as command_line  # noqa: PLC0415 - likewise

    code: str | int | None = 0
    try:
        command_line(prog_name="patchyard", obj=secrets)
    except SystemExit as ended:
        code = ended.code
    if isinstance(code, str):
        sys.exit(code)  # the interpreter prints it
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has closed the pipe
            stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main()

"""When the parts of a log were written: a small file beside the log, which itself stays as it is."""

from contextlib import suppress
from io import FileIO
from pathlib import Path
from time import time

RESOLUTION = 0.01
"""Seconds within which what is written has the same time: a step that prints all the time then costs little."""


def times_path(log: Path) -> Path:
    """Return the path of the times that belong to a log."""
    return log.with_name(f"{log.name.removesuffix('.log')}.times")


class LineTimes:
    """Writes a line per part of a log: its position in bytes, its time in milliseconds since 1970. Blocking.

    Where that cannot be written (a full disk), the times are missing.
    """

    def __init__(self, log: Path) -> None:
        self._path = times_path(log)
        self._file: FileIO | None = None
        self._last = 0.0

    def note(self, position: int) -> None:
        """Note that what follows a position is written now."""
        moment = time()
        if 0 <= moment - self._last < RESOLUTION:
            return
        self._last = moment
        with suppress(OSError):
            self._file = self._file or FileIO(self._path, "a")
            self._file.write(b"%d %d\n" % (position, moment * 1000))

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file:
            self._file.close()

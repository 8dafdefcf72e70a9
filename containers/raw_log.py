"""What an agent printed, as it was, beside the log that people read."""

from contextlib import suppress
from io import FileIO
from pathlib import Path

from tasks.sizes import format_size


def raw_log_path(log: Path) -> Path:
    """Return the path of the raw log that belongs to a log."""
    return log.with_name(f"{log.name.removesuffix('.log')}.raw.log")


class RawLog:
    """A file of at most `limit` bytes, `None` for no limit; made at the first write. Blocking.

    What cannot be written (a full disk) is left out: the log itself has what people need.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.is_full = False
        """Whether output was left out, because the file is at its limit."""
        self._path = path
        self._limit = limit
        self._file: FileIO | None = None

    def write(self, data: bytes) -> None:
        """Append masked output."""
        if not data or self.is_full:
            return
        with suppress(OSError):
            self._file = self._file or FileIO(self._path, "a")
            size = self._file.tell()
            room = len(data) if self._limit is None else max(0, self._limit - size)
            rest = memoryview(data)[:room]
            while rest:
                rest = rest[self._file.write(rest) :]
            if room < len(data):
                self.is_full = True
                note = (
                    f"\n[the raw log is cut here, at the limit of max_log, {format_size(self._limit or 0)}]\n"
                )
                self._file.write(note.encode())

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file:
            self._file.close()

"""The lines of logs with the times at which they were written, also of several logs in the order of these."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from heapq import merge
from operator import attrgetter
from pathlib import Path
from typing import IO

from containers.filesystem import open_regular
from containers.line_times import times_path
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a log, without its line end.

    `at` is in milliseconds since 1970. A log of an earlier release has no times: its lines have that of the
    attempt's start, and are not `is_timed`.
    """

    name: str
    at: int
    data: bytes
    is_timed: bool = True

    @property
    def time(self) -> str:
        """The time in the zone of this machine, such as `2026-01-02 03:04:05.678`; empty if it is not known."""
        if not self.is_timed:
            return ""
        moment = datetime.fromtimestamp(self.at / 1000, UTC).astimezone().replace(tzinfo=None)
        return moment.isoformat(sep=" ", timespec="milliseconds")


class TimedLog:
    """Reads a log that may still grow, and is not there yet perhaps. Blocking.

    Args:
        name: What its lines are called.
        path: The log.
        since: When its attempt started, in milliseconds since 1970.
    """

    def __init__(self, name: str, path: Path, since: int = 0) -> None:
        self.name = name
        self._path = path
        self._since = since
        self._log: IO[bytes] | None = None
        self._times: IO[bytes] | None = None
        self._time = b""
        self._next: tuple[int, int] | None = None
        self._at: int | None = None
        self._position = 0
        self._part = b""

    def lines(self, *, is_last: bool = False) -> Iterator[LogLine]:
        """Yield the lines that have been added; with `is_last` also one without a line end, and no more."""
        if self._log is None and not self._open():
            return
        assert self._log is not None  # noqa: S101 - it has been opened
        for data in self._log:
            self._part += data
            if data.endswith(b"\n"):
                yield self._line()
        if is_last:
            if self._part:
                yield self._line()
            self._close()

    def _close(self) -> None:
        for file in (self._log, self._times):
            if file:
                file.close()

    def _open(self) -> bool:
        with suppress(OSError):
            self._log = open_regular(self._path)
            self._times = open_regular(times_path(self._path)) if self._log else None
        return self._log is not None

    def _line(self) -> LogLine:
        start, data = self._position, self._part
        self._position, self._part = start + len(data), b""
        while (following := self._next or self._read_time()) and following[0] <= start:
            self._at, self._next = following[1], None
        self._next = following
        at = self._since if self._at is None else self._at
        return LogLine(self.name, at, data.rstrip(b"\n"), is_timed=self._at is not None)

    def _read_time(self) -> tuple[int, int] | None:
        """Return the next position and its time; `None` if there is none yet."""
        while self._times:
            self._time += self._times.readline()
            if not self._time.endswith(b"\n"):
                return None
            position, _, moment = self._time.strip().partition(b" ")
            self._time = b""
            if position.isdigit() and moment.isdigit():
                return int(position), int(moment)
        return None


def in_order(logs: Sequence[TimedLog], *, is_last: bool = False) -> Iterator[LogLine]:
    """Yield what has been added to logs, by time; lines of the same time stay together by log."""
    return merge(*(log.lines(is_last=is_last) for log in logs), key=attrgetter("at"))

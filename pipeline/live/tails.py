"""The last line of a growing log, and how long it has been silent."""

import os
from pathlib import Path
from time import time

from containers.filesystem import open_regular
from containers.task_log import tail_text
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

TAIL = 4096
"""Bytes at the end of a log that its last line is looked for in."""
_OWN = regex(r"\$ .*|\[(?:exit code|timed out|cancelled|interrupted|ending what).*\]")
"""Lines of a log that are not output: the title of a step, and how it ended."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a step printed last, as one line, and for how many seconds it has printed nothing."""

    line: str = ""
    silent: float = 0.0


NOTHING = Output()


class Tails:
    """Reads the ends of logs; a log that has not grown since the last time costs one `stat`."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, str]] = {}

    def read(self, log: Path, *, is_agent: bool = False) -> Output:
        """Return what a log ends with; nothing for one that is not there. Blocking.

        Of an agent, what its reader does not know is left out: events of a program in JSON.
        """
        try:
            status = log.stat()
        except OSError:
            return NOTHING
        size, line = self._known.get(log, (-1, ""))
        if size != status.st_size:
            line = _last_line(log, status.st_size, is_agent=is_agent)
            self._known[log] = (status.st_size, line)
        return Output(line, max(0.0, time() - status.st_mtime))

    def forget(self, logs: set[Path]) -> None:
        """Forget all but some logs."""
        self._known = {log: known for log, known in self._known.items() if log in logs}


def _last_line(log: Path, size: int, *, is_agent: bool) -> str:
    try:
        file = open_regular(log)
    except OSError:
        return ""
    if file is None:
        return ""
    with file:
        data = os.pread(file.fileno(), TAIL, max(0, size - TAIL))
    return last_line(data, is_agent=is_agent)


def last_line(data: bytes, *, is_agent: bool = False) -> str:
    """Return the last line of output that says something, without control sequences and control characters."""
    for text in reversed(tail_text(data).splitlines()):
        line = " ".join(text.split())
        if _OWN.fullmatch(line):
            return ""  # the step has printed nothing yet
        if is_agent and line.startswith(('{"', '[{"')):
            continue
        if line and not set(line) <= set("{}[]();,"):  # the end of a structure says nothing
            return line
    return ""

"""Marks by which the processes of a task are found, also those that left its process group.

A mark has two parts: variables, which `env -i` takes away, and on Linux a resource limit, which a process
passes on to its child processes whatever they do with their environment, session and working directory. It is
the soft limit for the time of real-time processes without a pause (RLIMIT_RTTIME, setrlimit(2)), unlimited by
default: a random value of tens of thousands of years limits nothing.
"""

import os
import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path
from threading import Lock

from tasks.lazy.dataclasses import dataclass

_LEAST = 1 << 60
"""The least limit of a mark, in microseconds; the random part is below it."""
_ROW = b"Max realtime timeout"
_LIMITS = Lock()
"""Held while this process has the limit of a mark: limits belong to the process, not to a thread."""


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """The mark of one task's processes."""

    variables: Mapping[str, str]
    limit: int = field(default_factory=lambda: _LEAST + int.from_bytes(os.urandom(8)) % _LEAST)

    @contextmanager
    def inherited(self) -> Iterator[None]:
        """Pass the limit on to processes that are started while in the context. Blocking."""
        if sys.platform != "linux":
            yield
            return
        with _LIMITS:
            before = resource.getrlimit(resource.RLIMIT_RTTIME)
            with suppress(OSError, ValueError):  # the hard limit is lower
                resource.setrlimit(resource.RLIMIT_RTTIME, (self.limit, before[1]))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_RTTIME, before)

    def is_in_environment_of(self, pid: int) -> bool:
        """Whether a process was started with the variables of the mark. Blocking."""
        wanted = {f"{name}={value}".encode(errors="surrogateescape") for name, value in self.variables.items()}
        with suppress(OSError):
            return wanted <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
        return False


def has_any_mark(pid: int) -> bool:
    """Whether a process has the limit of a mark, of any task. Blocking."""
    limit = read_limit(pid)
    return limit is not None and limit >= _LEAST


def read_limit(pid: int) -> int | None:
    """Return the limit of a process that a mark may be; `None` if it is not known, or unlimited. Blocking."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/limits").read_bytes().splitlines():
            if line.startswith(_ROW):
                soft = line.removeprefix(_ROW).split()[0]
                return int(soft) if soft.isdigit() else None
    return None

"""Limits of what a step may take: resource limits of the system, for each of its processes.

They are set by prlimit(1) and taskset(1) of util-linux, which execute the command of the step. What the limits
mean is in setrlimit(2): memory counts what a process allocates (RLIMIT_DATA), not what it only reserves.
"""

import os
import shutil
from collections.abc import Sequence

from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

PROGRAMS = ("prlimit", "taskset")


class LimitsError(PatchyardError):
    """The limits cannot be set here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may take; `None` for no limit.

    Args:
        cpus: Processors that all processes of a step may use.
        memory: Bytes that one process may allocate.
        processes: Processes of the user that may run; root has no such limit.
        files: Bytes of one file that a process writes.
    """

    cpus: int | None = None
    memory: int | None = None
    processes: int | None = None
    files: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(value is not None for value in (self.cpus, self.memory, self.processes, self.files))

    def require(self, path: str) -> None:
        """Check that they can be set.

        Args:
            path: Directories to search for programs, in the form of PATH.

        Raises:
            LimitsError: A program is missing.
        """
        missing = [name for name in PROGRAMS if self and shutil.which(name, path=path) is None]
        if missing:
            raise LimitsError(
                f"limits are set with {missing[0]}, which is not on PATH; install util-linux, or remove them"
            )

    def command(self, argv: Sequence[str], slot: int) -> tuple[str, ...]:
        """Return the argument vector that runs a command within the limits.

        Args:
            argv: The command.
            slot: The number of its worktree, from 1: tasks side by side get different processors.
        """
        wanted = (("--data", self.memory), ("--nproc", self.processes), ("--fsize", self.files))
        options = [f"{name}={value}:{value}" for name, value in wanted if value is not None]
        limited = ("prlimit", *options, "--", *argv) if options else tuple(argv)
        return limited if self.cpus is None else ("taskset", "-c", self._processors(self.cpus, slot), *limited)

    @staticmethod
    def _processors(count: int, slot: int) -> str:
        there = sorted(os.sched_getaffinity(0))
        first = (slot - 1) * count
        return ",".join(str(there[(first + number) % len(there)]) for number in range(min(count, len(there))))


UNLIMITED = Limits()

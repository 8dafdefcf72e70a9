"""Resource limits of the system, for each process of a step on this machine.

They are set by prlimit(1) and taskset(1) of util-linux, which execute the command of the step. What the limits
mean is in setrlimit(2): memory counts what a process allocates (RLIMIT_DATA), not what it only reserves.
"""

import os
import shutil
from collections.abc import Sequence

from containers.limits.limits import Limits, LimitsError


def require_programs(limits: Limits, path: str) -> None:
    """Check that limits can be set.

    Args:
        limits: The limits.
        path: Directories to search for programs, in the form of PATH.

    Raises:
        LimitsError: A program is missing.
    """
    programs = {"taskset": limits.cpus is not None, "prlimit": bool(_options(limits))}
    for name, is_needed in programs.items():
        if is_needed and shutil.which(name, path=path) is None:
            raise LimitsError(
                f"limits are set with {name}, which is not on PATH; install util-linux, or remove them"
            )


def limited_command(limits: Limits, argv: Sequence[str], slot: int) -> tuple[str, ...]:
    """Return the argument vector that runs a command within limits.

    Args:
        limits: The limits.
        argv: The command.
        slot: The number of its worktree, from 1: tasks side by side get different processors.
    """
    options = _options(limits)
    limited = ("prlimit", *options, "--", *argv) if options else tuple(argv)
    return limited if limits.cpus is None else ("taskset", "-c", _processors(limits.cpus, slot), *limited)


def _options(limits: Limits) -> list[str]:
    wanted = (("--data", limits.memory), ("--nproc", limits.processes), ("--fsize", limits.files))
    return [f"{name}={value}:{value}" for name, value in wanted if value is not None]


def _processors(count: int, slot: int) -> str:
    there = sorted(os.sched_getaffinity(0))
    first = (slot - 1) * count
    return ",".join(str(there[(first + number) % len(there)]) for number in range(min(count, len(there))))

"""Processes on this machine: a program as the leader of its own process group, and what got away from it."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import IO

NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""A shell's exit codes: the program is missing, cannot be run, was ended by signal n (plus n)."""
UNKNOWN = 255
"""The exit code of a process whose own nobody can tell any more; surely not that of a success."""
REFUSALS: Mapping[int | None, str] = {
    errno.E2BIG: "cannot be started: its arguments and variables are too long for this system",
    errno.EACCES: "is not executable",
    errno.ENOEXEC: "is not a program for this system (a script needs a first line such as #!/bin/sh)",
}
PROC = Path("/proc")
LAST_WAIT = 5.0
"""Seconds to wait for the end of a process that was killed."""
ENDED = "ZX"
"""The states of a process that only its parent's attention is missing for."""


class Group:
    """A process group: the program that was started, which leads it, and what that one started in turn.

    The leader is not reaped before `release`: until then its id, which is also the group's, is nobody else's,
    and so a signal cannot reach a stranger.

    Raises:
        OSError: The program cannot be started.
        ValueError: An argument or a variable is one that no program can be given.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        stdin: IO[bytes] | None,
        output: int,
    ) -> None:
        if not argv:
            raise ValueError("there is no command")
        self._leader = subprocess.Popen(
            argv,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self._code: int | None = None
        self.id = self._leader.pid
        self.descriptor = _descriptor(self.id)
        """Becomes readable when the leader ends; `None` where the system has no such thing."""

    def exit_code(self) -> int | None:
        """Return the leader's exit code (128 + n if signal n ended it); `None` while it runs."""
        if self._code is None:
            self._code = self._look()
        return self._code

    def _look(self) -> int | None:
        if sys.platform != "linux":
            code = self._leader.poll()
            return SIGNALLED - code if code is not None and code < 0 else code
        try:
            ended = os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # this program was started with SIGCHLD ignored
            return UNKNOWN
        if ended is None:
            return None
        return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else SIGNALLED)

    def is_alive(self) -> bool:
        """Whether anything of the group still runs. A leader that ended is reaped."""
        if self.exit_code() is None:
            return True
        self._leader.wait()
        try:
            os.killpg(self.id, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return _any_runs(self.id)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of the group that may be sent one; a stopped process goes on to get it."""
        for each in (number, signal.SIGCONT):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.id, each)

    def release(self) -> None:
        """Reap the leader and forget the group."""
        if self.exit_code() is not None:
            self._leader.wait()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def describe_start_failure(
    error: OSError | ValueError, argv: Sequence[str], directory: Path, path: str
) -> tuple[int | None, str]:
    """Say in a sentence why a program could not be started, with the exit code that a shell would give.

    Args:
        error: What was raised.
        argv: The argument vector.
        directory: Where it was to run.
        path: Where programs are looked for, in the form of PATH.
    """
    if not directory.is_dir():
        return None, f"its directory {directory} is gone"
    program = argv[0] if argv else ""
    name = shlex.quote(program)
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.ENOENT, errno.ENOTDIR}:
        found = shutil.which(str(directory / program) if "/" in program else program, path=path)
        if found and program:
            return NOT_EXECUTABLE, f"{name} names an interpreter in its first line that does not exist"
        return NOT_FOUND, f"there is no program {name}" + ("" if "/" in program else " on PATH")
    if number in REFUSALS:
        return NOT_EXECUTABLE, f"{name} {REFUSALS[number]}"
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return None, f"{name} could not be started: {reason}"


def find_escaped_processes(variables: Mapping[str, str]) -> list[int]:
    """Return the other processes that carry all these variables; none where there is no /proc."""
    return [
        int(process.name)
        for process in _processes()
        if process.name != str(os.getpid()) and _carries(process, variables)
    ]


def signal_stray(pid: int, variables: Mapping[str, str], number: signal.Signals) -> None:
    """Send a signal to a process that `strays` returned, if it still is that process."""
    if sys.platform == "linux":
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
            try:
                if _carries(PROC / str(pid), variables):
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def kill_processes_in(directory: Path, variable: str) -> None:
    """Kill what works in a directory and carries a variable: the task of a run that was itself killed.

    Returns when it is gone, or cannot be made to go. Does nothing where there is no /proc.
    """
    end = monotonic() + LAST_WAIT
    while (left := _inside(directory, variable)) and monotonic() < end:
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        sleep(LAST_WAIT / 500)


def _inside(directory: Path, variable: str) -> list[int]:
    """Return the other processes that work in a directory and carry a variable."""
    found = []
    for process in _processes():
        with suppress(OSError):
            here = (process / "cwd").readlink()
            is_inside = here == directory or directory in here.parents
            if is_inside and process.name != str(os.getpid()) and _has(process, variable):
                found.append(int(process.name))
    return found


def _has(process: Path, variable: str) -> bool:
    names = (entry.partition(b"=")[0] for entry in (process / "environ").read_bytes().split(b"\0"))
    return variable.encode() in names and _state(process)[0] not in ENDED


def _carries(process: Path, variables: Mapping[str, str]) -> bool:
    """Whether a process runs with all these variables (those that it was started with)."""
    try:
        carried = (process / "environ").read_bytes().split(b"\0")
        runs = _state(process)[0] not in ENDED
    except OSError:
        return False
    return runs and all(f"{name}={value}".encode() in carried for name, value in variables.items())


def _descriptor(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a child ends, where the system can."""
    descriptor = None
    if sys.platform == "linux":
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
    return descriptor


def _processes() -> Iterator[Path]:
    if PROC.is_dir():
        yield from (process for process in PROC.iterdir() if process.name.isdecimal())


def _any_runs(group: int) -> bool:
    """Whether a group has a process that is more than a zombie, which its parent has to reap."""
    if sys.platform != "linux":
        return True
    for process in _processes():
        with suppress(OSError):
            state, _, its_group = _state(process)
            if int(its_group) == group and state not in ENDED:
                return True
    return False


def has_ended(pid: int) -> bool:
    """Whether a process that is still listed has ended, and only its parent has not waited for it."""
    try:
        return _state(PROC / str(pid))[0] in ENDED
    except OSError:  # it is gone by now, or there is no /proc
        return False


def _state(process: Path) -> list[str]:
    """Return the state, the parent and the group of a process."""
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[:3]

"""Process groups on this machine, and processes that left theirs."""

import errno
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING

from containers.process_marks import ProcessMark, has_any_mark, read_limit

if TYPE_CHECKING:
    from psutil import Process

NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""A shell's exit codes: the program is missing, is not executable, was ended by signal n (plus n)."""
UNKNOWN = 255
"""Exit code reported for a process whose own is lost; not that of a success."""
REFUSALS: Mapping[int | None, str] = {
    errno.E2BIG: "cannot be started: its arguments and variables are too long for this system",
    errno.EACCES: "is not executable",
    errno.ENOEXEC: "is not a program for this system (a script needs a first line such as #!/bin/sh)",
}
_FEW = 500
"""Number of process ids up to which each is tried, which takes less time than to list all processes."""
LAST_WAIT = 5.0
"""Seconds to wait for the exit of killed processes."""
_SESSIONS: dict[int, ProcessMark] = {}
"""The marks of the groups that are in use and whose leaders are not reaped: no other session has their ids."""
ENDED = frozenset({"zombie", "dead"})
"""States, in psutil's terms, of a process that has exited and whose parent has not waited for it."""


class Group:
    """A process group: a program that was started as its leader, and the processes that it started.

    The leader is not reaped before `release` or, once it has exited, `is_alive`. Until then its id, which is
    also the group's, is not reused, so a signal cannot reach another process.

    Raises:
        OSError: The program cannot be started.
        ValueError: An argument or a variable is not valid, such as one with a null character.
    """

    def __init__(  # noqa: PLR0913 - what a process is started with
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str],
        stdin: IO[bytes] | None,
        output: int,
        mark: ProcessMark,
        descriptors: Sequence[int] = (),
    ) -> None:
        if not argv:
            raise ValueError("there is no command")
        with mark.inherited():
            self._leader = subprocess.Popen(
                argv,
                cwd=directory,
                env={**environment, **mark.variables},
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=descriptors,
            )
        self._code: int | None = None
        self.id = self._leader.pid
        _SESSIONS[self.id] = mark
        self.descriptor = _descriptor(self.id)
        """Becomes readable when the leader exits; `None` if the system has no pidfd_open(2)."""

    def exit_code(self) -> int | None:
        """Return the leader's exit code (128 + n if signal n ended it); `None` while it runs."""
        if self._code is None:
            self._code = self._poll()
        return self._code

    def _poll(self) -> int | None:
        if sys.platform != "linux":
            code = self._leader.poll()
            return SIGNALLED - code if code is not None and code < 0 else code
        try:
            ended = os.waitid(os.P_PID, self.id, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # this program was started with SIGCHLD ignored
            _SESSIONS.pop(self.id, None)
            return UNKNOWN
        if ended is None:
            return None
        return ended.si_status + (0 if ended.si_code == os.CLD_EXITED else SIGNALLED)

    def is_alive(self) -> bool:
        """Whether a process of the group is running. A leader that has exited is reaped."""
        if self.exit_code() is None:
            return True
        _SESSIONS.pop(self.id, None)
        self._leader.wait()
        try:
            os.killpg(self.id, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return _is_any_running(self.id)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the group, then SIGCONT, so that a stopped process handles it."""
        for each in (number, signal.SIGCONT):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.id, each)

    def release(self) -> None:
        """Reap the leader if it has exited, and close the descriptor."""
        _SESSIONS.pop(self.id, None)
        if self.exit_code() is not None:
            self._leader.wait()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


@contextmanager
def open_pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Give both ends of a pipe; the reading one first."""
    reading, writing = os.pipe()
    with FileIO(reading, "rb") as reader, FileIO(writing, "wb") as writer:
        yield reader, writer


def find_program(name: str, path: str) -> str | None:
    """Return where a program of the system is, without links on the way; `None` if it is missing. Blocking.

    Args:
        name: Its name.
        path: Directories in the form of PATH. Relative ones are left out: they would be in a task's worktree.
    """
    directories = os.pathsep.join(entry for entry in path.split(os.pathsep) if entry.startswith("/"))
    found = shutil.which(name, path=directories or os.defpath)
    return str(Path(found).resolve()) if found else None


def require_program(argv: Sequence[str], directory: Path, path: str) -> None:
    """Check that a program exists which another one is to start, which would not say so in the same way.

    Args:
        argv: The argument vector.
        directory: Its working directory.
        path: Directories to search for programs, in the form of PATH.

    Raises:
        OSError: It is missing, or is not executable.
    """
    program = argv[0]
    if shutil.which(str(directory / program) if "/" in program else program, path=path):
        return
    number = errno.EACCES if "/" in program and (directory / program).exists() else errno.ENOENT
    raise OSError(number, os.strerror(number))


def describe_start_failure(
    error: OSError | ValueError, argv: Sequence[str], directory: Path, path: str
) -> tuple[int | None, str]:
    """Return the exit code that a shell would return for a program that could not be started, and why.

    Args:
        error: The error of the start.
        argv: The argument vector.
        directory: Its working directory.
        path: Directories to search for programs, in the form of PATH.
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


def may_have_escaped(mark: ProcessMark, first: int) -> bool:
    """Whether a process with a mark is running that was started after process `first`. Blocking.

    A quick check, without the import of psutil, by the ids, which Linux assigns in order; elsewhere `False`.
    """
    if sys.platform != "linux":
        return False
    own = {int(name) for name in os.listdir("/proc/self/task")}  # noqa: PTH208 - its threads have ids, too
    return any(
        number not in own
        and _exists(number)
        and _SESSIONS.get(_session(number), mark) == mark  # no process joins the session of another task
        and (mark.is_in_environment_of(number) or (read_limit(number) == mark.limit and not _is_own(number)))
        for number in _ids_after(first)
    )


def _session(pid: int) -> int:
    """Return the id of a process's session (getsid(2)); 0 without a process."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _is_own(pid: int) -> bool:
    """Whether a process was started by this one, or by one that was: by its parents in /proc. Blocking.

    A git of this program, and what it starts, has the limit of a mark if both started at the same moment.
    """
    own = os.getpid()
    while pid > 1:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return False
        pid = int(text.rpartition(")")[2].split()[1])  # proc(5): the name in brackets, the state, the parent
        if pid == own:
            return True
    return False


def _exists(number: int) -> bool:
    """Whether there is a process with an id: nearly a hundred times as quick as to look for it in /proc."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # one of another user
        return True
    return True


def _ids_after(first: int) -> Iterable[int]:
    """Return the ids that processes started after process `first` may have."""
    newest = int(Path("/proc/loadavg").read_bytes().split()[-1])  # proc(5): the id that was assigned last
    if first <= newest < first + _FEW:
        return range(first + 1, newest + 1)
    listed = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    # After the highest id, the lowest free ones are assigned again.
    return [number for number in listed if number > first or newest < first]


def find_escaped_processes(mark: ProcessMark) -> "list[Process]":
    """Return the processes started after this one with a mark that are running. Blocking."""
    from psutil import Process  # noqa: PLC0415 - takes 30 ms, and is needed only when something is left running

    # Most processes of a machine are older, and reading an environment is slow. A second is for rounding.
    oldest = Process().create_time() - 1
    return [
        process for process in _other_processes() if process.create_time() >= oldest and _is_of(mark, process)
    ]


def signal_escaped_process(process: "Process", number: signal.Signals) -> None:
    """Send a signal to a process, unless it has exited and its id is reused: psutil compares creation times."""
    from psutil import Error  # noqa: PLC0415 - see above

    with suppress(Error):
        process.send_signal(number)


def kill_processes_in(directory: Path, variable: str, running: Collection[str] | None = None) -> None:
    """Kill processes that run in a directory with a variable or a mark: the task of a run that was killed.

    Blocking. Returns when they have exited, or after `LAST_WAIT` seconds.

    Args:
        directory: The directory.
        variable: The variable.
        running: What `running_below` returned for the directory or one above it; by default that is called.
    """
    running = running_below(directory) if running is None else running
    if running is not None and not any(_is_below(place, str(directory)) for place in running):
        return
    from psutil import wait_procs  # noqa: PLC0415 - see above

    end = monotonic() + LAST_WAIT
    while (left := _find_running_in(directory, variable)) and monotonic() < end:
        for process in left:
            signal_escaped_process(process, signal.SIGKILL)
        wait_procs(left, timeout=LAST_WAIT / 500)


def has_ended(pid: int) -> bool:
    """Whether a process that is still listed has exited, and its parent has not waited for it yet."""
    from psutil import Error, Process  # noqa: PLC0415 - see above

    try:
        return Process(pid).status() in ENDED
    except Error:
        return False


def _other_processes() -> "Iterator[Process]":
    """Yield a new object per process: `psutil.process_iter` caches them, even if an id is reused."""
    import psutil  # noqa: PLC0415 - see above

    for pid in psutil.pids():
        if pid != os.getpid():
            with suppress(psutil.Error):
                yield psutil.Process(pid)


def _is_of(mark: ProcessMark, process: "Process") -> bool:
    from psutil import Error  # noqa: PLC0415 - see above

    try:
        if process.status() in ENDED:
            return False
        if mark.variables.items() <= process.environ().items():
            return True
        return read_limit(process.pid) == mark.limit and not _is_own(process.pid)
    except (Error, OSError):
        return False


def running_below(directory: Path) -> frozenset[str] | None:
    """Return the directories, from one on down, that processes run in. Blocking, without the import of psutil.

    `None` where the system does not say it quickly.
    """
    if sys.platform != "linux":
        return None
    found = set()
    for name in os.listdir("/proc"):  # noqa: PTH208 - paths take ten times as long
        if name.isdecimal():
            with suppress(OSError):
                found.add(os.readlink(f"/proc/{name}/cwd"))  # noqa: PTH115 - likewise
    return frozenset(place for place in found if _is_below(place, str(directory)))


def _is_below(place: str, directory: str) -> bool:
    return place == directory or place.startswith(f"{directory}/")


def _find_running_in(directory: Path, variable: str) -> "list[Process]":
    from psutil import Error  # noqa: PLC0415 - see above

    found = []
    for process in _other_processes():
        with suppress(Error, OSError):
            if process.status() in ENDED or not Path(process.cwd()).is_relative_to(directory):
                continue
            if variable in process.environ() or has_any_mark(process.pid):
                found.append(process)
    return found


def _is_any_running(group: int) -> bool:
    """Whether a group has a process that is not a zombie."""
    from psutil import Error  # noqa: PLC0415 - see above

    for process in _other_processes():
        with suppress(Error, OSError):
            if os.getpgid(process.pid) == group and process.status() not in ENDED:
                return True
    return False


def _descriptor(pid: int) -> int | None:
    """Return a descriptor that becomes readable when a child exits, if the system has pidfd_open(2)."""
    descriptor = None
    if sys.platform == "linux":
        with suppress(OSError):
            descriptor = os.pidfd_open(pid)
    return descriptor

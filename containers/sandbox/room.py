"""The sandbox of one task: its namespaces, which live as long as the task, and the command of each step."""

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from containers.process_marks import ProcessMark
from containers.sandbox.mounts import Places, return_logins, task_mounts
from containers.sandbox.policy import SOCKET_VARIABLES, Network, Policy
from containers.sandbox.seccomp import terminal_filter
from tasks.errors import PatchyardError

NS_GET_USERNS = 0xB701
"""https://man7.org/linux/man-pages/man2/ioctl_ns.2.html: the user namespace that owns a namespace."""
_HOLDER = "echo ready; read -r _; kill -KILL -1"
"""Says that the namespaces are complete; at the end of patchyard, ends every process of the task."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What a shell needs. The holder sees nothing else: tasks reach its files by `/proc/PID/root`."""


class SandboxError(PatchyardError):
    """The sandbox cannot be made. The message says why, and what to do."""


class Room:
    """The sandbox of one task. A context manager, which ends all its processes. Methods block.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        mounts: The arguments for its file system.
        mark: The mark of the task's processes.

    Raises:
        SandboxError: From any method, when its namespaces cannot be made.
    """

    def __init__(self, program: str, policy: Policy, mounts: Sequence[str], mark: ProcessMark) -> None:
        self._program = program
        self._policy = policy
        self._mounts = mounts
        self._mark = mark
        self._namespaces = ExitStack()
        self._seccomp: int | None = None
        self._joining: tuple[str, ...] = ()
        self.descriptors: tuple[int, ...] = ()
        """The descriptors that a step's process inherits."""

    def __enter__(self) -> Self:
        """Make its namespaces."""
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End its processes."""
        self.end_processes()

    def end_processes(self) -> None:
        """Kill every process in the sandbox. Steps may run in it afterwards."""
        self._namespaces.close()
        self.descriptors, self._joining = (), ()

    def command(self, argv: Sequence[str]) -> tuple[str, ...]:
        """Return the argument vector that runs a command in the sandbox; `descriptors` are for that one."""
        if not self._joining:
            self._open()
        network = ["--unshare-net"] if self._policy.network is Network.OFF else []
        added = [*network, "--unshare-ipc", "--unshare-uts", *self._mounts]
        return (self._program, *self._joining, *self._filter(), *added, "--", *argv)

    @staticmethod
    def environment(environment: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that a step has in the sandbox."""
        return {name: value for name, value in environment.items() if name not in SOCKET_VARIABLES}

    def _open(self) -> None:
        with ExitStack() as stack:
            first = stack.enter_context(_held_namespaces(self._program, self._mark))
            processes = _opened(stack, f"/proc/{first}/ns/pid")
            inner = _opened(stack, f"/proc/{first}/ns/user")
            users = fcntl.ioctl(processes, NS_GET_USERNS)
            stack.callback(os.close, users)
            self._joining = ("--userns", str(users), "--pidns", str(processes))
            self.descriptors = (users, processes)
            if os.fstat(users).st_ino != os.fstat(inner).st_ino:  # not as root: tasks have no capabilities
                self._joining += ("--userns2", str(inner))
                self.descriptors += (inner,)
            if program := terminal_filter():
                self._seccomp = os.memfd_create("filter", os.MFD_CLOEXEC)
                stack.callback(os.close, self._seccomp)
                os.write(self._seccomp, program)
                self.descriptors += (self._seccomp,)
            self._namespaces = stack.pop_all()

    def _filter(self) -> tuple[str, ...]:
        if self._seccomp is None:
            return ()
        os.lseek(self._seccomp, 0, os.SEEK_SET)
        return "--seccomp", str(self._seccomp)


@contextmanager
def open_room(program: str, policy: Policy, places: Places, mark: ProcessMark) -> Iterator[Room]:
    """Make the sandbox of a task; renewed log-ins of its agent are kept at the end. Blocking.

    Args:
        program: The path of bubblewrap.
        policy: What the user permits.
        places: Where the task's files are.
        mark: The mark of the task's processes.

    Raises:
        SandboxError: It cannot be made.
    """
    try:
        mounts = task_mounts(places)
    except OSError as error:
        raise SandboxError(f"the sandbox cannot be made: {error.filename}: {error.strerror}") from None
    with Room(program, policy, mounts, mark) as room:
        yield room
    return_logins(places)


@contextmanager
def _held_namespaces(program: str, mark: ProcessMark) -> Iterator[int]:
    """Make new namespaces, and give the id of their first process, which is killed at the end. Blocking.

    If this process is killed, its end of the pipe closes, and the holder ends every process in them.

    Raises:
        SandboxError: They cannot be made.
    """
    with _pipe() as (held, lifeline), _pipe() as (reports, reporting):
        with mark.inherited():  # not by chance that of another task
            process = _start_holder(program, held.fileno(), reporting.fileno())
        reporting.close()
        first = _first_process(process, reports)
        try:
            if first is None:
                lifeline.close()
                stderr = process.communicate()[1].decode(errors="replace").strip()
                raise SandboxError(f"bubblewrap cannot make a sandbox: {stderr or 'it ended at once'}")
            with _killed(first):
                yield first
        finally:
            lifeline.close()
            process.communicate()


def _start_holder(program: str, held: int, reporting: int) -> "subprocess.Popen[bytes]":
    command = [program, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    command += ["--info-fd", str(reporting), "--tmpfs", "/"]
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            command += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            command += ["--ro-bind", str(path), str(path)]
    command += ["--proc", "/proc", "--dev", "/dev", "--", "/bin/sh", "-c", _HOLDER]
    try:
        return subprocess.Popen(
            command,
            stdin=held,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reporting,),
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin"},
        )
    except OSError as error:
        raise SandboxError(f"bubblewrap cannot be started: {error.strerror}") from None


@contextmanager
def _killed(first: int) -> Iterator[None]:
    """Kill the first process of a PID namespace at the end, and so all of them (pid_namespaces(7))."""
    descriptor = os.pidfd_open(first)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)


def _first_process(process: "subprocess.Popen[bytes]", reports: FileIO) -> int | None:
    """Return the id of the first process of the new namespaces; `None` if they could not be made.

    Bubblewrap reports it as JSON, before it has mapped users: only then can others join.
    """
    text = reports.readall() or b""
    if process.stdout is None or not process.stdout.readline():
        return None
    return int(json.loads(text)["child-pid"])


@contextmanager
def _pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """Give both ends of a pipe; the reading one first."""
    reading, writing = os.pipe()
    with FileIO(reading, "rb") as reader, FileIO(writing, "wb") as writer:
        yield reader, writer


def _opened(stack: ExitStack, path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor

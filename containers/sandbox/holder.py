"""The process that holds the namespaces of a task, which end with it."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path

from containers.process_marks import ProcessMark
from containers.processes import open_pipe
from containers.sandbox.mounter import SandboxError

_HOLDER = "echo ready; read -r _; kill -KILL -1"
"""Says that the namespaces are complete; at the end of patchyard, ends every process of the task."""
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""What a shell needs. The holder sees nothing else: tasks may reach its files by `/proc/PID/root`."""


@contextmanager
def held_namespaces(
    starter: ThreadPoolExecutor,
    program: str,
    mark: ProcessMark,
    options: Sequence[str],
    inherited: Sequence[int],
) -> Iterator[int]:
    """Make new namespaces, and give the id of their first process, which is killed at the end. Blocking.

    If this process is killed, the kernel kills the holder, and with it every process in them. Where it is
    killed before the holder asked for that, its end of the pipe closes, and the holder ends; if even bubblewrap
    was not ready, `end_left_holders` of the next run ends it.

    Raises:
        SandboxError: They cannot be made.
    """
    with open_pipe() as (held, lifeline), open_pipe() as (reports, reporting):
        with mark.inherited():  # not by chance that of another task
            process = starter.submit(
                _start_holder, program, options, held.fileno(), reporting.fileno(), inherited
            ).result()
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
            with process:  # closes its pipes, and waits
                pass


def end_left_holders() -> None:
    """Kill holders that are left of a program that was killed while bubblewrap made their namespaces. Blocking.

    Bubblewrap's child then waits for its parent forever: it has not yet asked to be killed with it.
    """
    for name in os.listdir("/proc"):  # noqa: PTH208 - paths take ten times as long
        if name.isdecimal() and _is_left(int(name)):
            with suppress(OSError):
                descriptor = os.pidfd_open(int(name))
                try:
                    if _is_left(int(name)):  # still, and not another one with the same id
                        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                finally:
                    os.close(descriptor)


def _is_left(pid: int) -> bool:
    """Whether a process is the first of a holder's namespaces, whose parent, a bubblewrap, has ended."""
    try:
        if _status(pid, b"Name:") != [b"bwrap"] or _status(pid, b"Uid:")[0] != b"%d" % os.getuid():
            return False
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        is_first = _HOLDER.encode() in argv and len(_status(pid, b"NSpid:")) > 1
        return is_first and _status(int(_status(pid, b"PPid:")[0]), b"Name:") != [b"bwrap"]
    except (OSError, IndexError):
        return False


def _status(pid: int, field: bytes) -> list[bytes]:
    """Return the words of a field of a process (proc_pid_status(5)); none without it.

    Raises:
        OSError: There is no such process.
    """
    with open(f"/proc/{pid}/status", "rb") as file:  # noqa: PTH123 - paths take ten times as long
        for line in file:
            if line.startswith(field):
                return line.split()[1:]
    return []


def _start_holder(
    program: str, options: Sequence[str], held: int, reporting: int, inherited: Sequence[int]
) -> "subprocess.Popen[bytes]":
    command = [program, "--unshare-pid", "--unshare-ipc", "--unshare-uts", *options]
    command += ["--die-with-parent", "--info-fd", str(reporting), *_file_system()]
    command += ["--", "/bin/sh", "-c", _HOLDER]
    try:
        return subprocess.Popen(
            command,
            stdin=held,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(reporting, *inherited),
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin"},
        )
    except OSError as error:
        raise SandboxError(f"bubblewrap cannot be started: {error.strerror}") from None


@cache
def _file_system() -> tuple[str, ...]:
    """Return the options for the file system of a holder. Blocking.

    It has no `/proc`: tasks would reach its settings of the kernel. For `/dev`, bubblewrap makes a second user
    namespace where this process is not root's. In the first it is root, as it must be to join it for a step.
    """
    options = ["--tmpfs", "/"]
    for path in map(Path, _SYSTEM):
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            options += ["--ro-bind", str(path), str(path)]
    return (*options, *(() if os.geteuid() == 0 else ("--dev", "/dev")))


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

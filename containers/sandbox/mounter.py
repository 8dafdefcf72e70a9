"""Ask another process to enter namespaces of tasks, and to mount in them."""

import marshal
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from containers.process_marks import ProcessMark
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

PROCESSES = "/dev/.proc"
"""Where the `/proc` of a task is in its file system if some of it is read-only, as the program has it."""
HIDDEN, CLOSED = "--hidden", "--closed"
"""Beside the options of bubblewrap: show an empty directory, or a file that cannot be opened, at a path. In a
closed directory nothing can be made."""
_PROGRAM = Path(__file__).with_name("mounter_program.py")
_FIRST = 1 << 15
"""Bytes that are sent together with descriptors."""


class SandboxError(PatchyardError):
    """The sandbox cannot be made. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What is mounted for a task.

    Args:
        options: What covers what is there, as options of bubblewrap; `--layer` and a directory for one under a
            layer, `HIDDEN` or `CLOSED` and a path.
        settings: Names of what in `/proc` changes the system, and is read-only.
        room: The directory with `upper` and `work` of the layer.
        hidden: What the layer hides: directories of the one under it, with their permission bits, each after
            those around it, and names in them.
    """

    options: Sequence[Sequence[str]] = ()
    settings: Sequence[str] = ()
    room: str = "/"
    hidden: Sequence[tuple[str, int, list[str]]] = ()


class Mounter:
    """Makes the file systems of a run's tasks, by a process of its own, which ends with this one.

    Its methods are called by any thread, and block. The process is started when it is needed.

    Raises:
        SandboxError: From any method, when the kernel refuses it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def make_file_system(self, users: int, processes: int, wanted: FileSystem) -> list[int]:
        """Make the file system of a task; return descriptors of its mount namespace and of its root directory.

        None are returned where the kernel cannot mount a layer. Afterwards, nothing in the user namespace can
        make another one, from which it could move mounts.

        Args:
            users: The user namespace of the task.
            processes: Its PID namespace.
            wanted: What is mounted.
        """
        file_system = {name: getattr(wanted, name) for name in FileSystem.__slots__}
        return self._ask({"action": "make", "file_system": file_system}, users, processes, fork_in=processes)

    def hide(self, users: int, mounts: int, paths: Sequence[Path]) -> None:
        """Hide files and directories in the mount namespace of a task, also from its running processes."""
        self._ask({"action": "hide", "paths": list(map(str, paths))}, users, mounts)

    def listen(self, users: int, network: int) -> socket.socket:
        """Return a socket that listens on the loopback interface of a network namespace."""
        (made,) = self._ask({"action": "listen"}, users, network)
        return socket.socket(fileno=made)

    def _ask(self, request: dict[str, Any], *descriptors: int, fork_in: int | None = None) -> list[int]:
        text = marshal.dumps(request)
        own = self._connect(() if fork_in is None else (fork_in,))
        with own:
            try:
                socket.send_fds(own, [text[:_FIRST]], descriptors)
                own.sendall(text[_FIRST:])
                own.shutdown(socket.SHUT_WR)
                answer, made, _, _ = socket.recv_fds(own, 1 << 16, 2)
            except OSError as error:
                raise SandboxError(f"the process that mounts for tasks ended: {error.strerror}") from None
        if not answer:
            raise SandboxError("the process that mounts for tasks ended, or could start no other")
        if reason := marshal.loads(answer):  # noqa: S302 - of the program that this process started
            raise SandboxError(f"the sandbox cannot be made: {reason}")
        return made

    def _connect(self, namespaces: tuple[int, ...]) -> socket.socket:
        own, other = socket.socketpair()
        with other, self._lock:
            try:
                if self._control is None or (self._process is not None and self._process.poll() is not None):
                    self._end()
                    self._control = self._start()
                socket.send_fds(self._control, [b"."], [other.fileno(), *namespaces])
            except OSError as error:
                own.close()
                raise SandboxError(f"no process can be started that mounts for tasks: {error}") from None
        return own

    def _start(self) -> socket.socket:
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other, ProcessMark({}).inherited():  # not by chance that of a task
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_PROGRAM), str(other.fileno())],
                cwd="/",
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(other.fileno(),),
                start_new_session=True,
            )
        return own

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.wait()
            self._process = None

"""Commands in processes that are forked from one that has imported the program.

Imports take most of a short command. A server is started once for a test process (`command_server`); a command
is a process of its own, with its own directory, environment and streams. With PATCHYARD_TESTS_PRELOADED=0 each
has an interpreter of its own.
"""

import array
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from pathlib import Path
from typing import IO

IS_USABLE = hasattr(os, "pidfd_open") and os.environ.get("PATCHYARD_TESTS_PRELOADED") != "0"
OF_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_")
"""How the names of variables begin that an interpreter reads: each set of values has a server of its own."""


class ForkedProcess:
    """A process of `patchyard`, with what the tests use of `subprocess.Popen`.

    Args:
        arguments: Those of the command.
        cwd: Its directory.
        environ: Its environment.
        stdin: Its standard input; empty by default.
        stdout: A file for its standard output, or a pipe.
        stderr: A file for its standard errors, or a pipe.
        session: Whether it has a session of its own.
    """

    def __init__(  # noqa: PLR0913 - what a process is started with
        self,
        arguments: Sequence[str | Path],
        cwd: Path,
        environ: Mapping[str, str],
        *,
        stdin: IO[bytes] | None = None,
        stdout: IO[bytes] | None = None,
        stderr: IO[bytes] | None = None,
        session: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self._texts: list[Future[str]] | None = None
        own = sorted((name, value) for name, value in environ.items() if name.startswith(OF_INTERPRETER))
        message = json.dumps([list(map(str, arguments)), str(cwd), dict(environ), session]).encode()
        given = os.dup(stdin.fileno()) if stdin else os.open(os.devnull, os.O_RDONLY)
        self.stdout, to = _pipe(stdout)
        self.stderr, errors = _pipe(stderr)
        streams = array.array("i", [given, to, errors])
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(_address(tuple(own)))
            header = len(message).to_bytes(4)
            self._connection.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
            self._connection.sendall(message)
        finally:
            for stream in streams:
                os.close(stream)
        self.pid = int.from_bytes(self._connection.recv(4, socket.MSG_WAITALL))

    def poll(self) -> int | None:
        """Return the exit code, minus the number of the signal that ended it; `None` while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, for a time in seconds; return the exit code.

        Raises:
            subprocess.TimeoutExpired: The time is over.
        """
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                code = self._connection.recv(4, socket.MSG_WAITALL)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("patchyard", timeout or 0) from None
            self._connection.close()
            self.returncode = int.from_bytes(code, signed=True)
        return self.returncode

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]:
        """Wait until the process ends and its pipes are closed; return what it printed."""
        if self._texts is None:
            threads = ThreadPoolExecutor(2)
            self._texts = [
                threads.submit(stream.read if stream else str) for stream in (self.stdout, self.stderr)
            ]
            threads.shutdown(wait=False)
        self.wait(timeout)
        try:
            out, errors = (text.result(timeout) for text in self._texts)
        except FutureTimeoutError:
            raise subprocess.TimeoutExpired("patchyard", timeout or 0) from None
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        return out, errors

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and the server is about to say so
                os.kill(self.pid, sig)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)


def _pipe(file: IO[bytes] | None) -> tuple[IO[str] | None, int]:
    """Return what to read from, for a pipe, and the descriptor to pass on."""
    if file:
        return None, os.dup(file.fileno())
    reading, writing = os.pipe()
    return os.fdopen(reading, encoding="utf-8"), writing


@functools.cache
def _address(own: tuple[tuple[str, str], ...]) -> str:
    """Start a server with these variables; return where it listens. It ends with this process."""
    address = str(Path(tempfile.mkdtemp(prefix="patchyard-tests-"), "commands"))
    server = subprocess.Popen(
        [sys.executable, "-P", Path(__file__).with_name("command_server.py"), address],
        env={"PATH": os.environ.get("PATH", os.defpath), **dict(own)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdout
    with server.stdout as ready:
        assert ready.read(1) == b"\n", "the server of commands did not start"
    atexit.register(_stop, server, Path(address))
    return address


def _stop(server: "subprocess.Popen[bytes]", address: Path) -> None:
    server.communicate()
    with suppress(OSError):
        address.unlink()
        address.parent.rmdir()

"""Commands from an interpreter that has imported the program, because imports take most of a short command.

A server is started once for a test process. It forks for each command, which is a process with a directory, an
environment and streams of its own. With PATCHYARD_TESTS_PRELOADED=0 an interpreter is started for each command.
"""

import array
import atexit
import functools
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import IO, Never, TextIO

IS_USABLE = hasattr(os, "pidfd_open") and os.environ.get("PATCHYARD_TESTS_PRELOADED") != "0"
OF_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "GLIBC_")
"""How the names of variables begin that an interpreter reads: each set of values has a server of its own."""
LEFT_OUT = ("pipeline.web", "pipeline.dagger_module", "pipeline.store.migrations", "pipeline.__main__")
"""Modules that few commands import."""


def run_preloaded(
    arguments: Sequence[str | Path],
    cwd: Path,
    environ: Mapping[str, str],
    streams: Sequence[IO[bytes]],
    patience: float,
) -> int:
    """Run `patchyard` until it ends; return its exit code, or minus the number of the signal that ended it.

    Args:
        arguments: Those of the command.
        cwd: Its directory.
        environ: Its environment.
        streams: Its standard input, output and errors.
        patience: Time limit in seconds; the process is killed then.

    Raises:
        TimeoutError: The limit is over.
    """
    own = sorted((name, value) for name, value in environ.items() if name.startswith(OF_INTERPRETER))
    message = json.dumps([list(map(str, arguments)), str(cwd), dict(environ)]).encode()
    descriptors = array.array("i", [stream.fileno() for stream in streams])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_address(tuple(own)))
        header = len(message).to_bytes(4)
        connection.sendmsg([header], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        connection.sendall(message)
        process = int.from_bytes(connection.recv(4, socket.MSG_WAITALL))
        connection.settimeout(patience)
        try:
            return int.from_bytes(connection.recv(4, socket.MSG_WAITALL), signed=True)
        except TimeoutError:
            os.kill(process, signal.SIGKILL)
            raise


@functools.cache
def _address(own: tuple[tuple[str, str], ...]) -> str:
    """Start a server with these variables; return where it listens. It ends with this process."""
    address = str(Path(tempfile.mkdtemp(prefix="patchyard-tests-"), "commands"))
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, address],
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


def _serve(address: str) -> Never:
    """Fork for each connection; send the number of the process, then its exit code."""
    for root in ("tasks", "containers", "pipeline"):
        for module in pkgutil.walk_packages(importlib.import_module(root).__path__, f"{root}."):
            if not module.name.startswith(LEFT_OUT):
                importlib.import_module(module.name)
    # What GitHub asks its clients for; the server of the tests needs no pause.
    pauses = importlib.import_module("pipeline.forge.github_client").GitHub.__init__.__kwdefaults__
    pauses |= {"between_requests": 0.0, "between_writes": 0.0, "backoff": 0.1}
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    os.write(1, b"\n")
    os.close(1)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    waiting.register(0, selectors.EVENT_READ)  # it is closed when the test process ends
    while True:
        for key, _ in waiting.select():
            if key.fd == 0:
                os._exit(0)
            elif key.fileobj is listener:
                connection = listener.accept()[0]
                process = _fork(connection)
                connection.sendall(process.to_bytes(4))
                waiting.register(os.pidfd_open(process), selectors.EVENT_READ, (process, connection))
            else:
                waiting.unregister(key.fd)
                os.close(key.fd)
                _send_code(*key.data)


def _send_code(process: int, connection: socket.socket) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(OSError), connection:
        connection.sendall(code.to_bytes(4, signed=True))


def _fork(connection: socket.socket) -> int:
    """Read a command from a connection, fork a process that runs it, and return its number."""
    header, passed, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(12))
    message = connection.recv(int.from_bytes(header), socket.MSG_WAITALL)
    streams = array.array("i", passed[0][2])
    process = os.fork()
    if process == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, max(streams) + 1)
        _run(*json.loads(message))
    for stream in streams:
        os.close(stream)
    return process


def _run(arguments: list[str], cwd: str, environ: dict[str, str]) -> Never:
    """Run the command line as an interpreter does that has just started."""
    try:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin = _stream(0, "r", sys.stdin)
        sys.stdout = _stream(1, "w", sys.stdout)
        sys.stderr = _stream(2, "w", sys.stderr)
        sys.argv = ["patchyard", *arguments]
        gc.unfreeze()
        from pipeline.__main__ import main  # noqa: PLC0415 - as an interpreter does

        main()
    except SystemExit as ended:
        sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    os._exit(1)


def _stream(number: int, mode: str, like: TextIO) -> TextIO:
    """Return a new stream of a descriptor, with the encoding that this interpreter chose."""
    raw = FileIO(number, mode, closefd=False)
    buffered = BufferedReader(raw) if mode == "r" else BufferedWriter(raw)
    return TextIOWrapper(
        buffered, encoding=like.encoding, errors=like.errors, line_buffering=bool(like.line_buffering)
    )


if __name__ == "__main__":
    _serve(sys.argv[1])

"""Server that has imported the program, and forks for each command; see `preloaded`.

Run as a program, with the path of its socket. A message is a JSON array of arguments, directory, environment
and whether the process gets a session of its own; its three streams are sent as descriptors. The answers are
the id of the process, and its exit code when it ends.
"""

import array
import gc
import importlib
import json
import os
import pkgutil
import selectors
import socket
import sys
import traceback
from contextlib import suppress
from io import BufferedReader, BufferedWriter, FileIO, TextIOWrapper
from typing import Never, TextIO

LEFT_OUT = ("pipeline.dagger_module", "pipeline.store.migrations", "pipeline.__main__")
"""Modules that no command imports, or that do something when they are imported."""


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
        arguments, cwd, environ, session = json.loads(message)
        if session:
            os.setsid()
        _run(arguments, cwd, environ)
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

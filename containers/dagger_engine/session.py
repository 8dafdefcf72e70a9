"""Sessions with Dagger engines, through the `dagger` command line, which handles every kind of address."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import IO, NamedTuple, Self
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from anyio.abc import Process

from containers.concurrency import plain_task_group
from containers.dagger_engine.address import address_problem
from containers.dagger_engine.client.api import Client
from containers.dagger_engine.client.connection import http_client
from containers.dagger_engine.client.errors import ClientError
from containers.dagger_engine.query import EngineError
from tasks.lazy.dataclasses import dataclass
from tasks.secrets import without_own_secrets

if sys.platform == "linux":
    import fcntl

CLI = "_EXPERIMENTAL_DAGGER_CLI_BIN"
HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
PORT = "DAGGER_SESSION_PORT"
TOKEN = "DAGGER_SESSION_TOKEN"  # noqa: S105 - a variable's name
OLDEST = (0, 21)
REACHED_BY = {"kube-pod": "kubectl", "ssh": "ssh"}
"""Programs that the command line needs for a scheme; without them it would retry without end."""
CONNECT_TIMEOUT = 10.0
"""Seconds that an address may take to accept a connection."""
SESSION_TIMEOUT = 60.0
"""Seconds that a session may take to reach a running engine."""
PROVISION_TIMEOUT = 600.0
"""Seconds that it may take if the command line starts the engine first."""
CLOSE_TIMEOUT = 10.0
"""Seconds that a session may take to exit by itself; its running execs end with it."""
LINE = 65536


class CommandLineError(EngineError):
    """The `dagger` command line is not installed, or does not start."""


class _Lifeline:
    """A pipe on standard input that makes a child process exit with its parent.

    The child sees the end of its input when this process closes the pipe or exits, even if it is killed. Until
    the child reads, Linux kills it at that moment: see F_SETSIG in fcntl(2).
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self._open = {self.reader, self._writer}

    def bind(self, pid: int) -> None:
        """Make the system kill a process that has `reader` as its input when the other end is closed."""
        if sys.platform == "linux":
            with suppress(OSError):
                fcntl.fcntl(self.reader, fcntl.F_SETOWN, pid)
                fcntl.fcntl(self.reader, fcntl.F_SETSIG, signal.SIGKILL)
                flags = fcntl.fcntl(self.reader, fcntl.F_GETFL)
                fcntl.fcntl(self.reader, fcntl.F_SETFL, flags | os.O_ASYNC)

    def release(self) -> None:
        """Stop killing the process: it reads its input by now, and exits by itself at its end."""
        if sys.platform == "linux":
            with suppress(OSError):
                flags = fcntl.fcntl(self.reader, fcntl.F_GETFL)
                fcntl.fcntl(self.reader, fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def close(self) -> None:
        """Close both ends."""
        while self._open:
            os.close(self._open.pop())


class _Started(NamedTuple):
    """A running command line; it exits at the end of its input."""

    process: Process
    input: _Lifeline


class _Parameters(NamedTuple):
    """Address of a session: a port of this machine, and the token that it requires."""

    port: int
    token: str


@dataclass(slots=True)
class Session:
    """A session with an engine."""

    client: Client
    _started: _Started | None

    @classmethod
    async def open(cls, address: str | None, environ: Mapping[str, str], log: Path) -> Self:
        """Open a session.

        Args:
            address: Address of the engine; `None` for that of the environment, else the command line's default.
            environ: The environment.
            log: File to which the command line's messages are appended.

        Raises:
            EngineError: The command line is not installed, the engine is unavailable, or it is too old.
        """
        if address is None and environ.get(PORT, "").isdigit():
            return await cls._connect(None, _Parameters(int(environ[PORT]), environ.get(TOKEN, "")))
        address = address or environ.get(HOST)
        await _check_address(address, environ)
        started = await _start(address, environ, log)
        try:
            async with plain_task_group() as group:
                group.start_soon(to_thread.run_sync, http_client)  # the import takes less time than the start
                parameters = await _read_parameters(started.process, address, log)
            started.input.release()  # from now on it exits at the end of its input
            return await cls._connect(started, parameters)
        except BaseException:
            await _end(started, patience=0)
            raise

    @classmethod
    async def _connect(cls, started: _Started | None, parameters: _Parameters) -> Self:
        client = Client.connect(parameters.port, parameters.token)
        try:
            await _check_version(client)
        except BaseException:
            await client.aclose()
            raise
        return cls(client, started)

    async def aclose(self, *, engine_unavailable: bool = False) -> None:
        """Close the session, and end its running execs, in a bounded time.

        Args:
            engine_unavailable: Whether the engine is known to be unavailable; then nothing is waited for.
        """
        with anyio.CancelScope(shield=True):
            await self.client.aclose()
            if self._started:
                await _end(self._started, patience=0 if engine_unavailable else CLOSE_TIMEOUT)


async def _check_version(client: Client) -> None:
    """Check that an engine is not too old.

    Raises:
        EngineError: It is, or its session does not answer.
    """
    try:
        said = await client.version()
    except ClientError as error:
        raise EngineError(f"its session does not answer: {error}") from error
    if _parse_version(said) < OLDEST:
        raise EngineError(f"it is Dagger {said}, and patchyard needs 0.21 or newer")


def _parse_version(version_text: str) -> tuple[int, ...]:
    """Return the first two parts of a version such as v0.21.8; of any other text, the oldest supported one."""
    parts = version_text.removeprefix("v").split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else OLDEST


async def _check_address(address: str | None, environ: Mapping[str, str]) -> None:
    """Check that an address accepts connections; the command line would retry without end.

    Raises:
        EngineError: It does not.
    """
    if address and (problem := address_problem(address)):
        raise EngineError(problem)
    parts = urlsplit(address or "")
    program = REACHED_BY.get(parts.scheme)
    if program and not await to_thread.run_sync(partial(shutil.which, program, path=environ.get("PATH"))):
        raise EngineError(f"{program}, which this address needs, is not on PATH")
    try:
        with anyio.fail_after(CONNECT_TIMEOUT):
            if parts.scheme == "tcp":
                stream: anyio.abc.ByteStream = await anyio.connect_tcp(parts.hostname or "", parts.port or 0)
            elif parts.scheme == "unix":
                stream = await anyio.connect_unix(parts.netloc + parts.path)
            else:
                return
            await stream.aclose()
    except TimeoutError:
        raise EngineError(f"it does not accept a connection within {CONNECT_TIMEOUT:g} s") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot connect ({error})") from error


async def _start(address: str | None, environ: Mapping[str, str], log: Path) -> _Started:
    """Start the command line in a new process session: Ctrl-C reaches only patchyard, which then closes it.

    It also exits if patchyard is killed.

    Raises:
        CommandLineError: It is not installed, or does not start.
    """
    command = await to_thread.run_sync(_command, environ)
    own = {**without_own_secrets(environ), **({HOST: address} if address else {})}
    messages = await to_thread.run_sync(_open_log, log)
    with anyio.CancelScope(shield=True), ExitStack() as stack:  # a cancellation here would leak the process
        lifeline = _Lifeline()
        stack.callback(lifeline.close)
        try:
            process = await anyio.open_process(
                command, stdin=lifeline.reader, stdout=PIPE, stderr=messages, env=own, start_new_session=True
            )
        except OSError as error:
            raise CommandLineError(
                f"the dagger command line {command[0]} cannot be started: {error.strerror}"
            ) from error
        finally:
            await to_thread.run_sync(messages.close)
        lifeline.bind(process.pid)
        stack.pop_all()
    return _Started(process, lifeline)


def _command(environ: Mapping[str, str]) -> list[str]:
    found = environ.get(CLI) or shutil.which("dagger", path=environ.get("PATH"))
    if not found:
        raise CommandLineError(
            "mode dagger needs the dagger command line: install it (https://docs.dagger.io/install), "
            f"or set {CLI} to its path"
        )
    # Silent: output of tasks belongs in their logs, where secrets are masked in all of their forms.
    return [found, "session", "--silent", "--label", "dagger.io/sdk.name:patchyard"]


def _open_log(log: Path) -> IO[bytes]:
    return log.open("ab")


async def _read_parameters(process: Process, address: str | None, log: Path) -> _Parameters:
    """Wait until a session prints its port and token.

    Raises:
        EngineError: It does not print them in time.
    """
    limit = PROVISION_TIMEOUT if address is None or "image" in urlsplit(address).scheme else SESSION_TIMEOUT
    line = b""
    try:
        with anyio.fail_after(limit):
            while process.stdout and not line.endswith(b"\n"):
                line += await process.stdout.receive(LINE)
        said = json.loads(line)
        return _Parameters(int(said["port"]), str(said["session_token"]))
    except TimeoutError:
        raise EngineError(f"it could not be reached within {limit:g} s") from None
    except (anyio.EndOfStream, ValueError, KeyError, TypeError):
        messages = await to_thread.run_sync(log.read_text, "utf-8", "replace")
        raise EngineError(_last_message(messages)) from None


def _last_message(messages: str) -> str:
    """Return the last message, which is why a session did not start."""
    lines = [line.partition(" [traceparent:")[0].strip() for line in messages.splitlines()]
    said = [line for line in lines if line]
    return said[-1].removeprefix("Error: ") if said else "its session exited without a message"


async def _end(started: _Started, *, patience: float) -> None:
    """Close the command line's input, wait `patience` seconds for its exit, then kill it."""
    process = started.process
    with anyio.CancelScope(shield=True):
        if patience:
            started.input.close()
            with anyio.move_on_after(patience):
                await process.wait()
        with suppress(ProcessLookupError):
            process.kill()
        await process.aclose()
        started.input.close()

"""Sessions with Dagger engines: processes of the `dagger` command line, which knows every kind of address."""

import importlib
import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE
from types import ModuleType
from typing import IO, TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from anyio.abc import Process

from containers.concurrency import plain_task_group
from containers.dagger_engine.lifeline import Lifeline
from containers.dagger_engine.query import EngineError

if TYPE_CHECKING:
    from dagger import Client
    from dagger.client._session import SingleConnection

CLI = "_EXPERIMENTAL_DAGGER_CLI_BIN"
HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
PORT = "DAGGER_SESSION_PORT"
TOKEN = "DAGGER_SESSION_TOKEN"  # noqa: S105 - a variable's name
OLDEST = (0, 21)
REACHED_BY = {"kube-pod": "kubectl", "ssh": "ssh"}
"""Programs that the command line reaches an address with; without them it would try for ever."""
KNOCKING = 10.0
"""Seconds that an address may take to answer at all."""
REACHING = 60.0
"""Seconds that a session may take to reach an engine which is somewhere."""
MAKING = 600.0
"""Seconds that it may take where the command line gets the engine first."""
CLOSING = 10.0
"""Seconds that a session may take to end by itself; what still runs in it ends with it."""
LINE = 65536


class CommandLineError(EngineError):
    """The `dagger` command line is not there, or does not start."""


class _Started(NamedTuple):
    """The command line under way; it ends when its input does."""

    process: Process
    input: Lifeline


class _Parameters(NamedTuple):
    """Where a session is: a port of this machine, and the token that it wants to see."""

    port: int
    token: str


@dataclass(slots=True)
class Session:
    """A session with an engine."""

    client: "Client"
    _connection: "SingleConnection"
    _started: "_Started | None"

    @classmethod
    async def open(cls, address: str | None, environ: Mapping[str, str], log: Path) -> Self:
        """Open a session.

        Args:
            address: The engine's; `None` is the one that the environment names, else the command line's own.
            environ: The environment.
            log: A file, to which the command line's own messages are added.

        Raises:
            EngineError: There is no command line, no engine answers, or it is too old.
        """
        async with plain_task_group() as group:
            # The SDK takes a second to import, which is as long as the session takes to start.
            group.start_soon(_load)
            session = await cls._open(address, environ, log)
        return session

    @classmethod
    async def _open(cls, address: str | None, environ: Mapping[str, str], log: Path) -> Self:
        if address is None and environ.get(PORT, "").isdigit():
            return await cls._connect(None, _Parameters(int(environ[PORT]), environ.get(TOKEN, "")))
        address = address or environ.get(HOST)
        await _knock(address, environ)
        started = await _start(address, environ, log)
        try:
            parameters = await _greeting(started.process, address, log)
            started.input.release()  # from now on it heeds its input
            return await cls._connect(started, parameters)
        except BaseException:
            await _end(started, patience=0)
            raise

    @classmethod
    async def _connect(cls, started: "_Started | None", parameters: _Parameters) -> Self:
        # `dagger.Connection` would do, but for three things: it downloads a command line where it finds none in
        # its own cache, it reads the engine's address from this process's environment alone, and it waits five
        # minutes for a session to end.
        dagger = await _load()
        from dagger.client._config import ConnectConfig  # noqa: PLC0415 - it is loaded by now
        from dagger.client._session import ConnectParams, SingleConnection  # noqa: PLC0415 - likewise

        place = ConnectParams(port=parameters.port, session_token=parameters.token)
        connection = SingleConnection(place, ConnectConfig(retry=None))
        try:
            await connection.connect()
            client: Client = dagger.Client.from_connection(connection)
            said = await client.version()
        except dagger.DaggerError as error:
            raise EngineError(f"its session does not answer: {error}") from error
        if _number(said) < OLDEST:
            await connection.close()
            raise EngineError(f"it is Dagger {said}, and patchyard needs 0.21 or newer")
        return cls(client, connection, started)

    async def aclose(self, *, gone: bool = False) -> None:
        """End the session and what it still runs in the engine, in a bounded time.

        Args:
            gone: Whether the engine is known to be gone, so that nothing is to be waited for.
        """
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(CLOSING), suppress(Exception):
                # Whatever is wrong with it now, there is nothing left to be done about it.
                await self._connection.close()
            if self._started:
                await _end(self._started, patience=0 if gone else CLOSING)


async def _load() -> ModuleType:
    return await to_thread.run_sync(importlib.import_module, "dagger")


def _number(version_text: str) -> tuple[int, ...]:
    """Return the first two parts of a version such as v0.21.8; of any other text, what no version is below."""
    parts = version_text.removeprefix("v").split(".")[:2]
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else OLDEST


def incomplete(address: str) -> str | None:
    """Return what an address lacks, where the command line would try for ever; `None` where it is whole."""
    parts = urlsplit(address)
    if parts.scheme == "tcp":
        try:
            whole = bool(parts.hostname and parts.port)
        except ValueError:
            whole = False
        return None if whole else "it needs a host and a port, as in tcp://host:1234"
    return None if parts.netloc + parts.path else f"nothing stands after {parts.scheme}://"


async def _knock(address: str | None, environ: Mapping[str, str]) -> None:
    """See whether anybody listens; the command line itself would try for ever.

    Raises:
        EngineError: Nobody does.
    """
    if address and (lacking := incomplete(address)):
        raise EngineError(lacking)
    parts = urlsplit(address or "")
    program = REACHED_BY.get(parts.scheme)
    if program and not await to_thread.run_sync(partial(shutil.which, program, path=environ.get("PATH"))):
        raise EngineError(f"{program}, which leads there, is not on PATH")
    try:
        with anyio.fail_after(KNOCKING):
            if parts.scheme == "tcp":
                stream: anyio.abc.ByteStream = await anyio.connect_tcp(parts.hostname or "", parts.port or 0)
            elif parts.scheme == "unix":
                stream = await anyio.connect_unix(parts.netloc + parts.path)
            else:
                return
            await stream.aclose()
    except TimeoutError:
        raise EngineError(f"nobody answers there within {KNOCKING:g} s") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"nobody listens there ({error})") from error


async def _start(address: str | None, environ: Mapping[str, str], log: Path) -> _Started:
    """Start the command line, in a session of its own: Ctrl-C is for the program, which then ends it.

    Should the program be killed, it ends all the same.

    Raises:
        CommandLineError: It is not installed.
    """
    command = await to_thread.run_sync(_command, environ)
    own = {**environ, **({HOST: address} if address else {})}
    messages = await to_thread.run_sync(_opened, log)
    with anyio.CancelScope(shield=True), ExitStack() as stack:  # cancelled halfway, it would be nobody's
        lifeline = Lifeline()
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
    labels = ("dagger.io/sdk.name:python", f"dagger.io/sdk.version:{version('dagger-io')}")
    # Silent: what tasks print is for their own logs, where secrets are masked in all of their forms.
    return [found, "session", "--silent", *(part for label in labels for part in ("--label", label))]


def _opened(log: Path) -> IO[bytes]:
    return log.open("ab")


async def _greeting(process: Process, address: str | None, log: Path) -> _Parameters:
    """Wait until a session says where it is.

    Raises:
        EngineError: It says nothing, or something else.
    """
    limit = MAKING if address is None or "image" in urlsplit(address).scheme else REACHING
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
        raise EngineError(_last(messages)) from None


def _last(messages: str) -> str:
    """Return the line that says why a session did not start."""
    lines = [line.partition(" [traceparent:")[0].strip() for line in messages.splitlines()]
    said = [line for line in lines if line]
    return said[-1].removeprefix("Error: ") if said else "its session ended without a word"


async def _end(started: _Started, *, patience: float) -> None:
    """End the command line: it ends when nobody holds its input any more, or by force."""
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

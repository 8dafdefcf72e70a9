"""Run queries on a Dagger engine and translate its errors."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar, TypeVar

import anyio

from containers.concurrency import plain_task_group
from containers.dagger_engine.client.api import Client
from containers.dagger_engine.client.errors import ClientError, ExecError, QueryError
from containers.dagger_engine.step_script import SCRIPT
from containers.task_log import RunnerError
from tasks.lazy.patterns import regex

T = TypeVar("T")

CHECK_INTERVAL = 60.0
"""Seconds between two checks that an engine responds, and the time limit of a check."""
MESSAGE_LENGTH = 500
"""Maximum characters of an engine's message in an error."""
RETRY_DELAYS = (0.2, 0.5, 1.0, 2.0)
"""Back-off, in seconds, before retrying a query that another session's shutdown cancelled."""
CANCELED = "context canceled"
TOO_DEEP = "it made directories deeper than a path may be long, which git cannot store"
_NAME_TOO_LONG = "file name too long"
_UNKNOWN_USER = regex(r"no such user: (\S+)")


class EngineError(RunnerError):
    """No engine is available, or it became unavailable."""

    exit_code: ClassVar[int] = 4


class EngineQueryError(Exception):
    """The engine rejects a query of one task; `output` is what its steps printed until then."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class _AbandonedError(EngineQueryError):
    """The engine cancelled an exec that this session shared with one that has just ended."""


class EngineClient:
    """Runs queries on an engine; called with a query such as `container.stdout`."""

    def __init__(self, client: Client, check_interval: float = CHECK_INTERVAL) -> None:
        self._client = client
        self._check_interval = check_interval

    async def __call__(self, query: Callable[[], Awaitable[T]]) -> T:
        """Run a query.

        The engine runs an exec that several sessions request only once. If the session that started it ends
        during the exec, it is cancelled for all of them ("context canceled"); a retry runs it again.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine rejects the query.
        """
        for pause in RETRY_DELAYS:
            with suppress(_AbandonedError):
                return await self._run_once(query)
            await anyio.sleep(pause)
        return await self._run_once(query)

    async def _run_once(self, query: Callable[[], Awaitable[T]]) -> T:
        try:
            return await query()
        except ExecError as error:
            raise EngineQueryError(
                _describe_exec(error.command, error.exit_code, error.stderr), error.stdout
            ) from error
        except QueryError as error:
            kind = _AbandonedError if CANCELED in str(error) else EngineQueryError
            rejected = kind(_last_part(str(error)))
            rejected.__cause__ = error
        except UnicodeEncodeError as error:
            raise EngineQueryError("something that it needs is not UTF-8") from error
        except (ClientError, OSError) as error:
            raise _unavailable(str(error)) from error
        # The error of an engine that dies during an exec is that of whatever failed first: check the engine.
        if not await self._responds():
            raise _unavailable(str(rejected)) from rejected
        raise rejected

    async def run_long(self, query: Callable[[], Awaitable[T]]) -> T:
        """Run a long query, and check at intervals that the engine still responds: its end may not be an error.

        Raises:
            EngineError: The engine is unavailable.
            EngineQueryError: The engine rejects the query.
        """
        async with plain_task_group() as group:

            async def watch_engine() -> None:
                await anyio.sleep(self._check_interval)
                while await self._responds():  # noqa: ASYNC110 - an engine that is gone sends no event
                    await anyio.sleep(self._check_interval)
                raise EngineError(f"it has not answered for {self._check_interval:g} s")

            group.start_soon(watch_engine)
            answer = await self(query)
            group.cancel_scope.cancel()
        return answer

    async def _responds(self) -> bool:
        """Whether the engine answers a query that has no reason to be rejected."""
        try:
            with anyio.fail_after(self._check_interval):
                await self._client.default_platform()
        except (ClientError, OSError):
            return False
        return True


def _unavailable(message: str) -> EngineError:
    return EngineError(f"it does not answer any more ({_last_part(message)})")


def _describe_exec(command: Sequence[str], code: int, stderr: str) -> str:
    """Return how an exec ended whose exit code `ReturnType.ANY` does not accept (128 to 191).

    https://docs.dagger.io/reference/api: ANY is 0 to 127 and 192 to 255.
    """
    if list(command) == ["sh", SCRIPT]:
        if code == 137:  # noqa: PLR2004 - 128 + KILL
            return "its container was killed (exit code 137): most often it ran out of memory"
        return f"its container ended with exit code {code}"
    said = _last_part(stderr)
    return (
        f"its set-up `{command[-1] if command else ''}` ended with exit code {code}{': ' if said else ''}{said}"
    )


def _last_part(message: str) -> str:
    """Return the last part of an engine's message, which is the most specific, as one line."""
    line = " ".join(message.partition(" [traceparent:")[0].split())
    if unknown := _UNKNOWN_USER.search(line):
        return f"its image runs as the user {unknown[1]}, which it does not have"
    if line.endswith(_NAME_TOO_LONG):
        return TOO_DEEP
    return line if len(line) <= MESSAGE_LENGTH else f"…{line[-MESSAGE_LENGTH:]}"

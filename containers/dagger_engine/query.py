"""Questions to a Dagger engine: its answer, its no, or that it has gone. Each in words for people."""

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, TypeVar

import anyio

from containers.concurrency import plain_task_group
from containers.dagger_engine.step_script import SCRIPT
from containers.task_log import RunnerError

if TYPE_CHECKING:
    from dagger import Client

T = TypeVar("T")

BEAT = 60.0
"""Seconds between two looks at an engine, and those that it may take to say that it is there."""
LONGEST = 500
"""Characters of an engine's message that a person is shown."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds before a question is asked once more that somebody else's session has taken down with it."""
CANCELED = "context canceled"
_NOBODY = re.compile(r"no such user: (\S+)")


class EngineError(RunnerError):
    """There is no engine, or it has gone."""

    exit_code: ClassVar[int] = 4


class EngineQueryError(Exception):
    """The engine says no to something of one task's; `output` is what its steps printed until then."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class _AbandonedError(EngineQueryError):
    """The engine gave up an exec that this session shared with one that has just ended."""


class EngineClient:
    """Asks an engine. Called with a question, such as `container.stdout`."""

    def __init__(self, client: "Client", beat: float = BEAT) -> None:
        self._client = client
        self._beat = beat

    async def __call__(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask.

        What is the same for several sessions, the engine runs once. Where the session that began it ends just
        then, it is cancelled for all of them; what is asked for again is run again.

        Raises:
            EngineError: It does not answer any more.
            RefusedError: It says no.
        """
        for pause in PAUSES:
            with suppress(_AbandonedError):
                return await self._once(question)
            await anyio.sleep(pause)
        return await self._once(question)

    async def _once(self, question: Callable[[], Awaitable[T]]) -> T:
        import dagger  # noqa: PLC0415 - takes a second
        from gql.transport.exceptions import TransportError  # noqa: PLC0415 - likewise

        try:
            return await _tried(question)
        except dagger.ExecError as error:
            raise EngineQueryError(_how(error.command, error.exit_code, error.stderr), error.stdout) from error
        except dagger.QueryError as error:
            kind = _AbandonedError if CANCELED in str(error) else EngineQueryError
            refused = kind(_sentence(str(error)))
            refused.__cause__ = error
        except (dagger.DaggerError, TransportError, OSError, UnicodeError) as error:
            if _is_unspeakable(error):
                raise EngineQueryError("something that it needs is not UTF-8") from error
            raise _gone(str(error)) from error
        # An engine that dies under an exec says so in the words of whatever failed first: ask it.
        if not await self._answers():
            raise _gone(str(refused)) from refused
        raise refused

    async def attend(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask what takes long, and see in between whether the engine is still there: it may go without a word.

        Raises:
            EngineError: It does not answer any more.
            RefusedError: It says no.
        """
        async with plain_task_group() as group:

            async def watch_engine() -> None:
                await anyio.sleep(self._beat)
                while await self._answers():  # noqa: ASYNC110 - an engine that is gone sends no event
                    await anyio.sleep(self._beat)
                raise EngineError(f"it has not answered for {self._beat:g} s")

            group.start_soon(watch_engine)
            answer = await self(question)
            group.cancel_scope.cancel()
        return answer

    async def _answers(self) -> bool:
        """Whether the engine is there, or at least says no."""
        import dagger  # noqa: PLC0415 - takes a second
        from gql.transport.exceptions import TransportError  # noqa: PLC0415 - likewise

        try:
            with anyio.fail_after(self._beat):
                await _tried(self._client.default_platform)
        except (dagger.DaggerError, TransportError, OSError):
            return False
        return True


async def _tried(question: Callable[[], Awaitable[T]]) -> T:
    """Ask, and where that is tried several times in vain, raise the last failure itself."""
    try:
        return await question()
    except Exception as error:
        # This is `tenacity.RetryError`; whether that library is there is a matter of the client's.
        if not hasattr(error, "last_attempt"):
            raise
        failure: Exception = error.last_attempt.exception()
    raise failure


def _is_unspeakable(error: BaseException | None) -> bool:
    """Whether a question never got to the engine, for it cannot be said in UTF-8."""
    while error is not None and not isinstance(error, UnicodeError):
        error = error.__cause__
    return error is not None


def _gone(message: str) -> EngineError:
    return EngineError(f"it does not answer any more ({_sentence(message).partition(' for url ')[0]})")


def _how(command: Sequence[str], code: int, stderr: str) -> str:
    """Say how an exec ended that the engine does not take for an answer."""
    if list(command) == ["sh", SCRIPT]:
        if code == 137:  # noqa: PLR2004 - 128 + KILL
            return "its container was killed (exit code 137): most often it ran out of memory"
        return f"its container ended with exit code {code}"
    said = _sentence(stderr)
    return (
        f"its set-up `{command[-1] if command else ''}` ended with exit code {code}{': ' if said else ''}{said}"
    )


def _sentence(message: str) -> str:
    """Return the last part of an engine's message, which says most, as one line."""
    line = " ".join(message.partition(" [traceparent:")[0].split())
    if nobody := _NOBODY.search(line):
        return f"its image runs as the user {nobody[1]}, whom it does not have"
    return line if len(line) <= LONGEST else f"…{line[-LONGEST:]}"

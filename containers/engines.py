"""Connections to Dagger engines, and a runner over one or several of them.

Each engine is reached through a session of the `dagger` command line, which knows every kind of address
(`tcp://`, `unix://`, `ssh://`, `kube-pod://`, `container://`). A task goes to the engine with most room; an
engine that goes away gives its tasks back to the others, once each.
"""

import math
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from containers.engine import EngineError, EngineRunner, Place
from containers.runner import Job, Watcher
from containers.worktrees import Worktree
from tasks.model import StepResult

if TYPE_CHECKING:
    from dagger import Client

CLI = "_EXPERIMENTAL_DAGGER_CLI_BIN"
HOST = "_EXPERIMENTAL_DAGGER_RUNNER_HOST"
SCHEMES = frozenset(
    "tcp unix ssh kube-pod container image docker-container docker-image podman-container".split()
)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine to use: its address (`None` is the one that the environment names), and its share of the pool."""

    url: str | None = None
    share: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `URL` or `URL=SHARE`.

        Raises:
            ValueError: It is no address, or the share is no number of at least 1.
        """
        url, equals, share = text.rpartition("=")
        if not equals or not share.isdigit():
            # An address may hold an equals sign of its own, as in kube-pod://pod?namespace=dagger.
            url, share = text, ""
        if url.partition("://")[0] not in SCHEMES or "://" not in url:
            raise ValueError(
                f"{text!r} is no engine's address; use one such as tcp://host:1234 or unix:///path"
            )
        if share and int(share) < 1:
            raise ValueError(f"{text!r}: a share is at least 1")
        return cls(url, int(share) if share else None)

    def __str__(self) -> str:
        """The address, as people know it."""
        return self.url or "the Dagger engine"


@asynccontextmanager
async def connected(engine: Engine, environ: Mapping[str, str], log: Path) -> "AsyncIterator[Client]":
    """Open a session with an engine; what it says goes to `log`.

    Raises:
        EngineError: There is no command line, or no engine answers.
    """
    import dagger  # noqa: PLC0415 - takes a second
    from dagger.client._session import (  # type: ignore[attr-defined]  # noqa: PLC0415 - see below
        ConnectConfig,
        ConnectParams,
        SingleConnection,
    )
    from dagger.provisioning._session import start_cli_session  # noqa: PLC0415 - see below

    async with AsyncExitStack() as stack:
        try:
            # `dagger.Connection` would do, but for two things: it downloads a command line where it finds none
            # in its own cache, and it reads the engine's address from this process's environment alone.
            params = ConnectParams.from_env() if engine.url is None else None
            if params is None:
                told = stack.enter_context(log.open("a", encoding="utf-8"))
                home = stack.enter_context(tempfile.TemporaryDirectory(prefix="patchyard-"))
                command = _command_line(engine, environ, Path(home))
                config = dagger.Config(log_output=told, retry=None)
                started: ConnectParams = await stack.enter_async_context(start_cli_session(config, command))
                params = started
            connection = SingleConnection(params, ConnectConfig(retry=None))
            client = dagger.Client.from_connection(await stack.enter_async_context(connection))
            await client.version()
        except (dagger.DaggerError, OSError) as error:
            hint = f"start it, or name another with --engine or {HOST}"
            raise EngineError(f"{engine} does not answer: {_last(str(error), log)}; {hint}") from error
        yield client


def _command_line(engine: Engine, environ: Mapping[str, str], home: Path) -> str:
    """Return the path of the command line, for this engine.

    Raises:
        EngineError: It is not installed.
    """
    found = environ.get(CLI) or shutil.which("dagger", path=environ.get("PATH"))
    if not found:
        raise EngineError(
            "mode dagger needs the dagger command line: install it (https://docs.dagger.io/install), "
            f"or set {CLI} to its path"
        )
    if engine.url is None:
        return found
    script = home / "dagger"
    script.write_text(f'#!/bin/sh\n{HOST}={shlex.quote(engine.url)} exec {shlex.quote(found)} "$@"\n')
    script.chmod(0o700)
    return str(script)


def _last(message: str, log: Path) -> str:
    """Return the line that says most of why a session did not start."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else f"see {log}"


@dataclass(slots=True)
class _Lane:
    """An engine in use: how many tasks it has, and whether it still answers."""

    engine: Engine
    runner: EngineRunner
    client: "Client"
    running: int = 0
    alive: bool = True

    @property
    def room(self) -> float:
        share = math.inf if self.engine.share is None else self.engine.share
        return share - self.running


class Engines:
    """A runner over one or several engines. An async context manager."""

    def __init__(
        self,
        engines: Sequence[Engine],
        place: Place,
        environ: Mapping[str, str],
        log: Path,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engines = tuple(engines) or (Engine(),)
        self._place = place
        self._environ = environ
        self._log = log
        self._notice = on_notice
        self._lanes: list[_Lane] = []
        self._stack = AsyncExitStack()
        self._freed = anyio.Condition()

    async def __aenter__(self) -> Self:
        """Connect to the engines; one that does not answer is left out while another does.

        Raises:
            EngineError: None of them answers.
        """
        refused: list[EngineError] = []
        try:
            for engine in self._engines:
                try:
                    client = await self._stack.enter_async_context(connected(engine, self._environ, self._log))
                except EngineError as error:
                    refused.append(error)
                else:
                    self._lanes.append(_Lane(engine, EngineRunner(client, self._place), client))
        except BaseException:
            await self._stack.aclose()
            raise
        if not self._lanes:
            raise refused[0]
        for left_out in refused:
            self._notice(f"{left_out}; the run goes on without it")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the sessions."""
        import dagger  # noqa: PLC0415 - takes a second

        with anyio.CancelScope(shield=True), suppress(dagger.DaggerError):
            # A session that ends with an error (after Ctrl-C, or with its engine) takes nothing along.
            await self._stack.aclose()

    async def digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, as one engine has them: the others are told to use those."""
        alive = [lane.runner for lane in self._lanes if lane.alive]
        return await alive[0].digests(names) if alive else {}

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run a job on the engine with most room; on another one, once, where that engine goes away.

        Raises:
            EngineError: No engine is left, or the second went away too.
        """
        for last in (False, True):
            lane = await self._take()
            try:
                return await lane.runner.run(job, worktree, watcher)
            except EngineError as error:
                await self._give_up(lane, error, job)
                if last or not any(other.alive for other in self._lanes):
                    raise
            finally:
                await self._give_back(lane)
        raise AssertionError("a job ends with a result or with an error")  # pragma: no cover

    async def _take(self) -> _Lane:
        """Wait for an engine that has room, and take a place on it."""
        async with self._freed:
            while True:
                alive = [lane for lane in self._lanes if lane.alive]
                if not alive:
                    raise EngineError("no Dagger engine is left")
                lane = max(alive, key=lambda one: (one.room, -one.running))
                if lane.room >= 1:
                    lane.running += 1
                    return lane
                await self._freed.wait()

    async def _give_back(self, lane: _Lane) -> None:
        with anyio.CancelScope(shield=True):
            async with self._freed:
                lane.running -= 1
                self._freed.notify_all()

    async def _give_up(self, lane: _Lane, error: EngineError, job: Job) -> None:
        """Use an engine no more."""
        if lane.alive:
            lane.alive = False
            self._notice(f"{lane.engine} has gone ({error}); task {job.task} goes to another one")

"""Connections to Dagger engines, and a runner over one or several of them.

Each engine is reached through a session of the `dagger` command line, which knows every kind of address
(`tcp://`, `unix://`, `ssh://`, `kube-pod://`, `container://`). A task goes to the engine with most room; an
engine that goes away gives its tasks back to the others, once each.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from anyio import to_thread

from containers.agents.builtin import Agent
from containers.dagger_engine.query import EngineError
from containers.dagger_engine.runner import ContainerConfig, EngineRunner
from containers.dagger_engine.session import HOST, CommandLineError, Session, incomplete
from containers.runner import Job, Watcher
from containers.worktrees.worktree import Worktree
from tasks.model import StepResult

if TYPE_CHECKING:
    from dagger import Client

SCHEMES = (
    "tcp",
    "unix",
    "ssh",
    "kube-pod",
    "container",
    "image",
    "docker-container",
    "docker-image",
    "podman-container",
)
ATTEMPTS = 2
"""How many engines may go away under a task before it counts as what makes them go."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """An engine to use: its address (`None`: the one that the environment names) and its share of the pool."""

    url: str | None = None
    share: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `URL` or `URL=SHARE`.

        Raises:
            ValueError: It is no address, or the share is no number of at least 1.
        """
        url, equals, share = text.rpartition("=")
        if not equals or ("?" in url and "=" not in url.partition("?")[2].rpartition("&")[2]):
            # An address may hold an equals sign of its own, as in kube-pod://pod?namespace=42.
            url, share = text, ""
        elif not share.isdigit():
            raise ValueError(f"{text!r}: a share is a whole number of at least 1")
        if url.partition("://")[0] not in SCHEMES or "://" not in url:
            raise ValueError(
                f"{text!r} is no engine's address; use one such as tcp://host:1234 or unix:///path"
            )
        if lacking := incomplete(url):
            raise ValueError(f"{text!r} is no engine's address: {lacking}")
        if share and int(share) < 1:
            raise ValueError(f"{text!r}: a share is at least 1")
        return cls(url, int(share) if share else None)

    def __str__(self) -> str:
        """The address, as people know it."""
        return self.url or "the Dagger engine"


@asynccontextmanager
async def connect_engines(
    engine: EngineAddress, environ: Mapping[str, str], log: Path
) -> "AsyncIterator[Client]":
    """Have a session with an engine; what it says goes to `log`.

    Raises:
        EngineError: There is no command line, or no engine answers.
    """
    session = await _session(engine, environ, log)
    try:
        yield session.client
    finally:
        await session.aclose()


async def _session(engine: EngineAddress, environ: Mapping[str, str], log: Path) -> Session:
    try:
        return await Session.open(engine.url, environ, log)
    except CommandLineError:
        raise
    except EngineError as error:
        named = engine.url or environ.get(HOST)
        start = "start it" if named else "start Docker or another container runtime for it"
        hint = f"{start}, or name another with --engine or {HOST}"
        raise EngineError(f"{engine} does not answer: {error}; {hint}") from error


@dataclass(slots=True)
class _Lane:
    """An engine in use: how many tasks it has, and whether it still answers."""

    engine: EngineAddress
    session: Session
    runner: EngineRunner
    running: int = 0
    alive: bool = True

    @property
    def has_room(self) -> bool:
        return self.alive and (self.engine.share is None or self.running < self.engine.share)


async def _close(lanes: Iterable[_Lane]) -> None:
    """End the sessions of engines, side by side."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for lane in lanes:
                group.start_soon(partial(lane.session.aclose, gone=not lane.alive))


class Engines:
    """A runner over one or several engines. An async context manager."""

    def __init__(
        self,
        engines: Sequence[EngineAddress],
        place: ContainerConfig,
        environ: Mapping[str, str],
        log: Path,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engines = tuple(dict.fromkeys(engines)) or (EngineAddress(),)
        self._place = place
        self._environ = environ
        self._log = log
        self._notice = on_notice
        self._lanes: list[_Lane] = []
        self._gone = "no Dagger engine is left"  # why, once the last one went
        self._freed = anyio.Condition()

    async def __aenter__(self) -> Self:
        """Connect to the engines; one that does not answer is left out while another does.

        Raises:
            EngineError: None of them answers.
        """
        refused: list[EngineError] = []

        async def open_one(engine: EngineAddress) -> None:
            try:
                session = await _session(engine, self._environ, self._log)
            except EngineError as error:
                refused.append(error)
            else:
                self._lanes.append(_Lane(engine, session, EngineRunner(session.client, self._place)))

        try:
            async with anyio.create_task_group() as group:
                for engine in self._engines:
                    group.start_soon(open_one, engine)
        except BaseException:
            await _close(self._lanes)
            raise
        if not self._lanes:
            raise refused[0]
        self._lanes.sort(key=lambda lane: self._engines.index(lane.engine))
        for left_out in refused:
            self._notice(f"{left_out}; the run goes on without it")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the sessions."""
        await _close(self._lanes)

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, as one engine has them: the others are told to use those.

        Raises:
            EngineError: No engine is left.
        """
        wanted = tuple(names)
        for lane in [lane for lane in self._lanes if lane.alive]:
            try:
                return await lane.runner.resolve_digests(wanted)
            except EngineError as error:
                self._give_up(lane, error)
        return {}

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return what an agent says of its version in its container; `None` where it does not run."""
        for lane in [lane for lane in self._lanes if lane.alive]:
            if version := await lane.runner.version(agent, image):
                return version
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run a job on an engine that has room; on another one, once, where that engine goes away.

        Raises:
            EngineError: No engine is left.
        """
        for _ in range(ATTEMPTS):
            lane = await self._take()
            try:
                return await lane.runner.run(job, worktree, watcher)
            except EngineError as error:
                self._give_up(lane, error)
                self._notice(f"task {job.task} begins again on another engine")
            finally:
                await self._give_back(lane)
            keep = [f"/{pattern}" for pattern in self._place.copy]
            await to_thread.run_sync(worktree.checkout.reset, job.start, keep)
        lost = StepResult(job.steps[0], None, 0.0, error="two engines in turn went away while they ran it")
        await watcher.step_finished(1, lost)
        return (lost,)

    async def _take(self) -> _Lane:
        """Wait for an engine that has room, and take a place on the one that has least to do for its share."""
        most = max((lane.engine.share or 1 for lane in self._lanes), default=1)
        async with self._freed:
            while True:
                with_room = [lane for lane in self._lanes if lane.has_room]
                if with_room:
                    lane = min(with_room, key=lambda one: one.running / (one.engine.share or most))
                    lane.running += 1
                    return lane
                if not any(lane.alive for lane in self._lanes):
                    raise EngineError(self._gone)
                await self._freed.wait()

    async def _give_back(self, lane: _Lane) -> None:
        with anyio.CancelScope(shield=True):
            async with self._freed:
                lane.running -= 1
                self._freed.notify_all()

    def _give_up(self, lane: _Lane, error: EngineError) -> None:
        """Use an engine no more.

        Raises:
            EngineError: It was the last one.
        """
        first = lane.alive
        lane.alive = False
        if not any(other.alive for other in self._lanes):
            if first:
                self._gone = f"{lane.engine} has gone, and no other is left: {error}"
            raise EngineError(self._gone) from error
        if first:
            self._notice(f"{lane.engine} has gone: {error}; the run goes on without it")

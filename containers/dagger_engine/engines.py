"""Runner that spreads tasks over one or several Dagger engines.

A task runs on the engine with the most free capacity for its share. If an engine becomes unavailable, each of
its tasks starts again once on another engine. Engines do not share a cache.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from anyio import to_thread

from containers.agents.builtin import Agent
from containers.dagger_engine.address import EngineAddress
from containers.dagger_engine.client.api import Client
from containers.dagger_engine.config import ContainerConfig
from containers.dagger_engine.query import EngineError
from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import HOST, CommandLineError, Session
from containers.runner import Job, Watcher
from containers.worktrees.worktree import Worktree
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import StepResult

ATTEMPTS = 2
"""Engines that may become unavailable while they run a task before the task itself counts as the cause."""


@asynccontextmanager
async def connect_engines(
    engine: EngineAddress, environ: Mapping[str, str], log: Path
) -> AsyncIterator[Client]:
    """Open a session with an engine for the duration of the context; its messages are appended to `log`.

    Raises:
        EngineError: The command line is not installed, or the engine is unavailable.
    """
    session = await _open_session(engine, environ, log)
    try:
        yield session.client
    finally:
        await session.aclose()


async def _open_session(engine: EngineAddress, environ: Mapping[str, str], log: Path) -> Session:
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
class _EngineState:
    """An engine in use: its number of running tasks, and whether it is available."""

    engine: EngineAddress
    session: Session
    runner: EngineRunner
    running: int = 0
    available: bool = True

    @property
    def has_capacity(self) -> bool:
        return self.available and (self.engine.share is None or self.running < self.engine.share)


async def _close_sessions(states: Iterable[_EngineState]) -> None:
    """Close the sessions of engines concurrently."""
    with anyio.CancelScope(shield=True):
        async with anyio.create_task_group() as group:
            for state in states:
                group.start_soon(partial(state.session.aclose, engine_unavailable=not state.available))


class Engines:
    """A runner over one or several engines. An async context manager."""

    def __init__(
        self,
        engines: Sequence[EngineAddress],
        config: ContainerConfig,
        environ: Mapping[str, str],
        log: Path,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._engines = tuple(dict.fromkeys(engines)) or (EngineAddress(),)
        self._config = config
        self._environ = environ
        self._log = log
        self._notice = on_notice
        self._states: list[_EngineState] = []
        self._last: dict[str, _EngineState] = {}  # the one that ran the last task, by worktree
        self._failure = "no Dagger engine is left"  # why the last one became unavailable
        self._freed = anyio.Condition()

    async def __aenter__(self) -> Self:
        """Connect to the engines; one that is unavailable is left out if another is available.

        Raises:
            EngineError: All are unavailable.
        """
        failures: list[EngineError] = []

        async def open_one(engine: EngineAddress) -> None:
            try:
                session = await _open_session(engine, self._environ, self._log)
            except EngineError as error:
                failures.append(error)
            else:
                self._states.append(_EngineState(engine, session, EngineRunner(session.client, self._config)))

        try:
            async with anyio.create_task_group() as group:
                for engine in self._engines:
                    group.start_soon(open_one, engine)
        except BaseException:
            await _close_sessions(self._states)
            raise
        if not self._states:
            raise failures[0]
        self._states.sort(key=lambda state: self._engines.index(state.engine))
        for left_out in failures:
            self._notice(f"{left_out}; the run continues without it")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sessions."""
        await _close_sessions(self._states)

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, as one engine resolves them; the others use the same digests.

        Raises:
            EngineError: No engine is left.
        """
        wanted = tuple(names)
        for state in [state for state in self._states if state.available]:
            try:
                return await state.runner.resolve_digests(wanted)
            except EngineError as error:
                self._mark_unavailable(state, error)
        return {}

    async def prefetch(self, start: str) -> None:
        """Have the engine of the first task make the tree of its start point; errors are not raised."""
        await self._states[0].runner.prefetch(start)

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return the version that an agent prints in its container; `None` if it does not run."""
        for state in [state for state in self._states if state.available]:
            if version := await state.runner.version(agent, image):
                return version
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run a job on an engine with free capacity; once more on another if that engine becomes unavailable.

        Raises:
            EngineError: No engine is left.
        """
        if job.is_teardown:
            return await self._tear_down(job, worktree, watcher)
        for _ in range(ATTEMPTS):
            state = self._last[worktree.name] = await self._acquire()
            try:
                return await state.runner.run(job, worktree, watcher)
            except EngineError as error:
                self._mark_unavailable(state, error)
                self._notice(f"task {job.task} starts again on another engine")
            finally:
                await self._release(state)
            keep = [f"/{pattern}" for pattern in self._config.copy]
            await to_thread.run_sync(worktree.checkout.reset, job.start, keep)
        lost = StepResult(
            job.steps[0], None, 0.0, error="two engines in turn became unavailable while they ran it"
        )
        await watcher.step_finished(1, lost)
        return (lost,)

    async def _tear_down(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run a job on the engine that has the container of its task.

        Raises:
            EngineError: That engine is unavailable.
        """
        state = self._last.pop(worktree.name, None)
        if state is None:
            return ()
        if not state.available:
            raise EngineError(f"{state.engine} is unavailable, which had its container")
        return await state.runner.run(job, worktree, watcher)

    async def _acquire(self) -> _EngineState:
        """Wait for an engine with free capacity, and reserve some on the one with the lowest load per share."""
        most = max((state.engine.share or 1 for state in self._states), default=1)
        async with self._freed:
            while True:
                candidates = [state for state in self._states if state.has_capacity]
                if candidates:
                    state = min(candidates, key=lambda one: one.running / (one.engine.share or most))
                    state.running += 1
                    return state
                if not any(state.available for state in self._states):
                    raise EngineError(self._failure)
                await self._freed.wait()

    async def _release(self, state: _EngineState) -> None:
        with anyio.CancelScope(shield=True):
            async with self._freed:
                state.running -= 1
                self._freed.notify_all()

    def _mark_unavailable(self, state: _EngineState, error: EngineError) -> None:
        """Stop using an engine.

        Raises:
            EngineError: It was the last one.
        """
        first = state.available
        state.available = False
        if not any(other.available for other in self._states):
            if first:
                self._failure = f"{state.engine} is unavailable, and no other engine is left: {error}"
            raise EngineError(self._failure) from error
        if first:
            self._notice(f"{state.engine} is unavailable: {error}; the run continues without it")

"""Provide the runners of a run: those of this machine, and of the engines that it reaches."""

from collections.abc import AsyncIterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    nullcontext,
)
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from anyio import CancelScope, to_thread

from containers.limits.limits import Limits
from containers.limits.resource_limits import require_programs
from containers.local import LocalRunner
from containers.runner import Runner
from pipeline.broadcast import Listener
from pipeline.events import Notice
from pipeline.run.call.limits import settings_limits, without_groups
from pipeline.run.call.prepare import Prepared
from pipeline.run.stored.open_store import repository_id
from tasks.model import Mode, SandboxMode

if TYPE_CHECKING:
    from containers.dagger_engine.config import ContainerConfig
    from containers.limits.groups import RunGroups
    from containers.sandbox.sandbox import Sandbox


class RunnerProvider(Protocol):
    """Provides the runners of a run, and shows spans where its output is a trace."""

    def runners(
        self, prepared: Prepared, directory: Path, listener: Listener
    ) -> AbstractAsyncContextManager[Mapping[Mode, Runner]]:
        """Provide a runner for each mode of the plan."""
        ...

    def span(self, name: str) -> AbstractContextManager[object]:
        """Show a named span while the context is open."""
        ...


class HostRunners:
    """Runners of this machine, and of the engines that it reaches."""

    def span(self, _name: str) -> AbstractContextManager[object]:
        """Show nothing: subscribers receive events."""
        return nullcontext()

    @asynccontextmanager
    async def runners(
        self, prepared: Prepared, directory: Path, listener: Listener
    ) -> AsyncIterator[Mapping[Mode, Runner]]:
        """Provide a runner for each mode of the plan.

        Raises:
            EngineError: The plan needs containers, and no engine is available.
        """
        settings = prepared.settings
        limits = settings_limits(settings)
        async with (
            _sandbox(prepared, listener) as sandbox,
            _groups(prepared, limits, listener) as groups,
        ):
            local = LocalRunner(prepared.call.environ, sandbox, limits, groups)
            async with self._engines(prepared, directory, listener) as engines:
                yield {Mode.LOCAL: local, Mode.PARALLEL: local, **engines}

    @asynccontextmanager
    async def _engines(
        self, prepared: Prepared, directory: Path, listener: Listener
    ) -> AsyncIterator[Mapping[Mode, Runner]]:
        """Provide the runner of containers, if the plan needs it."""
        settings = prepared.settings
        if all(batch.mode is not Mode.DAGGER for batch in prepared.batches if batch.tasks):
            yield {}
            return
        if settings_limits(settings):
            message = "in containers, limits hold for each process: limit what all may take at their engine"
            listener.notify(Notice(message=message, level="warning"))
        from containers.dagger_engine.address import EngineAddress  # noqa: PLC0415 - start-up stays quick
        from containers.dagger_engine.engines import Engines  # noqa: PLC0415 - slow

        engines = Engines(
            [EngineAddress.parse(url) for url in settings.engines],
            container_config(prepared),
            prepared.call.environ,
            directory / "dagger.log",
            on_notice=lambda message: listener.notify(Notice(message=message, level="warning")),
        )
        async with engines:
            yield {Mode.DAGGER: engines}


@asynccontextmanager
async def _sandbox(prepared: Prepared, listener: Listener) -> AsyncIterator["Sandbox | None"]:
    """Provide the sandbox of the tasks that run on this machine; where there is none, a notice says why.

    Raises:
        SandboxError: The sandbox is on, and cannot be had.
    """
    settings = prepared.settings
    if settings.sandbox is SandboxMode.OFF or not is_on_this_machine(prepared):
        yield None
        return
    from containers.sandbox.holder import end_left_holders  # noqa: PLC0415 - start-up stays quick
    from containers.sandbox.mounter import SandboxError  # noqa: PLC0415 - likewise
    from containers.sandbox.sandbox import Sandbox  # noqa: PLC0415 - likewise
    from pipeline.run.call.sandbox import prepare_sandbox, without_sandbox  # noqa: PLC0415 - likewise

    found = await to_thread.run_sync(prepare_sandbox, settings, prepared.repository, prepared.call.environ)
    if isinstance(found, Sandbox):
        try:
            await to_thread.run_sync(end_left_holders)
            yield found
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(found.close)
        return
    if settings.sandbox is SandboxMode.ON:
        raise SandboxError(f"the sandbox is on, and cannot be had: {found}; or set sandbox to auto")
    listener.notify(Notice(message=without_sandbox(found), level="warning"))
    yield None


@asynccontextmanager
async def _groups(prepared: Prepared, limits: Limits, listener: Listener) -> AsyncIterator["RunGroups | None"]:
    """Provide the control groups of the tasks of this machine, if they have limits and groups can be made.

    Raises:
        LimitsError: A program is missing that sets the limits that no group holds.
    """
    if not limits or not is_on_this_machine(prepared):
        yield None
        return
    from containers.limits.groups import RunGroups, open_groups  # noqa: PLC0415 - needed only with limits

    environ = prepared.call.environ
    with ExitStack() as stack:
        try:
            groups = await to_thread.run_sync(stack.enter_context, open_groups(limits, environ))
            held = groups.limits.names if isinstance(groups, RunGroups) else ()
            require_programs(limits.without(held), environ.get("PATH", ""))
            if isinstance(groups, str) and groups:
                listener.notify(Notice(message=without_groups(groups), level="info"))
            yield groups if isinstance(groups, RunGroups) else None
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(stack.close)


def is_on_this_machine(prepared: Prepared) -> bool:
    """Whether a task runs on this machine."""
    return any(batch.mode is not Mode.DAGGER for batch in prepared.batches if batch.tasks)


def container_config(prepared: Prepared) -> "ContainerConfig":
    """Return the configuration that all containers of a run share."""
    from containers.dagger_engine.config import ContainerConfig  # noqa: PLC0415 - start-up stays quick

    settings = prepared.settings
    return ContainerConfig(
        common=prepared.repository.common,
        identity=prepared.repository.identity(),
        repository=repository_id(prepared.repository, prepared.call.environ),
        depth=settings.depth,
        caches=settings.caches,
        copy=settings.copy,
        fresh=settings.fresh,
        services=settings.services,
        limits=settings_limits(settings),
    )

"""Runners on the engine that the module runs on, and spans in its trace."""

import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from anyio import CancelScope
from opentelemetry import propagate, trace

from containers.dagger_engine.client.api import Client, Directory
from containers.dagger_engine.runner import EngineRunner
from containers.dagger_engine.session import PORT, TOKEN
from containers.runner import Runner
from pipeline.broadcast import Listener
from pipeline.events import Event, StepFinished
from pipeline.run.call.prepare import Prepared
from pipeline.run.runners import container_config
from tasks.model import Mode

TRACER = trace.get_tracer("patchyard")


class ModuleFiles:
    """The files of the module's runtime; the engine names them by path below its working directory."""

    def directory(
        self, client: Client, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Directory:
        """Return a directory of the runtime as it is now."""
        return client.current_module().workdir(below(path), include=include, exclude=[*exclude, unused()])

    async def export(self, directory: Directory, path: Path) -> None:
        """Write the content of a directory into one of the runtime."""
        await directory.export(below(path))


def below(path: Path) -> str:
    """Return a path relative to the runtime's working directory, as the engine names it."""
    return os.path.relpath(path)


def unused() -> str:
    """Return a random pattern that matches nothing.

    The engine caches a query by its arguments; with this one among them, a directory is read as it is now.
    """
    return f"unused-{secrets.token_hex(8)}"


def trace_headers() -> dict[str, str]:
    """Return the headers of a request that make what the engine does for it a part of the current span."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


class TracingListener:
    """Pass events on, and show each step as a span under its task in the engine's trace."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def notify(self, event: Event) -> None:
        """Pass on an event; a finished step becomes a span."""
        self._listener.notify(event)
        if isinstance(event, StepFinished):
            began = event.time - timedelta(seconds=event.seconds)
            name = f"step {event.number}: {event.command}"
            span = TRACER.start_span(name, start_time=int(began.timestamp() * 1e9))
            if event.exit_code != 0:
                span.set_status(trace.StatusCode.ERROR, f"exit code {event.exit_code}")
            span.end(int(event.time.timestamp() * 1e9))


class ModuleRunners:
    """Provide runners on the engine that the module itself runs on."""

    def span(self, name: str) -> AbstractContextManager[object]:
        """Open a span of this name in the engine's trace."""
        return TRACER.start_as_current_span(name)

    @asynccontextmanager
    async def runners(
        self, prepared: Prepared, _directory: Path, _listener: Listener
    ) -> AsyncIterator[Mapping[Mode, Runner]]:
        """Provide one runner for every mode: the module runs tasks in containers only."""
        client = Client.connect(int(os.environ[PORT]), os.environ[TOKEN], trace_headers)
        config = replace(container_config(prepared), files=ModuleFiles())
        try:
            yield dict.fromkeys(Mode, EngineRunner(client, config))
        finally:
            with CancelScope(shield=True):
                await client.aclose()

"""Command `agents`: which agents there are, and what this machine has of them."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import click

from containers.agents.builtin import BUILT_IN, Agent
from containers.agents.presence import Presence, presence
from containers.git.repository import GitError, Repository
from pipeline.cli.options import repo_option
from pipeline.cli.process import environment
from pipeline.config.sources import load
from pipeline.renderables import Table, show
from pipeline.run.call.sandbox import sandbox_sentence
from tasks.model import PlanSettings
from tasks.text import printable

YES, NO, UNKNOWN = "yes", "no", "?"


def _repository(repo: Path, environ: Mapping[str, str]) -> Repository | None:
    with suppress(GitError):
        return Repository.open(repo, environ)
    return None


def found_versions(agents: Iterable[Agent], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of those agents that are installed, by name; all are asked at once. Blocking."""
    wanted = [agent for agent in agents if agent.version and presence(agent, environ).is_installed is not False]
    return anyio.run(partial(_versions, wanted, environ)) if wanted else {}


async def _versions(agents: Sequence[Agent], environ: Mapping[str, str]) -> dict[str, str]:
    from containers.local import LocalRunner  # noqa: PLC0415 - only if an agent is installed

    runner, found = LocalRunner(environ), dict[str, str]()

    async def ask(agent: Agent) -> None:
        if version := await runner.version(agent, None):
            found[agent.name] = version

    async with anyio.create_task_group() as group:
        for agent in agents:
            group.start_soon(ask, agent)
    return found


def _record(agent: Agent, environ: Mapping[str, str], versions: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON record of an agent; of its secrets only whether they are set."""
    here = presence(agent, environ)
    return {
        "agent": agent.name,
        "origin": _origin(agent),
        "installed": here.is_installed,
        "path": str(here.path) if here.path else None,
        "found_version": versions.get(agent.name),
        "logged_in": here.login is not None,
        "command": agent.command,
        "image": agent.image,
        "setup": list(agent.setup),
        "secrets": {name: bool(environ.get(name)) for name in agent.secrets},
        "environment": dict(agent.environment),
        "version": agent.version,
        "cost": agent.cost,
        "format": agent.format,
        "limit": agent.limit,
    }


def _origin(agent: Agent) -> str:
    known = BUILT_IN.get(agent.name)
    return "configuration" if known is None else "built-in" if known == agent else "changed"


@click.command()
@repo_option
@click.option("--verbose", "-v", is_flag=True, help="Show also commands, images, secrets and origins.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per agent.")
def agents(repo: Path, *, verbose: bool, as_json: bool) -> None:
    """List the agents that can run tasks: which are installed, their versions, and whether they can log in.

    The last line says whether tasks of this machine run in the sandbox.

    Change a built-in agent, or declare another one, as [agents.NAME] in patchyard.toml.
    """
    environ = environment()
    repository = _repository(repo, environ)
    sources = load({}, environ, repository.root) if repository else None
    by_name = {**BUILT_IN, **(sources.agents if sources else {})}
    versions = found_versions(by_name.values(), environ)
    if as_json:
        for agent in by_name.values():
            click.echo(json.dumps(_record(agent, environ, versions)))
        return
    rows = [_row(agent, presence(agent, environ), versions) for agent in by_name.values()]
    show(Table(("agent", "installed", "version", "login or key"), rows), sys.stdout)
    if verbose:
        _show_more(by_name.values(), environ)
    if repository and sources:
        settings = sources.resolve(PlanSettings())
        click.echo(printable(sandbox_sentence(settings, repository, environ)))


def _row(agent: Agent, here: Presence, versions: Mapping[str, str]) -> tuple[str, ...]:
    is_installed = UNKNOWN if here.is_installed is None else YES if here.is_installed else NO
    access = here.access
    if not access and here.is_installed:
        access = f"none found: log in, or set {agent.secrets[0]}" if agent.secrets else ""
    return agent.name, is_installed, number_in(versions.get(agent.name, "")), access


def number_in(version: str) -> str:
    """Return the number in what an agent says of its version, else all of it."""
    found = re.search(r"[0-9]+(?:\.[0-9A-Za-z]+)+", version)
    return found[0] if found else version


def _show_more(agents: Iterable[Agent], environ: Mapping[str, str]) -> None:
    """Print all else that is known of the agents."""
    from containers.agents.builtin import DEFAULT_IMAGE  # noqa: PLC0415 - only needed here

    rows = [
        (
            agent.name,
            agent.command,
            agent.image or DEFAULT_IMAGE,
            "\n".join(f"{name}: {YES if environ.get(name) else NO}" for name in agent.secrets),
            _origin(agent),
        )
        for agent in agents
    ]
    show(Table(("agent", "command", "image", "secrets that are set", "origin"), rows), sys.stdout)

"""Command `agents`: list the built-in, changed and declared agents."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from containers.agents.builtin import BUILT_IN, Agent
from containers.dagger_engine.runner import DEFAULT_IMAGE
from containers.git.repository import GitError, Repository
from pipeline.cli.options import repo_option
from pipeline.cli.process import environment
from pipeline.config.sources import load
from pipeline.console import show, table


def known_agents(repo: Path, environ: Mapping[str, str]) -> dict[str, Agent]:
    """Return all agents by name, with the changes of the repository's configuration if there is one.

    Raises:
        ConfigError: The configuration is invalid.
    """
    try:
        repository = Repository.open(repo, environ)
    except GitError:
        return dict(BUILT_IN)
    return {**BUILT_IN, **load({}, environ, repository.root).agents}


def _record(agent: Agent, environ: Mapping[str, str]) -> dict[str, object]:
    """Return the JSON record of an agent; of its secrets only whether they are set."""
    return {
        "agent": agent.name,
        "origin": _origin(agent),
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
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per agent.")
def agents(repo: Path, *, as_json: bool) -> None:
    """List the agents that can run tasks, and which of their secrets are set.

    Change a built-in agent, or declare another one, as [agents.NAME] in patchyard.toml.
    """
    environ = environment()
    by_name = known_agents(repo, environ)
    if as_json:
        for agent in by_name.values():
            click.echo(json.dumps(_record(agent, environ)))
        return
    rows = [
        (
            agent.name,
            agent.command,
            agent.image or DEFAULT_IMAGE,
            "\n".join(f"{name}: {'yes' if environ.get(name) else 'no'}" for name in agent.secrets),
            _origin(agent),
        )
        for agent in by_name.values()
    ]
    show(table(("agent", "command", "image", "secrets that are set", "origin"), rows), sys.stdout)

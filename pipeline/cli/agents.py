"""The command that lists the agents: built-in, changed and declared ones."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from containers.agents.builtin import BUILT_IN, Agent
from containers.dagger_engine.runner import DEFAULT_IMAGE
from containers.git.repository import GitError, Repository
from pipeline.cli.options import environment, repo_option
from pipeline.config.settings import load
from pipeline.console import show, table


def known_agents(repo: Path, environ: Mapping[str, str]) -> dict[str, Agent]:
    """Return all agents by name, as the repository's configuration leaves them; outside of one as they are.

    Raises:
        ConfigError: The configuration is wrong.
    """
    try:
        repository = Repository.open(repo, environ)
    except GitError:
        return dict(BUILT_IN)
    return {**BUILT_IN, **load({}, environ, repository.root).agents}


def _record(agent: Agent, environ: Mapping[str, str]) -> dict[str, object]:
    """Return what a JSON line says of an agent; of secrets only whether they are set."""
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
    }


def _origin(agent: Agent) -> str:
    known = BUILT_IN.get(agent.name)
    return "configuration" if known is None else "built-in" if known == agent else "changed"


@click.command()
@repo_option
@click.option("--json", "as_json", is_flag=True, help="Write a JSON line an agent.")
def agents(repo: Path, *, as_json: bool) -> None:
    """List the agents that tasks can be given to, and which of their secrets are set.

    The built-in ones can be changed, and others declared, as [agents.NAME] in patchyard.toml.
    """
    environ = environment()
    known = known_agents(repo, environ)
    if as_json:
        for agent in known.values():
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
        for agent in known.values()
    ]
    show(table(("agent", "command", "image", "secrets that are set", "origin"), rows), sys.stdout)


COMMANDS = (agents,)

"""Coding agents: resolve names, check requirements."""

import shutil
from collections.abc import Container, Mapping
from typing import Protocol, runtime_checkable

from containers.agents.builtin import BUILT_IN, Agent

MAX_LINE_LENGTH = 80
"""Characters of a program's first line that a report has room for."""


@runtime_checkable
class Versions(Protocol):
    """A runner that can report the version of an agent."""

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return the first line that the agent's `version` command prints; `None` if it does not run.

        Args:
            agent: The agent; its `version` is set.
            image: Image of the container that the agent runs in; ignored on the user's machine.
        """
        ...


def resolve_agent(name: str, agents: Mapping[str, Agent]) -> Agent:
    """Return the agent that is declared as `name`, else the built-in one, else `name` as a command itself."""
    return agents.get(name) or BUILT_IN.get(name) or Agent(name, command=name)


def is_usable(name: str, agents: Container[str], path: str) -> bool:
    """Whether `name` can be an agent: known, a command of several words or with a path, or a program.

    Args:
        name: The name in the plan or in a setting.
        agents: Names of declared agents; the built-in ones are known without them.
        path: Directories to search for programs, in the form of PATH.
    """
    if not name.strip():
        return False
    is_known = name in agents or name in BUILT_IN
    has_several_words = len(name.split()) > 1
    return is_known or has_several_words or "/" in name or shutil.which(name, path=path) is not None


def missing_requirement(agent: Agent, environ: Mapping[str, str], *, contained: bool) -> str | None:
    """Return what is missing for an agent to run, as a sentence; `None` if nothing is.

    Args:
        agent: The agent.
        environ: The user's environment.
        contained: Whether it runs in a container, which has nothing but what it is given. On the user's own
            machine its program has to be installed, and may be logged in without any secret.
    """
    if contained:
        if not agent.secrets or agent_secrets(agent, environ):
            return None
        names = " or ".join(agent.secrets)
        return f"agent {agent.name} needs a secret, and none is set: set {names} in the environment"
    known = BUILT_IN.get(agent.name)
    if known is None or known.version is None or agent.command != known.command:
        return None  # the requirements of a user-defined command are not known
    program = known.version.split()[0]
    if shutil.which(program, path=environ.get("PATH", "")):
        return None
    return (
        f"agent {agent.name}: the program {program} is not on PATH; "
        "install it, or run it in a container with --mode dagger"
    )


def agent_secrets(agent: Agent, environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of an agent's secrets that are set, by variable name."""
    return {name: value for name in agent.secrets if (value := environ.get(name))}


def first_line(output: str) -> str | None:
    """Return the first line of a program's output that is not blank, shortened; `None` if all are blank."""
    lines = (line.strip() for line in output.splitlines())
    return next((line[:MAX_LINE_LENGTH] for line in lines if line), None)

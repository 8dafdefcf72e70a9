"""What this machine has of an agent: its program, its version, a login or a key."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from containers.agents.agent import agent_secrets
from containers.agents.builtin import BUILT_IN, LOGINS, Agent
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_WORD = regex(r"[\w./+-]+")


@dataclass(frozen=True, slots=True)
class Presence:
    """What this machine has of an agent.

    `program` is the name of its program, `None` if its command does not show it, and `path` where that is;
    `keys` are the names of its secrets that are set, and `login` is the file that shows a login.
    """

    program: str | None
    path: Path | None
    keys: tuple[str, ...]
    login: Path | None

    @property
    def is_installed(self) -> bool | None:
        """Whether the program is installed; `None` if that is not known."""
        return None if self.program is None else self.path is not None

    @property
    def access(self) -> str:
        """How it may use its provider, in a few words; empty if nothing here shows it."""
        if self.keys:
            return f"{', '.join(self.keys)} set"
        return "logged in" if self.login else ""


def presence(agent: Agent, environ: Mapping[str, str]) -> Presence:
    """Return what this machine has of an agent. Blocking, and quick: no program is run."""
    program = program_of(agent)
    found = shutil.which(program, path=environ.get("PATH", "")) if program else None
    keys = tuple(agent_secrets(agent, environ))
    return Presence(program, Path(found) if found else None, keys, _login(agent, environ))


def program_of(agent: Agent) -> str | None:
    """Return the program that an agent is; `None` if its command does not show it."""
    known = BUILT_IN.get(agent.name)
    if known and known.version and agent.command == known.command:
        return known.version.split()[0]
    word = agent.command.split(maxsplit=1)[0] if agent.command.split() else ""
    return word if _WORD.fullmatch(word) else None


def installed(agents: Iterable[Agent], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of those agents whose program is installed, each program once. Blocking."""
    by_program: dict[str, str] = {}
    for agent in agents:
        found = presence(agent, environ)
        if found.program and found.path:
            by_program.setdefault(found.program, agent.name)
    return tuple(by_program.values())


def _login(agent: Agent, environ: Mapping[str, str]) -> Path | None:
    """Return the file that shows that an agent is logged in, if it is there."""
    login, home = LOGINS.get(agent.name), environ.get("HOME")
    if login is None:
        return None
    named = environ.get(login.variable) if login.variable else None
    if not (named or home):
        return None
    path = Path(named) if named else Path(home or "", login.default)
    path /= login.file
    return path if path.is_file() and path.stat().st_size else None

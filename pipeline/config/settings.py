"""One typed settings object: flags > environment > the plan > file > defaults."""

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from containers.agents.agent import resolve_agent
from containers.agents.builtin import Agent
from containers.dagger_engine.images import pinned
from containers.dagger_engine.runner import DEFAULT_IMAGE
from pipeline.config.converters import CONVERTERS
from tasks.errors import PatchyardError
from tasks.model import Batch, Mode, PlanSettings, Task

FILE = "patchyard.toml"
PREFIX = "PATCHYARD_"
DEFAULT_BRANCH = "patchyard/{plan}/{task}"
DEFAULT_TIMEOUT = 3600.0
"""Seconds that a task may take when nothing says otherwise: an unattended run has to end."""


class ConfigError(PatchyardError):
    """A setting is wrong; the message says where it was set."""

    exit_code: ClassVar[int] = 2


class UnsetError(ConfigError):
    """A secret is not set. One of the variables `names` would do; `why` says who wants it."""

    def __init__(self, message: str, *, names: Sequence[str], why: str) -> None:
        super().__init__(message)
        self.names = names
        self.why = why


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a run can be told, resolved.

    `timeout` and `grace` are in seconds; a timeout of infinity is no limit. `forced` holds the names that a
    flag or the environment set: those win over what a batch or a task of the plan says for itself. `pins` are
    the digests of images by name, from `patchyard.lock` or from the engine.
    """

    base: str | None = None
    mode: Mode = Mode.PARALLEL
    pool_size: int = 3
    agent: str | None = None
    image: str | None = None
    timeout: float = DEFAULT_TIMEOUT
    grace: float = 5.0
    worktrees: Path | None = None
    branch: str = DEFAULT_BRANCH
    publish: bool = False
    draft: bool = False
    auto_merge: bool = False
    fail_fast: bool = False
    keep_going: bool = False
    remote: str = "origin"
    github: str | None = None
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    agents: Mapping[str, Agent] = field(default_factory=dict)
    copy: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    fresh: bool = False
    no_cache: bool = False
    locked: bool = False
    caches: tuple[str, ...] = ()
    depth: int = 1
    services: Mapping[str, str] = field(default_factory=dict)
    notify: str | None = field(default=None, repr=False)
    pins: Mapping[str, str] = field(default_factory=dict)
    forced: frozenset[str] = frozenset()

    def mode_for(self, batch: Batch) -> Mode:
        """How the tasks of this batch are run."""
        return self.mode if "mode" in self.forced else batch.mode or self.mode

    def agent_for(self, task: Task) -> Agent | None:
        """The agent that gets this task's text; `None` for a task with commands of its own, or without one."""
        name = self.agent if "agent" in self.forced else task.agent or self.agent
        return resolve_agent(name, self.agents) if name and not task.run else None

    def timeout_for(self, task: Task) -> float | None:
        """How many seconds this task may take; `None` for no limit."""
        own = None if "timeout" in self.forced else task.timeout
        seconds = self.timeout if own is None else own
        return None if math.isinf(seconds) else seconds

    def image_named(self, task: Task, batch: Batch) -> str:
        """The image of this task's container, as named; without that the one of its agent."""
        own = None if "image" in self.forced else task.image or batch.image
        agent = self.agent_for(task)
        return own or self.image or (agent and agent.image) or DEFAULT_IMAGE

    def image_for(self, task: Task, batch: Batch) -> str:
        """The image of this task's container, with its digest where that is known."""
        return pinned(self.image_named(task, batch), self.pins)


TABLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"worktree": ("copy", "setup", "keep"), "container": ("caches", "depth", "services")}
)
"""Settings that stand in a table of their own in the file."""
IN_TABLES = frozenset(name for names in TABLES.values() for name in names)
NOT_IN_ENVIRONMENT = frozenset({"environment", "agents", *IN_TABLES})


@dataclass(frozen=True, slots=True)
class Sources:
    """Settings before the plan is read: each name with its value, and where it was set."""

    forced: Mapping[str, Any]
    file: Mapping[str, Any]

    @property
    def agent(self) -> str | None:
        """The agent that anything but the plan names."""
        agent = self.forced.get("agent") or self.file.get("agent")
        return None if agent is None else str(agent)

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents that the configuration file declares or changes."""
        agents: Mapping[str, Agent] = self.file.get("agents", {})
        return agents

    def resolve(self, plan: PlanSettings) -> Settings:
        """Put the plan's own settings in their place and return the whole."""
        from_plan = {
            item.name: value
            for item in fields(plan)
            if (value := getattr(plan, item.name)) is not None and item.name not in {"environment", "agents"}
        }
        merged = {**self.file, **from_plan, **self.forced}
        merged["environment"] = {**self.file.get("environment", {}), **plan.environment}
        # A plan may come from others: it names commands, and gets nothing of an agent that has the same name.
        declared = {name: Agent(name, command) for name, command in plan.agents.items()}
        merged["agents"] = {**self.agents, **declared}
        return Settings(**merged, forced=frozenset(self.forced))


def load(flags: Mapping[str, object], environ: Mapping[str, str], root: Path) -> Sources:
    """Read the settings that stand outside of the plan.

    Args:
        flags: What the caller named; `None` is "not given".
        environ: The environment; `PATCHYARD_POOL_SIZE=5` is `pool_size`.
        root: The directory that `patchyard.toml`, or `pyproject.toml` with `[tool.patchyard]`, stands in.

    Raises:
        ConfigError: A value is wrong, or a name is unknown.
    """
    variables = {
        name: (value, f"the environment variable {PREFIX}{name.upper()}")
        for name, value in variables_of(environ).items()
    }
    named = {
        name: (value, f"--{(name.removesuffix('s') if isinstance(value, tuple) else name).replace('_', '-')}")
        for name, value in flags.items()
        if value is not None and value != ()
    }
    forced = {name: _convert(name, value, where) for name, (value, where) in {**variables, **named}.items()}
    file = _read_file(root)
    home = environ.get("HOME", "~")
    for values, start in ((forced, Path()), (file, root)):
        if isinstance(named_path := values.get("worktrees"), Path):
            values["worktrees"] = _absolute_path(named_path, start, home)
    return Sources(forced, file)


def variables_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the environment names, as they stand there."""
    return {
        name: value
        for name in CONVERTERS
        if name not in NOT_IN_ENVIRONMENT and (value := environ.get(PREFIX + name.upper()))
    }


def _absolute_path(path: Path, start: Path, home: str) -> Path:
    """Return where a path leads: one that the caller named counts from here, one of a file from the file."""
    return (start / (Path(home, *path.parts[1:]) if path.parts[:1] == ("~",) else path)).absolute()


def _convert(name: str, value: object, where: str) -> object:
    try:
        return CONVERTERS[name](value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def _read_file(root: Path) -> dict[str, Any]:
    own = root / FILE
    if own.is_file():
        return _settings(_toml(own), own, "")
    project = root / "pyproject.toml"
    if project.is_file():
        table = _toml(project).get("tool", {})
        if isinstance(table, dict) and isinstance(table.get("patchyard"), dict):
            return _settings(table["patchyard"], project, "tool.patchyard.")
    return {}


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _settings(table: Mapping[str, Any], path: Path, prefix: str) -> dict[str, Any]:
    found = {name: value for name, value in table.items() if name not in TABLES}
    _known(found, [*(name for name in CONVERTERS if name not in IN_TABLES), *TABLES], f"{path}: {prefix}")
    places = {name: prefix + name for name in found}
    for table_name, names in TABLES.items():
        inner = table.get(table_name, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {prefix}{table_name}: expected a table with {', '.join(names)}")
        _known(inner, names, f"{path}: {prefix}{table_name}.")
        places |= {name: f"{prefix}{table_name}.{name}" for name in inner}
        found |= inner
    return {name: _convert(name, value, f"{path}: {places[name]}") for name, value in found.items()}


def _known(table: Mapping[str, object], names: Iterable[str], where: str) -> None:
    names = list(names)
    for name in table:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(names)}"
            raise ConfigError(f"{where}{name}: no such setting; {hint}")


def secret_values(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the environment variables that `secrets` names.

    Raises:
        UnsetError: One of them is not set.
    """
    names = list(names)
    if missing := [name for name in names if name not in environ]:
        raise UnsetError(
            f"secrets: the environment variable {missing[0]} is not set; set it, or take it off the list",
            names=missing[:1],
            why="is among the secrets of the settings",
        )
    return {name: environ[name] for name in names}

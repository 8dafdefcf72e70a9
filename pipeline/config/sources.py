"""Where settings come from: flags > environment > the plan > the repository's file > the user's > defaults."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from containers.agents.builtin import Agent
from pipeline.config.files import (
    FILE,
    ConfigError,
    ConfigFileError,
    SettingsFile,
    read_repository_file,
    read_settings_file,
)
from pipeline.config.settings import SETTINGS, Settings
from tasks.dialects.read_options import ReadOptions
from tasks.lazy.dataclasses import dataclass
from tasks.model import PlanSettings

__all__ = ["FILE", "ConfigError", "ConfigFileError", "Origin", "Sources", "UnsetError", "load", "secret_values"]


class UnsetError(ConfigError):
    """A secret is not set. Any of the variables `names` is enough; `why` says what needs it."""

    def __init__(self, message: str, *, names: Sequence[str], why: str) -> None:
        super().__init__(message)
        self.names = names
        self.why = why


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting is set, for people, and its value as it is written there."""

    where: str
    value: object


@dataclass(frozen=True, slots=True)
class Sources:
    """The settings from outside the plan: those of flags and variables, and those of files.

    `file` has those of the repository, whose file is at `path`; `own` those of the user's own file.
    `origins` says of each setting where it is set, with the highest precedence.
    """

    forced: Mapping[str, Any]
    file: Mapping[str, Any]
    path: Path
    own: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, "Origin"] = field(default_factory=dict)

    @property
    def agent(self) -> str | None:
        """The agent that a flag, a variable or a file names."""
        agent = self.forced.get("agent") or self.file.get("agent") or self.own.get("agent")
        return None if agent is None else str(agent)

    @property
    def reading(self) -> ReadOptions:
        """How a plan is read, as a flag, a variable or a file says."""
        values = {**self.own, **self.file, **self.forced}
        return ReadOptions(
            **{item.name: values[item.name] for item in fields(ReadOptions) if item.name in values}
        )

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents that the configuration files declare or change."""
        return {**self.own.get("agents", {}), **self.file.get("agents", {})}

    def resolve(self, plan: PlanSettings) -> Settings:
        """Return the settings of a run, with those of its plan."""
        from_plan = {
            item.name: value
            for item in fields(plan)
            if (value := getattr(plan, item.name)) is not None and item.name not in {"environment", "agents"}
        }
        merged = {**self.own, **self.file, **from_plan, **self.forced}
        for name in ("environment", "services"):
            merged[name] = {**self.own.get(name, {}), **self.file.get(name, {})}
        merged["environment"] |= plan.environment
        # A plan may come from others: its agent gets no secret of an agent with the same name.
        declared = {name: Agent(name, command) for name, command in plan.agents.items()}
        merged["agents"] = {**self.agents, **declared}
        return Settings(**merged, forced=frozenset(self.forced))


def load(flags: Mapping[str, object], environ: Mapping[str, str], root: Path) -> Sources:
    """Read the settings from outside the plan. Blocking.

    Args:
        flags: Values by setting; `None` and an empty tuple are "not given".
        environ: The environment; `PATCHYARD_POOL_SIZE=5` is `pool_size`.
        root: The directory of `patchyard.toml`, or of `pyproject.toml` with `[tool.patchyard]`.

    Raises:
        ConfigError: A value is wrong, or a name is unknown; all mistakes of files at once.
    """
    variables = {
        name: (value, f"the environment variable {SETTINGS[name].variable}")
        for name, value in variables_of(environ).items()
    }
    named = {
        name: (value, SETTINGS[name].flag) for name, value in flags.items() if value is not None and value != ()
    }
    given = {**variables, **named}
    forced = {name: _convert(name, value, where) for name, (value, where) in given.items()}
    file = read_repository_file(root)
    own_path = _own_file(environ)
    own = read_settings_file(own_path) if own_path and own_path.is_file() else SettingsFile(Path())
    if mistakes := [*file.mistakes, *own.mistakes]:
        raise ConfigFileError(mistakes)
    home = environ.get("HOME", "~")
    for values, start in ((forced, Path()), (file.values, root), (own.values, Path(home))):
        if isinstance(named_path := values.get("worktrees"), Path):
            values["worktrees"] = _absolute_path(named_path, start, home)
    origins = {**_origins_in(own), **_origins_in(file)}
    origins |= {name: Origin(where, value) for name, (value, where) in given.items()}
    return Sources(forced, file.values, file.path, own.values, origins)


def _origins_in(file: SettingsFile) -> dict[str, Origin]:
    return {name: Origin(f"{file.path}:{file.lines[name]}", value) for name, value in file.written.items()}


def _own_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path of the user's own file (https://specifications.freedesktop.org/basedir-spec/latest/)."""
    config, home = environ.get("XDG_CONFIG_HOME"), environ.get("HOME")
    if not (config or home):
        return None
    return Path(config or Path(home or "", ".config"), "patchyard", "config.toml")


def variables_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the unconverted settings that the environment sets."""
    return {
        name: value
        for name, item in SETTINGS.items()
        if item.variable and (value := environ.get(item.variable))
    }


def _absolute_path(path: Path, start: Path, home: str) -> Path:
    """Return a path made absolute: relative to `start`, with `~` as the home directory."""
    return (start / (Path(home, *path.parts[1:]) if path.parts[:1] == ("~",) else path)).absolute()


def _convert(name: str, value: object, where: str) -> object:
    try:
        return SETTINGS[name].convert(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None


def secret_values(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the environment variables that `secrets` names.

    Raises:
        UnsetError: One of them is not set.
    """
    names = list(names)
    if missing := [name for name in names if name not in environ]:
        raise UnsetError(
            f"secrets: the environment variable {missing[0]} is not set; set it, or remove it from the list",
            names=missing[:1],
            why="is among the secrets of the settings",
        )
    return {name: environ[name] for name in names}

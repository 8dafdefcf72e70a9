"""How a value becomes a setting, whether it comes from a flag, a variable or a file.

A converter raises `ValueError` with what it expected; `pipeline.config` says where the value was set.
"""

import math
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from containers.agents.builtin import BUILT_IN, Agent
from containers.dagger_engine.engines import EngineAddress
from tasks.durations import parse_duration
from tasks.model import Mode

SERVICE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[1-9][0-9]{0,4}")
PLACEHOLDERS = frozenset({"plan", "task", "run"})


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a text that is not empty")
    if not value.isprintable() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):  # noqa: PLR2004 - surrogates
        raise ValueError("expected UTF-8")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    try:
        return words[str(value).strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def _size(value: object) -> int:
    try:
        size = int(str(value))
    except ValueError:
        size = 0
    if isinstance(value, bool) or size < 1:
        raise ValueError("expected a whole number of at least 1")
    return size


def _mode(value: object) -> Mode:
    try:
        return Mode(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"expected one of {', '.join(Mode)}") from None


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as 90s, 10m or 1h")  # noqa: TRY004 - one kind of error for all
    if str(value).strip().lower() == "none":
        return math.inf
    return parse_duration(str(value))


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    return Path(_text(value))


def _texts(value: object) -> tuple[str, ...]:
    items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError("expected a list of texts")
    return tuple(items)


def _inside(value: object) -> tuple[str, ...]:
    items = _texts(value)
    for item in items:
        if item.startswith(("/", "~")) or ".." in Path(item).parts:
            raise ValueError(f"{item!r} leaves the repository")
    return items


def _absolute(value: object) -> tuple[str, ...]:
    items = _texts(value)
    for item in items:
        if not item.startswith("/"):
            raise ValueError(f"{item!r} is no path from the root of a container")
    return items


def _engines(value: object) -> tuple[str, ...]:
    items = _texts(value)
    for item in items:
        EngineAddress.parse(item)
    return items


def _depth(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a number of commits, 0 for all")
    return value


def check_url(url: str) -> str:
    """Return a URL that notifications can go to.

    Raises:
        ValueError: It is none; the message does not hold it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL that begins with https:// or http://")
    return url


def _notify(value: object) -> str:
    """Return the URL that is told of a run's end; no message of an error holds it, since it may be a secret."""
    return check_url(_text(value))


def _branch(value: object) -> str:
    template = _text(value)
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"{template!r} is no template: {error}") from None
    if unknown := sorted(names - PLACEHOLDERS):
        raise ValueError(f"{{{unknown[0]}}} is unknown; use {{plan}}, {{task}} and {{run}}")
    if "task" not in names:
        raise ValueError("it needs {task}, or every task would have the same branch")
    try:
        template.format(plan="plan", task="1.1", run="run")
    except (ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"{template!r} is no template: {error}") from None
    return template


def _table(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("expected a table of names and texts")  # noqa: TRY004 - one kind of error for all
    for name, text in value.items():
        if not isinstance(text, str | int | float):
            raise ValueError(f"{name} should be a text")  # noqa: TRY004 - one kind of error for all
    return {
        str(name): str(text) if not isinstance(text, bool) else str(text).lower()
        for name, text in value.items()
    }


def _variables(value: object) -> dict[str, str]:
    variables = _table(value)
    for name in variables:
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} is no name of a variable")
    return variables


def _pattern(value: object) -> str:
    text = _text(value)
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    if "cost" not in groups:
        raise ValueError(f"{text!r} needs a group such as (?P<cost>[0-9.]+)")
    return text


def _commands(value: object) -> tuple[str, ...]:
    """Return commands: a text is one of them, since a command may hold commas."""
    return (_text(value),) if isinstance(value, str) else _texts(value)


AGENT_CONVERTERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "command": _text,
        "image": _text,
        "setup": _commands,
        "secrets": _texts,
        "environment": _variables,
        "version": _text,
        "cost": _pattern,
    },
)


def _services(value: object) -> dict[str, str]:
    services = _table(value)
    for name, address in services.items():
        if not SERVICE.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a host")
        if not ADDRESS.fullmatch(address):
            raise ValueError(f"{name} should be a port of this machine such as localhost:11434")
    return services


def _agents(value: object) -> dict[str, Agent]:
    if not isinstance(value, dict):
        raise ValueError('expected tables such as [agents.NAME] with command = "…"')  # noqa: TRY004 - one kind of error for all
    return {str(name): _agent(str(name), agent) for name, agent in value.items()}


def _agent(name: str, value: object) -> Agent:
    """Return an agent as a table declares it; of a built-in one only what it names is changed."""
    table = {"command": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ValueError(f'{name} needs command = "…"')  # noqa: TRY004 - one kind of error for all
    if unknown := [key for key in table if key not in AGENT_CONVERTERS]:
        raise ValueError(f"{name}.{unknown[0]}: an agent has {', '.join(AGENT_CONVERTERS)}")
    fields_of: dict[str, Any] = {}
    for key, item in table.items():
        try:
            fields_of[key] = AGENT_CONVERTERS[key](item)
        except ValueError as error:
            raise ValueError(f"{name}.{key}: {error}") from None
    known = BUILT_IN.get(name)
    if known is None and "command" not in fields_of:
        raise ValueError(f'{name} needs command = "…"')
    return replace(known or Agent(name, command=""), **fields_of)


CONVERTERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "base": _text,
        "mode": _mode,
        "pool_size": _size,
        "agent": _text,
        "image": _text,
        "timeout": _seconds,
        "grace": _seconds,
        "worktrees": _path,
        "branch": _branch,
        "publish": _flag,
        "draft": _flag,
        "auto_merge": _flag,
        "fail_fast": _flag,
        "keep_going": _flag,
        "remote": _text,
        "github": _text,
        "labels": _texts,
        "reviewers": _texts,
        "secrets": _texts,
        "environment": _variables,
        "agents": _agents,
        "copy": _inside,
        "setup": _commands,
        "keep": _inside,
        "engines": _engines,
        "fresh": _flag,
        "no_cache": _flag,
        "locked": _flag,
        "caches": _absolute,
        "depth": _depth,
        "services": _services,
        "notify": _notify,
    },
)

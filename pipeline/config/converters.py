"""Convert a value of a flag, a variable or a file to a setting.

Every converter raises `ValueError` with what it expects; the caller adds where the value was set.
"""

import math
import string
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from containers.sandbox.network import Network
from containers.worktrees.ports import HIGHEST_PORT
from tasks.conflicts import OnConflict, Serialize
from tasks.dialects.read_options import NAMES, Order, UnitKind
from tasks.durations import parse_duration
from tasks.lazy.patterns import regex
from tasks.model import LARGEST_POOL, Mode, SandboxMode
from tasks.outcome import PullRequestScope
from tasks.secrets import OWN_SECRETS
from tasks.sizes import format_size, parse_size

_Choice = TypeVar("_Choice", bound=StrEnum)

SERVICE = regex(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
ADDRESS = regex(r"(localhost|127(\.[0-9]{1,3}){3}):[1-9][0-9]{0,4}")
LARGEST_PATCH = 300_000_000
"""The highest limit for the files of a patch, in bytes.

`git apply` takes at most 1 GB (git: MAX_APPLY_SIZE in `apply.c`), and the patch of a changed binary file can
have 2.6 times its size: both versions, as base 85.
"""
LOWEST_PORT = 1024
MOST_PORTS = 100
"""The highest number of ports for each worktree."""
PLACEHOLDERS = frozenset({"plan", "task", "run"})


def parse_text(value: object) -> str:
    """Return a non-empty string of valid Unicode."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a non-empty string")
    if not value.isprintable() and any(0xD800 <= ord(letter) <= 0xDFFF for letter in value):  # noqa: PLR2004 - surrogates
        raise ValueError("expected UTF-8")
    return value


def parse_flag(value: object) -> bool:
    """Return a truth value, or one of the words `true`, `yes`, `on`, `1` and their opposites."""
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


def parse_pool_size(value: object) -> int:
    """Return a number of worktrees."""
    try:
        size = int(str(value))
    except ValueError:
        size = 0
    if isinstance(value, bool) or not 1 <= size <= LARGEST_POOL:
        raise ValueError(f"expected a whole number from 1 to {LARGEST_POOL}")
    return size


def parse_port(value: object) -> int:
    """Return a port that any user may listen at."""
    if isinstance(value, bool) or not isinstance(value, int) or not LOWEST_PORT <= value <= HIGHEST_PORT:
        raise ValueError(f"expected a port from {LOWEST_PORT} to {HIGHEST_PORT}")
    return value


def parse_port_width(value: object) -> int:
    """Return a number of ports."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_PORTS:
        raise ValueError(f"expected a number of ports from 0 to {MOST_PORTS}")
    return value


def _choice(kind: type[_Choice], value: object) -> _Choice:
    try:
        return kind(str(value).strip().lower())
    except ValueError:
        raise ValueError(f"expected one of {', '.join(kind)}") from None


def parse_mode(value: object) -> Mode:
    """Return a mode by its name."""
    return _choice(Mode, value)


def parse_sandbox(value: object) -> SandboxMode:
    """Return when tasks run in a sandbox, by its name; TOML's `true` and `false` are `on` and `off`."""
    return _choice(SandboxMode, _on_or_off(value))


def parse_network(value: object) -> Network:
    """Return what of the network a sandbox reaches: `on`, `off`, or a list of hosts, also with commas."""
    return Network.parse(parse_list(_on_or_off(value)))


def _on_or_off(value: object) -> object:
    return ("on" if value else "off") if isinstance(value, bool) else value


def parse_dialect(value: object) -> str:
    """Return the name of a dialect."""
    name = str(value).strip().lower()
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}")
    return name


def parse_unit(value: object) -> UnitKind:
    """Return what becomes a task."""
    return _choice(UnitKind, value)


def parse_order(value: object) -> Order:
    """Return which units wait for which."""
    return _choice(Order, value)


def parse_on_conflict(value: object) -> OnConflict:
    """Return what follows a conflict."""
    return _choice(OnConflict, value)


def parse_serialize(value: object) -> Serialize:
    """Return which tasks of a batch wait for each other."""
    return _choice(Serialize, value)


def parse_pull_request(value: object) -> PullRequestScope:
    """Return what has a pull request of its own."""
    return _choice(PullRequestScope, value)


def parse_seconds(value: object) -> float:
    """Return a duration in seconds; `none` is infinity."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("expected a duration such as 90s, 10m or 1h")  # noqa: TRY004 - one kind of error for all
    if str(value).strip().lower() == "none":
        return math.inf
    return parse_duration(str(value))


def parse_patch_size(value: object) -> int:
    """Return the limit for a patch in bytes."""
    size = parse_bytes(value)
    if size > LARGEST_PATCH:
        raise ValueError(f"expected at most {format_size(LARGEST_PATCH)}: git applies no larger patch")
    return size


def parse_bytes(value: object) -> int:
    """Return a size in bytes."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("expected a size such as 500KB, 100MB or 1GB")  # noqa: TRY004 - one kind of error for all
    return parse_size(str(value))


def parse_count(value: object) -> int:
    """Return a whole number of at least 1."""
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or int(text) < 1:
        raise ValueError("expected a whole number of at least 1")
    return int(text)


def parse_path(value: object) -> Path:
    """Return a path as it is written."""
    if isinstance(value, Path):
        return value
    return Path(parse_text(value))


def parse_list(value: object) -> tuple[str, ...]:
    """Return a list of strings; a string is split at its commas."""
    items = [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError("expected a list of strings")
    return tuple(items)


def parse_secret_names(value: object) -> tuple[str, ...]:
    """Return names of variables, none of which holds a secret of patchyard itself."""
    names = parse_list(value)
    for name in names:
        if name in OWN_SECRETS or name.startswith("PATCHYARD_"):
            raise ValueError(
                f"{name} belongs to patchyard and is given to no task; put another credential into a variable "
                "with another name"
            )
    return names


def parse_relative_paths(value: object) -> tuple[str, ...]:
    """Return paths inside the repository."""
    items = parse_list(value)
    for item in items:
        if item.startswith(("/", "~")) or ".." in Path(item).parts:
            raise ValueError(f"{item!r} leaves the repository")
    return items


def parse_absolute_paths(value: object) -> tuple[str, ...]:
    """Return absolute paths inside a container."""
    items = parse_list(value)
    for item in items:
        if not item.startswith("/"):
            raise ValueError(f"{item!r} is not an absolute path")
    return items


def parse_engines(value: object) -> tuple[str, ...]:
    """Return addresses of Dagger engines, each `URL` or `URL=TASKS`."""
    from containers.dagger_engine.address import EngineAddress  # noqa: PLC0415 - start-up stays quick

    items = parse_list(value)
    for item in items:
        EngineAddress.parse(item)
    return items


def parse_depth(value: object) -> int:
    """Return a number of commits; 0 is all."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("expected a number of commits, 0 for all")
    return value


def check_url(url: str) -> str:
    """Return a URL that can receive notifications.

    Raises:
        ValueError: It is not an HTTP URL; the message does not contain it, since it may be a secret.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL that begins with https:// or http://")
    return url


def parse_webhook_url(value: object) -> str:
    """Return the URL to call when a run ends; no error message contains it, since it may be a secret."""
    return check_url(parse_text(value))


def parse_branch_template(value: object) -> str:
    """Return a template of branch names that has `{task}`, and no unknown placeholder."""
    template = parse_text(value)
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"{template!r} is not a valid template: {error}") from None
    if unknown := sorted(names - PLACEHOLDERS):
        raise ValueError(f"{{{unknown[0]}}} is unknown; use {{plan}}, {{task}} and {{run}}")
    if "task" not in names:
        raise ValueError("it needs {task}, otherwise all tasks would share a branch")
    try:
        template.format(plan="plan", task="1.1", run="run")
    except (ValueError, LookupError, AttributeError) as error:
        raise ValueError(f"{template!r} is not a valid template: {error}") from None
    return template


def parse_wait(value: object) -> float:
    """Return the seconds of a duration, which may be 0; infinity for `none`."""
    text = str(value).strip().lower()
    return 0.0 if text == "0" else parse_seconds(value)


def parse_dollars(value: object) -> float | None:
    """Return an amount of US dollars; `None` for `none`."""
    if value is None or (isinstance(value, str) and value.strip().lower() in {"", "none"}):
        return None
    try:
        amount = math.nan if isinstance(value, bool) else float(str(value).strip().removeprefix("$"))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise ValueError("expected an amount of US dollars such as 20 or 2.50")
    return amount


def parse_table(value: object) -> dict[str, str]:
    """Return texts by name."""
    if not isinstance(value, dict):
        raise ValueError("expected a table of names and strings")  # noqa: TRY004 - one kind of error for all
    for name, text in value.items():
        if not isinstance(text, str | int | float):
            raise ValueError(f"{name} should be a string")  # noqa: TRY004 - one kind of error for all
    return {
        str(name): str(text) if not isinstance(text, bool) else str(text).lower()
        for name, text in value.items()
    }


def parse_environment(value: object) -> dict[str, str]:
    """Return values by variable name."""
    variables = parse_table(value)
    for name in variables:
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} is not a valid variable name")
    return variables


def parse_commands(value: object) -> tuple[str, ...]:
    """Return commands; a string is one command, since commands may contain commas."""
    return (parse_text(value),) if isinstance(value, str) else parse_list(value)


def parse_services(value: object) -> dict[str, str]:
    """Return addresses, each `HOST:PORT`, by host name."""
    services = parse_table(value)
    for name, address in services.items():
        if not SERVICE.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid host name")
        if not ADDRESS.fullmatch(address):
            raise ValueError(f"{name} should be a port of this machine such as localhost:11434")
    return services

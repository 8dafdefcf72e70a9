"""Where secret files are, also where a variable or a link of the user's has moved them, and what agents run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from containers.filesystem import read_regular
from containers.sandbox.policy import (
    AGENT_HOMES,
    HISTORIES,
    HOME_VARIABLES,
    NAMED_SECRETS,
    SECRET,
    VARIABLES,
    WITH_PASSWORDS,
    WRITABLE,
)
from tasks.lazy.patterns import regex

_BESIDE_DATABASES = ("", "-wal", "-shm", "-journal")
"""What SQLite appends to the names of its files (https://sqlite.org/tempfiles.html)."""
_PASSWORD = regex(rb"://[^/\s:@]*:[^/\s@]+@")
_WORD = regex(r"[\w.+-]+")


def places_of(path: str, home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield where a path of the home directory is: there, and where variables say.

    Args:
        path: A path relative to the home directory, such as `.config/gh`.
        home: The home directory.
        environ: The user's environment.
    """
    yield home / path
    for variable, prefix in VARIABLES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            for value in environ.get(variable, "").split(os.pathsep):
                if value.startswith("/"):
                    yield Path(value + path.removeprefix(prefix))
    for variable, own in HOME_VARIABLES.items():
        if path == own and environ.get(variable, "").startswith("/"):
            yield Path(environ[variable], path)


def secrets_elsewhere(home: Path | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the secret files and directories that are not at their usual places. Blocking."""
    named = (environ.get(name, "") for name in NAMED_SECRETS)
    found = dict.fromkeys(Path(path) for path in named if path.startswith("/"))
    if home is not None:
        for path in sorted(SECRET | HISTORIES):
            found |= dict.fromkeys(_moved(path, home, environ))
        for path in sorted(WITH_PASSWORDS):
            found |= dict.fromkeys(place for place in places_of(path, home, environ) if _has_password(place))
    return tuple(path for path in found if path.exists())


def _has_password(path: Path) -> bool:
    content = read_regular(path.resolve())
    return content is not None and _PASSWORD.search(content) is not None


def agents_elsewhere(home: Path | None, environ: Mapping[str, str]) -> Mapping[str, tuple[Path, ...]]:
    """Return where agents' files and directories are besides their usual places, by these. Blocking."""
    if home is None:
        return {}
    names = [path for agent in AGENT_HOMES.values() for path in agent.config]  # log-ins are in these
    found = {path: tuple(place for place in _moved(path, home, environ) if place.exists()) for path in names}
    return {path: places for path, places in found.items() if places}


def _moved(path: str, home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    parent = Path(path).parent.as_posix()
    is_left_out = parent == "." or parent in WRITABLE
    for place in places_of(path, home, environ):
        with suppress(OSError, RuntimeError):
            real = place.resolve()
            if real != home / path or not is_left_out:
                yield real


def database_files(url: str | None) -> tuple[Path, ...]:
    """Return the files of a database; none if it is on a server.

    Args:
        url: A SQLAlchemy URL, such as `sqlite:////var/lib/runs.db`.
    """
    if not url or not url.strip().startswith("sqlite"):
        return ()
    path = Path(unquote(urlsplit(url.strip()).path.removeprefix("/"))).absolute()
    return tuple(path.with_name(path.name + ending) for ending in _BESIDE_DATABASES)


def program_of(command: str) -> str | None:
    """Return the name of the known agent that a command runs, if it runs one."""
    return next((word for word in _WORD.findall(command) if word in AGENT_HOMES), None)

"""Settings of git that the user's environment has."""

import re
from collections.abc import Mapping, Sequence

from tasks.lazy.patterns import regex

_QUOTED = r"(?:[^']|'\\[!']')*"
_PARAMETER = regex(rf"'({_QUOTED})'(?:=('{_QUOTED}'))?")


def configured_pairs(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the settings in the user's environment (CI systems use it); later ones, the program's, win."""
    names = [(f"GIT_CONFIG_KEY_{n}", f"GIT_CONFIG_VALUE_{n}") for n in range(_count(environ))]
    pairs = [(environ[key], environ[value]) for key, value in names if environ.get(key) and value in environ]
    return pairs + _parameters(environ.get("GIT_CONFIG_PARAMETERS", ""))


def with_pairs(environ: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return an environment with more settings, which have precedence over those of files."""
    count = _count(environ)
    added = {"GIT_CONFIG_COUNT": str(count + len(pairs))}
    for number, (key, value) in enumerate(pairs, count):
        added |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {**environ, **added}


def _count(environ: Mapping[str, str]) -> int:
    count = environ.get("GIT_CONFIG_COUNT", "")
    return int(count) if count.isdecimal() else 0


def _parameters(text: str) -> list[tuple[str, str]]:
    """Return the settings that `git -c` hands to its child processes: `'key'='value'`, or `'key=value'`."""
    found = []
    for quoted, value in _PARAMETER.findall(text) if text else ():
        key, equals, old = (quoted, "=", value) if value else quoted.partition("=")
        found.append((_unquoted(key), _unquoted(old) if equals else "true"))
    return found


def _unquoted(text: str) -> str:
    return re.sub(r"'\\([!'])'", r"\1", text.removeprefix("'").removesuffix("'"))

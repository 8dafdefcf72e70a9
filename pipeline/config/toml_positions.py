"""Where the keys of a TOML file are: `tomllib` keeps no positions.

The text is valid TOML (https://toml.io/en/v1.0.0), so that this only has to skip what is not a key.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from tasks.lazy.patterns import regex

Key = tuple[str, ...]
_STRING = regex(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = regex(r"[A-Za-z0-9_-]+")
_BLANK = regex(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = regex(r"[ \t]*")
_PLAIN = regex(r"[^,\]}\r\n#]*")
_ESCAPE = regex(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


class Position(NamedTuple):
    """A place in a file: line and column, 1-based, the column in characters."""

    line: int
    column: int


class Place(NamedTuple):
    """Where a key and its value begin; a table has no value."""

    key: Position
    value: Position


def positions(text: str) -> Mapping[Key, Place]:
    """Return where each key of a valid TOML text is, with those of its tables before it."""
    return dict(_Scanner(text).statements())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def statements(self) -> Iterator[tuple[Key, Place]]:
        """Yield the keys of the file."""
        table: Key = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                self._at += 2 if self._text.startswith("[[", self._at) else 1
                self._skip(_SPACE)
                where = self._position()
                table = self._key()
                yield table, Place(where, where)
                self._skip(re.compile(r"[\] \t]*"))
            else:
                yield from self._pair(table)
            self._skip(_BLANK)

    def _pair(self, table: Key) -> Iterator[tuple[Key, Place]]:
        where = self._position()
        key = (*table, *self._key())
        self._at += 1  # the `=`
        self._skip(_SPACE)
        yield key, Place(where, self._position())
        yield from self._value(key)

    def _value(self, key: Key) -> Iterator[tuple[Key, Place]]:
        """Skip a value; yield the keys of its inline tables."""
        first = self._text[self._at : self._at + 1]
        if first in {"[", "{"}:
            self._at += 1
            self._skip(_BLANK)
            while (now := self._text[self._at : self._at + 1]) not in {"]", "}", ""}:
                if now == ",":
                    self._at += 1
                elif first == "{":
                    yield from self._pair(key)
                else:
                    yield from self._value(key)
                self._skip(_BLANK)
            self._at += 1
        elif found := _STRING.match(self._text, self._at):
            self._at = found.end()
        else:
            before = self._at
            self._skip(_PLAIN)
            self._at += self._at == before  # never stay at a place

    def _key(self) -> Key:
        parts: list[str] = []
        while found := _STRING.match(self._text, self._at) or _BARE.match(self._text, self._at):
            parts.append(_unquoted(found[0]))
            self._at = found.end()
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                break
            self._at += 1
            self._skip(_SPACE)
        return tuple(parts)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()

    def _position(self) -> Position:
        start = self._text.rfind("\n", 0, self._at) + 1
        return Position(self._text.count("\n", 0, self._at) + 1, self._at - start + 1)


def _unquoted(text: str) -> str:
    if text.startswith('"'):
        return _ESCAPE.sub(_character, text[1:-1])
    return text.strip("'")


def _character(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" else _ESCAPED.get(code, code)

"""Read the settings of a file: all mistakes at once, each with line and column."""

import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pipeline.config.files import SettingsFile
from pipeline.config.settings import SECTIONS, SETTINGS
from pipeline.config.toml_positions import Key, Position, positions
from tasks.diagnostics import Diagnostic, Severity
from tasks.lazy.patterns import regex
from tasks.text import closest

_AT = regex(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class FileReader:
    """Reads a file of settings, below a table of it."""

    def __init__(self, file: SettingsFile, section: Key) -> None:
        self.file = file
        self._section = section
        self._places: Mapping[Key, Any] = {}

    def add(self, where: Position, message: str) -> None:
        """Add a mistake."""
        self.file.mistakes.append(
            Diagnostic(str(self.file.path), where.line, where.column, Severity.ERROR, message)
        )

    def read(self, content: bytes) -> None:
        """Read and convert all settings."""
        try:
            text = content.decode().replace("\r\n", "\n")
            table: Any = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = _AT.search(str(error))
            where = Position(int(found[1]), int(found[2])) if found and found[1] else Position(1, 1)
            self.add(where, f"not valid TOML: {_AT.sub('', str(error)) if found and found[1] else error}")
            return
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            self.add(Position(line, 1), f"not valid TOML: {error}")
            return
        for name in self._section:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict):
            self._places = positions(text)
            self._read_table(table)

    def _read_table(self, table: Mapping[str, Any]) -> None:
        top_level = [name for name, item in SETTINGS.items() if not item.section and item.in_file]
        for name, value in table.items():
            if name not in SECTIONS:
                self._read_setting((name,), value, [*top_level, *SECTIONS])
            elif isinstance(value, dict):
                for inner, one in value.items():
                    self._read_setting((name, inner), one, SECTIONS[name])
            else:
                self._mistake((name,), f"{name}: expected a table with {', '.join(SECTIONS[name])}")

    def _read_setting(self, key: Key, value: object, known: Collection[str]) -> None:
        name, shown = key[-1], ".".join((*self._section, *key))
        if name not in known:
            self._mistake(key, f"{shown}: no such setting; {_hint(name, known)}", of_value=False)
            return
        faults = list(_faults(name, value))
        for below, message in faults:
            self._mistake((*key, *below), f"{shown}: {message}")
        if not faults:
            self.file.values[name] = SETTINGS[name].convert(value)
            self.file.written[name] = value
            self.file.lines[name] = self._place(key).key.line

    def _mistake(self, key: Key, message: str, *, of_value: bool = True) -> None:
        place = self._place(key)
        self.add(place.value if of_value else place.key, message)

    def _place(self, key: Key) -> Any:  # noqa: ANN401 - a `Place`
        """Return where a key is, or the table that it is in."""
        whole = (*self._section, *key)
        while whole and whole not in self._places:
            whole = whole[:-1]
        if not whole:
            return next(iter(self._places.values()))
        return self._places[whole]


def _hint(name: str, known: Collection[str]) -> str:
    """Return what to do about a setting that is not known where it is."""
    if (item := SETTINGS.get(name)) and item.in_file:
        return f"it belongs into [{item.section}]" if item.section else "it belongs above the first [table]"
    similar = closest(name, known)
    return f"did you mean {similar}?" if similar else f"known are {', '.join(known)}"


def _faults(name: str, value: object) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong with the value of a setting, each with the keys below it; of a table, every part."""
    convert = SETTINGS[name].convert
    parts = list(_parts(name, value)) if isinstance(value, dict) else []
    found = False
    for below, part in [*parts, ((), value)]:
        if below == () and found:
            return
        try:
            convert(part)
        except ValueError as error:
            found = True
            yield below, str(error)


def _parts(name: str, value: Mapping[str, Any]) -> Iterator[tuple[Key, object]]:
    """Yield each part of a table as a table of its own; an agent that is declared needs its command."""
    for key, inner in value.items():
        if name != "agents" or not isinstance(inner, dict):
            yield (key,), {key: inner}
            continue
        for part, one in inner.items():
            yield (key, part), {key: {"command": "true", part: one}}

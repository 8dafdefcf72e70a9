"""Read JSON whose objects know their line and column."""

import json
import re
from bisect import bisect_right
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from typing import Any

from tasks.diagnostics import Report


class Located(dict[str, Any]):
    """An object of JSON; `line` and `column` are those of its brace, 1-based."""

    line: int = 1
    column: int = 1

    def text(self, key: str) -> str:
        """Return a value as text: nothing if it is missing, JSON if it is neither a text nor a number."""
        value = self.get(key)
        if value is None:
            return ""
        return str(value).strip() if isinstance(value, str | int | float) else json.dumps(value, indent=2)

    def objects(self, key: str) -> "list[Located]":
        """Return those parts of a list that are objects."""
        value = self.get(key)
        return [part for part in value if isinstance(part, Located)] if isinstance(value, list) else []


def line_starts(text: str) -> list[int]:
    """Return the offset at which each line begins."""
    return [0, *(found.end() for found in re.finditer("\n", text))]


class _Decoder(json.JSONDecoder):
    """Makes a `Located` of each object. The scanner in Python is the one that calls `parse_object`."""

    def __init__(self, text: str) -> None:
        super().__init__(strict=False)
        self._starts = line_starts(text)
        self.parse_object = self._object
        self.scan_once = py_make_scanner(self)

    def _object(self, state: tuple[str, int], *arguments: Any) -> tuple[Located, int]:  # noqa: ANN401 - json's own
        values, end = JSONObject(state, *arguments)
        found = Located(values)
        start = state[1] - 1
        found.line = bisect_right(self._starts, start)
        found.column = start - self._starts[found.line - 1] + 1
        return found, end


def read_json(text: str, report: Report) -> Located:
    """Return the object that a text is; an empty one, and an error, if it is none."""
    try:
        found = _Decoder(text).decode(text)
    except json.JSONDecodeError as error:
        report.error(error.lineno, error.colno, f"not valid JSON: {error.msg}")
        return Located()
    if not isinstance(found, Located):
        report.error(1, 1, "expected an object with the tasks")
        return Located()
    return found

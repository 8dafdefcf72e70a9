"""Find which units of a sequence may run side by side, from what they say of files and of each other."""

from collections.abc import Iterator
from dataclasses import replace

from tasks.dialects.dialect import Unit
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import FileAction

_NAMED = regex(r"(?i)\b(?:task|unit)s?\s+#?((?:[A-Za-z]{0,4}-?\d+(?:\.\d+)*[a-z]?(?:\s*(?:,|and|&)\s*)?)+)")
_ID = regex(r"[A-Za-z]{0,4}-?\d+(?:\.\d+)*[a-z]?")


@dataclass(frozen=True, slots=True)
class Edge:
    """A unit that waits for another, and why."""

    unit: str
    requires: str
    reason: str


def inferred(units: tuple[Unit, ...]) -> tuple[Unit, ...]:
    """Return units that wait only for those that they share files with, or that one of both names."""
    waits: dict[str, dict[str, str]] = {unit.id: {} for unit in units}
    for edge in edges(units):
        waits[edge.unit][edge.requires] = edge.reason
    return tuple(replace(unit, requires=tuple(waits[unit.id]), reasons=waits[unit.id]) for unit in units)


def edges(units: tuple[Unit, ...]) -> Iterator[Edge]:
    """Yield why a unit waits for an earlier one, the first reason for each pair.

    A unit that declares no file waits for all before it, and all after it wait for it: nothing is known of it.
    """
    said = [_said(unit) for unit in units]
    since = 0  # the last unit that declares no file; what is before it need not be named
    for at, later in enumerate(said):
        for earlier in said[since:at]:
            if reason := _reason(earlier, later):
                yield Edge(later.id, earlier.id, reason)
        since = since if later.written else at


@dataclass(frozen=True, slots=True)
class _Said:
    """What a unit says of files and of other units: the files that it writes and all that it declares."""

    id: str
    text: str
    written: frozenset[str]
    declared: frozenset[str]
    names: frozenset[str]


def _said(unit: Unit) -> _Said:
    return _Said(
        id=unit.id,
        text=unit.text,
        written=frozenset(file.path for file in unit.files if file.action is not FileAction.READ),
        declared=frozenset(file.path for file in unit.files),
        names=_names(unit),
    )


def _reason(earlier: _Said, later: _Said) -> str | None:
    if not earlier.written or not later.written:
        unknown = later if earlier.written else earlier
        return f"task {unknown.id} declares no file, so it may touch any"
    if shared := sorted(earlier.written & later.written):
        return f"both change {shared[0]}"
    if earlier.id in later.names:
        return f"task {later.id} names task {earlier.id}"
    if later.id in earlier.names:
        return f"task {earlier.id} names task {later.id}"
    for path in sorted(earlier.written):
        if path in later.declared or _mentions(later.text, path):
            return f"task {later.id} names {path}, which task {earlier.id} changes"
    return None


def _names(unit: Unit) -> frozenset[str]:
    """Return the ids of units that a text names, as in `Task 3` or `Tasks 1, 2 and 4`; steps are not units."""
    found = (name for match in _NAMED.finditer(unit.text) for name in _ID.findall(match[1]))
    return frozenset(found) - {unit.id}


def _mentions(text: str, path: str) -> bool:
    return path in text or path.rsplit("/", 1)[-1] in text

"""Find which units of a sequence may run side by side, from what they say of files and of each other."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tasks.dialects.dialect import Unit
from tasks.model import FileAction

_NAMED = re.compile(
    r"(?i)\b(?:task|unit)s?\s+#?((?:[A-Za-z]{0,4}-?\d+(?:\.\d+)*[a-z]?(?:\s*(?:,|and|&)\s*)?)+)"
)
_ID = re.compile(r"[A-Za-z]{0,4}-?\d+(?:\.\d+)*[a-z]?")


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
    since = 0  # the last unit that declares no file; what is before it need not be named
    for at, unit in enumerate(units):
        for earlier in units[since:at]:
            if reason := _reason(earlier, unit):
                yield Edge(unit.id, earlier.id, reason)
        since = since if _written(unit) else at


def _reason(earlier: Unit, later: Unit) -> str | None:
    ours, theirs = _written(earlier), _written(later)
    if not ours or not theirs:
        unknown = earlier if not ours else later
        return f"task {unknown.id} declares no file, so it may touch any"
    if shared := sorted(ours & theirs):
        return f"both change {shared[0]}"
    if earlier.id in _names(later):
        return f"task {later.id} names task {earlier.id}"
    if later.id in _names(earlier):
        return f"task {earlier.id} names task {later.id}"
    for path in sorted(ours):
        if _mentions(later.text, path) or any(file.path == path for file in later.files):
            return f"task {later.id} names {path}, which task {earlier.id} changes"
    return None


def _written(unit: Unit) -> frozenset[str]:
    return frozenset(file.path for file in unit.files if file.action is not FileAction.READ)


def _names(unit: Unit) -> frozenset[str]:
    """Return the ids of units that a text names, as in `Task 3` or `Tasks 1, 2 and 4`; steps are not units."""
    found = (name for match in _NAMED.finditer(unit.text) for name in _ID.findall(match[1]))
    return frozenset(found) - {unit.id}


def _mentions(text: str, path: str) -> bool:
    return path in text or path.rsplit("/", 1)[-1] in text

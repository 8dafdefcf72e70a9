"""What a dialect is, and what it reads: units, each of which becomes a task."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Protocol

from tasks.diagnostics import Report
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.model import Check, DeclaredFile, FileAction


@dataclass(frozen=True, slots=True)
class Item:
    """The smallest part of a plan with a box, a heading or an object of its own.

    `line` and `column` are 1-based; a column matters in JSON only. One that is `left_out`, such as an optional
    one, does not keep its unit open.
    """

    text: str
    line: int
    done: bool = False
    left_out: bool = False
    column: int = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """What becomes one task.

    `text` is what the plan says of it, unchanged. `items` are its parts with a state of their own; a unit
    that is an item has one, itself. `requires` are the ids of the units that it waits for as the plan is
    written. `group` is the title of what it belongs to, and `group_text` what the plan says of that. `checks`
    are commands that must succeed, and prose to make sure of; `manual` is for a person to check. `parts` are
    steps of it that are done already. `line` and `column` are 1-based. `reasons` say
    why it waits for another, where that was inferred. `open_box` are line and column of a box of its own above
    its items, which is not ticked yet.
    """

    id: str
    title: str
    text: str
    line: int
    column: int = 1
    items: tuple[Item, ...] = ()
    requires: tuple[str, ...] = ()
    group: str = ""
    group_text: str = ""
    files: tuple[DeclaredFile, ...] = ()
    checks: tuple[Check, ...] = ()
    commit: str | None = None
    optional: bool = False
    manual: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    open_box: tuple[int, int] | None = None

    @property
    def done(self) -> bool:
        """Whether the plan says that nothing of it is left to do."""
        return any(item.done for item in self.items) and all(item.done or item.left_out for item in self.items)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a dialect reads from a source.

    `unit` is what the units are: a plan without groups is read by items. `header` is what is above the
    first unit, `footer` what is below the last. `neighbours` are paths that the plan relies on, relative to
    the plan's directory, or from the root of the repository where they begin with `/`.
    """

    title: str
    units: tuple[Unit, ...]
    unit: UnitKind
    header: str = ""
    footer: str = ""
    neighbours: tuple[str, ...] = field(default=())


class Dialect(Protocol):
    """Reads the plans of one tool. A new one is a module with a `DIALECT`; its name is in `NAMES`."""

    @property
    def name(self) -> str:
        """The name, as `--dialect` takes it."""
        ...

    def count(self, source: Source) -> int:
        """Return how many items it would read: 0 if the source is not one of its plans."""
        ...

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read a source, and report what cannot be read."""
        ...


def in_sequence(units: Iterable[Unit]) -> tuple[Unit, ...]:
    """Return units of which each waits for the one before it."""
    found: list[Unit] = []
    for unit in units:
        found.append(replace(unit, requires=(found[-1].id,) if found else ()))
    return tuple(found)


def each_once(files: Iterable[DeclaredFile]) -> tuple[DeclaredFile, ...]:
    """Return the files of each path as one: the first that is more than read says what becomes of it."""
    found: dict[str, DeclaredFile] = {}
    for file in files:
        known = found.setdefault(file.path, file)
        if known.action is FileAction.READ and file.action is not FileAction.READ:
            found[file.path] = file
    return tuple(found.values())


def joined(units: Sequence[Unit]) -> Unit:
    """Return the first of some units with the items, files, checks and parts of all, and the last commit."""
    return replace(
        units[0],
        items=tuple(item for unit in units for item in unit.items),
        files=each_once(file for unit in units for file in unit.files),
        checks=tuple(check for unit in units for check in unit.checks),
        commit=next((unit.commit for unit in reversed(units) if unit.commit), None),
        parts=tuple(part for unit in units for part in unit.parts),
    )

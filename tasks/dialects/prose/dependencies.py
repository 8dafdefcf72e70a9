"""Read the lines with which a unit says what it depends on."""

from collections.abc import Iterator

from tasks.diagnostics import Report
from tasks.dialects.outline import Heading, Outline
from tasks.dialects.prose.references import Names, named
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_LINE = regex(
    r"(?i)^[\s>*+-]*[*_]{0,2}(?P<word>depends?\s+on|depends|dependenc(?:y|ies)|blocked\s+by|依赖(?:于)?|depende\s+de)"
    r"(?:[*_]{0,2}\s*[:：][*_]{0,2}\s*|[*_]{2}\s+|\s+(?=\**tasks?\b))(?P<what>.*)$"  # noqa: RUF001 - a full-width colon, which people type
)
_IN_HEADING = regex(
    r"(?i)[(（\[]\s*(?:depends?\s+on|blocked\s+by|needs|requires)\s*[:：]?\s*(?P<what>[^)）\]]*)[)）\]]"  # noqa: RUF001 - full-width marks, which people type
)
_ITEM = regex(r"\s*[-*+]\s+(?!\[)(.*)")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a unit depends on: ids, or `None` where it says nothing; and whether a library could be meant."""

    ids: tuple[str, ...] | None = None
    may_be_libraries: bool = False


def without_dependencies(title: str) -> str:
    """Return a title without `(depends on Task 1)`."""
    return _IN_HEADING.sub("", title).strip()


def dependencies_of(
    outline: Outline, heading: Heading, end: int, names: tuple[Names, ...], report: Report
) -> Dependencies:
    """Return what a heading, or the first line below it that names units, says that a unit depends on.

    Args:
        outline: The outline of the plan.
        heading: The unit's heading.
        end: The line (0-based) that the unit ends above.
        names: What there is to name; the first of several in which a name is found counts.
        report: Where an id that is not in the plan is reported.
    """
    for at, what, word in _lines(outline, heading, end):
        may_be_libraries = word.startswith("dependenc")
        text = what.strip() or _below(outline, at, end)
        found = [named(text, known) for known in names]
        said = next((one for one in found if one.says), found[0])
        if said.unknown and (said.ids or not may_be_libraries):
            missing = ", ".join(said.unknown)
            report.warning(
                at + 1, 1, f"this depends on task {missing}, which is not in the plan; correct its number"
            )
        if said.says:
            return Dependencies(said.ids, may_be_libraries)
    return Dependencies()


def _lines(outline: Outline, heading: Heading, end: int) -> Iterator[tuple[int, str, str]]:
    for found in _IN_HEADING.finditer(heading.text):
        yield heading.line, found["what"], "depends on"
    for at, line in outline.prose(heading.line + 1, end):
        if matched := _LINE.match(line):
            yield at, matched["what"], matched["word"].lower()


def _below(outline: Outline, at: int, end: int) -> str:
    """Return the items of the list below a line, as one."""
    found: list[str] = []
    for line in outline.lines[at + 1 : end]:
        item = _ITEM.match(line)
        if item is None and (line.strip() or found):
            break
        if item:
            found.append(item[1])
    return ", ".join(found)

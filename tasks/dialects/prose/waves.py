"""Read in which wave tasks run, and what they wait for, from a matrix or a drawing of a plan."""

import re
from collections.abc import Iterator, Mapping

from tasks.dialects.outline import Outline
from tasks.dialects.prose.references import ID, Named, Names, named
from tasks.lazy.patterns import regex

_WAVE = regex(r"(?i)\bwave\s*#?\s*(?P<number>[0-9]+(?:\.[0-9]+)?[a-z]?|final|(?-i:[A-Z]))\b")
_DRAWN = regex(
    rf"^[\s│|├└┬─>+`*•-]*(?i:task\s*|t(?=[0-9]))?#?(?P<id>{ID}(?:\s*[-–—]\s*{ID})?)\s*(?:[:.)\[(—–-]|$)"  # noqa: RUF001
)
_CELLS = regex(r"(?<!\\)\|")
_DEPENDS = regex(r"(?i)\b(?:depend\w*(?:\s+on)?|blocked\s+by|requires|prerequisites?|依赖)")
_TASK_COLUMN = regex(r"(?i)\b(?:tasks?|todo|item|id|#)(?!\w)|任务|^#$")
_COMPACT = regex(r"^\s*[-*+]\s+\**(?P<tasks>[^*:：]{1,40})\**\s*[:：]\**\s*(?P<what>.*)$")  # noqa: RUF001 - likewise
_SAYS = regex(
    r"(?i)^(?P<tasks>.{1,60}?)\s*(?:[:：—–-]\s*)?\b(?:depends?\s+on|blocked\s+by|requires|waits\s+for)\s*[:：]?\s*(?P<what>.*)$"  # noqa: RUF001
)


def wave_in(text: str) -> str | None:
    """Return the number of the wave that a text names, such as `2` of `Parallel Group: Wave 2`."""
    found = _WAVE.search(text)
    return found["number"].lower() if found else None


def drawn_waves(outline: Outline, end: int, ids: Mapping[str, str]) -> dict[str, str]:
    """Return the wave of each id that a drawing above a line (0-based) has: `Wave 1` and its tasks below it."""
    found: dict[str, str] = {}
    for begin, _, content in outline.code:
        if begin >= end or not _WAVE.search(content):
            continue
        wave: str | None = None
        for line in content.split("\n"):
            if re.match(r"\W*wave\s", line, re.IGNORECASE):
                wave = wave_in(line)
            elif wave and (task := _DRAWN.match(line)):
                for name in named(task["id"], Names(ids)).ids:
                    found.setdefault(name, wave)
    return found


def matrix(
    outline: Outline, start: int, end: int, names: Names
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Return what ids wait for and their waves, as tables and the section on dependencies say."""
    waits: dict[str, tuple[str, ...]] = {}
    waves: dict[str, str] = {}
    for tasks, what, wave in (*_tables(outline, start, end), *_lists(outline, start, end)):
        said = what if isinstance(what, Named) else named(what, names)
        for name in named(tasks, names).ids:
            if said.says:
                waits.setdefault(name, tuple(other for other in said.ids if other != name))
            if wave:
                waves.setdefault(name, wave)
    return waits, waves


def _tables(outline: Outline, start: int, end: int) -> Iterator[tuple[str, str | Named, str | None]]:
    header: list[str] | None = None
    for _, line in outline.prose(start, end):
        cells = [cell.strip() for cell in _CELLS.split(line.strip().strip("|"))] if "|" in line else []
        if not line.lstrip().startswith("|") or len(cells) < 2:  # noqa: PLR2004 - a task, and what it waits for
            header = None
        elif header is None:
            header = cells
        elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            yield from _row(header, cells)


def _row(header: list[str], cells: list[str]) -> Iterator[tuple[str, str | Named, str | None]]:
    depends = next((at for at, cell in enumerate(header) if _DEPENDS.search(cell)), None)
    task = next((at for at, cell in enumerate(header) if at != depends and _TASK_COLUMN.search(cell)), None)
    wave = next((at for at, cell in enumerate(header) if "wave" in cell.lower()), None)
    if task is None or (depends is None and wave is None) or len(cells) < len(header):
        return
    number = re.search(r"[0-9]+[a-z]?|final", cells[wave], re.IGNORECASE) if wave is not None else None
    tasks = re.split(r"[:：]|\s[—–-]\s|\.\s", cells[task].strip("*` "), maxsplit=1)[0]  # noqa: RUF001 - likewise
    yield tasks, cells[depends] if depends is not None else Named(), number[0].lower() if number else None


def _lists(outline: Outline, start: int, end: int) -> Iterator[tuple[str, str | Named, str | None]]:
    """Yield what the items below a heading such as `Dependency Matrix` say."""
    for heading in outline.headings:
        if not start <= heading.line < end or not re.search(r"(?i)dependenc", heading.text):
            continue
        for _, line in outline.prose(heading.line + 1, min(heading.end, end)):
            item = re.sub(r"^\s*[-*+]\s+|[*`]", "", line)
            if (said := _SAYS.match(item)) and line.strip():
                yield said["tasks"], said["what"], wave_in(line)
            elif compact := _COMPACT.match(line):
                yield from _compact(compact["tasks"], compact["what"])


def _compact(tasks: str, what: str) -> Iterator[tuple[str, str | Named, str | None]]:
    """Yield what `8: 3, 5 — 11, 15, 2` says: what it waits for, what waits for it, and its wave."""
    parts = re.split(r"\s+[—–]\s+|\s+[—–]$|^(?=[—–]\s)", what.strip())  # noqa: RUF001 - likewise
    parts = [part for part in parts if part] if len(parts) > 2 else parts  # noqa: PLR2004 - an empty one comes first
    if len(parts) < 2:  # noqa: PLR2004 - what it waits for, and what waits for it
        yield tasks, what, None
        return
    wave = re.search(r"([0-9]+)\s*$", parts[-1])
    yield tasks, parts[0], wave[1] if wave and "," in parts[-1] else None

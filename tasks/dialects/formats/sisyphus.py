"""Plans of Sisyphus (`.sisyphus/plans/*.md`): entries below `## TODOs`, which run in waves."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import is_done
from tasks.dialects.blocks.ids import identify
from tasks.dialects.blocks.sections import TASK
from tasks.dialects.blocks.steps import is_for_workers
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence, joined
from tasks.dialects.outline import Box, Heading, Outline
from tasks.dialects.prose.commits import message_in
from tasks.dialects.prose.criteria import commands_that_pass
from tasks.dialects.prose.declared import declared_files
from tasks.dialects.prose.references import Ids, Named, Names, named
from tasks.dialects.prose.verification import checks_from
from tasks.dialects.prose.waiting import one_after_another
from tasks.dialects.prose.waves import drawn_waves, matrix, wave_in
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import says_done, without_done, without_rule

FINAL = "final"
"""The wave of the entries that check all others: `F1`, `F2`, …"""

_TODOS = regex(r"(?i)\W*todos?\b\W*(?:list)?\W*")
_FINAL = regex(r"(?i)\bfinal\b.*\b(?:verification|review|wave)\b")
_ENTRY = regex(
    r"(?:~~)?\**(?i:task\s*|todo\s*)?(?P<id>[A-Z]{0,2}-?[0-9]+(?:\.[0-9]+)*[a-z]?)\**"
    r"\s*(?:[.:：)、]|\s[—–-]\s)\**\s*(?P<title>.*)"  # noqa: RUF001 - the marks that people type
)
_NUMBERED = regex(r"(?P<id>[0-9]+(?:\.[0-9]+)*[a-z]?|F[0-9]+)\s*(?:[.:：)、]|\s[—–-]\s)\s*(?P<title>.*)")  # noqa: RUF001 - likewise
_ABOVE = regex(r"(?i)\b(?:previous|prior|preceding|earlier|above)\b")
_FIELD = regex(
    r"(?i)(?:^|\|)[\s>]*(?:[-*+]\s+)?[*_]{0,2}(?P<name>blocked\s*by|depends\s*on|dependenc(?:y|ies)|wave|parallel\s+group"
    r"|parallelization|can\s+(?:run\s+in\s+)?parallel|message)[*_]{0,2}\s*[:：]?[*_]{0,2}\s*(?P<value>[^|]*)"  # noqa: RUF001 - likewise
)
_OWN_FIELD = regex(
    r"(?im)^[ \t>]*(?:[-*+][ \t]+)?\**(?:blocked by|parallel group|wave|can (?:run in )?parallel)\**\s*[:：]"  # noqa: RUF001
)
_COMMIT = regex(
    r"(?i)[\s>*-]*\**commit\**\s*[:：]\**\s*y(?:es)?\s*\|\s*(?:message\s*[:：]\s*)?(?P<text>[^|]+)"  # noqa: RUF001
)
_NO_COMMIT = regex(r"(?i)[\s>*-]*\**commit\**\s*[:：]\**\s*no?\b")  # noqa: RUF001
_WAVE_HEADING = regex(r"(?i)\W*(?:parallel\s+)?wave\s+(?:[0-9]+[a-z]?|final|(?-i:[A-Z]))\b")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry: its box or heading, and the lines (0-based, `end` not included) that it has."""

    id: str
    title: str
    line: int
    end: int
    box: Box | None
    heading: Heading | None
    wave: str | None = None

    @property
    def is_final(self) -> bool:
        return self.wave == FINAL


class Sisyphus:
    """Items are entries; their waves are the groups."""

    name = "sisyphus"

    def count(self, source: Source) -> int:
        """Return the number of entries of a plan with `## TODOs`, or with tasks that name a wave."""
        if source.is_json or not re.search(r"(?i)todos|wave|blocked\s*by|parallel\s+group", source.text):
            return 0
        outline = source.outline
        if is_for_workers(source.text) and not _todos(outline):
            return 0
        entries = _entries(outline)
        first = entries[0].line if entries else 0
        own = source.is_below(".sisyphus") or (_todos(outline) and any(entry.box for entry in entries))
        fields = own or _OWN_FIELD.search(
            "\n".join(line for _, line in outline.prose(first, len(outline.lines)))
        )
        return len(entries) if fields else 0

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read entries, or the waves that they run in."""
        outline = source.outline
        entries = _with_waves(outline, _entries(outline))
        items = [_unit(outline, entry, entries, report) for entry in entries]
        items = list(_ordered(outline, entries, items, report))
        by_group = options.unit is UnitKind.GROUP and any(entry.wave for entry in entries)
        if options.unit is UnitKind.GROUP and not by_group:
            report.warning(1, 1, "this plan has no waves, so it is read by items")
        first = min((entry.line for entry in entries), default=0)
        wave = _wave_heading(outline, entries[0]) if entries else None
        start = wave.line if wave else first
        return Reading(
            title=outline.title(),
            units=in_sequence(_wave_units(outline, entries, items)) if by_group else tuple(items),
            unit=UnitKind.GROUP if by_group else UnitKind.ITEM,
            header=outline.text(outline.front, start),
            footer=_footer(outline, entries, start),
        )


def _todos(outline: Outline) -> Heading | None:
    return next((heading for heading in outline.headings if _TODOS.fullmatch(heading.text)), None)


def _entries(outline: Outline) -> list[_Entry]:
    """Return the entries below `## TODOs` and those of the final wave, or else the tasks of the whole plan."""
    todos = _todos(outline)
    start, end = (todos.line, todos.end) if todos else (0, len(outline.lines))
    found = _marked(outline, start, end, boxes_too=todos is not None)
    for heading in outline.headings:
        if _FINAL.search(heading.text) and not (todos and todos.line < heading.line < todos.end):
            found += [
                entry for entry in _marked(outline, heading.line, heading.end) if entry.id.startswith("F")
            ]
    entries = sorted({entry.line: entry for entry in found}.values(), key=lambda entry: entry.line)
    ids = identify([entry.id for entry in entries])
    return [replace(entry, id=name) for entry, name in zip(entries, ids, strict=True)]


def _marked(outline: Outline, start: int, end: int, *, boxes_too: bool = True) -> list[_Entry]:
    """Return the entries on some lines; an entry ends above the next one, or where its section ends."""
    found: list[_Entry] = []
    for heading in outline.headings:
        if start < heading.line < end:
            match = TASK.fullmatch(heading.text) or _NUMBERED.fullmatch(heading.text.strip("* "))
            if match and (boxes_too or TASK.fullmatch(heading.text)):
                found.append(_Entry(match["id"], match["title"], heading.line, heading.end, None, heading))
    if not found or all(entry.id.startswith("F") for entry in found):
        for box in outline.boxes_in(start, end) if boxes_too else ():
            match = _ENTRY.fullmatch(box.text) if box.parent is None else None
            if match:
                above = outline.heading_above(box.line)
                found.append(
                    _Entry(match["id"], match["title"], box.line, above.end if above else end, box, None)
                )
    lines = [entry.line for entry in found]
    lines += [heading.line for heading in outline.headings if _WAVE_HEADING.match(heading.text)]
    lines.sort()
    nexts = (lines[bisect_right(lines, entry.line) :][:1] for entry in found)
    return [replace(entry, end=min([entry.end, *later])) for entry, later in zip(found, nexts, strict=True)]


def _with_waves(outline: Outline, entries: list[_Entry]) -> list[_Entry]:
    """Return entries with their waves: as they say, as a heading, the matrix or the drawing says."""
    ids = Ids({entry.id: entry.id for entry in entries})
    first = min((entry.line for entry in entries), default=0)
    _, listed = matrix(outline, 0, len(outline.lines), Names(ids))
    drawn = drawn_waves(outline, first, ids)
    return [
        replace(entry, wave=_wave(outline, entry) or listed.get(entry.id) or drawn.get(entry.id))
        for entry in entries
    ]


def _wave(outline: Outline, entry: _Entry) -> str | None:
    if re.fullmatch(r"F[0-9]+", entry.id):
        return FINAL
    for name, value, _ in _fields(outline, entry):
        if name == "wave" and (number := re.match(r"\W*([0-9]+[a-z]?|[A-Z])\b", value)):
            return number[1].lower()
        if name in {"wave", "parallel group", "can parallel", "can run in parallel", "parallelization"} and (
            found := wave_in(f"wave {value}" if name == "wave" else value)
        ):
            return found
    for _, line in outline.prose(entry.line + 1, entry.end):
        if line.count("|") > 1 and (found := wave_in(line)):
            return found
    heading = _wave_heading(outline, entry)
    return wave_in(heading.text) if heading else None


def _wave_heading(outline: Outline, entry: _Entry) -> Heading | None:
    return next((found for found in outline.holding(entry.line) if _WAVE_HEADING.match(found.text)), None)


def _fields(outline: Outline, entry: _Entry) -> Iterator[tuple[str, str, int]]:
    """Yield name, value and line (0-based) of the fields of an entry, of which a line may hold several."""
    for at, line in outline.prose(entry.line + 1, entry.end):
        for found in _FIELD.finditer(line):
            yield re.sub(r"\s+", " ", found["name"].lower()), found["value"].strip(" *_"), at


def _unit(outline: Outline, entry: _Entry, entries: list[_Entry], report: Report) -> Unit:
    title = _title(outline, entry)
    start = entry.line + 1 if entry.heading else entry.line
    done = _is_finished(outline, entry)
    boxes = [box for box in outline.boxes_in(entry.line + 1, entry.end) if is_done(box)]
    files = declared_files(outline, start, entry.end)
    return Unit(
        id=entry.id,
        title=title,
        text=without_rule(outline.text(start, entry.end)),
        line=entry.line + 1,
        items=(Item(title, entry.line + 1, done),),
        group=_group(outline, entry),
        group_text=_group_text(outline, entry, entries),
        files=tuple(file for file in files if not file.outside),
        checks=tuple(checks_from(commands_that_pass(outline, start, entry.end), report)),
        commit=_commit(outline, entry),
        parts=() if done else tuple(box.text for box in boxes),
    )


def _title(outline: Outline, entry: _Entry) -> str:
    """Return the title: of a box, what its first line says."""
    text = entry.title
    if entry.box:
        line = re.sub(r"^.*?\[[^\]]?\]\*?\s*", "", outline.lines[entry.line].replace("\u00a0", " "))
        match = _ENTRY.fullmatch(line.strip())
        text = match["title"] if match else text
    text = re.sub(r"\*\*|__", "", without_done(text)).strip("*~ ")
    return text or f"Task {entry.id}"


def _is_finished(outline: Outline, entry: _Entry) -> bool:
    if entry.box:
        return is_done(entry.box)
    if entry.heading and says_done(entry.heading.text):
        return True
    boxes = outline.boxes_in(entry.line, entry.end)
    return bool(boxes) and all(is_done(box) for box in boxes)


def _group(outline: Outline, entry: _Entry) -> str:
    if heading := _wave_heading(outline, entry):
        return heading.text
    if entry.is_final:
        above = outline.heading_above(entry.line)
        return above.text if above and _FINAL.search(above.text) else "Final Verification Wave"
    return f"Wave {entry.wave}" if entry.wave else ""


def _group_text(outline: Outline, entry: _Entry, entries: list[_Entry]) -> str:
    """Return what is between a wave's heading and its first entry."""
    above = _wave_heading(outline, entry)
    if above is None and entry.is_final:
        above = outline.heading_above(entry.line)
        above = above if above and _FINAL.search(above.text) else None
    if above is None:
        return ""
    lines = [other.line for other in entries if above.line < other.line < above.end]
    return without_rule(outline.text(above.line + 1, min(lines, default=above.end)))


def _commit(outline: Outline, entry: _Entry) -> str | None:
    """Return the message of an entry: the field, or that of a `git commit`."""
    message = None
    for _, line in outline.prose(entry.line + 1, entry.end):
        if _NO_COMMIT.match(line):
            return None
        if short := _COMMIT.match(line):
            message = short["text"].strip('` "')
    for name, value, _ in _fields(outline, entry):
        if name == "message" and (found := re.match(r"(`+)(?P<text>.+?)\1|\"(?P<quoted>[^\"]+)\"", value)):
            message = (found["text"] or found["quoted"]).strip()
    for _, _, content in outline.code_in(entry.line + 1, entry.end):
        message = message_in(content) or message
    return message


def _ordered(outline: Outline, entries: list[_Entry], units: list[Unit], report: Report) -> Iterator[Unit]:
    """Yield units that wait for what they name, else as the matrix says, else for the wave before."""
    names = _names(entries)
    listed, _ = matrix(outline, 0, len(outline.lines), names)
    own = tuple(entry.id for entry in entries if not entry.is_final)
    # What "all other tasks" are: an entry may be blocked by a later one, but by none of the final wave.
    others = [entry.id for entry in entries if not entry.id.startswith("F")]
    waits: dict[str, tuple[str, ...] | None] = {}
    for entry in entries:
        said = _said(outline, entry, names, others, report)
        waits[entry.id] = listed.get(entry.id) if said is None else said
        if entry.is_final:
            waits[entry.id] = own
    yield from one_after_another(units, waits, _implied(entries))


def _names(entries: list[_Entry]) -> Names:
    waves: dict[str, list[str]] = {}
    for entry in entries:
        if entry.wave:
            waves.setdefault(entry.wave, []).append(entry.id)
    return Names(Ids({entry.id: entry.id for entry in entries}), waves)


def _said(
    outline: Outline, entry: _Entry, names: Names, others: Sequence[str], report: Report
) -> tuple[str, ...] | None:
    """Return what an entry says that it is blocked by, or `None`; `others` may be meant by "all tasks"."""
    for name, value, at in _fields(outline, entry):
        if not name.startswith(("blocked", "depend")):
            continue
        at_most = others.index(entry.id) if _ABOVE.search(value) and entry.id in others else len(others)
        found: Named = named(value, replace(names, before=others[:at_most]))
        if found.unknown:
            missing = ", ".join(found.unknown)
            report.warning(
                at + 1, 1, f"this is blocked by task {missing}, which is not in the plan; correct its number"
            )
        if found.says:
            return tuple(other for other in found.ids if other != entry.id)
    return None


def _implied(entries: list[_Entry]) -> dict[str, tuple[str, ...]]:
    """Return the entries of the wave before, for each entry in a wave."""
    numbers = sorted({entry.wave for entry in entries if entry.wave and not entry.is_final}, key=_wave_key)
    before = dict(zip(numbers[1:], numbers, strict=False))
    in_wave: dict[str, list[str]] = {}
    for entry in entries:
        in_wave.setdefault(entry.wave or "", []).append(entry.id)
    return {
        entry.id: tuple(in_wave.get(before[entry.wave], ())) if entry.wave in before else ()
        for entry in entries
        if entry.wave and not entry.is_final
    }


def _wave_key(wave: str) -> tuple[float, str]:
    number = re.match(r"[0-9]+(?:\.[0-9]+)?", wave)
    return (float(number[0]), wave) if number else (float("inf"), wave)


def _wave_units(outline: Outline, entries: list[_Entry], items: list[Unit]) -> Iterator[Unit]:
    """Yield a unit for each wave; an entry that names none is in the wave of the one before."""
    waves: dict[str, list[int]] = {}
    last = next((entry.wave for entry in entries if entry.wave), "1") or "1"
    for at, entry in enumerate(entries):
        last = entry.wave or last
        waves.setdefault(last, []).append(at)
    for wave in sorted(waves, key=_wave_key):
        own = [items[at] for at in waves[wave]]
        texts = [_whole(outline, entries[at]) for at in waves[wave]]
        title = own[0].group or f"Wave {wave}"
        yield replace(joined(own), id=wave, title=title, text="\n\n".join(texts), group="")


def _whole(outline: Outline, entry: _Entry) -> str:
    return without_rule(outline.text(entry.line, entry.end))


def _footer(outline: Outline, entries: list[_Entry], start: int) -> str:
    """Return what is below the first entry and part of none, without the headings of waves."""
    covered = {line for entry in entries for line in range(entry.line, entry.end)} | set(range(start))
    for entry in entries:
        above = _wave_heading(outline, entry)
        if above is None and entry.is_final:
            above = outline.heading_above(entry.line)
        if above:
            covered.update(range(above.line, entry.line))
    lines = [line if at not in covered else "\x00" for at, line in enumerate(outline.lines)]
    parts = [without_rule(part).strip() for part in "\n".join(lines).split("\x00")]
    return "\n\n".join(part for part in parts if part)


DIALECT = Sisyphus()

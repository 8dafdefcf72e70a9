"""The numbered boxes of a Kiro plan, and which lines belong to which of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.dialects.blocks.boxes import is_done
from tasks.dialects.blocks.ids import identify, numbered
from tasks.dialects.blocks.layout import divided, text_of, title_heading
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.outline import Box, Heading, Outline
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import without_done

_MARK = r"[(\[（]\s*[PpＰ]\s*[)\]）]"  # noqa: RUF001 - full-width
_PARALLEL = regex(rf"^{_MARK}\s*|\s*{_MARK}$")
_FIELD = regex(r"\s+_+[^_:：]{2,30}[:：]")  # noqa: RUF001 - likewise
_GENERIC = regex(r"(?i)\W*(?:phase|part|stage|major\s+task|阶段|フェーズ)\s+(?=[0-9])")

Owner = tuple[str, int] | None
"""What a line belongs to: an `entry` or a `group` by its place, a `section` by its line, or nothing."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A box with a number, or one below the same heading that comes after it.

    `group` is the place of its group, `parent` whether it has numbered boxes of its own, and `optional` whether
    it or the one that it belongs to has a star.
    """

    box: Box
    number: str
    title: str
    id: str = ""
    group: int = 0
    parent: bool = False
    parallel: bool = False
    optional: bool = False

    @property
    def left_out(self) -> bool:
        """Whether it is optional, and not done."""
        return self.optional and not is_done(self.box)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries with one first number. `lead` is the one that has only that; `items` are those that are work.

    `lines` (0-based) are all that belong to it, `own` those of each item, and `rest` those of none. `section`
    is the title of the heading above it, and `about` what that says.
    """

    id: str
    title: str
    line: int
    items: tuple[Entry, ...]
    lead: Entry | None
    lines: tuple[int, ...]
    own: dict[str, tuple[int, ...]]
    rest: tuple[int, ...]
    section: str
    about: str


@dataclass(frozen=True, slots=True)
class KiroOutline:
    """The groups of a plan in order, and the text that belongs to none."""

    groups: tuple[Group, ...]
    header: str
    footer: str


def entries_of(outline: Outline) -> list[Entry]:
    """Return the boxes with a number, in order, with ids and groups."""
    found: dict[int, Entry] = {}
    for at, box in enumerate(outline.boxes):
        inside = next((found[up] for up in _above(outline, box) if up in found), None)
        name = numbered(box.text, bare=inside is None)
        if not name.number and inside is None and box.marker:
            name = numbered(f"{box.marker} {box.text}")
        if name.number and (inside is None or "." in name.number):
            optional = box.star or name.star or bool(inside and inside.optional)
            found[at] = _entry(box, name.number, name.title, optional=optional)
    return _grouped(list(found.values()))


def _above(outline: Outline, box: Box) -> Iterator[int]:
    while box.parent is not None:
        yield box.parent
        box = outline.boxes[box.parent]


def _entry(box: Box, number: str, text: str, *, optional: bool) -> Entry:
    title = box_title(_FIELD.split(text, maxsplit=1)[0])
    plain = _PARALLEL.sub("", title)
    return Entry(box, number, box_title(plain) or box.text, parallel=plain != title, optional=optional)


def _grouped(found: Sequence[Entry]) -> list[Entry]:
    """Return entries with ids and groups. A number that comes a second time begins another group."""
    current: dict[str, int] = {}
    seen: set[tuple[int, str]] = set()
    leads: dict[int, bool] = {}
    placed: list[Entry] = []
    for entry in found:
        first = entry.number.split(".")[0]
        if first not in current or (current[first], entry.number) in seen:
            current[first] = len(leads)
        group = current[first]
        seen.add((group, entry.number))
        leads[group] = leads.get(group, False) or ("." not in entry.number and entry.optional)
        placed.append(replace(entry, group=group, optional=entry.optional or leads[group]))
    ids = identify([entry.number for entry in placed])
    parents = _parents(placed)
    return [
        replace(
            entry,
            id=name,
            parent=key in parents and (entry.optional or not parents[key]),
        )
        for entry, name in zip(placed, ids, strict=True)
        for key in [(entry.group, entry.number)]
    ]


def _parents(entries: Sequence[Entry]) -> dict[tuple[int, str], bool]:
    """Return the numbers that others are below, by group, and whether all of those are optional."""
    found: dict[tuple[int, str], bool] = {}
    for entry in entries:
        parts = entry.number.split(".")
        for length in range(1, len(parts)):
            key = (entry.group, ".".join(parts[:length]))
            found[key] = found.get(key, True) and entry.optional
    return found


def kiro_outline(outline: Outline) -> KiroOutline:
    """Return the groups of numbered boxes, each with its lines."""
    scan = _Scan(outline, _with_others(outline, entries_of(outline)))
    owners = scan.owners()
    first = next((line for line, owner in enumerate(owners) if owner), len(owners))
    free = [line for line, owner in enumerate(owners) if not owner and line >= outline.front]
    return KiroOutline(
        tuple(scan.groups(owners)),
        text_of(outline, [line for line in free if line < first]),
        text_of(outline, [line for line in free if line > first]),
    )


def _with_others(outline: Outline, entries: list[Entry]) -> list[Entry]:
    """Return entries with the boxes without a number that are among them, in order.

    Such a box belongs to the group before it, or is one of a group that a heading of its own makes.
    """
    scan = _Scan(outline, entries)
    owners = scan.owners()
    new: dict[Heading | None, int] = {}
    found = list(entries)
    for box in others_of(outline, entries):
        owner = owners[box.line]
        before = entries[owner[1]] if owner and owner[0] == "entry" else None
        if before or (owner and owner[0] == "group"):
            group = before.group if before else owner[1] if owner else 0
        else:
            group = new.setdefault(outline.heading_above(box.line), len(entries) + len(new))
        entry = _entry(box, "", box.text, optional=box.star)
        found.append(replace(entry, id=before.id if before else "", group=group))
    found.sort(key=lambda entry: entry.box.line)
    ids = identify([entry.id for entry in found])
    return [replace(entry, id=name) for entry, name in zip(found, ids, strict=True)]


def others_of(outline: Outline, entries: Sequence[Entry], *, after: bool = False) -> list[Box]:
    """Return the top boxes without a number that are among the entries, or those below a heading after them."""
    inside = {line for entry in entries for line in range(entry.box.line, entry.box.end)}
    owners = _Scan(outline, entries).owners()
    last = max((entry.box.line for entry in entries), default=0)
    return [
        box
        for box in outline.boxes
        if box.parent is None and box.line not in inside and (box.line > last and not owners[box.line]) == after
    ]


class _Scan:
    """Finds what each line belongs to."""

    def __init__(self, outline: Outline, entries: Sequence[Entry]) -> None:
        self._outline = outline
        self._entries = entries
        self._starts = [entry.box.line for entry in entries]
        self._title = title_heading(outline)
        self._heads: dict[int, Owner] = {}
        self._silent: set[int] = set()

    def owners(self) -> list[Owner]:
        """Return what each line belongs to."""
        outline = self._outline
        at = {line: place for place, line in enumerate(self._starts)}
        headings = {heading.line: heading for heading in outline.headings}
        found: list[Owner] = []
        current: Owner = None
        for line in range(len(outline.lines)):
            if line in at:
                current = ("entry", at[line])
            elif line in headings:
                current = self._heads[line] = self._of_heading(headings[line])
            elif current and current[0] == "entry" and line in outline.rules:
                current = ("group", self._entries[current[1]].group)
            found.append(current)
        return found

    def _of_heading(self, heading: Heading) -> Owner:
        """Return what the text below a heading belongs to."""
        place = bisect_right(self._starts, heading.line)
        after = self._entries[place] if place < len(self._entries) else None
        before = self._entries[place - 1] if place else None
        within = bool(before and after and before.group == after.group)
        if after is None or after.box.line >= heading.end:
            return ("group", after.group) if within and after else self._around(heading)
        inside = self._entries[place : bisect_left(self._starts, heading.end)]
        alone = all(entry.group == after.group for entry in inside)
        if _number(heading) == after.number.split(".")[0] and alone and not within and heading != self._title:
            self._silent.add(heading.line)
            return ("group", after.group)
        if within or self._around(heading) == ("group", after.group):
            return ("group", after.group)
        if heading == self._title or (not place and self._starts[-1] < heading.end):
            return None
        self._silent.add(heading.line)
        return ("section", heading.line)

    def _around(self, heading: Heading) -> Owner:
        """Return what a heading without a box is inside of."""
        for other in reversed(self._outline.headings):
            if other.line < heading.line < other.end and self._heads.get(other.line):
                return self._heads[other.line]
        return None

    def groups(self, owners: Sequence[Owner]) -> Iterator[Group]:
        """Yield the groups in order."""
        lines: dict[Owner, list[int]] = {}
        for line, owner in enumerate(owners):
            if line not in self._silent:
                of_entry = owner is not None and owner[0] == "entry"
                key = ("group", self._entries[owner[1]].group) if owner and of_entry else owner
                lines.setdefault(key, []).append(line)
        members: dict[int, list[Entry]] = {}
        for entry in self._entries:
            members.setdefault(entry.group, []).append(entry)
        ids = identify([entries[0].number.split(".")[0] for entries in members.values()])
        for entries, name in zip(members.values(), ids, strict=True):
            yield self._group(name, entries, lines)

    def _group(self, name: str, entries: list[Entry], lines: dict[Owner, list[int]]) -> Group:
        outline, key = self._outline, ("group", entries[0].group)
        lead = next((entry for entry in entries if entry.number and "." not in entry.number), None)
        heading = next((h for h in reversed(outline.headings) if self._is_silent(h, key)), None)
        sections = [
            h
            for h in outline.headings
            if h.line < entries[0].box.line < h.end and self._is_silent(h, ("section", h.line))
        ]
        own, rest = divided(outline, lines[key], [entry.box for entry in entries])
        parents = [line for entry in entries if entry.parent for line in own[entry.box]]
        title = without_done(numbered(heading.text).title or heading.text) if heading else ""
        nearest = without_done(sections[-1].text) if sections else ""
        about = (text_of(outline, lines.get(("section", h.line), ())) for h in sections)
        return Group(
            id=name,
            title=(lead.title if lead else title or nearest) or entries[0].title,
            line=min([entries[0].box.line, *([heading.line] if heading else [])]),
            items=tuple(entry for entry in entries if not entry.parent),
            lead=lead,
            lines=tuple(lines[key]),
            own={entry.id: tuple(own[entry.box]) for entry in entries},
            rest=tuple(sorted([*rest, *parents])),
            section=nearest,
            about="\n\n".join(filter(None, about)),
        )

    def _is_silent(self, heading: Heading, owner: Owner) -> bool:
        """Whether a heading is the title of a group or a section, and no text of it."""
        return heading.line in self._silent and self._heads.get(heading.line) == owner


def _number(heading: Heading) -> str:
    """Return the number of a heading, such as `## 1. …` or `## Phase 1: …`."""
    return numbered(_GENERIC.sub("", heading.text), bare=True).number.split(".")[0]

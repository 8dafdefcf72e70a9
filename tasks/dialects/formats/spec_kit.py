"""Plans of GitHub's spec-kit: `specs/*/tasks.md`, with phases and items such as `- [ ] T001 [P] [US1] …`."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice, takewhile

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import is_done, says_tick
from tasks.dialects.blocks.ids import identify, without_half_bold
from tasks.dialects.blocks.layout import text_of
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.dialect import Item, Reading, Unit
from tasks.dialects.formats.stories import Phase, order_of, phase_number, stories_in
from tasks.dialects.outline import Box, Heading, Outline
from tasks.dialects.prose.commands import checks_of
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import without_done

NEIGHBOURS = ("spec.md", "plan.md", "research.md", "data-model.md", "quickstart.md", "contracts/")

_ID = r"T-?[0-9]{1,6}(?:\.[0-9]{1,4})*[a-z]?"
_ITEM = regex(
    rf"(?P<struck>~~\s*)?(?:\*\*|__|`|\[)*(?P<id>{_ID}(?:\s?[-–]\s?{_ID}(?!\w))?|TX{{2,4}})(?:\*\*|__|`|\])*"  # noqa: RUF001
    r"(?=[\s:：.\[\])~,–—-]|$)[\s:：.)–—-]*"  # noqa: RUF001 - what people type
)
_TAGS = regex(r"[\s*]*\[(?P<tag>[^\]\[]{1,30})\](?!\()[\s*]*")
_STRUCK = regex(r"~~(?:(?!~~).)+~~\s*(?:[(\[→–—-].*)?")  # noqa: RUF001 - likewise
_ALL_TASKS = regex(
    r"(?i)^\W*(?:(?:implementation\s+)?tasks?(?:\s+(?:list|breakdown))?|tareas|tarefas|任务(?:列表)?|タスク)\W*$"
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An item: its box, id and tags, and the phase that it is in."""

    box: Box
    id: str
    tags: tuple[str, ...]
    title: str
    phase: Heading | None

    @property
    def is_parallel(self) -> bool:
        return "P" in self.tags

    @property
    def stories(self) -> frozenset[str]:
        return frozenset(name for tag in self.tags for name in stories_in(tag))

    @property
    def item(self) -> Item:
        struck = self.box.text.startswith("~~") or self.title.startswith("~~")
        text = self.box.text if self.box.text.startswith("~~") else self.title
        done = (
            is_done(self.box)
            or says_tick(self.title)
            or "DONE" in self.tags
            or (struck and _STRUCK.fullmatch(text) is not None)
        )
        return Item(self.box.text, self.box.line + 1, done)


class SpecKit:
    """Items are lines with an id; their group is the phase."""

    name = "spec-kit"

    def count(self, source: Source) -> int:
        """Return the number of boxes with an id."""
        return 0 if source.is_json else sum(bool(_ITEM.match(box.text)) for box in source.outline.boxes)

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read phases, or items."""
        outline = source.outline
        entries = list(_entries(outline))
        wanted = options.unit or UnitKind.GROUP
        phases = _phases(entries)
        by_group = wanted is UnitKind.GROUP and any(phase.heading for phase in phases)
        if options.unit is UnitKind.GROUP and not by_group and entries:
            report.warning(1, 1, "this plan has no phases, so it is read by items")
        units = _phase_units if by_group else _item_units
        return Reading(
            title=outline.title(),
            units=tuple(units(outline, entries, phases, report)),
            unit=UnitKind.GROUP if by_group else UnitKind.ITEM,
            header=outline.text(outline.front, min((phase.start for phase in phases), default=0)),
            footer=_between(outline, phases),
            neighbours=NEIGHBOURS,
        )


def _entries(outline: Outline) -> Iterator[_Entry]:
    found = [(box, match) for box in outline.boxes if (match := _ITEM.match(box.text))]
    lines = [box.line for box, _ in found]
    lowest = 1 if sum(heading.level == 1 for heading in outline.headings) > 1 else 2
    for box, match in found:
        rest, tags = box.text[match.end() :], []
        while tag := _TAGS.match(rest):
            tags.append(tag["tag"].strip())
            rest = rest[tag.end() :]
        plain = without_half_bold(f"~~{rest}" if match["struck"] and rest else rest).lstrip(" :：.–—-")  # noqa: RUF001
        yield _Entry(box, match["id"], tuple(tags), plain, _phase(outline, box.line, lines, lowest))


def _phase(outline: Outline, line: int, items: Sequence[int], lowest: int) -> Heading | None:
    """Return the phase of a line: the highest heading above it that names one, else its section.

    `lowest` is the lowest level of a phase: a heading of the first level is one only if there are several. A
    heading over all `items`, which are lines in order, is none if there are others below it.
    """
    above = [heading for heading in outline.holding(line) if heading.level >= lowest][::-1]
    named = [heading for heading in above if phase_number(heading.text) is not None]
    parts = [
        heading
        for heading in above
        if not _ALL_TASKS.match(heading.text)
        and (heading.level > 1 or not heading.line < items[0] <= items[-1] < heading.end)
    ]
    return next(iter(named or parts or above[-1:]), None)


def _phases(entries: Sequence[_Entry]) -> list[Phase]:
    """Return the groups of entries, in order; one ends where the next begins."""
    groups: dict[Heading | None, list[_Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.phase, []).append(entry)
    starts = {heading: heading.line if heading else own[0].box.line for heading, own in groups.items()}
    order = sorted(groups, key=lambda heading: starts[heading])
    found = []
    for at, heading in enumerate(order):
        end = heading.end if heading else max(entry.box.end for entry in groups[heading])
        later = (starts[other] for other in islice(order, at + 1, None) if starts[other] > starts[heading])
        end = min(end, next(later, end))
        tags = tuple(entry.stories for entry in groups[heading])
        found.append(Phase(heading, tags, starts[heading], end))
    return found


def _between(outline: Outline, phases: Sequence[Phase]) -> str:
    """Return what is between the phases and below the last: it belongs to no item."""
    covered = {line for phase in phases for line in range(phase.start, phase.end)}
    first = min((phase.start for phase in phases), default=0)
    return text_of(outline, [line for line in range(first, len(outline.lines)) if line not in covered])


def _phase_units(
    outline: Outline, entries: Sequence[_Entry], phases: Sequence[Phase], report: Report
) -> Iterator[Unit]:
    requires = order_of(outline, phases, report)
    names = _phase_ids(phases)
    entries_in: dict[Heading | None, list[_Entry]] = {}
    for entry in entries:
        entries_in.setdefault(entry.phase, []).append(entry)
    for at, phase in enumerate(phases):
        own = entries_in[phase.heading]
        start = phase.start + 1 if phase.heading else phase.start
        yield Unit(
            id=names[at],
            title=without_done(phase.heading.text) if phase.heading else outline.title(),
            text=text_of(outline, range(start, phase.end)),
            line=phase.start + 1,
            items=tuple(entry.item for entry in own),
            requires=tuple(names[other] for other in requires[at]),
            checks=tuple(
                check for entry in own for check in checks_of(entry.title, entry.box.line + 1, report)
            ),
        )


def _phase_ids(phases: Sequence[Phase]) -> tuple[str, ...]:
    """Return the numbers of the headings; a section without one between others is `2a` after `2`."""
    numbers = [phase.number for phase in phases]
    if not any(numbers):
        return identify([""] * len(phases))
    wanted, last, letters = [], "0", 0
    for number in numbers:
        letters = 0 if number else letters + 1
        last = number or last
        wanted.append(number or f"{last}{'abcdefghijklmnopqrstuvwxyz'[(letters - 1) % 26]}")
    return identify(wanted)


def _item_units(
    outline: Outline, entries: Sequence[_Entry], phases: Sequence[Phase], report: Report
) -> Iterator[Unit]:
    """Yield items in order; neighbours with `[P]` below one heading run side by side."""
    names = identify([entry.id for entry in entries])
    texts = {phase.heading: _phase_text(outline, phase, entries) for phase in phases}
    before: list[str] = []
    run: list[str] = []
    last: _Entry | None = None
    for name, entry in zip(names, entries, strict=True):
        together = (
            last is not None
            and entry.is_parallel
            and last.is_parallel
            and outline.heading_above(last.box.line) == outline.heading_above(entry.box.line)
        )
        if not together:
            before, run = run, []
        run.append(name)
        last = entry
        yield Unit(
            id=name,
            title=box_title(entry.title),
            text=text_of(outline, _own_lines(entry, entries)),
            line=entry.box.line + 1,
            items=(entry.item,),
            requires=tuple(before),
            group=entry.phase.text if entry.phase else "",
            group_text=texts[entry.phase],
            checks=checks_of(entry.title, entry.box.line + 1, report),
        )


def _own_lines(entry: _Entry, entries: Sequence[_Entry]) -> list[int]:
    """Return the lines of an item, without those of items inside of it."""
    first = bisect_right(entries, entry.box.line, key=lambda other: other.box.line)
    inside = takewhile(lambda other: other.box.line < entry.box.end, islice(entries, first, None))
    inner = {line for other in inside for line in range(other.box.line, other.box.end)}
    return [line for line in range(entry.box.line, entry.box.end) if line not in inner]


def _phase_text(outline: Outline, phase: Phase, entries: Sequence[_Entry]) -> str:
    """Return what a phase says of itself: its text without the items."""
    covered = {line for entry in entries for line in range(entry.box.line, entry.box.end)}
    start = phase.start + 1 if phase.heading else phase.start
    kept = [
        outline.lines[line]
        for line in range(start, phase.end)
        if line not in covered and line not in outline.rules
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


DIALECT = SpecKit()

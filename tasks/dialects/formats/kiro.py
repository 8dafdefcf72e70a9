"""Plans of Kiro and cc-sdd: `.kiro/specs/*/tasks.md`, with boxes such as `1.` and `1.1`."""

from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from functools import cached_property

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import box_item, is_done, top_boxes
from tasks.dialects.blocks.chapters import chapter_headings, read_chapters
from tasks.dialects.blocks.headed import Headed, Style
from tasks.dialects.blocks.layout import files_on, nearest, text_of
from tasks.dialects.blocks.status import report_status
from tasks.dialects.blocks.steps import is_of_superpowers
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.dialect import Reading, Unit
from tasks.dialects.formats.kiro_outline import Entry, Group, KiroOutline, entries_of, kiro_outline, others_of
from tasks.dialects.outline import Outline
from tasks.dialects.prose.commands import checks_of
from tasks.dialects.prose.references import Ids, Names, named
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Check
from tasks.plan.links import cycles
from tasks.plan.marks import without_done

NEIGHBOURS = ("requirements.md", "design.md", "/.kiro/steering/")

_REQUIREMENTS = regex(
    r"(?m)^\s*(?:[-*+]\s+)?[_*]+(?:Requirements?|Requisitos?|Anforderungen|Exigences|要件|需求|要求|요구사항)[_*]*\s*[:：]"  # noqa: RUF001 - full-width
)
_DEPENDS = regex(
    r"(?i)^[\s>*_+~-]*(?:depends(?:\s+on)?|dependenc(?:y|ies)|blocked\s+by|dependências?|depende\s+de|依存|依赖)"
    r"[\s*_]*[:：][\s*_]*(?P<what>.+?)[\s*_]*$"  # noqa: RUF001 - full-width, as people type it
)


class Kiro:
    """The lowest numbers are items, and the first number is their group."""

    name = "kiro"

    def count(self, source: Source) -> int:
        """Return the number of items."""
        if source.is_json or source.is_below("openspec", "changes"):
            return 0
        outline = source.outline
        if source.is_below(".kiro", "specs") and source.parts[-1] == "tasks.md":
            items = _items(outline) or len(top_boxes(outline)) or len(chapter_headings(outline))
            return max(1, items)
        return _items(outline) if _REQUIREMENTS.search(source.text) and not is_of_superpowers(outline) else 0

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read the groups, or the items."""
        outline, unit = source.outline, options.unit or UnitKind.GROUP
        title, boxes = source.folder(".kiro", "specs"), top_boxes(outline)
        if not boxes:
            return read_chapters(outline, unit, title=title, neighbours=NEIGHBOURS)
        if not _items(outline):
            return Headed(outline, boxes, nearest(outline), _STYLE, report, title=title).read(unit)
        found = kiro_outline(outline)
        order = _Order(outline, found)
        order.report(report)
        _report_others(outline, report)
        if unit is UnitKind.GROUP:
            _report_optional(found, options, report)
            units = list(_groups(outline, found, order, options, report))
        else:
            units = list(_units(outline, found, order, report))
        report_status(outline, units, report)
        return Reading(
            title=outline.title() or title,
            units=tuple(units),
            unit=unit,
            header=found.header,
            footer=found.footer,
            neighbours=NEIGHBOURS,
        )


def _items(outline: Outline) -> int:
    """Return how many numbered boxes have none below; 0 where most boxes have no number."""
    entries = entries_of(outline)
    numbered_top = sum(entry.box.parent is None for entry in entries)
    if 2 * numbered_top < len(top_boxes(outline)) and not any("." in entry.number for entry in entries):
        return 0
    return sum(not entry.parent for entry in entries)


@dataclass
class _Order:
    """Which items wait for which: the one before, a run with `(P)` side by side, or those that are named."""

    outline: Outline
    found: KiroOutline
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        before: tuple[str, ...] = ()
        run: list[str] = []
        for group in self.found.groups:
            said_of_all = self._said(group.rest)
            in_first_run = True
            last: Entry | None = None
            for item in group.items:
                together = last is not None and last.parallel and item.parallel
                if not together:
                    in_first_run = last is None
                    before, run = tuple(run), []
                run.append(item.id)
                last = item
                said = self._said(group.own[item.id], item)
                if said is None and in_first_run:
                    said = said_of_all
                self.requires[item.id] = before if said is None else said

    def _said(self, lines: Sequence[int], item: Entry | None = None) -> tuple[str, ...] | None:
        """Return the items that some lines say to depend on, or `None` where they say nothing of items.

        That an item depends on itself, or on what it is a part of, says nothing.
        """
        found: list[str] = []
        says = False
        for line in lines:
            if match := _DEPENDS.match(self.outline.lines[line]):
                said = named(match["what"], self._names)
                others = [name for name in said.ids if not (item and _is_in(item, name))]
                says = says or said.is_none or bool(others)
                found += [end for name in others for end in self._ends(name)]
                self.unknown += [(line, name) for name in said.unknown]
        return tuple(dict.fromkeys(found)) if says else None

    @cached_property
    def _names(self) -> Names:
        return Names(Ids({name: name for group in self.found.groups for name in (group.id, *group.own)}))

    @cached_property
    def _items(self) -> frozenset[str]:
        return frozenset(item.id for group in self.found.groups for item in group.items)

    def _ends(self, name: str) -> Iterator[str]:
        """Yield an item, or the items of a group or parent that no other of it waits for."""
        if name in self._items:
            yield name
            return
        group = next(each for each in self.found.groups if name == each.id or name in each.own)
        all_of_it = name == group.id
        below = [item.id for item in group.items if all_of_it or item.number.startswith(f"{name}.")]
        needed = {other for item in below for other in self.requires.get(item, ())}
        yield from (item for item in below if item not in needed)

    def report(self, report: Report) -> None:
        """Report numbers that no task has."""
        for line, name in self.unknown:
            report.warning(
                line + 1, 1, f"it depends on {name}, and no task has that number; correct the number"
            )

    def of_groups(self, report: Report) -> dict[str, tuple[str, ...]]:
        """Return the ids of the groups that each group waits for, none of which waits for it."""
        groups = self.found.groups
        of_item = {item.id: each.id for each in groups for item in each.items}
        found = {
            group.id: tuple(
                dict.fromkeys(
                    of_item[other]
                    for item in group.items
                    for other in self.requires[item.id]
                    if of_item[other] != group.id
                )
            )
            for group in groups
        }
        places = {group.id: place for place, group in enumerate(groups)}
        for circle in cycles(found):
            message = (
                f"parts of these tasks depend on each other: {' -> '.join(circle)}; they are done in order"
            )
            report.warning(groups[places[circle[0]]].line + 1, 1, message)
            for name in circle:
                found[name] = tuple(other for other in found[name] if places[other] < places[name])
        return found


def _is_in(item: Entry, name: str) -> bool:
    return name == item.id or item.number.startswith(f"{name}.")


def _groups(
    outline: Outline, found: KiroOutline, order: _Order, options: ReadOptions, report: Report
) -> Iterator[Unit]:
    requires = order.of_groups(report)
    for group in found.groups:
        optional = all(item.optional for item in group.items) and any(item.left_out for item in group.items)
        left_out = [] if optional or options.optional else [item for item in group.items if item.left_out]
        without = {line for item in left_out for line in group.own[item.id]}
        yield Unit(
            id=group.id,
            title=group.title,
            text=text_of(outline, [line for line in group.lines if line not in without]),
            line=group.line + 1,
            items=tuple(replace(box_item(item.box), left_out=item in left_out) for item in group.items),
            requires=requires[group.id],
            group=group.section if group.section != group.title else "",
            group_text=group.about,
            files=files_on(outline, group.lines),
            checks=tuple(
                check for item in group.items if item not in left_out for check in _checks(item, report)
            ),
            optional=optional,
            open_box=_open_box(group),
        )


def _open_box(group: Group) -> tuple[int, int] | None:
    """Return where the box of a group itself is, if it is not ticked and none of its items."""
    if group.lead is None or group.lead in group.items or is_done(group.lead.box):
        return None
    return group.lead.box.line + 1, 1


def _checks(item: Entry, report: Report) -> tuple[Check, ...]:
    return checks_of(item.title, item.box.line + 1, None if is_done(item.box) else report)


def _report_others(outline: Outline, report: Report) -> None:
    if after := others_of(outline, entries_of(outline), after=True):
        count = "a box" if len(after) == 1 else f"{len(after)} boxes"
        message = f"{count} without a number after the last task: text, no task; number what is to be done"
        report.warning(after[0].line + 1, 1, message)


def _report_optional(found: KiroOutline, options: ReadOptions, report: Report) -> None:
    left = [item for group in found.groups for item in group.items if item.left_out]
    if left and not options.optional:
        names = ", ".join(item.id for item in left)
        report.warning(left[0].box.line + 1, 1, f"optional and left out: {names}; `--optional` runs them too")


def _units(outline: Outline, found: KiroOutline, order: _Order, report: Report) -> Iterator[Unit]:
    for group in found.groups:
        for item in group.items:
            alone = item is group.lead
            about = (group.about, text_of(outline, group.rest))
            yield Unit(
                id=item.id,
                title=item.title,
                text=text_of(outline, group.own[item.id]),
                line=item.box.line + 1,
                items=(box_item(item.box),),
                requires=order.requires[item.id],
                group=group.section if alone else group.title,
                group_text="\n\n".join(filter(None, about)),
                files=files_on(outline, group.own[item.id]),
                checks=_checks(item, report),
                optional=item.left_out,
            )


_STYLE = Style(
    heading=lambda text: ("", without_done(text)),
    box=lambda text: ("", box_title(text)),
    neighbours=NEIGHBOURS,
)

DIALECT = Kiro()

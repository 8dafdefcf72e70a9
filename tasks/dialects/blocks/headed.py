"""Units of a plan whose boxes are below headings: a unit per section, or per box."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import field

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import box_item, is_done
from tasks.dialects.blocks.ids import identify
from tasks.dialects.blocks.layout import Above, Layout, Section, divided, files_on, layout, text_of
from tasks.dialects.blocks.status import report_status
from tasks.dialects.dialect import Reading, Unit, in_sequence
from tasks.dialects.outline import Box, Outline
from tasks.dialects.prose.commands import checks_of
from tasks.dialects.read_options import UnitKind
from tasks.lazy.dataclasses import dataclass
from tasks.model import Check


@dataclass(frozen=True, slots=True)
class Style:
    """How a dialect names what it reads.

    `heading` and `box` return the number that a text gives itself, or an empty one, and its title. With
    `item_ids_in_group`, a box without a number gets that of its section and its place there, such as `2.1`.
    """

    heading: Callable[[str], tuple[str, str]]
    box: Callable[[str], tuple[str, str]]
    item_ids_in_group: bool = True
    verified: bool = True
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Headed:
    """Boxes that are items, below the headings that `above` finds; those of `without` are left out.

    `title` is that of a plan that has none.
    """

    outline: Outline
    boxes: Sequence[Box]
    above: Above
    style: Style
    report: Report
    without: Collection[Box] = field(default=())
    title: str = ""

    def read(self, unit: UnitKind) -> Reading:
        """Return the sections, or the boxes, in order."""
        found = layout(self.outline, self.boxes, self.above, without=self.without)
        units = self._groups(found) if unit is UnitKind.GROUP else self._items(found)
        report_status(self.outline, units, self.report)
        return Reading(
            title=self._title,
            units=in_sequence(units),
            unit=unit,
            header=found.header,
            footer=found.footer,
            neighbours=self.style.neighbours,
        )

    @property
    def _title(self) -> str:
        return self.outline.title() or self.title

    def _names(self, found: Layout) -> tuple[tuple[str, str], ...]:
        """Return the id and the title of each section."""
        named = [
            self.style.heading(section.heading.text) if section.heading else ("", self._title)
            for section in found.sections
        ]
        ids = identify([number for number, _ in named])
        return tuple(zip(ids, (title for _, title in named), strict=True))

    def _groups(self, found: Layout) -> list[Unit]:
        return [
            Unit(
                id=name,
                title=title,
                text=text_of(self.outline, section.lines),
                line=section.line + 1,
                items=tuple(map(box_item, section.boxes)),
                group=self.style.heading(section.parents[-1].text)[1] if section.parents else "",
                group_text=self._about_parents(found, section),
                files=files_on(self.outline, section.lines),
                checks=tuple(check for box in section.boxes for check in self._checks(box)),
            )
            for (name, title), section in zip(self._names(found), found.sections, strict=True)
        ]

    def _items(self, found: Layout) -> list[Unit]:
        names = self._names(found)
        boxes = [
            (at, place, box)
            for at, section in enumerate(found.sections)
            for place, box in enumerate(section.boxes, 1)
        ]
        given = [self.style.box(box.text) for _, _, box in boxes]
        in_group = self.style.item_ids_in_group and any(section.heading for section in found.sections)
        ids = identify(
            [
                number or (f"{names[at][0]}.{place}" if in_group else "")
                for (number, _), (at, place, _) in zip(given, boxes, strict=True)
            ]
        )
        own = [divided(self.outline, section.lines, section.boxes) for section in found.sections]
        above = [
            "\n\n".join(filter(None, (self._about_parents(found, section), text_of(self.outline, rest))))
            for section, (_, rest) in zip(found.sections, own, strict=True)
        ]
        return [
            Unit(
                id=name,
                title=title,
                text=text_of(self.outline, own[at][0][box]),
                line=box.line + 1,
                items=(box_item(box),),
                group=names[at][1] if found.sections[at].heading else "",
                group_text=above[at],
                files=files_on(self.outline, own[at][0][box]),
                checks=self._checks(box),
            )
            for name, (_, title), (at, _, box) in zip(ids, given, boxes, strict=True)
        ]

    def _about_parents(self, found: Layout, section: Section) -> str:
        """Return what the headings above a section say, without the items of those that are sections too."""
        texts: list[str] = []
        sections = {each.heading.line: each for each in found.sections if each.heading}
        for parent in section.parents:
            lines: Sequence[int] = found.own[parent.line]
            if parent.line in sections:
                lines = divided(self.outline, lines, sections[parent.line].boxes)[1]
            texts.append(text_of(self.outline, lines))
        return "\n\n".join(filter(None, texts))

    def _checks(self, box: Box) -> tuple[Check, ...]:
        if not self.style.verified:
            return ()
        return checks_of(self.style.box(box.text)[1], box.line + 1, None if is_done(box) else self.report)

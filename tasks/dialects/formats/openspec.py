"""Plans of OpenSpec: `openspec/changes/*/tasks.md`, with sections such as `## 1. …` and boxes such as `1.1`."""

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import top_boxes
from tasks.dialects.blocks.chapters import (
    boxes_are_beside_chapters,
    chapter_headings,
    number_and_title,
    read_chapters,
)
from tasks.dialects.blocks.headed import Headed, Style
from tasks.dialects.blocks.ids import numbered
from tasks.dialects.blocks.layout import nearest
from tasks.dialects.blocks.steps import is_of_superpowers
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.dialect import Reading
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.patterns import regex

NEIGHBOURS = ("proposal.md", "design.md", "specs/")

_REQUIREMENTS = regex(r"(?m)^\s*[-*+]?\s*[_*]+Requirements?\b")


class OpenSpec:
    """Boxes are items, and the nearest heading above them is their section."""

    name = "openspec"

    def count(self, source: Source) -> int:
        """Return the number of boxes, or of numbered sections where a file of a change has no box."""
        if source.is_json:
            return 0
        boxes = top_boxes(source.outline)
        if source.is_below("openspec", "changes"):
            is_plan = source.parts[-1] == "tasks.md"
            return len(boxes) or (max(1, len(chapter_headings(source.outline))) if is_plan else 0)
        if not _is_numbered(source) or _REQUIREMENTS.search(source.text):
            return 0
        return 0 if is_of_superpowers(source.outline) else len(boxes)

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read the sections, or their boxes, in order."""
        unit = options.unit or UnitKind.GROUP
        title = source.folder("openspec", "changes")
        boxes = top_boxes(source.outline)
        if not boxes or boxes_are_beside_chapters(source.outline):
            return read_chapters(source.outline, unit, title=title, neighbours=NEIGHBOURS)
        _report_empty(source, report)
        return Headed(source.outline, boxes, nearest(source.outline), _STYLE, report, title=title).read(unit)


def _report_empty(source: Source, report: Report) -> None:
    """Report the numbered sections in which nothing has a box, where there are several."""
    outline = source.outline
    empty = [
        heading for heading in chapter_headings(outline) if not outline.boxes_in(heading.line, heading.end)
    ]
    if len(empty) > 1:
        message = (
            f"{len(empty)} numbered sections without a box: text, no task; give boxes to what is to be done"
        )
        report.warning(empty[0].line + 1, 1, message)


def _is_numbered(source: Source) -> bool:
    """Whether a heading has a number, and a box below it has that and another, as `1.1` below `## 1. …`."""
    outline = source.outline
    if source.is_below(".kiro", "specs"):
        return False
    for box in top_boxes(outline):
        number = numbered(box.text).number
        heading = outline.heading_above(box.line) if "." in number else None
        section = numbered(heading.text).number if heading and heading.text[:1].isdigit() else ""
        if section and section == number.rpartition(".")[0]:
            return True
    return False


def _box(text: str) -> tuple[str, str]:
    found = numbered(box_title(text))
    return found.number, box_title(found.title) or text


_STYLE = Style(heading=number_and_title, box=_box, neighbours=NEIGHBOURS)

DIALECT = OpenSpec()

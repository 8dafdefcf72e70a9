"""Plans of Conductor: `conductor/*/plan.md`, with phases and boxes such as `- [ ] Task: …`."""

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import top_boxes
from tasks.dialects.blocks.headed import Headed, Style
from tasks.dialects.blocks.ids import numbered
from tasks.dialects.blocks.layout import Above, nearest
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.dialect import Reading
from tasks.dialects.outline import Box, Heading, Outline
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.patterns import regex
from tasks.plan.marks import without_done

NEIGHBOURS = ("spec.md",)

_SHA = r"(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}"
_TASK = regex(
    rf"(?:[*_]*\[?{_SHA}\]?[*_]*\s+)?[*_]*(?i:task)\s*"
    r"(?P<number>[0-9][0-9.]*[a-z]?)?[*_]*\s*[:：][*_]*\s*"  # noqa: RUF001 - full-width
)
_PHASE = regex(r"(?i)\W*(?:phase|fase|阶段|フェーズ)\s*(?P<number>[0-9]+(?:\.[0-9]+)*)?")
_MANUAL = regex(r"(?i)\b(?:user\s+manual|manual\s+user|conductor\W+manual)\s+verification\b")
_CHECKPOINT = regex(r"\s*\[(?i:checkpoint)[:：]?[^\]]*\]")  # noqa: RUF001 - full-width
_COMMIT = regex(rf"(?:[\s(\[`,]+{_SHA}[\])`,]*)+\s*$")


class Conductor:
    """Top boxes are items, and the phase above them is their group."""

    name = "conductor"

    def count(self, source: Source) -> int:
        """Return the number of boxes that are not for a person."""
        if source.is_json or not _is_plan(source):
            return 0
        return max(1, len(_items(source.outline)))

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read the boxes, or the phases, in order."""
        outline = source.outline
        manual = [box for box in outline.boxes if _MANUAL.search(box.text)]
        if left := [box for box in manual if not box.done]:
            count = "a manual verification" if len(left) == 1 else f"{len(left)} manual verifications"
            message = f"{count} by the user left out of the tasks: do it when the tasks are done"
            report.warning(left[0].line + 1, 1, message)
        found = Headed(
            outline, _items(outline), _phase_above(outline), _STYLE, report, manual, source.folder("conductor")
        )
        return found.read(options.unit or UnitKind.ITEM)


def _is_plan(source: Source) -> bool:
    """Whether a file is where the tool keeps its plans, or has a box `Task: …` below a phase."""
    if source.parts[-1:] == ("plan.md",) and (
        source.is_below("conductor", "tracks") or source.is_below("conductor", "archive")
    ):
        return bool(source.outline.boxes)
    above = _phase_above(source.outline)
    for box in top_boxes(source.outline):
        heading = above(box) if _TASK.match(box.text) else None
        if heading and _PHASE.match(heading.text):
            return True
    return False


def _items(outline: Outline) -> list[Box]:
    return [box for box in top_boxes(outline) if not _MANUAL.search(box.text)]


def _phase_above(outline: Outline) -> Above:
    """Return what finds the phase that a box is below, else the nearest heading."""
    near = nearest(outline)
    phases = [heading for heading in outline.headings if _PHASE.match(heading.text)]

    def above(box: Box) -> Heading | None:
        found = next((phase for phase in phases if phase.line < box.line < phase.end), None)
        return found if found and found != near(box) and found.level > 1 else near(box)

    return above


def _heading(text: str) -> tuple[str, str]:
    title = without_done(_CHECKPOINT.sub("", text)).strip()
    found = _PHASE.match(title)
    return (found["number"] if found and found["number"] else numbered(title).number), title


def _box(text: str) -> tuple[str, str]:
    title = _COMMIT.sub("", _CHECKPOINT.sub("", text))
    found = _TASK.match(title)
    if found:
        return (found["number"] or "").rstrip("."), box_title(title[found.end() :].removesuffix("**")) or text
    number = numbered(title)
    return number.number, box_title(number.title) or text


_STYLE = Style(heading=_heading, box=_box, verified=False, neighbours=NEIGHBOURS)

DIALECT = Conductor()

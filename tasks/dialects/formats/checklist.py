"""A plain check list: boxes, below headings or not."""

from tasks.diagnostics import Report
from tasks.dialects.blocks.boxes import top_boxes
from tasks.dialects.blocks.headed import Headed, Style
from tasks.dialects.blocks.layout import nearest
from tasks.dialects.blocks.titles import box_title
from tasks.dialects.dialect import Reading
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.plan.marks import without_done


class Checklist:
    """Top boxes are items, and the nearest heading above them is their group."""

    name = "checklist"

    def count(self, source: Source) -> int:
        """Return the number of top boxes."""
        return 0 if source.is_json else len(top_boxes(source.outline))

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read the boxes in order."""
        boxes = top_boxes(source.outline)
        above = nearest(source.outline)
        default = UnitKind.GROUP if any(map(above, boxes)) else UnitKind.ITEM
        return Headed(source.outline, boxes, above, _STYLE, report).read(options.unit or default)


_STYLE = Style(
    heading=lambda text: ("", without_done(text)),
    box=lambda text: ("", box_title(text)),
    item_ids_in_group=False,
)

DIALECT = Checklist()

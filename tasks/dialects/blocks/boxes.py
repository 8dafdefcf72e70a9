"""Boxes as items."""

from tasks.dialects.dialect import Item
from tasks.dialects.outline import Box, Outline
from tasks.lazy.patterns import regex
from tasks.plan.marks import is_struck_out

_TICK = regex(
    r"^✅|(?:✅|☑|✔|✓)\ufe0f?[\s*]*(?:DONE|COMPLETED?)?[\s*.!]*$|(?:\s[-–—]\s*|[(\[]\s*|\*\*)(?:DONE|COMPLETED?|FINISHED)[\s*.!)\]]*$"  # noqa: RUF001
)


def top_boxes(outline: Outline) -> list[Box]:
    """Return the boxes that are not inside of another."""
    return [box for box in outline.boxes if box.parent is None]


def is_done(box: Box) -> bool:
    """Whether a box is ticked, or its text is struck out or marked as done."""
    return box.done or is_struck_out(box.text) or says_tick(box.text)


def says_tick(text: str) -> bool:
    """Whether a text has a tick, or ends in a word set apart, such as `(DONE)`; `set it to DONE` is no such."""
    return bool(_TICK.search(text))


def box_item(box: Box) -> Item:
    """Return the item that a box is."""
    return Item(box.text, box.line + 1, is_done(box))

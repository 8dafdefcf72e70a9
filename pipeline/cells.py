"""Texts in the cells of a terminal: how wide they are, and how they are cut."""

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

ELLIPSIS = "…"
_LEAST = {False: 12, True: 24}
"""Cells that the title of a table's row has at least, and its last column; before that, others are left out."""
_JOINERS = {"\u200b", "\u200c", "\u200d", "\ufe0e", "\ufe0f"}


def width(text: str) -> int:
    """Return how many cells a text takes: wide characters (UAX 11) take two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    if combining(character) or character in _JOINERS:
        return 0
    return 2 if east_asian_width(character) in {"W", "F"} else 1


def start(text: str, cells: int) -> str:
    """Return a text cut at its end, if it is wider than some cells."""
    if width(text) <= cells:
        return text
    return _first(text, cells - 1) + ELLIPSIS if cells > 0 else ""


def end(text: str, cells: int) -> str:
    """Return a text cut at its beginning, if it is wider than some cells."""
    if width(text) <= cells:
        return text
    return ELLIPSIS + _first(text[::-1], cells - 1)[::-1] if cells > 0 else ""


def both(text: str, cells: int) -> str:
    """Return a text cut in the middle, if it is wider than some cells: names differ at their ends."""
    if width(text) <= cells:
        return text
    if cells <= 2:  # noqa: PLR2004 - no room for both sides
        return start(text, cells)
    tail = (cells - 1) // 2
    return _first(text, cells - 1 - tail) + ELLIPSIS + _first(text[::-1], tail)[::-1]


def padded(text: str, cells: int) -> str:
    """Return a text with spaces up to some cells."""
    return text + " " * max(0, cells - width(text))


def _first(text: str, cells: int) -> str:
    if text.isascii():
        return text[: max(0, cells)]
    for index, character in enumerate(text):
        cells -= _cells(character)
        if cells < 0:
            return text[:index]
    return text


def clock(seconds: float) -> str:
    """Return a time in whole seconds as people read it: `40 s`, `1 min 05 s`, `3 h 07 min`."""
    whole = max(0, int(seconds))
    if whole < 60:  # noqa: PLR2004 - a minute
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], cells: int, *, least: Sequence[str], gap: int = 2
) -> tuple[list[str], list[list[str]]]:
    """Return the columns and rows of a table that is not wider than some cells, each row on one line.

    The second and the last column are the long ones: a title, and a result. Columns that matter less are left
    out first, then these two are cut. A name in the last one keeps its end, which tells it from others.

    Args:
        columns: The names of the columns.
        rows: The cells of each row.
        cells: How wide the table may be.
        least: The names of columns that may be left out, the first one first.
        gap: Cells after each column.
    """
    kept = list(range(len(columns)))
    natural = [max(map(width, (name, *(row[at] for row in rows)))) for at, name in enumerate(columns)]
    title, last = 1, len(columns) - 1

    def short() -> int:
        """Return how many cells are too few, with the long columns as narrow as they may be."""
        long = sum(min(natural[at], _LEAST[at == last]) for at in kept if at in {title, last})
        return long + sum(natural[at] for at in kept if at not in {title, last}) + gap * len(kept) - cells

    for name in (*least, columns[title]):
        if short() > 0 and name in columns:
            kept.remove(columns.index(name))
    left = cells - gap * len(kept) - sum(natural[at] for at in kept if at not in {title, last})
    widths = dict(enumerate(natural))
    room = min(natural[title], _LEAST[False]) if title in kept else 0
    widths[last] = max(1, min(natural[last], left - room))
    widths[title] = max(1, min(natural[title], left - widths[last]))

    def cut(at: int, text: str) -> str:
        is_name = at == last and " " not in text
        return end(text, widths[at]) if is_name else both(text, widths[at])

    return [cut(at, columns[at]) for at in kept], [[cut(at, row[at]) for at in kept] for row in rows]

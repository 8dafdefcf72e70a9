"""Texts in the cells of a terminal: how wide they are, and how they are cut."""

from unicodedata import combining, east_asian_width

ELLIPSIS = "…"
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

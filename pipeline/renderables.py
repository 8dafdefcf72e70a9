"""Tables and texts: written by rich to a terminal, and as plain text, which is the same, to anything else.

To import rich takes longer than most commands that show a table.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from pipeline.cells import padded, width
from tasks.text import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

PLAIN_WIDTH = 120
"""Width, in characters, of a table that is not written to a terminal."""
_COLOR_VARIABLES = ("FORCE_COLOR", "TTY_COMPATIBLE")
"""Variables with which rich takes any stream for a terminal."""
_BEYOND = "\u2fff"
"""Rich and this program may not agree on the width of characters after this one, nor of those that combine."""


class Renderable(Protocol):
    """What can be shown."""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Yield what rich renders."""
        ...

    def plain(self) -> Iterator[str | None]:
        """Yield the lines of `PLAIN_WIDTH` that rich would make of it; `None` where only rich can tell."""
        ...


def show(what: Renderable, stream: TextIO) -> None:
    """Print something to a stream."""
    if not stream.isatty() and not any(os.environ.get(name) for name in _COLOR_VARIABLES):
        lines = list(what.plain())
        shown = [line for line in lines if line is not None]
        if len(shown) == len(lines):
            stream.write("".join(f"{line}\n" for line in shown))
            return
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only needed here

    wide = None if stream.isatty() else PLAIN_WIDTH
    Console(file=stream, width=wide, highlight=False).print(what)


class Words:
    """Lines of text, the first of them with a style."""

    def __init__(self, text: str, style: str = "") -> None:
        self._lines = printable(text).split("\n")
        self._style = style

    def __rich_console__(self, _console: "Console", _options: "ConsoleOptions") -> "RenderResult":
        """Yield a text."""
        from rich.text import Text  # noqa: PLC0415 - slow to import, and only needed here

        first, *rest = self._lines
        yield Text("\n", end="\n").join([Text(first, style=self._style), *map(Text, rest)])

    def plain(self) -> Iterator[str | None]:
        """Yield the lines, unless one of them is wrapped."""
        for line in self._lines:
            yield line if _is_simple(line) and width(line) <= PLAIN_WIDTH else None


class Table:
    """Rows of plain text below the names of their columns; `style` gives the style of row `n`."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        style: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._columns = columns
        self._rows = [[printable(cell) for cell in row] for row in rows]
        self._style = style

    def __rich_console__(self, _console: "Console", _options: "ConsoleOptions") -> "RenderResult":
        """Yield a table."""
        from rich.table import Table as RichTable  # noqa: PLC0415 - slow to import, and only needed here
        from rich.text import Text  # noqa: PLC0415 - likewise

        shown = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for index, name in enumerate(self._columns):
            shown.add_column(name, overflow="fold", no_wrap=index == 0)
        for number, row in enumerate(self._rows):
            shown.add_row(*map(Text, row), style=self._style(number))
        yield shown

    def plain(self) -> Iterator[str | None]:
        """Yield the lines, unless a cell is folded."""
        every = [self._columns, *self._rows]
        widths = [max(map(width, cells)) + 2 for cells in zip(*every, strict=True)]
        if sum(widths) > PLAIN_WIDTH or not all(_is_simple(cell) for row in every for cell in row):
            yield None
            return
        for row in every:
            yield "".join(map(padded, row, widths))


class Parts:
    """Several things below each other."""

    def __init__(self, *parts: Renderable) -> None:
        self._parts = parts

    def __rich_console__(self, _console: "Console", _options: "ConsoleOptions") -> "RenderResult":
        """Yield them."""
        yield from self._parts

    def plain(self) -> Iterator[str | None]:
        """Yield their lines."""
        for part in self._parts:
            yield from part.plain()


def _is_simple(text: str) -> bool:
    """Whether a text is one line of characters of which each certainly takes one cell."""
    if text.isascii():
        return text.isprintable()
    return text.isprintable() and max(text) <= _BEYOND and width(text) == len(text)

"""A part of the terminal that is drawn again and again, below lines that stay.

The cursor waits at the beginning of that part. So erasing it is erasing from the cursor on, whatever the
terminal did since: Ctrl-C writes `^C` at the cursor, and a window that becomes narrower wraps lines again,
while the cursor stays with its character. A program that waits at the end has to know how many rows it is below
the beginning, and leaves half tables behind where it does not.
"""

import os
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from threading import RLock
from typing import Any, TextIO

from pipeline.live.layout import Line, Style

_SGR = {
    Style.BOLD: "1",
    Style.DIM: "2",
    Style.RED: "31",
    Style.GREEN: "32",
    Style.YELLOW: "33",
    Style.MAGENTA: "35",
    Style.CYAN: "36",
}
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronised output: terminals that know it show a frame at once, others ignore it."""
NO_WRAP, WRAP = "\x1b[?7l", "\x1b[?7h"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
ERASE_BELOW, ERASE_LINE = "\r\x1b[J", "\x1b[K"


def is_able(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream leads to a terminal whose cursor can be moved."""
    return stream.isatty() and environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


class Screen:
    """Draws frames on a terminal, and writes lines above them.

    Args:
        stream: Leads to the terminal.
        environ: Says whether colours are wanted (https://no-color.org).
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        self._environ = environ
        self._colours = not environ.get("NO_COLOR")
        self._lock = RLock()
        self._shown: tuple[str, ...] = ()
        self._size = (0, 0)
        self._open = False
        self._echo: _Quiet | None = None
        self._errors: TextIO | None = None

    def size(self) -> tuple[int, int]:
        """Return the columns and rows of the terminal."""
        columns = rows = 0
        with suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(self._stream.fileno())
        return columns or self._variable("COLUMNS", 80), rows or self._variable("LINES", 24)

    def _variable(self, name: str, otherwise: int) -> int:
        """Return a size that the environment says, for a terminal that does not."""
        value = self._environ.get(name, "")
        return int(value) if value.isascii() and value.isdecimal() and int(value) else otherwise

    def open(self) -> None:
        """Hide the cursor, and take what the program writes to standard error above the frame."""
        with self._lock:
            self._open = True
            self._echo = _Quiet.of_terminal()
            if sys.stderr is not None and sys.stderr.isatty():
                self._errors, sys.stderr = sys.stderr, _Above(self.above)
            self._write(HIDE)

    def close(self) -> None:
        """Erase the frame, and give the terminal back as it was."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            if self._echo:
                self._echo.restore()
            self._shown = ()
            above = sys.stderr
            if self._errors is not None:
                sys.stderr, self._errors = self._errors, None
            self._write(ERASE_BELOW + SHOW)
            if isinstance(above, _Above) and above.rest:
                sys.stderr.write(above.rest)

    def above(self, text: str, style: Style = Style.PLAIN) -> None:
        """Write a line that stays, above the frame; it may be wider than the terminal."""
        self.draw(None, [[(text, style)]])

    def draw(self, frame: Sequence[Line] | None, lines: Sequence[Line] = ()) -> None:
        """Write lines that stay, and the frame below them; `None` for the frame that is shown."""
        with self._lock:
            shown = self._shown if frame is None else tuple(map(self._styled, frame))
            size = self.size()
            if not lines and shown == self._shown and size == self._size:
                return
            kept = "".join(f"{self._styled(line)}\n" for line in lines)
            # A frame of a wider window is not shown in a narrower one: the next one follows at once.
            below = shown if self._open and (frame is not None or size == self._size) else ()
            self._write(BEGIN + ERASE_BELOW + kept + _parked(below) + END)
            self._shown, self._size = below, size

    def control(self, sequence: str) -> None:
        """Write a sequence that shows nothing, such as one for the window's title."""
        if sequence:
            with self._lock:
                self._write(sequence)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _styled(self, line: Line) -> str:
        if not self._colours:
            return "".join(text for text, _ in line)
        # Each piece ends its own style, so that none reaches the rest of the terminal.
        return "".join(f"\x1b[{_SGR[style]}m{text}\x1b[0m" if style else text for text, style in line)


def _parked(lines: Sequence[str]) -> str:
    """Return a frame, after which the cursor is back at its beginning."""
    if not lines:
        return ""
    body = "\n".join(f"{line}{ERASE_LINE}" for line in lines)
    up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
    return f"{NO_WRAP}{body}\r{up}{WRAP}"


class _Above(StringIO):
    """Standard error, each line of which is written above the frame."""

    def __init__(self, above: Callable[[str], None]) -> None:
        super().__init__()
        self._above = above
        self._part = ""

    def write(self, text: str) -> int:
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            self._above(line)
        return len(text)

    def isatty(self) -> bool:
        return True

    @property
    def rest(self) -> str:
        """The line that has not ended."""
        return self._part


class _Quiet:
    """Keeps the terminal from showing the keys that are pressed, which would move the cursor."""

    def __init__(self, descriptor: int, attributes: list[Any]) -> None:
        self._descriptor = descriptor
        self._attributes = attributes

    @classmethod
    def of_terminal(cls) -> "_Quiet | None":
        """Quieten the terminal of standard input, if there is one and this process may change it."""
        try:
            descriptor = sys.stdin.fileno()
            # A process in the background would be stopped by the change (SIGTTOU).
            if os.tcgetpgrp(descriptor) != os.getpgrp():
                return None
            attributes = termios.tcgetattr(descriptor)
            quiet = [*attributes]
            quiet[3] = attributes[3] & ~termios.ECHO
            termios.tcsetattr(descriptor, termios.TCSANOW, quiet)
        except (OSError, ValueError, AttributeError, termios.error):
            return None
        return cls(descriptor, attributes)

    def restore(self) -> None:
        """Show the keys again."""
        with suppress(OSError, termios.error):
            if os.tcgetpgrp(self._descriptor) == os.getpgrp():
                termios.tcsetattr(self._descriptor, termios.TCSANOW, self._attributes)

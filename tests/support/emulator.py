"""Run the command on a terminal that is emulated: what a person would see, not the bytes."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pyte
from project import COMMAND, PATIENCE, Project

HISTORY = 2000
"""Lines that the terminal keeps above its screen."""


class ReflowingScreen(pyte.HistoryScreen):
    """A screen that wraps its lines again when it becomes narrower, as most terminals do; xterm cuts them."""

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Change the size; the cursor stays with its character, and what has no room goes to the history."""
        width, old = columns or self.columns, self.columns
        rows, at = list[list[Any]](), self.cursor.y
        for number in range(self.lines):
            cells = [self.buffer[number][column] for column in range(old)]
            used = max((index + 1 for index, cell in enumerate(cells) if cell.data != " "), default=0)
            pieces = [cells[start : start + width] for start in range(0, max(1, used), width)]
            if number == self.cursor.y:
                at = len(rows) + min(self.cursor.x // width, len(pieces) - 1)
            rows += pieces
        last = max((n for n, row in enumerate(rows) if any(cell.data != " " for cell in row)), default=0)
        gone = max(0, max(last, at) + 1 - (lines or self.lines))
        x = self.cursor.x % width
        super().resize(lines, columns)
        for row in rows[:gone]:
            kept: Any = dict(enumerate(row))
            self.history.top.append(kept)
        self.buffer.clear()
        for number, row in enumerate(rows[gone : gone + self.lines]):
            self.buffer[number].update(enumerate(row))
        self.cursor.y, self.cursor.x = max(0, at - gone), x


class Emulator:
    """Runs `patchyard` on a terminal of a size; a context manager that kills it.

    Args:
        project: Where it runs.
        arguments: Those of the command.
        columns: Width of the terminal.
        rows: Its height.
        environ: Variables for the command, besides those of the project.
        reflows: Whether the terminal wraps lines again when it becomes narrower.
    """

    def __init__(
        self,
        project: Project,
        *arguments: str | Path,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str] | None = None,
        reflows: bool = False,
    ) -> None:
        kind = ReflowingScreen if reflows else pyte.HistoryScreen
        self.screen: Any = kind(columns, rows, history=HISTORY)
        self.bytes = b""
        self._stream = pyte.ByteStream(self.screen)
        self._code: int | None = None
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(project.root)
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            given = {**project.environ, "TERM": "xterm-256color", **(environ or {})}
            command = [*COMMAND, *map(str, arguments)]
            os.execve(command[0], command, given)  # noqa: S606 - the command that is tested

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the command if it still runs."""
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._terminal)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen, without spaces at their ends."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def history(self) -> list[str]:
        """The lines above the screen."""
        return [
            "".join(
                row[column].data if column in row else " " for column in range(self.screen.columns)
            ).rstrip()
            for row in self.screen.history.top
        ]

    @property
    def everything(self) -> str:
        """The history and the screen."""
        return "\n".join([*self.history, *self.lines]).rstrip()

    def colours(self, line: int) -> set[str]:
        """Return the colours of a line of the screen, of its characters that are not spaces."""
        row = self.screen.buffer[line]
        return {row[column].fg for column in range(self.screen.columns) if row[column].data != " "}

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._terminal, keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.read(0.0)
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float = 0.05) -> bool:
        """Show what the command writes within some seconds; return whether it may still write."""
        while select.select([self._terminal], [], [], seconds)[0]:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # Linux, when the last writer has closed it
                return False
            if not data:
                return False
            self.bytes += data
            self._stream.feed(data)
            seconds = 0.0
        return True

    def wait_for(self, pattern: str) -> None:
        """Wait until the screen shows a pattern."""
        self.wait_until(lambda: re.search(pattern, "\n".join(self.lines)), pattern)

    def wait_until(self, ready: Callable[[], object], what: str) -> None:
        """Show what the command writes until something is so."""
        until = time.monotonic() + PATIENCE
        while not ready():
            assert self.read() or ready(), f"the command ended without {what}:\n{self.everything}"
            assert time.monotonic() < until, f"no {what} in:\n{self.everything}"

    def exit_code(self) -> int:
        """Show the rest, and return the exit code."""
        while self.read():
            pass
        self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return self._code

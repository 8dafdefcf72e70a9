"""The end of a task's log on the page, and what is added to it, as HTML."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from html import escape
from pathlib import Path

import anyio

from containers.task_log import strip_terminal
from pipeline.view.templating import clean
from pipeline.web.services import Services

POLL = 0.1
"""Seconds between two reads of a growing log."""
SHOWN = 256 * 1024
"""Bytes of the end of a log that are shown; the command line and the API return all of it."""
PIECE = 64 * 1024
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200})?\Z")


class LogView:
    """Reads the last `SHOWN` bytes of a log, and what is added to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at: int | None = None
        self._held = b""
        self._text = ""

    async def follow(self, services: Services, is_over: Callable[[], Awaitable[bool]]) -> AsyncIterator[str]:
        """Yield the log as HTML until its writer is done; empty strings while nothing is added."""
        while not services.subscribers.closing.is_set():
            over = await is_over()  # asked first, so that what was written before the end is read
            html = await services.call(self.read)
            while html:
                yield html
                html = await services.call(self.read)
            if over:
                yield _html(self._text)
                return
            yield ""
            await anyio.sleep(POLL)

    def read(self) -> str:
        """Return the next part of the log, at most `PIECE` bytes; empty if there is none. Blocking."""
        try:
            with self._path.open("rb") as file:
                note = self._begin(file.seek(0, 2))
                file.seek(self._at or 0)
                data = file.read(PIECE)
        except OSError:
            return ""
        self._at = (self._at or 0) + len(data)
        return note + _html(self._whole(data))

    def _begin(self, size: int) -> str:
        if self._at is not None:
            return ""
        self._at = max(0, size - SHOWN)
        return f"<i>the first {self._at:,} bytes are not shown</i>\n" if self._at else ""

    def _whole(self, data: bytes) -> str:
        """Return text without control sequences; an incomplete character or sequence is held back."""
        data = self._held + data
        keep = len(data)
        for back in range(1, min(4, len(data) + 1)):
            if data[-back] >= 0xC0:  # noqa: PLR2004 - the first byte of a character of several
                needed = 2 + (data[-back] >= 0xE0) + (data[-back] >= 0xF0)  # noqa: PLR2004 - of UTF-8
                keep = len(data) - back if needed > back else keep
                break
        self._held = data[keep:]
        text = self._text + data[:keep].decode("utf-8", "replace")
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        if text.endswith("\r"):
            end = min(end, len(text) - 1)
        self._text = text[end:]
        return strip_terminal(text[:end]).replace("\r\n", "\n").replace("\r", "\n")


def _html(text: str) -> str:
    return f"<span>{clean(escape(text))}</span>" if text else ""

"""The end of a task's log as HTML."""

import re
from html import escape

from containers.task_log import strip_terminal
from pipeline.view.templating import clean
from pipeline.web.streams.log_tail import LogPart

SHOWN = 256 * 1024
"""Bytes of the end of a log that are shown; the command line and the API return all of it."""
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200})?\Z")


class LogHtml:
    """Converts the parts of a log, one after the other, to HTML."""

    def __init__(self) -> None:
        self._started = False
        self._bytes = b""  # held back: the start of a character
        self._text = ""  # held back: the start of a control sequence or of a line end

    def add(self, part: LogPart) -> str:
        """Return the HTML of a part; an incomplete character or control sequence is held back."""
        if part.complete:
            return _html(self._text)
        note = ""
        if part.data and not self._started:
            self._started, skipped = True, part.offset - len(part.data)
            note = f"<i>the first {skipped:,} bytes are not shown</i>\n" if skipped else ""
        return note + _html(self._complete_text(part.data))

    def _complete_text(self, data: bytes) -> str:
        """Return text without control sequences, as far as it is complete."""
        data = self._bytes + data
        end = len(data)
        for back in range(1, min(4, len(data) + 1)):
            if data[-back] >= 0xC0:  # noqa: PLR2004 - the first byte of a character of several
                needed = 2 + (data[-back] >= 0xE0) + (data[-back] >= 0xF0)  # noqa: PLR2004 - of UTF-8
                end = len(data) - back if needed > back else end
                break
        self._bytes = data[end:]
        text = self._text + data[:end].decode("utf-8", "replace")
        unfinished = _UNFINISHED.search(text)
        complete = unfinished.start() if unfinished else len(text)
        if text.endswith("\r"):
            complete = min(complete, len(text) - 1)
        self._text = text[complete:]
        return strip_terminal(text[:complete]).replace("\r\n", "\n").replace("\r", "\n")


def _html(text: str) -> str:
    return f"<span>{clean(escape(text))}</span>" if text else ""

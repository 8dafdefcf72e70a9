"""The end of a task's log as HTML."""

from html import escape

from pipeline.view.log_text import LogText
from pipeline.view.templating import clean
from pipeline.web.streams.log_tail import LogPart

SHOWN = 256 * 1024
"""Bytes of the end of a log that are shown; the command line and the API return all of it."""


class LogHtml:
    """Converts the parts of a log, one after the other, to HTML."""

    def __init__(self) -> None:
        self._started = False
        self._text = LogText()

    def add(self, part: LogPart) -> str:
        """Return the HTML of a part; an incomplete character or control sequence is held back."""
        if part.complete:
            return _html(self._text.rest)
        note = ""
        if part.data and not self._started:
            self._started, skipped = True, part.offset - len(part.data)
            note = f"<i>the first {skipped:,} bytes are not shown</i>\n" if skipped else ""
        return note + _html(self._text.add(part.data))


def _html(text: str) -> str:
    return f"<span>{clean(escape(text))}</span>" if text else ""

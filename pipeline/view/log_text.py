"""The output of a task as text that is safe to show: no control sequence of it reaches the reader."""

from containers.terminal_text import strip_terminal
from tasks.lazy.patterns import regex

_UNFINISHED = regex(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200})?\Z")


class LogText:
    """Converts the parts of a log, one after the other, to text without terminal control sequences.

    Control characters that belong to no sequence stay; line ends become line feeds.
    """

    def __init__(self) -> None:
        self._bytes = b""  # held back: the start of a character
        self._text = ""  # held back: the start of a control sequence or of a line end

    @property
    def rest(self) -> str:
        """What is held back."""
        return self._text

    def add(self, data: bytes) -> str:
        """Return the text of a part; an incomplete character or control sequence is held back."""
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

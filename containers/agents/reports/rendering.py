"""Show the output of an agent as people read it, while it is printed."""

from dataclasses import replace
from datetime import tzinfo

from containers.agents.reports.formats import FORMATS
from containers.agents.reports.reader import summary
from containers.terminal_text import plain_text
from tasks.agent_report import AgentReport
from tasks.secrets import Secrets
from tasks.sizes import format_size

MAX_EVENT = 4 * 1024 * 1024
"""Bytes of a structured line that is read; of a longer one the beginning is shown."""
MAX_PLAIN = 8192
"""Bytes of another line that a reader gets; all of it is shown, as it comes."""
BEGINNING = 200
_BRACE = ord("{")


class Rendering:
    """Shows the structured lines of an agent's output, and passes the others through.

    It is given masked output. What a structured line says is masked once more: its text had been encoded.

    Args:
        format: A name in `FORMATS`.
        secrets: What is masked.
        zone: Zone of the machine that the agent runs on; `None` for this one.
    """

    def __init__(self, format: str, secrets: Secrets, zone: tzinfo | None = None) -> None:  # noqa: A002 - as the field of an agent
        self._reader = FORMATS[format](zone=zone)
        self._secrets = secrets
        self._line = bytearray()  # the beginning of the present line
        self._size = 0  # how long that is so far
        self._is_event = False

    @property
    def report(self) -> AgentReport:
        """What the agent has said so far, masked."""
        report, mask = self._reader.report, self._secrets.mask_text
        return replace(
            report,
            last_message=report.last_message and mask(report.last_message),
            refused=report.refused and mask(report.refused),
            limit=report.limit and replace(report.limit, message=mask(report.limit.message)),
        )

    def feed(self, data: bytes) -> bytes:
        """Return what is shown of output: any bytes, cut anywhere."""
        if self._reader.reads_text:
            *whole, rest = data.split(b"\n")
            return b"".join([*(self._piece(piece) + self._end() for piece in whole), self._piece(rest)])
        shown, start = [], 0
        while start < len(data):
            if self._size or data[start] == _BRACE:
                end = data.find(b"\n", start)
                shown.append(self._piece(data[start:end] if end >= 0 else data[start:]))
                if end >= 0:
                    shown.append(self._end())
            else:  # as many lines as are not structured, at once
                end = data.find(b"\n{", start)
                text = data[start : end + 1] if end >= 0 else data[start:]
                shown.append(text)
                if end < 0:
                    self._piece(text.rpartition(b"\n")[2])
            start = end + 1 if end >= 0 else len(data)
        return b"".join(shown)

    def flush(self) -> bytes:
        """Return what is shown at the end: what was held back, and a line with the cost and the tokens."""
        is_text = self._size > 0 and not self._is_event
        last = self._end().removesuffix(b"\n") if self._size else b""
        total = summary(self.report)
        between = b"\n" if total and (last or is_text) else b""
        return last + between + (f"{total}\n".encode() if total else b"")

    def _piece(self, piece: bytes) -> bytes:
        """Take a piece of a line, and return it if that is not structured."""
        if not piece:
            return b""
        if not self._size:
            self._is_event = piece.startswith(b"{")
        self._size += len(piece)
        self._line += piece[: max(0, (MAX_EVENT if self._is_event else MAX_PLAIN) - len(self._line))]
        return b"" if self._is_event else piece

    def _end(self) -> bytes:
        """Take the end of a line, and return what is then to be shown."""
        line, size, is_event = bytes(self._line), self._size, self._is_event
        self._line.clear()
        self._size, self._is_event = 0, False
        if is_event and size > MAX_EVENT:
            return line[:BEGINNING] + f"… [a line of {format_size(size)}; the raw log has it]\n".encode()
        text = line.removesuffix(b"\r").decode(errors="surrogateescape")
        shown = self._reader.line(text)
        if not is_event:
            return b"\n"
        if shown is None:
            return line + b"\n"
        return self._secrets.mask_text(plain_text(shown) + "\n").encode() if shown else b""

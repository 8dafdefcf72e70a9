"""Log of a task: its steps, their output with secrets masked, and how they ended."""

from dataclasses import replace
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Self

from containers.line_times import LineTimes
from containers.raw_log import RawLog, raw_log_path
from containers.terminal_text import strip_control, strip_terminal
from tasks.errors import PatchyardError
from tasks.model import Step, StepKind, hidden_script
from tasks.outcome import StepResult
from tasks.secrets import Masker, Secrets
from tasks.sizes import format_size

if TYPE_CHECKING:
    from containers.agents.reports.rendering import Rendering

TAIL_CHARACTERS = 20_000
TAIL_LINES = 200
"""How much of the end of a step's output its result has: what an agent is given of a failure."""
TAIL_BYTES = 4 * TAIL_CHARACTERS
"""How much is kept for that: a character has at most four bytes in UTF-8."""
LOG_END = 20_000
"""Bytes of the end of a step's output that a log has which is at its limit."""


class RunnerError(PatchyardError):
    """A runner cannot run any task."""


class TaskLog:
    """Log of a task: the titles of its steps, their output as it is printed, and how they end. Blocking.

    Output is written byte for byte, with secrets masked, until the file has `limit` bytes; `None` for no limit.
    From there on it has a note, and of each step only the last `LOG_END` bytes of output. If the log cannot be
    written (a full disk), the step continues: that output is missing, which the log and the tail of the step
    say. An existing log is appended to.

    The output of an agent whose `format` is known is shown as people read it; as it was printed, it is in a raw
    log beside the log, with the same limit. When each part was written is in a file beside it, too.

    Args:
        path: The file.
        secrets: What is masked.
        limit: How many bytes of output are kept.
        format: The format of the agent's output, a name in `FORMATS`; `None` if it is not known.
        zone: Zone of the machine that the steps run on; `None` for this one.
    """

    def __init__(
        self,
        path: Path,
        secrets: Secrets,
        limit: int | None = None,
        format: str | None = None,  # noqa: A002 - as the field of an agent
        zone: tzinfo | None = None,
    ) -> None:
        self.is_full = False
        """Whether output was left out, because the log, or the raw one, is at its limit."""
        self._path = path
        self._secrets = secrets
        self._masker = Masker(secrets)
        self._limit = limit
        self._format = format
        self._zone = zone
        self._rendering: Rendering | None = None  # of the agent's step
        self._raw = RawLog(raw_log_path(path), limit)
        self._times = LineTimes(path)
        self._size = 0
        self._cut = False
        self._tail = b""
        self._left_out = 0  # how many bytes of this step's output are past the limit
        self._lost: str | None = None  # why the latest output could not be written
        self._missing: str | None = None  # why some output of this step could not be written
        self._last = b"\n"

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RunnerError: It cannot be opened.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            self._size = self._file.tell()
        except OSError as error:
            raise RunnerError(f"the log {self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._put(self._masker.flush())
        self._file.close()
        self._raw.close()
        self._times.close()

    def begin(self, step: Step) -> None:
        """Write the title of a step that starts, with the rest of its script, and start a new tail."""
        self._line(f"$ {step.title}", before=b"\n" if self._size else b"")
        for line in (hidden_script(step.title, self._secrets.mask_text(step.script or "")) or "").splitlines():
            self._line(f"$ | {line}".rstrip())
        self._tail = b""
        self._left_out = 0
        self._missing = self._lost
        self._rendering = None
        if self._format and step.kind is StepKind.AGENT:
            from containers.agents.reports.rendering import Rendering  # noqa: PLC0415 - start-up stays quick

            self._rendering = Rendering(self._format, self._secrets, self._zone)

    def write(self, output: bytes) -> None:
        """Write output of a step: any bytes, cut anywhere."""
        self._output(self._rendered(self._masker.feed(output)))

    def end(self, result: StepResult) -> StepResult:
        """Write how a step ended, and return its result with the tail of its output."""
        self._output(self._rendered(self._masker.flush()))
        report = None
        if self._rendering:
            self._output(self._rendering.flush())
            report, self._rendering = self._rendering.report, None
        self._put(self._tail[-min(self._left_out, LOG_END) :] if self._left_out else b"")
        error = None if result.error is None else self._secrets.mask_text(result.error)
        tail = tail_text(self._tail)
        if self._missing:
            tail += "\n" * (tail[-1:] not in {"", "\n"}) + f"[the log is not complete: {self._missing}]\n"
        result = replace(result, tail=tail, error=error, report=report)
        self._line(f"[{_ending(result)}]")
        return result

    def _rendered(self, shown: bytes) -> bytes:
        """Return masked output as it is shown; keep it as it is in the raw log, if that differs."""
        if self._rendering is None:
            return shown
        self._raw.write(shown)
        self.is_full = self.is_full or self._raw.is_full
        return self._rendering.feed(shown)

    def note(self, text: str) -> None:
        """Write a line from the runner."""
        self._line(f"[{text}]")

    def _line(self, text: str, before: bytes = b"") -> None:
        line = self._secrets.mask_text(" ".join(text.splitlines())).encode(errors="surrogateescape")
        self._put((b"" if self._last == b"\n" else b"\n") + before + line + b"\n")

    def _output(self, shown: bytes) -> None:
        if shown:
            self._tail = (self._tail + shown[-TAIL_BYTES:])[-TAIL_BYTES:]
            room = len(shown) if self._limit is None else max(0, self._limit - self._size)
            self._put(shown[:room])
            if room < len(shown):
                self._leave_out(len(shown) - room)

    def _leave_out(self, size: int) -> None:
        if not self._cut:
            self._cut = self.is_full = True
            self.note(
                f"the log is cut here, at the limit of max_log, {format_size(self._limit or 0)}: what follows "
                "has only the end of each step's output"
            )
        self._left_out += size

    def _put(self, data: bytes) -> None:
        if not data:
            return
        self._times.note(self._size)
        try:
            if self._lost:
                self._write_all(f"\n[output is missing here: {self._lost}]\n".encode())
                self._lost = None
            self._write_all(data)
        except OSError as error:
            self._lost = self._missing = error.strerror or str(error)
        self._last = data[-1:]

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            self._size += written
            rest = rest[written:]


def tail_text(output: bytes) -> str:
    """Return the last lines of some output as plain text, without terminal control sequences.

    Of a line that was overwritten (a progress bar), the last state is returned.
    """
    cut = output[-TAIL_BYTES:]
    if len(output) >= TAIL_BYTES:
        cut = cut.lstrip(bytes(range(0x80, 0xC0)))  # continuation bytes of a character that was cut
    text = strip_terminal(cut.decode(errors="replace").replace("\r\n", "\n"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    ends = 1 if lines[-1] == "" else 0
    return strip_control("\n".join(lines[-TAIL_LINES - ends :]))[-TAIL_CHARACTERS:]


def _ending(result: StepResult) -> str:
    """Return how a step ended, in a few words."""
    seconds = f"{result.seconds:.2f} s"
    code = "" if result.exit_code is None else f", exit code {result.exit_code}"
    if result.timed_out or result.cancelled:
        how = "timed out" if result.timed_out else "cancelled"
        began = code or seconds != "0.00 s"
        return f"{how}{code}, {seconds}" if began else f"{how} before it began"
    if result.error is not None:
        return f"{result.error}{code}"
    if result.out_of_memory:
        return f"{result.out_of_memory}{code}, {seconds}"
    return f"exit code {result.exit_code}, {seconds}"

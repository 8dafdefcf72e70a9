"""The observer that shows a run as a live table on a terminal."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event as Flag
from threading import RLock, Thread
from typing import TextIO

from pipeline.console import STYLES, Wording, summary
from pipeline.events import (
    BaseCheckStarted,
    ConflictFound,
    Event,
    Notice,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TaskFinished,
    TaskStarted,
    now,
)
from pipeline.live.board import Board
from pipeline.live.layout import Line, Style, frame
from pipeline.live.screen import Screen
from pipeline.live.signs import Signs
from pipeline.live.tails import Output, Tails
from pipeline.renderables import show
from pipeline.run.paths import log_path
from pipeline.verdict.model import Kind
from pipeline.verdict.words import headline
from tasks.model import StepKind
from tasks.outcome import Outcome
from tasks.text import printable

LEAST, LONGEST = 0.1, 0.25
"""Seconds between two frames: at least, and where no event comes in between."""
LEVELS = {"warning": Style.YELLOW, "error": Style.RED}


class LiveTable:
    """A table with the tasks that run: their step, time and last output. Finished tasks are written above it.

    A thread of its own draws it, so that events wait for no terminal, at most ten times a second.
    """

    def __init__(
        self,
        stream: TextIO,
        environ: Mapping[str, str],
        *,
        directory: str | Path | None = None,
        known: Iterable[Outcome] = (),
        notifies: bool = False,
    ) -> None:
        self._stream = stream
        self._directory = Path(directory) if directory else None
        self._notifies = notifies
        self._wording = Wording()
        self._board = Board(outcomes={outcome.task: outcome for outcome in known})
        self._tails = Tails()
        self._screen = Screen(stream, environ)
        self._signs = Signs(environ)
        self._lines: list[Line] = []
        self._lock = RLock()
        self._changed, self._stopped = Flag(), Flag()
        self._thread: Thread | None = None

    def notify(self, event: Event) -> None:
        """Take an event into the table."""
        with self._lock:
            self._board.apply(event)
            if line := self._line(event):
                self._lines.append(line)
        if isinstance(event, RunFinished):
            self.close()
            show(summary(event), self._stream)
            if self._notifies:
                said = f"{self._board.title}: {headline(event.verdict)}"
                self._screen.control(self._signs.notification(said))
        elif not self._stopped.is_set():
            self._start()
            self._changed.set()

    def catch_up(self, events: Iterable[Event]) -> None:
        """Take what happened before into the table; of all its lines, that of the run is shown."""
        with self._lock:
            for event in events:
                self._board.apply(event)
                line = self._line(event)
                if isinstance(event, RunStarted) and line:
                    self._lines = [line]
        self._start()

    def close(self) -> None:
        """Write what is still to be written, and take the table away."""
        self._stopped.set()
        self._changed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._screen.control(self._signs.end())
        with self._lock:
            lines, self._lines = self._lines, []
        if lines:
            self._screen.draw(None, lines)
        self._screen.close()

    def _start(self) -> None:
        if self._thread is None:
            self._screen.open()
            self._screen.control(self._signs.begin())
            self._thread = Thread(target=self._work, name="live-table", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            self._changed.clear()
            try:
                self.draw()
            except (OSError, ValueError):  # the terminal was closed
                return
            self._stopped.wait(LEAST)
            self._changed.wait(LONGEST - LEAST)

    def draw(self) -> None:
        """Write the lines that wait, and draw the table as it is now. Blocking."""
        with self._lock:
            lines, self._lines = self._lines, []
            columns, rows = self._screen.size()
            outputs = self._outputs() if self._directory else {}
            shown = frame(self._board, outputs, columns, rows, now())
            sign = self._signs.update(self._board)
        self._screen.control(sign)
        self._screen.draw(shown, lines)

    def _outputs(self) -> Mapping[str, Output]:
        directory = self._directory or Path()
        lanes = self._board.lanes
        logs = {lane: log_path(directory, lane.task, lane.attempt) for lane in lanes}
        self._tails.forget(set(logs.values()))
        return {
            lane.worktree: self._tails.read(log, is_agent=lane.kind == StepKind.AGENT)
            for lane, log in logs.items()
        }

    def _line(self, event: Event) -> Line | None:
        """Return the line of an event that stays above the table."""
        if isinstance(event, BaseCheckStarted | StepStarted | StepFinished | TaskStarted | RunFinished):
            return None
        text = self._wording.line(event)
        return [(printable(text), _style(event))] if text else None


def _style(event: Event) -> Style:
    match event:
        case TaskFinished(outcome=outcome):
            return Style(STYLES[Kind(outcome.status)])
        case Notice(level=level):
            return LEVELS.get(level, Style.PLAIN)
        case ConflictFound():
            return Style.RED
        case RunStarted():
            return Style.BOLD
        case _:
            return Style.PLAIN

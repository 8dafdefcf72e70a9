"""The lines of the live table, for a terminal of any size."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from pipeline.cells import both, clock, padded, start, width
from pipeline.console import reason
from pipeline.live.board import Board, Lane
from pipeline.live.tails import NOTHING, Output
from pipeline.verdict.words import label, progress
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Outcome
from tasks.text import printable

WIDE = 100
"""Columns from which on a worktree has one line with all that is known of it; below, it has two."""
TITLES = 70
"""Columns from which on titles are shown."""
SILENCE = 10.0
"""Seconds without output from which on it is said."""
HEADED = 10
"""Rows of a terminal from which on the table has a heading."""
LONGEST_ID = 24
GAP = "  "


class Style(StrEnum):
    """How a piece of a line is shown."""

    PLAIN = ""
    BOLD = "bold"
    DIM = "dim"
    CYAN = "cyan"
    RED = "red"
    GREEN = "green"
    YELLOW = "yellow"
    MAGENTA = "magenta"


Line = Sequence[tuple[str, Style]]


@dataclass(frozen=True, slots=True)
class _Widths:
    """The cells of each column; 0 for a column that is left out."""

    total: int
    worktree: int
    task: int
    title: int
    step: int
    time: int
    output: int


def frame(board: Board, outputs: Mapping[str, Output], columns: int, rows: int, moment: datetime) -> list[Line]:
    """Return the lines of the table, none wider than the terminal and at most as many as it has rows, less one.

    Args:
        board: The state of the run.
        outputs: What the steps print, by worktree.
        columns: Width of the terminal in cells.
        rows: Its height.
        moment: The present time.
    """
    # The last column stays free: terminals differ in where the cursor is after it.
    total, room = max(1, columns - 1), max(1, rows - 1) - 1
    lanes, failures = board.lanes, board.failures
    kept = min(len(failures), max(1, room // 3))
    per_lane = 1 if columns >= WIDE or 2 * len(lanes) + kept > room else 2
    widths = _widths(lanes, total, columns, is_short=columns < WIDE and per_lane == 1)
    shown: list[Line] = []
    if columns >= WIDE and lanes and rows >= HEADED and len(lanes) + kept < room:
        shown.append(_heading(widths))
    shown += _running(lanes, outputs, widths, moment, per_lane=per_lane, room=room - kept - len(shown))
    shown += _failed(failures, total, room - len(shown))
    return [_cut(line, total) for line in (*shown[:room], _caption(board, total, moment))]


def _cut(line: Line, cells: int) -> Line:
    """Return a line that is not wider than some cells, which a terminal of a few columns needs."""
    if sum(width(text) for text, _ in line) <= cells:
        return line
    pieces: list[tuple[str, Style]] = []
    for text, style in line:
        pieces.append((start(text, cells), style))
        cells -= width(pieces[-1][0])
    return pieces


def _widths(lanes: Sequence[Lane], total: int, columns: int, *, is_short: bool) -> _Widths:
    """Share a line among its columns: those that matter less go first, then the long ones are cut."""
    gap, is_wide = len(GAP), columns >= WIDE
    task = min(LONGEST_ID, max((width(printable(lane.task)) for lane in lanes), default=4))
    worktree = 0 if columns < TITLES and is_short else max((len(lane.worktree) for lane in lanes), default=4)
    if is_wide:
        task, worktree = max(task, len("task")), max(worktree, len("worktree"))
    time = len("59 min 59 s")
    left = total - task - gap - time - gap - (worktree + gap if worktree else 0)
    if is_wide:
        titles = max((width(_line(lane.title)) for lane in lanes), default=0)
        steps = max((width(_line(lane.step)) for lane in lanes), default=0)
        title = min(left * 28 // 100, max(titles, len("title")))
        step = min(left * 36 // 100, max(steps, len("step")))
        return _Widths(total, worktree, task, title, step, time, left - title - step - 2 * gap)
    if is_short:
        step = left * 40 // 100
        return _Widths(total, worktree, task, 0, step, time, left - step - gap)
    title = left * 45 // 100 if columns >= TITLES else 0
    return _Widths(total, worktree, task, title, left - title - (gap if title else 0), time, 0)


def _heading(widths: _Widths) -> Line:
    cells = [
        padded("worktree", widths.worktree),
        padded("task", widths.task),
        padded("title", widths.title),
        padded("step", widths.step),
        "time".rjust(widths.time),
        "output",
    ]
    return [(GAP.join(cells), Style.BOLD)]


def _running(  # noqa: PLR0913 - the parts of a table
    lanes: Sequence[Lane],
    outputs: Mapping[str, Output],
    widths: _Widths,
    moment: datetime,
    *,
    per_lane: int,
    room: int,
) -> list[Line]:
    """Return the rows of what runs; where there are too many, the rest by the ids of the tasks."""
    fits = lanes if per_lane * len(lanes) <= room else lanes[: max(0, room - 1)]
    lines: list[Line] = []
    for lane in fits:
        output = outputs.get(lane.worktree, NOTHING)
        if per_lane == 1:
            lines.append(_row(lane, output, widths, moment))
        else:
            lines.append(_row(lane, NOTHING, widths, moment))
            indent = " " * (widths.worktree + len(GAP))
            if second := _output(lane, output, widths.total - len(indent), moment):
                lines.append([(indent, Style.PLAIN), *second])
    if rest := lanes[len(fits) :]:
        names = ", ".join(printable(lane.task) for lane in rest)
        lines.append([(start(f"and {len(rest)} more: {names}", widths.total), Style.DIM)])
    return lines


def _row(lane: Lane, output: Output, widths: _Widths, moment: datetime) -> Line:
    time = clock((moment - lane.since).total_seconds()).rjust(widths.time)
    pieces: list[tuple[str, Style]] = []
    if widths.worktree:
        pieces.append((padded(lane.worktree, widths.worktree) + GAP, Style.CYAN))
    pieces.append((padded(both(printable(lane.task), widths.task), widths.task) + GAP, Style.BOLD))
    if widths.title:
        pieces.append((padded(both(_line(lane.title), widths.title), widths.title) + GAP, Style.PLAIN))
    style = Style.YELLOW if lane.waiting else Style.PLAIN
    pieces.append((padded(start(_line(lane.step), widths.step), widths.step) + GAP, style))
    pieces.append((time, Style.PLAIN))
    if widths.output and (shown := _output(lane, output, widths.output, moment)):
        pieces += [(GAP, Style.PLAIN), *shown]
    return pieces


def _output(lane: Lane, output: Output, cells: int, moment: datetime) -> list[tuple[str, Style]]:
    """Return what a step printed last, and for how long it has been silent."""
    silence = ""
    if not lane.waiting and not lane.is_quiet and lane.step_since:
        began = (moment - lane.step_since).total_seconds()
        silent = min(began, output.silent) if output is not NOTHING else began
        silence = f"silent for {clock(silent)}" if silent >= SILENCE else ""
    line = start(_line(output.line), cells - (width(silence) + len(GAP) if silence else 0))
    pieces = [(line, Style.DIM)] if line else []
    if silence:
        pieces.append(((GAP if line else "") + start(silence, cells), Style.YELLOW))
    return pieces


def _failed(failures: Sequence[Outcome], total: int, room: int) -> list[Line]:
    """Return the rows of what failed, the latest last; where there are too many, the first by their ids."""
    if not failures or room <= 0:
        return []
    fits = failures if len(failures) <= room else failures[len(failures) - (room - 1) :]
    lines: list[Line] = []
    if rest := failures[: len(failures) - len(fits)]:
        names = ", ".join(printable(outcome.task) for outcome in rest)
        lines.append([(start(f"{len(rest)} more failed: {names}", total), Style.RED)])
    longest = min(LONGEST_ID, max((width(printable(outcome.task)) for outcome in fits), default=0))
    for outcome in fits:
        task = padded(both(printable(outcome.task), longest), longest)
        said = f"{label(str(outcome.status))}  {task}  {_line(reason(outcome))}"
        lines.append([(both(said, total), Style.RED)])  # what it printed last is at the end
    return lines


def _caption(board: Board, total: int, moment: datetime) -> Line:
    words = [progress(board.counts, board.total)]
    words += [f"{len(board.lanes)} running"] if board.lanes else []
    said = f"{', '.join(words)}, {clock(board.seconds(moment))}"
    return [(start(said, total), Style.RED if board.failed else Style.DIM)]


def _line(text: str) -> str:
    """Return a text as one line that is safe on a terminal."""
    return printable(" ".join(text.split()))

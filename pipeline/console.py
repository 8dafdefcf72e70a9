"""How a run is printed: one line per event, and the table at its end."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO

from pipeline.cells import fitted
from pipeline.events import (
    BaseCheckFinished,
    BaseCheckStarted,
    BatchStarted,
    ConflictFound,
    Event,
    Notice,
    Published,
    RepairStarted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TaskFinished,
    TaskRerun,
    TaskStarted,
    TaskWaiting,
    local_time,
    now,
    timestamp,
)
from pipeline.renderables import PLAIN_WIDTH, Parts, Renderable, Table, Words, show
from pipeline.verdict.model import Kind, Verdict, conflict_words, late_tasks
from pipeline.verdict.reason import failing_line
from pipeline.verdict.words import label, lines_words, text_lines, without_words
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Outcome, RunStatus, Status
from tasks.text import by_kind, dollars, first_line, plural, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

STYLES = {
    Kind.CHANGED: "green",
    Kind.UNCHANGED: "dim",
    Kind.CONFLICT: "red",
    Kind.FAILED: "red",
    Kind.TIMED_OUT: "red",
    Kind.SKIPPED: "yellow",
    Kind.CANCELLED: "magenta",
    Kind.LEFT_OUT: "dim",
}
VERDICT_STYLES = {RunStatus.SUCCEEDED: "bold green", RunStatus.FAILED: "bold red"}


def headline(outcome: Outcome) -> str:
    """Return an outcome as a short phrase, such as `changed in 2.1 s: 1 file, branch patchyard/demo/1.1`."""
    words = _status(outcome)
    if outcome.worktree:
        words += f" in {outcome.seconds:.1f} s"
    if outcome.status is Status.CHANGED:
        words += f": {plural(len(outcome.files), 'file')}, branch {outcome.branch}"
    elif outcome.error:
        words += f": {printable(reason(outcome))}"
    return words


def reason(outcome: Outcome) -> str:
    """Return why a task did not succeed, as one line: with the line of its output that says what went wrong."""
    first, _, rest = (outcome.error or "").partition("\n")
    return f"{first}: {failing_line(outcome.error)}" if rest.strip() else first


def _status(outcome: Outcome, kind: Kind | None = None) -> str:
    words = label(kind or str(outcome.status))
    words += f" after {outcome.rounds} tries" if outcome.rounds > 1 else ""
    return f"{words}, cached" if outcome.cached else words


def _exit_code(code: int | None) -> str:
    return "no exit code" if code is None else f"exit code {code}"


def line(event: Event) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one return per event type
    """Return an event as one line of text, without its time; `None` for an event that is not shown."""
    match event:
        case RunStarted():
            size = f"{plural(event.tasks, 'task')}, pool of {event.pool_size}, base {event.base[:12]}"
            size += ", in the sandbox" if event.sandbox else ""
            size += f", limits: {by_kind(event.limits)}" if event.limits else ""
            return f"run {event.run}: {event.title or event.plan}: {size}"
        case BatchStarted():
            return f"batch {event.batch}: {event.title} ({event.mode}, {plural(event.tasks, 'task')})"
        case BaseCheckStarted():
            what = plural(len(event.commands), "command")
            return f"{event.worktree} {event.task} verification before any change: {what} at {event.start[:12]}"
        case BaseCheckFinished():
            what = f"fails without a change: {'; '.join(event.failed)}" if event.failed else "nothing fails"
            return f"{event.worktree} {event.task} verification before any change: {what}"
        case TaskStarted():
            return f"{event.worktree} {event.task} started: {event.title}"
        case StepStarted():
            return f"{event.worktree} {event.task} {event.kind} {event.number}: {event.command}"
        case StepFinished():
            code = _exit_code(event.exit_code)
            step = f"{event.task} {event.kind} {event.number}"
            return f"{event.worktree} {step}: {code} after {event.seconds:.3f} s"
        case RepairStarted():
            why = f"{event.step}: {_exit_code(event.exit_code)}"
            return f"{event.worktree} {event.task} try {event.round} of {event.rounds}, after {why}"
        case TaskWaiting():
            wait = f"waiting until {local_time(event.until)}" if event.until else "continues"
            return f"{event.worktree} {event.task} {wait}: {event.reason}"
        case TaskFinished(outcome=outcome):
            return f"{outcome.worktree or '-'} {outcome.task} {headline(outcome)}"
        case ConflictFound(conflict=conflict):
            return f"batch {conflict.batch}: {conflict}"
        case TaskRerun():
            return f"- {event.task} runs again: {event.reason}"
        case Published(request=request):
            return f"{request.task} pull request #{request.number} {request.action}: {request.url}"
        case Notice():
            return event.message if event.level == "info" else f"{event.level}: {event.message}"
        case _:
            return None


class Wording:
    """Gives the lines of a run's events, without batches if its plan has none."""

    def __init__(self) -> None:
        self._has_batches = True

    def line(self, event: Event) -> str | None:
        """Return an event as `line` does."""
        if isinstance(event, RunStarted):
            self._has_batches = event.batches > 0
        if self._has_batches or not isinstance(event, BatchStarted | ConflictFound):
            return line(event)
        return str(event.conflict) if isinstance(event, ConflictFound) else None


class Lines:
    """Writes one line per event, with its time to the millisecond, and a table at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._wording = Wording()

    def notify(self, event: Event) -> None:
        """Write the event."""
        if isinstance(event, RunFinished):
            show(summary(event), self._stream)
        elif text := self._wording.line(event):
            clock = event.time.astimezone().isoformat(timespec="milliseconds")[11:23]
            self._stream.write(f"{clock} {printable(text)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every event is written at once."""


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task without an outcome.

    `since` is when it started, if it is running, and `until` when its agent may be called again, if it waits.
    """

    task: str
    title: str
    kind: Kind
    worktree: str | None = None
    since: datetime | None = None
    until: datetime | None = None


LAST = "branch, pull request or reason"
ALWAYS = ("task", "title", "status", "time", "worktree", "files", LAST)
COLUMNS = (*ALWAYS[:-1], "lines", "cost", "tokens", LAST)
EXPENDABLE = ("worktree", "tokens", "files", "time", "cost", "lines")
"""Columns that are left out of a narrow table, the first ones first."""
LEAST_LAST, MOST_TITLE = 34, 24
"""Columns of a terminal that are kept for the last one, and that a title may take from the others."""


def outcome_table(
    verdict: Verdict, unfinished: Sequence[OpenTask] = (), order: Sequence[str] = ()
) -> Renderable:
    """Return the tasks of a run as a table; in a narrow terminal, without the columns that matter less.

    Args:
        verdict: How it goes, or went.
        unfinished: The tasks without an outcome.
        order: The ids of all tasks, in the order of the plan, if it is known.
    """
    rows = [_row(verdict, outcome) for outcome in verdict.outcomes]
    rows += [_open_row(task) for task in unfinished]
    at = {task: number for number, task in enumerate(order)}
    rows.sort(key=lambda row: at.get(row["task"], len(at)))
    styles = [STYLES.get(verdict.kinds[row["task"]], "") for row in rows]
    if len(rows) > 1 and (verdict.lines or verdict.usage):
        rows, styles = [*rows, _sums(verdict)], [*styles, "bold"]
    return _FittingTable(rows, styles)


def _sums(verdict: Verdict) -> dict[str, str]:
    """Return the last row: what all tasks changed, cost and used."""
    usage = verdict.usage
    at_least = "at least " if usage.is_partial else ""
    return {
        "title": "sum",
        "lines": lines_words(verdict.lines),
        "cost": "" if usage.cost is None else at_least + dollars(usage.cost),
        "tokens": str(usage.tokens),
    }


def _row(verdict: Verdict, outcome: Outcome) -> dict[str, str]:
    """Return the cells of a task by column."""
    return {
        "task": outcome.task,
        "title": outcome.title,
        "status": _status(outcome, verdict.kinds[outcome.task]),
        "time": f"{outcome.seconds:.1f} s" if outcome.worktree else "",
        "worktree": outcome.worktree or "",
        "files": str(len(outcome.files)) if outcome.files else "",
        "lines": lines_words((outcome.added, outcome.removed)),
        "cost": "" if outcome.cost is None else dollars(outcome.cost),
        "tokens": str(outcome.tokens),
        LAST: _result(verdict, outcome),
    }


def _open_row(task: OpenTask) -> dict[str, str]:
    time = f"{max(0.0, (now() - task.since).total_seconds()):.1f} s" if task.since else ""
    worktree = task.worktree or ""
    return {
        "task": task.task,
        "title": task.title,
        "status": label(task.kind),
        "time": time,
        "worktree": worktree,
        LAST: f"waiting until {local_time(timestamp(task.until))}" if task.until else "",
    }


class _FittingTable:
    """A table of tasks, with the columns for which there is room; on a terminal, each task has one line."""

    def __init__(self, rows: Sequence[Mapping[str, str]], styles: Sequence[str]) -> None:
        self._rows = rows
        self._styles = styles

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Yield the table."""
        names = self.columns(options.max_width)
        rows = [[printable(row.get(name, "")) for name in names] for row in self._rows]
        if console.is_terminal and rows:
            names, rows = fitted(names, rows, options.max_width, least=EXPENDABLE)
        yield self._table(names, rows)

    def plain(self) -> Iterator[str | None]:
        """Yield the lines of the table."""
        names = self.columns(PLAIN_WIDTH)
        return self._table(names, [[row.get(name, "") for name in names] for row in self._rows]).plain()

    def _table(self, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        return Table(names, rows, style=lambda number: self._styles[number])

    def columns(self, width: int) -> list[str]:
        """Return the columns that fit into a width."""
        used = {name for row in self._rows for name, cell in row.items() if cell}
        names = [name for name in COLUMNS if name in ALWAYS or name in used]
        widths = {
            name: 2 + max(len(name), *(len(row.get(name, "")) for row in self._rows), 0) for name in names
        }
        widths |= {"title": min(widths["title"], MOST_TITLE), LAST: min(widths[LAST], LEAST_LAST)}
        for name in EXPENDABLE:
            if sum(widths[other] for other in names) <= width:
                break
            names = [other for other in names if other != name]
        return names


def _result(verdict: Verdict, outcome: Outcome) -> str:
    """Return where the result of a task is, or why it has none; of a conflict both."""
    request = verdict.links.get(outcome.task)
    where = request.url if request else outcome.branch or first_line(outcome.error or "")
    conflict = late_tasks(verdict.conflicts).get(outcome.task)
    if conflict:
        return f"{where}: {conflict_words(conflict)}"
    return ", ".join(filter(None, (where, without_words(verdict, outcome.task))))


def summary(finished: RunFinished) -> Renderable:
    """Return the end of a run: the table, what failed tasks printed last, and the verdict."""
    verdict = finished.verdict
    parts: list[Renderable] = [Words(""), outcome_table(verdict)]
    for outcome in finished.outcomes:
        first, _, rest = (outcome.error or "").partition("\n")
        if rest and outcome.status is not Status.CANCELLED:
            indented = "\n".join(f"  {text}" for text in rest.splitlines())
            parts.append(Words(f"\ntask {outcome.task}: {first}\n{indented}"))
    return Parts(*parts, Words(""), verdict_block(verdict))


def verdict_block(verdict: Verdict) -> Renderable:
    """Return the last lines about a run: the verdict, why tasks failed, what helps now, and the figure."""
    return Words("\n".join(text_lines(verdict)), VERDICT_STYLES.get(verdict.status, "bold"))

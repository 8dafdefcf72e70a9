"""How a run is printed: one line per event, JSON lines, and the table at its end."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from pipeline.events import (
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
    as_json,
    local_time,
)
from tasks.model import Outcome, Status
from tasks.text import dollars, plural, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

STYLES = {
    Status.CHANGED: "green",
    Status.UNCHANGED: "dim",
    Status.FAILED: "red",
    Status.TIMED_OUT: "red",
    Status.SKIPPED: "yellow",
    Status.CANCELLED: "magenta",
}
PLAIN_WIDTH = 120
"""Width, in characters, of a table that is not written to a terminal."""


class JsonLines:
    """Writes each event as one line of JSON, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def notify(self, event: Event) -> None:
        """Write the event."""
        self._stream.write(as_json(event) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every event is written at once."""


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
    """Return why a task did not succeed, as one line: with what it printed last, which says what went wrong."""
    first, *rest = (outcome.error or "").splitlines() or [""]
    last = next((line.strip() for line in reversed(rest) if line.strip()), "")
    return f"{first}: {last}" if last else first


def _status(outcome: Outcome) -> str:
    words = str(outcome.status).replace("_", " ")
    words += f" after {outcome.rounds} tries" if outcome.rounds > 1 else ""
    return f"{words}, cached" if outcome.cached else words


def figure(finished: RunFinished) -> str:
    """Return the number of tasks, the wall time, the speedup and the pool use as one sentence."""
    ran = [outcome for outcome in finished.outcomes if outcome.worktree]
    if not ran and (cached := [outcome for outcome in finished.outcomes if outcome.cached]):
        return f"{plural(len(cached), 'task')} from the cache in {finished.seconds:.1f} s"
    sentence = f"{plural(len(ran), 'task')} in {finished.seconds:.1f} s"
    if not ran:
        return sentence
    agents = f"; agents: {finished.usage}" if finished.usage else ""
    places = round(finished.speedup / finished.efficiency) if finished.efficiency else 1
    faster = f"{finished.speedup:.1f} times faster than one by one, " if finished.speedup > 1 else ""
    return f"{sentence}: {faster}{finished.efficiency * 100:.0f} % of a pool of {places}{agents}"


def _exit_code(code: int | None) -> str:
    return "no exit code" if code is None else f"exit code {code}"


def line(event: Event) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one return per event type
    """Return an event as one line of text, without its time; `None` for an event that is not shown."""
    match event:
        case RunStarted():
            size = f"{plural(event.tasks, 'task')}, pool of {event.pool_size}, base {event.base[:12]}"
            return f"run {event.run}: {event.title or event.plan}: {size}"
        case BatchStarted():
            return f"batch {event.batch}: {event.title} ({event.mode}, {plural(event.tasks, 'task')})"
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


def console(stream: TextIO) -> "Console":
    """Return a console that writes to a stream, with a fixed width if the stream is not a terminal."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only needed here

    return Console(file=stream, width=None if stream.isatty() else PLAIN_WIDTH, highlight=False)


def show(what: "RenderableType", stream: TextIO) -> None:
    """Print a table or another renderable to a stream."""
    console(stream).print(what)


def _plain(text: str) -> "RenderableType":
    from rich.text import Text  # noqa: PLC0415 - slow to import, and only needed here

    return Text(printable(text))


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, style: Callable[[int], str] = lambda _: ""
) -> "RenderableType":
    """Return rows of plain text as a table; `style` gives the style of row `n`."""
    from rich.table import Table  # noqa: PLC0415 - slow to import, and only needed here

    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for index, name in enumerate(columns):
        shown.add_column(name, overflow="fold", no_wrap=index == 0)
    for number, row in enumerate(rows):
        shown.add_row(*(_plain(cell) for cell in row), style=style(number))
    return shown


def outcome_table(outcomes: Sequence[Outcome], links: dict[str, str] | None = None) -> "RenderableType":
    """Return the outcomes of a run as a table; `links` are the URLs of pull requests by task."""
    links = links or {}
    costs = {outcome.task: dollars(outcome.cost) for outcome in outcomes if outcome.cost is not None}
    tokens = any(outcome.tokens for outcome in outcomes)
    rows = [
        (
            outcome.task,
            outcome.title,
            _status(outcome),
            f"{outcome.seconds:.1f} s" if outcome.worktree else "",
            outcome.worktree or "",
            str(len(outcome.files)) if outcome.files else "",
            *([costs.get(outcome.task, "")] if costs else []),
            *([str(outcome.tokens)] if tokens else []),
            links.get(outcome.task) or outcome.branch or (outcome.error or "").partition("\n")[0],
        )
        for outcome in outcomes
    ]
    return table(
        (
            *("task", "title", "status", "time", "worktree", "files"),
            *(["cost"] if costs else []),
            *(["tokens"] if tokens else []),
            "branch, pull request or reason",
        ),
        rows,
        style=lambda number: STYLES[outcomes[number].status],
    )


def summary(finished: RunFinished) -> "RenderableType":
    """Return the summary of a run: the table of outcomes, the errors of failed tasks, and the figures."""
    from rich.console import Group  # noqa: PLC0415 - slow to import, and only needed here

    parts: list[RenderableType] = [_plain(""), outcome_table(finished.outcomes)]
    for outcome in finished.outcomes:
        first, _, rest = (outcome.error or "").partition("\n")
        if rest and outcome.status is not Status.CANCELLED:
            indented = "\n".join(f"  {text}" for text in rest.splitlines())
            parts.append(_plain(f"\ntask {outcome.task}: {first}\n{indented}"))
    parts.append(_plain(f"\n{figure(finished)}"))
    return Group(*parts)

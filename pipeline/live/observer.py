"""The observer of a run for a stream."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from pipeline.broadcast import Observer
from pipeline.json_lines import JsonLines
from tasks.outcome import Outcome


def observer_for(  # noqa: PLR0913 - what a run is shown with, all of it named
    stream: TextIO,
    environ: Mapping[str, str],
    *,
    as_lines_of_json: bool,
    directory: str | Path | None = None,
    known: Iterable[Outcome] = (),
    notifies: bool = False,
) -> Observer:
    """Return the observer for a stream: JSON lines, a live table on a terminal, else one line per event.

    Args:
        stream: Where the run is shown.
        environ: Describes the terminal.
        as_lines_of_json: Whether to write JSON lines.
        directory: That of the run's logs; `None` if it is not on this machine.
        known: The outcomes that the run has already.
        notifies: Whether the end of the run rings the bell, and is a notification of the desktop.
    """
    if as_lines_of_json:
        return JsonLines(stream)
    from pipeline.console import Lines  # noqa: PLC0415 - start-up stays quick
    from pipeline.live.screen import is_able  # noqa: PLC0415 - likewise
    from pipeline.live.table import LiveTable  # noqa: PLC0415 - likewise

    if not is_able(stream, environ):
        return Lines(stream)
    return LiveTable(stream, environ, directory=directory, known=known, notifies=notifies)

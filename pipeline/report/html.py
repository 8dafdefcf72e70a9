"""A run in one HTML file, which opens from disk: the timeline, the table, and what each task did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from pipeline.store.records import StoredTask
from pipeline.view.diff import MOST_LINES, Diff, parse_diff
from pipeline.view.templating import ReportLinks, data_url, hash_of, render, static
from pipeline.view.timeline import Mark, Row, Timeline

ALL_LINES = 20_000
"""Lines of patches that one file shows, over all of its tasks."""
MOST_BYTES = 4_000_000
"""Bytes of patches that are looked at at all."""


@dataclass(frozen=True, slots=True)
class Detail:
    """What a task did: its steps, and its patch where it left one."""

    row: Row
    marks: tuple[Mark, ...] = ()
    diff: Diff | None = None


def html_report(view: Timeline, tasks: Iterable[StoredTask], now: datetime) -> str:
    """Return the report. Everything that it shows is in it, and nothing in it is fetched from anywhere.

    Args:
        view: The run as `timeline` has it.
        tasks: The tasks with their patches.
        now: When the report is written.
    """
    script = static("timeline.js")
    details, left_out = _details(view, {item.outcome.task: item for item in tasks})
    return render(
        "report.html",
        {
            "view": view,
            "links": ReportLinks(),
            "details": details,
            "left_out": left_out,
            "now": now,
            "version": metadata.version("patchyard"),
            "style": static("style.css"),
            "script": script,
            "script_hash": hash_of(script),
            "icon": data_url("icon.svg", "image/svg+xml"),
        },
    )


def _details(view: Timeline, stored: Mapping[str, StoredTask]) -> tuple[list[Detail], int]:
    """Return what there is to show of each task, and how many patches the file has no room for."""
    marks = {
        bar.task: bar.marks
        for bar in sorted((bar for lane in view.lanes for bar in lane.bars), key=lambda bar: bar.number)
    }
    details, lines, size, left_out = [], ALL_LINES, MOST_BYTES, 0
    for row in view.rows:
        item = stored.get(row.task)
        patch = item.outcome.patch if item else None
        diff = None
        if patch and patch.diff:
            size -= len(patch.diff)
            if lines > 0 and size > 0:
                diff = parse_diff(patch.diff, most=min(MOST_LINES, lines))
                lines -= sum(len(hunk.lines) for file in diff.files for hunk in file.hunks)
            else:
                left_out += 1
        details.append(Detail(row, marks.get(row.task, ()), diff))
    return details, left_out

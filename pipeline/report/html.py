"""Render the report of a run as one self-contained HTML file: timeline, task table and patches."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib import metadata
from types import MappingProxyType

from pipeline.store.records import StoredTask
from pipeline.view.diff import MOST_LINES, Diff, parse_diff
from pipeline.view.history import AttemptPart
from pipeline.view.templating import ReportLinks, data_url, hash_of, render, static
from pipeline.view.timeline import Mark, Row, Timeline
from tasks.lazy.dataclasses import dataclass

MAX_LINES = 20_000
"""Limit on patch lines in one report, over all tasks."""
MAX_BYTES = 4_000_000
"""Limit on patch bytes that are parsed for one report."""


@dataclass(frozen=True, slots=True)
class Detail:
    """Details of a task: its attempts, the steps of the last one, and its parsed patch if it has one."""

    row: Row
    marks: tuple[Mark, ...] = ()
    diff: Diff | None = None
    history: tuple[AttemptPart, ...] = ()


def html_report(
    timeline: Timeline,
    tasks: Iterable[StoredTask],
    now: datetime,
    histories: Mapping[str, tuple[AttemptPart, ...]] = MappingProxyType({}),
) -> str:
    """Return the report as HTML that loads no other resources.

    Args:
        timeline: Timeline of the run.
        tasks: Stored tasks with their patches.
        now: Time of the report.
        histories: The attempts by task.
    """
    script = static("timeline.js")
    details, left_out = _details(timeline, {item.outcome.task: item for item in tasks}, histories)
    return render(
        "report.html",
        {
            "timeline": timeline,
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


def _details(
    timeline: Timeline,
    stored: Mapping[str, StoredTask],
    histories: Mapping[str, tuple[AttemptPart, ...]],
) -> tuple[list[Detail], int]:
    """Return the details of each task, and the number of patches left out because of the limits."""
    marks = {
        bar.task: bar.marks
        for bar in sorted((bar for lane in timeline.lanes for bar in lane.bars), key=lambda bar: bar.number)
    }
    details, lines, size, left_out = [], MAX_LINES, MAX_BYTES, 0
    for row in timeline.rows:
        item = stored.get(row.task)
        patch = item.outcome.patch if item else None
        diff = None
        if patch and patch.diff:
            size -= patch.diff.size
            if lines > 0 and size > 0:
                diff = parse_diff(patch.diff, most=min(MOST_LINES, lines))
                lines -= sum(len(hunk.lines) for file in diff.files for hunk in file.hunks)
            else:
                left_out += 1
        details.append(Detail(row, marks.get(row.task, ()), diff, histories.get(row.task, ())))
    return details, left_out

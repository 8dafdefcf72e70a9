"""Which rows and bars of a run with thousands of tasks a page has; it loads the other rows as they are seen."""

from collections.abc import Mapping, Sequence

from pipeline.view.timeline import Row, Timeline
from tasks.lazy.dataclasses import dataclass

WHOLE = 500
"""Up to so many tasks, a page has all rows."""
PORTION = 100
"""Rows that are loaded at once."""
MOST_BARS = 1000
"""Bars that a timeline has: those that started last."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of a stage, of which it is the part with this `number`, from 0. A page has them if it `is_there`."""

    stage: int
    number: int
    rows: Sequence[Row]
    is_there: bool


def portions_of(timeline: Timeline, *, every: bool = False) -> Mapping[int, Sequence[Portion]]:
    """Return the rows of a run by stage, in portions.

    Args:
        timeline: The run.
        every: Whether a page is to have all of them, as one without scripts.
    """
    is_whole = every or len(timeline.rows) <= WHOLE
    found: dict[int, list[Portion]] = {}
    for stage in timeline.stages:
        rows = timeline.rows_of(stage.number)
        found[stage.number] = [
            Portion(stage.number, at // PORTION, rows[at : at + PORTION], is_whole or not (found or at))
            for at in range(0, len(rows), PORTION)
        ]
    return found


def first_bar(timeline: Timeline) -> float:
    """Return from which second of the timeline on it has bars; 0 if it has all."""
    starts = sorted(bar.start for lane in timeline.lanes for bar in lane.bars)
    return starts[-MOST_BARS] if len(starts) > MOST_BARS else 0.0

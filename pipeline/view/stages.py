"""Stages of a run as it is shown: the batches of its plan, or the groups of a plan without batches."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.view.timeline import DONE, INTERRUPTED, PENDING, RUNNING, Bar, Row, Stage, StageKind
from tasks.model import Plan, Status

WITHOUT_GROUP = "In no group"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tasks of a plan are divided: the number of each task's stage, and the titles of the stages."""

    kind: StageKind
    numbers: Mapping[str, int]
    titles: Mapping[int, str]

    def of(self, task: str, batch: int) -> int:
        """Return the number of a task's stage; `batch` is that of the store, for a plan that is not known."""
        return self.numbers.get(task, batch)

    def label(self, stage: int) -> str:
        """Return the heading of a stage."""
        title = self.titles.get(stage, "")
        if self.kind is not StageKind.BATCH:
            return title
        return f"Batch {stage}: {title}" if title else f"Batch {stage}"


def layout_of(plan: Plan | None) -> Layout:
    """Return how the tasks of a plan are divided; without a plan, by the batches that the store has."""
    if plan is None:
        return Layout(StageKind.BATCH, {}, {})
    if plan.has_batches:
        titles_of_batches = {batch.number: batch.title for batch in plan.batches}
        return Layout(StageKind.BATCH, {task.id: task.batch for task in plan.tasks}, titles_of_batches)
    titles = list(dict.fromkeys(task.group for task in plan.tasks))
    if not any(titles):
        return Layout(StageKind.NONE, {task.id: 1 for task in plan.tasks}, {1: ""})
    numbers = {title: place for place, title in enumerate(titles, 1)}
    return Layout(
        StageKind.GROUP,
        {task.id: numbers[task.group] for task in plan.tasks},
        {place: title or WITHOUT_GROUP for title, place in numbers.items()},
    )


def stages_of(plan: Plan | None, layout: Layout, rows: Sequence[Row], bars: Sequence[Bar]) -> tuple[Stage, ...]:
    """Return the stages that have tasks, in the order of the plan."""
    left_out = {task.id for task in plan.tasks if task.is_left_out} if plan else set[str]()
    parts = _parts(bars)
    by_stage: dict[int, list[Row]] = {}
    for row in rows:
        by_stage.setdefault(row.stage, []).append(row)
    return tuple(
        Stage(
            number=number,
            title=layout.titles.get(number, ""),
            label=layout.label(number),
            tasks=len(by_stage[number]),
            ended=sum(row.done for row in by_stage[number]),
            state=_state(by_stage[number], left_out),
            parts=tuple(parts.get(number, ())),
        )
        for number in dict.fromkeys([*layout.titles, *by_stage])
        if number in by_stage
    )


def _state(rows: Iterable[Row], left_out: set[str]) -> str:
    states = {str(Status.UNCHANGED) if row.task in left_out and row.done else row.state for row in rows}
    if states == {PENDING}:
        return PENDING
    if not states.isdisjoint({PENDING, RUNNING, INTERRUPTED}):
        return RUNNING
    return "succeeded" if states <= {*DONE, Status.SKIPPED} and states & DONE else "failed"


def _parts(bars: Iterable[Bar]) -> dict[int, list[tuple[float, float | None]]]:
    """Return the times in which each stage ran: a new part starts when another one ran in between."""
    parts: dict[int, list[tuple[float, float | None]]] = {}
    before = None
    for bar in sorted(bars, key=lambda bar: bar.start):
        own = parts.setdefault(bar.stage, [])
        if bar.stage == before:
            begin, end = own[-1]
            own[-1] = begin, None if end is None or bar.end is None else max(end, bar.end)
        else:
            own.append((bar.start, bar.end))
        before = bar.stage
    return parts

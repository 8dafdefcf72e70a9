"""Stages of a run as it is shown: the batches of its plan, or the groups of a plan without batches."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace

from pipeline.verdict.model import BAD, DONE, OPEN, Kind
from pipeline.view.timeline import PENDING, RUNNING, Bar, Row, Stage, StageKind
from tasks.graph import direct
from tasks.groups import groups_of
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.schedule import built_on
from tasks.usage import total

FINISHED = frozenset({*DONE, Kind.LEFT_OUT})
"""Tasks of which nothing is left to do."""
WITHOUT_GROUP = "In no group"


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tasks of a plan are divided: the number of each task's stage, and the titles of the stages.

    `left_out` are the tasks that the plan asks not to run, `after` those that each task names as its
    dependencies, and `builds_on` the batches that each batch builds on.
    """

    kind: StageKind = StageKind.BATCH
    numbers: Mapping[str, int] = field(default_factory=dict)
    titles: Mapping[int, str] = field(default_factory=dict)
    left_out: Collection[str] = ()
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    builds_on: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

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
        return Layout()
    groups = groups_of(plan)
    ids = {task.id for task in plan.tasks}
    named = {task.id: tuple(name for name in task.dependencies if name in ids) for task in plan.tasks}
    known = Layout(
        kind=StageKind.NONE,
        numbers={task: group.number for group in groups for task in group.tasks},
        titles={1: ""},
        left_out={task.id for task in plan.tasks if task.is_left_out},
        after=direct(named),
    )
    if plan.has_batches:
        titles = {group.number: group.title for group in groups}
        return replace(known, kind=StageKind.BATCH, titles=titles, builds_on=built_on(plan))
    if not any(group.title for group in groups):
        return known
    titles = {group.number: group.title or WITHOUT_GROUP for group in groups}
    return replace(known, kind=StageKind.GROUP, titles=titles)


def stages_of(layout: Layout, rows: Iterable[Row], bars: Iterable[Bar]) -> tuple[Stage, ...]:
    """Return the stages that have tasks, in the order of the plan."""
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
            done=sum(row.state in FINISHED for row in by_stage[number]),
            state=_state(by_stage[number]),
            parts=tuple(parts.get(number, ())),
            usage=total(row.usage for row in by_stage[number]),
            after=tuple(one for one in layout.builds_on.get(number, ()) if one in by_stage),
        )
        for number in dict.fromkeys([*layout.titles, *by_stage])
        if number in by_stage
    )


def _state(rows: Iterable[Row]) -> str:
    states = {Kind(row.state) for row in rows}
    if states == {Kind.PENDING}:
        return PENDING
    if not states.isdisjoint(OPEN):
        return RUNNING
    is_good = states.isdisjoint({*BAD, Kind.CANCELLED}) and not states.isdisjoint(FINISHED)
    return "succeeded" if is_good else "failed"


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

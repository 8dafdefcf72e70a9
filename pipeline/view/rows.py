"""The rows of the task table of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.store.records import StoredTask
from pipeline.verdict.model import Kind, Verdict
from pipeline.view.source import Source
from pipeline.view.stages import Layout
from pipeline.view.timeline import PENDING, RUNNING, Bar, Row
from tasks.lazy.dataclasses import dataclass
from tasks.model import Task
from tasks.outcome import Outcome, PullRequest
from tasks.refusals import refusals_words
from tasks.usage import NO_USAGE, Usage


def rows_of(  # noqa: PLR0913, PLR0917 - what rows are made from
    source: Source,
    layout: Layout,
    bars: Sequence[Bar],
    verdict: Verdict,
    used: Mapping[str, Usage],
    same: Mapping[str, Row],
) -> tuple[Row, ...]:
    """Return a row for each task, in the plan's order.

    `used` is what the agent of each task used. Rows in `same` are kept unless the verdict differs.
    """
    outcomes = {item.outcome.task: item for item in source.tasks}
    last: dict[str, Bar] = {}
    for bar in sorted(bars, key=lambda bar: bar.number):
        last[bar.task] = bar
    agents = _agents(source)
    why = {trouble.task: trouble.why for trouble in verdict.troubles}
    rows = []
    for task, title, batch in _known(source, last):
        newest = last.get(task)
        known = Kind(newest.state) if newest else Kind.PENDING
        kind = known if known is Kind.RUNNING else verdict.kinds.get(task, known)
        old = same.get(task)
        if old and (old.state, old.why) == (kind, why.get(task)):
            rows.append(old)
            continue
        made = _row(task, title, batch, layout, outcomes.get(task), newest, used.get(task, NO_USAGE))
        rows.append(
            replace(
                made,
                state=str(kind),
                error=why[task] if kind is Kind.CONFLICT else made.error,
                why=why.get(task),
                after=layout.after.get(task, ()),
                agent=agents.get(task),
            )
        )
    return tuple(rows)


def _agents(source: Source) -> Mapping[str, str]:
    """Return the agent of each task without commands of its own, as far as the plan and the run say it."""
    own = source.run.settings.agent
    is_forced = "agent" in source.run.call.flags
    found = {}
    for task in source.plan.tasks if source.plan else ():
        name = own if is_forced else task.agent or own
        if name and not task.run:
            found[task.id] = name
    return found


def _known(source: Source, last: Mapping[str, Bar]) -> list[tuple[str, str, int]]:
    """Return id, title and batch of every task: of the plan, and of others that have run."""
    planned: Sequence[Task] = source.plan.tasks if source.plan else ()
    known = [(task.id, task.title, task.batch) for task in planned]
    names = {task for task, _, _ in known}
    known += [
        (item.outcome.task, item.outcome.title, item.outcome.batch)
        for item in source.tasks
        if item.outcome.task not in names
    ]
    names |= {item.outcome.task for item in source.tasks}
    known += [(bar.task, bar.title, bar.stage) for bar in last.values() if bar.task not in names]
    return known


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a task is in the run, and what its attempts used."""

    stage: int
    left_out: bool
    attempts: int
    lane: str | None
    start: float | None
    usage: Usage


def _row(  # noqa: PLR0913, PLR0917 - what is known of a task
    task: str, title: str, batch: int, layout: Layout, stored: StoredTask | None, bar: Bar | None, usage: Usage
) -> Row:
    place = _Place(
        stage=layout.of(task, batch),
        left_out=task in layout.left_out,
        attempts=bar.number if bar else 0,
        lane=bar.lane if bar else None,
        start=bar.start if bar else None,
        usage=usage,
    )
    if stored is None or (bar and bar.state == RUNNING):
        state, title = (bar.state, bar.title) if bar else (PENDING, title)
        return Row(
            task=task,
            title=title,
            stage=place.stage,
            state=state,
            attempts=place.attempts,
            lane=place.lane,
            start=place.start,
            seconds=bar.seconds if bar else None,
            usage=usage,
            left_out=place.left_out,
        )
    return _ended_row(stored.outcome, stored.pull_request, place)


def _ended_row(outcome: Outcome, request: PullRequest | None, place: _Place) -> Row:
    """Return the row of a task with an outcome."""
    return Row(
        task=outcome.task,
        title=outcome.title,
        stage=place.stage,
        state=str(outcome.status),
        attempts=place.attempts,
        lane=place.lane or outcome.worktree,
        start=place.start,
        seconds=outcome.seconds if outcome.worktree else None,
        rounds=outcome.rounds,
        files=outcome.files,
        branch=outcome.branch,
        commit=outcome.commit,
        error=outcome.error,
        request=request,
        usage=place.usage or outcome.usage or NO_USAGE,  # of an imported run, steps do not say it
        said=outcome.said,
        refused=refusals_words(outcome.refused),
        cached=outcome.cached,
        left_out=place.left_out,
        added=outcome.added,
        removed=outcome.removed,
    )

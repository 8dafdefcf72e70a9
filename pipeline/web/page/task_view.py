"""A task as its panel shows it."""

from collections.abc import Mapping
from urllib.parse import quote

from pipeline.run.recording.prompts import read_prompts
from pipeline.store.records import StoredAttempt
from pipeline.view.diff import Diff, parse_diff
from pipeline.view.history import AttemptPart, history
from pipeline.view.timeline import RUNNING, Bar, Row
from pipeline.web.page.run_view import RunView
from pipeline.web.problems import NotFoundError
from pipeline.web.schemas import PREFIX
from pipeline.web.snapshot import LocatedRun, Snapshot, local_log
from tasks.lazy.dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task in its panel: one of its attempts, and the list of all."""

    row: Row
    bar: Bar | None
    attempts: tuple[StoredAttempt, ...]
    number: int
    diff: Diff | None
    raw: str
    """The address of the whole patch."""
    error: str | None
    has_log: bool
    history: tuple[AttemptPart, ...]
    text: str
    """What the plan says of it."""
    prompts: Mapping[int, str]
    """What its agent was given in this attempt, by the number of the try."""
    log_file: str
    """The address of the whole log."""
    feedback: str | None = None
    """What the user said of the attempt before."""

    @property
    def live(self) -> bool:
        """Whether the attempt is running."""
        return self.bar is not None and self.bar.state == RUNNING


def task_view(  # noqa: PLR0913, PLR0917 - called in a thread, by position
    located: LocatedRun,
    snapshot: Snapshot,
    view: RunView,
    task: str,
    attempt: int | None,
    environ: Mapping[str, str],
) -> TaskView:
    """Return a task with one of its attempts, the last one without a number. Blocks.

    Raises:
        NotFoundError: The run has no such task.
    """
    row = view.timeline.row(task)
    if row is None:
        raise NotFoundError(f"run {located.run.id} has no task {task}")
    attempts = located.store.attempts(located.run.id, task)
    number = attempt or max((item.number for item in attempts), default=1)
    bar = next((bar for bar in view.timeline.bars(task) if bar.number == number), None)
    found = next((item for item in attempts if item.number == number), None)
    stored = next(iter(located.store.tasks(located.run.id, task)), None)
    patch = found.patch if found else None
    error = found.error if found else row.error
    if stored and stored.attempt == number:
        patch, error = stored.outcome.patch, stored.outcome.error
    path = local_log(snapshot, task, number, environ)
    return TaskView(
        row=row,
        bar=bar,
        attempts=attempts,
        number=number,
        diff=parse_diff(patch.diff) if patch and patch.diff else None,
        raw=f"{PREFIX}/{located.run.id}/tasks/{quote(task)}/diff{f'?attempt={number}' if found else ''}",
        error=error,
        has_log=path is not None and path.is_file(),
        text=next((one.implementation for one in snapshot.plan.tasks if one.id == task), "").strip(),
        prompts=read_prompts(path) if path else {},
        log_file=f"{PREFIX}/{located.run.id}/tasks/{quote(task)}/log{f'?attempt={number}' if found else ''}",
        feedback=found.feedback if found else None,
        history=history(attempts, located.store.rounds(located.run.id, task), view.source.steps),
    )

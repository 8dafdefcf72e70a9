"""The stored records of a run that it is shown from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING

from pipeline.run.stored.status import unpublished_tasks
from pipeline.store.records import BaseCheck, Run, StoredAttempt, StoredStep, StoredTask
from pipeline.view.timeline import LIVE
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.outcome import Conflict, RunStatus

if TYPE_CHECKING:
    from pipeline.store.store import Store


@dataclass(frozen=True, slots=True)
class Source:
    """Stored records of a run. `displayed_status` is the current one, `plan` the selected part of the plan.

    `unpublished` are the tasks whose changes are not, or not in their latest version, in a pull request.
    """

    run: Run
    displayed_status: RunStatus
    plan: Plan | None = None
    attempts: Sequence[StoredAttempt] = ()
    steps: Mapping[tuple[str, int], Sequence[StoredStep]] = field(default_factory=dict)
    tasks: Sequence[StoredTask] = ()
    conflicts: Sequence[Conflict] = ()
    running: Mapping[str, "RunningStep"] = field(default_factory=dict)
    base_checks: Sequence[BaseCheck] = ()
    unpublished: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step that is running; the store has no row for it yet."""

    number: int
    kind: str
    command: str
    since: datetime


def source_of(store: "Store", run: Run, displayed_status: RunStatus, plan: Plan | None) -> Source:
    """Read the records of a run from the store. Blocking.

    Args:
        store: Store of the run.
        run: Stored run.
        displayed_status: Current status, which depends on more than the store (see `current_status`).
        plan: Selected part of the plan, for the tasks that have not started.
    """
    tasks, attempts = store.tasks(run.id), store.attempts(run.id)
    known = {(item.task, item.number) for item in attempts}
    older = [item for item in map(_attempt_of, tasks) if item and (item.task, item.number) not in known]
    return Source(
        run=run,
        displayed_status=displayed_status,
        plan=plan,
        attempts=sorted([*attempts, *older], key=lambda item: item.started_at),
        steps=store.steps_of_run(run.id),
        tasks=tasks,
        conflicts=store.conflicts(run.id),
        base_checks=store.base_checks(run.id),
        unpublished=() if run.status in LIVE else unpublished_tasks(store, run, tasks),
    )


def _attempt_of(stored: StoredTask) -> StoredAttempt | None:
    """Return the attempt of an outcome, for runs of a release that did not store attempts."""
    outcome = stored.outcome
    if outcome.worktree is None or outcome.started_at is None:
        return None
    return StoredAttempt(
        task=outcome.task,
        number=stored.attempt,
        title=outcome.title,
        batch=outcome.batch,
        started_at=outcome.started_at,
        worktree=outcome.worktree,
        finished_at=stored.finished_at,
        status=outcome.status,
        seconds=outcome.seconds,
        log=stored.log,
    )

"""The verdict of a stored run. Blocking."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.run.stored.status import known_plan, unpublished_tasks
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from pipeline.verdict.model import Kind, Verdict
from tasks.model import Conflict, Plan, PullRequest, RunStatus
from tasks.usage import Usage, total


def stored_verdict(store: Store, run: Run, status: RunStatus) -> Verdict:
    """Return how a stored run went, or goes.

    Args:
        store: The store that has it.
        run: The run.
        status: Its current status, which depends on more than the store (see `current_status`).
    """
    return make_verdict(
        run,
        status,
        plan=known_plan(run),
        tasks=store.tasks(run.id),
        attempts=store.attempts(run.id),
        conflicts=store.conflicts(run.id),
        unpublished=unpublished_tasks(store, run),
        usage=total(work.usage for work in store.work(run.id).values()),
    )


def make_verdict(  # noqa: PLR0913 - the records of a run, all of them named
    run: Run,
    status: RunStatus,
    *,
    plan: Plan | None,
    tasks: Sequence[StoredTask],
    attempts: Iterable[StoredAttempt] = (),
    conflicts: Sequence[Conflict] = (),
    unpublished: Collection[str] = (),
    usage: Usage | None = None,
) -> Verdict:
    """Return the verdict of a run from its records; `plan` is the selected part of its plan, if it is known."""
    planned = plan.tasks if plan else ()
    return Verdict(
        run=run.id,
        status=status,
        outcomes=tuple(item.outcome for item in tasks),
        open_tasks=_open_tasks(status, [task.id for task in planned], tasks, attempts),
        conflicts=tuple(conflicts),
        requests=requests_of(tasks),
        unpublished=tuple(item.outcome.task for item in tasks if item.outcome.task in unpublished),
        left_out=frozenset(task.id for task in planned if task.is_left_out),
        seconds=run.seconds,
        speedup=run.speedup,
        efficiency=run.efficiency,
        usage=total(item.outcome.usage for item in tasks) if usage is None else usage,
        publishes=run.settings.publish,
    )


def _open_tasks(
    status: RunStatus, names: Iterable[str], tasks: Iterable[StoredTask], attempts: Iterable[StoredAttempt]
) -> Mapping[str, Kind]:
    """Return the kinds of the tasks without an outcome."""
    ended = {item.outcome.task for item in tasks}
    begun = {attempt.task for attempt in attempts if attempt.status is None}
    active = Kind.RUNNING if status.is_active else Kind.INTERRUPTED
    return {name: active if name in begun else Kind.PENDING for name in names if name not in ended}


def requests_of(tasks: Iterable[StoredTask]) -> tuple[PullRequest, ...]:
    """Return the pull requests of tasks, in the plan's order; a shared one is there once, with its tasks."""
    found: dict[tuple[str, int], list[str]] = {}
    requests: dict[tuple[str, int], PullRequest] = {}
    for item in tasks:
        if request := item.pull_request:
            requests.setdefault(request.key, request)
            found.setdefault(request.key, []).append(item.outcome.task)
    return tuple(
        request if found[key] == [request.task] else replace(request, tasks=tuple(found[key]))
        for key, request in requests.items()
    )

"""The verdict of a stored run. Blocking."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from pipeline.events import RunFinished
from pipeline.run.stored.status import known_plan, unpublished_tasks
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from pipeline.verdict.model import Kind, Verdict
from tasks.model import Plan
from tasks.outcome import Conflict, PullRequest, RunStatus
from tasks.usage import NO_USAGE, Usage, total


def stored_verdict(store: Store, run: Run, status: RunStatus) -> Verdict:
    """Return how a stored run went, or goes.

    Args:
        store: The store that has it.
        run: The run.
        status: Its current status, which depends on more than the store (see `current_status`).
    """
    tasks, attempts = store.tasks(run.id), store.attempts(run.id)
    return verdict_from(store, run, status, known_plan(run), tasks, attempts)


def verdict_from(  # noqa: PLR0913, PLR0917 - the records that the caller has read
    store: Store,
    run: Run,
    status: RunStatus,
    plan: Plan | None,
    tasks: Sequence[StoredTask],
    attempts: Iterable[StoredAttempt],
) -> Verdict:
    """Return how a stored run went, or goes, without reading again what the caller has read."""
    return make_verdict(
        run,
        status,
        plan=plan,
        tasks=tasks,
        attempts=attempts,
        conflicts=store.conflicts(run.id),
        unpublished=unpublished_tasks(store, run, tasks),
        used=store.usages(run.id),
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
    used: Mapping[str, Usage] = MappingProxyType({}),
) -> Verdict:
    """Return the verdict of a run from its records.

    Args:
        run: The run.
        status: Its current status.
        plan: The selected part of its plan, if it is known.
        tasks: Its tasks with an outcome.
        attempts: Its attempts.
        conflicts: Its conflicts.
        unpublished: The tasks whose changes are in no pull request.
        used: What the agents of its tasks used, also in attempts that have no outcome.
    """
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
        without=_without(tasks, conflicts),
        seconds=run.seconds if status.is_over or status is RunStatus.INTERRUPTED else None,
        speedup=run.speedup,
        efficiency=run.efficiency,
        usage=total(_usages(tasks, used)),
        publishes=run.settings.publish,
    )


def built_without(stored: StoredTask, conflicts: Sequence[Conflict]) -> Iterator[Conflict]:
    """Yield the conflicts because of which a patch is not in what a task of a later batch builds on."""
    for conflict in conflicts:
        if conflict.batch != stored.outcome.batch and conflict.tasks:
            *kept, late = conflict.tasks
            if late not in stored.builds_on and stored.builds_on.issuperset(kept):
                yield conflict


def with_stored_facts(store: Store, run: Run, finished: RunFinished, *, publishes: bool) -> RunFinished:
    """Return the end of a run with what only the store knows: pull requests, and what is in none.

    Raises:
        StoreError: The store cannot be read.
    """
    tasks = store.tasks(run.id)
    unpublished = unpublished_tasks(store, run, tasks)
    return replace(
        finished,
        requests=requests_of(tasks),
        unpublished=tuple(one.task for one in finished.outcomes if one.task in unpublished),
        without=_without(tasks, finished.conflicts),
        publishes=publishes,
    )


def _without(tasks: Iterable[StoredTask], conflicts: Sequence[Conflict]) -> Mapping[str, tuple[str, ...]]:
    """Return, of each task that was built without a patch that conflicts, the tasks of these patches."""
    return {
        item.outcome.task: late
        for item in tasks
        if (late := tuple(one.tasks[-1] for one in built_without(item, conflicts)))
    }


def _usages(tasks: Iterable[StoredTask], used: Mapping[str, Usage]) -> Iterator[Usage]:
    """Yield what was used for each task; of an imported run, only the outcomes say it."""
    outcomes = {item.outcome.task: item.outcome.usage for item in tasks}
    for task in dict.fromkeys((*outcomes, *used)):
        yield used.get(task) or outcomes.get(task, NO_USAGE)


def _open_tasks(
    status: RunStatus, names: Iterable[str], tasks: Iterable[StoredTask], attempts: Iterable[StoredAttempt]
) -> Mapping[str, Kind]:
    """Return the kinds of the tasks without an outcome, and of those that run again."""
    ended = {item.outcome.task: item.attempt for item in tasks}
    begun = {one.task for one in attempts if one.status is None and one.number > ended.get(one.task, 0)}
    if not status.is_active:
        return {
            name: Kind.INTERRUPTED if name in begun else Kind.PENDING for name in names if name not in ended
        }
    again = dict.fromkeys(begun & ended.keys(), Kind.RUNNING)
    return again | {
        name: Kind.RUNNING if name in begun else Kind.PENDING for name in names if name not in ended
    }


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

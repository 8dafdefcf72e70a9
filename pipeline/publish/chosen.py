"""The tasks that a user wants to publish, with what they build on. Blocking."""

from collections.abc import Collection, Mapping

from pipeline.publish.parts import in_order, reach
from pipeline.run.call.plan_file import CallError
from pipeline.run.stored.status import known_plan
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store


def chosen_tasks(store: Store, run: Run, names: Collection[str]) -> tuple[str, ...] | None:
    """Return the tasks to publish: those named, after those that they build on; `None` for all, without names.

    The pull request of a task goes to a branch of what it builds on, which has to have one too.

    Raises:
        CallError: The run has no such task, or it has nothing to publish.
    """
    if not names:
        return None
    stored = {item.outcome.task: item for item in store.tasks(run.id)}
    for name in names:
        _check(run, name, stored)
    builds_on = {task: item.builds_on for task, item in stored.items()}
    wanted = {*names, *reach(names, builds_on)}
    return tuple(in_order([task for task in stored if task in wanted and _has_commit(stored[task])], builds_on))


def _check(run: Run, name: str, stored: Mapping[str, StoredTask]) -> None:
    if name not in stored:
        plan = known_plan(run)
        if plan and any(task.id == name for task in plan.tasks):
            raise CallError(f"task {name} of run {run.id} did not run, so there is nothing to publish of it")
        raise CallError(f"run {run.id} has no task {name}; `patchyard status {run.id}` lists its tasks")
    if not _has_commit(stored[name]):
        status = stored[name].outcome.status.words
        raise CallError(f"task {name} of run {run.id} has nothing to publish: {status}")


def _has_commit(item: StoredTask) -> bool:
    return bool(item.outcome.commit and item.outcome.branch)

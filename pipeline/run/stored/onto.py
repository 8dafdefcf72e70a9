"""Tasks that a user wants to run again on top of others, with which they conflict. Blocking."""

import json
from collections.abc import Collection, Iterable, Mapping

from containers.git.repository import GitError, Repository
from pipeline.run.call.plan_file import CallError
from pipeline.run.stored.status import plan_of
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from tasks.conflicts import Cause
from tasks.outcome import Status

MOST_FILES = 200
"""Files that a worker is given: a command line has a limit."""


def causes_onto(
    repository: Repository, store: Store, run: Run, tasks: Collection[str], others: Collection[str]
) -> Mapping[str, Cause]:
    """Return why tasks of a run are to run again on top of others, by task.

    Args:
        repository: The repository, which has the commits.
        store: The store, which has the run.
        run: The run.
        tasks: The tasks to run again.
        others: The tasks that they are to start from.

    Raises:
        CallError: They do not conflict, or cannot be on top of each other; the message says why.
    """
    if not others:
        return {}
    if not tasks:
        raise CallError("--onto needs the TASK that runs again, such as `patchyard retry RUN 1.5 --onto 1.4`")
    stored = {item.outcome.task: item for item in store.tasks(run.id)}
    for name in others:
        if name not in stored or not stored[name].outcome.commit:
            raise CallError(f"task {name} of run {run.id} has no changes, so nothing can be on top of it")
    found = {}
    for task in tasks:
        _check_order(run, task, others, stored)
        known = [one for one in store.conflicts(run.id) if task in one.tasks and set(others) & set(one.tasks)]
        files = {path for one in known for path in one.files} or _conflicting(repository, stored, task, others)
        if not files:
            names = " and ".join(others)
            raise CallError(
                f"tasks {task} and {names} do not conflict; `patchyard retry {run.id} {task}` runs {task} again"
            )
        found[task] = Cause(tuple(others), tuple(sorted(files)))
    return found


def _check_order(run: Run, task: str, others: Collection[str], stored: Mapping[str, StoredTask]) -> None:
    """Check that a task can start from others.

    Raises:
        CallError: It is one of them, one of them builds on it, or is in a later batch.
    """
    batches = {each.id: each.batch for each in plan_of(run).tasks}
    for other in others:
        if other == task:
            raise CallError(f"task {task} cannot run on top of itself")
        if task in stored[other].builds_on:
            raise CallError(f"task {other} builds on task {task}, which cannot run on top of it")
        if batches.get(other, 0) > batches.get(task, 0):
            raise CallError(f"task {other} is in a later batch than task {task}, which cannot run on top of it")


def _conflicting(
    repository: Repository, stored: Mapping[str, StoredTask], task: str, others: Iterable[str]
) -> set[str]:
    """Return the files in which the commit of a task conflicts with those of others, if it has one."""
    commit = stored[task].outcome.commit if task in stored else None
    files: set[str] = set()
    for other in others if commit else ():
        try:
            _, conflicts = repository.history.merge_tree(stored[other].outcome.commit or "", commit or "")
        except GitError as error:
            raise CallError(f"whether tasks {task} and {other} conflict cannot be seen: {error}") from None
        files.update(conflicts or ())
    return files


def cut_off_causes(attempts: Iterable[StoredAttempt], tasks: Collection[str]) -> Mapping[str, Cause]:
    """Return why tasks that wait to run again were to, if that was begun on top of others and cut off."""
    last = {one.task: one for one in sorted(attempts, key=lambda one: one.number) if one.task in tasks}
    return {
        task: one.cause
        for task, one in last.items()
        if one.status in {None, Status.CANCELLED} and one.cause and one.cause.is_conflict
    }


def as_text(causes: Mapping[str, Cause]) -> str:
    """Return causes as JSON, for a worker process."""
    return json.dumps({task: [one.tasks, one.files[:MOST_FILES]] for task, one in causes.items()})


def from_text(text: str | None) -> Mapping[str, Cause]:
    """Return the causes that `as_text` wrote."""
    return {task: Cause(tuple(a), tuple(b)) for task, (a, b) in json.loads(text or "{}").items()}

"""Which tasks of a stored run were run again on top of others, and why. Blocking."""

from collections.abc import Mapping
from types import MappingProxyType

from pipeline.run.context import Stack
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from tasks.conflicts import Cause
from tasks.outcome import Patch, Status

NOTHING: Mapping[str, Cause] = MappingProxyType({})


def stacks(store: Store, run: str, wanted: Mapping[str, Cause] = NOTHING) -> Mapping[str, Stack]:
    """Return the stacks of a run's tasks; a rerun that was cut off does not count, as it is made again.

    Args:
        store: The store that has the run.
        run: The run's id.
        wanted: Why tasks run again now, on top of others.
    """
    attempts: dict[str, list[StoredAttempt]] = {}
    for attempt in sorted(store.attempts(run), key=lambda attempt: attempt.number):
        if attempt.status not in {None, Status.CANCELLED}:
            attempts.setdefault(attempt.task, []).append(attempt)
    found = {task: _stack(made) for task, made in attempts.items() if any(attempt.cause for attempt in made)}
    for task, cause in wanted.items():
        before = [one for one in found.get(task, Stack()).causes if one != cause]
        found[task] = Stack((*before, cause), _last_patch(attempts.get(task, [])))
    return found


def _last_patch(attempts: list[StoredAttempt]) -> Patch | None:
    return next((one.patch for one in reversed(attempts) if one.status is Status.CHANGED), None)


def _stack(attempts: list[StoredAttempt]) -> Stack:
    causes, patch, latest = [], None, None
    for attempt in attempts:
        if attempt.cause and attempt.cause not in causes:
            causes.append(attempt.cause)
            patch = latest
        if attempt.status is Status.CHANGED:
            latest = attempt.patch
    return Stack(tuple(causes), patch)

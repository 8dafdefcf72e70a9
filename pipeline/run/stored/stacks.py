"""Which tasks of a stored run were run again on top of others, and why. Blocking."""

from collections.abc import Mapping

from pipeline.run.context import Stack
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from tasks.model import Status


def stacks(store: Store, run: str) -> Mapping[str, Stack]:
    """Return the stacks of a run's tasks; a rerun that was cut off does not count, as it is made again.

    Args:
        store: The store that has the run.
        run: The run's id.
    """
    attempts: dict[str, list[StoredAttempt]] = {}
    for attempt in sorted(store.attempts(run), key=lambda attempt: attempt.number):
        if attempt.status not in {None, Status.CANCELLED}:
            attempts.setdefault(attempt.task, []).append(attempt)
    return {task: _stack(made) for task, made in attempts.items() if any(attempt.cause for attempt in made)}


def _stack(attempts: list[StoredAttempt]) -> Stack:
    causes, patch, latest = [], None, None
    for attempt in attempts:
        if attempt.cause and attempt.cause not in causes:
            causes.append(attempt.cause)
            patch = latest
        if attempt.status is Status.CHANGED:
            latest = attempt.patch
    return Stack(tuple(causes), patch)

"""Which run and which tasks a command is about: `RUN` may be left out where the newest is meant."""

from collections.abc import Sequence
from contextlib import suppress

import click

from pipeline.run.stored.status import known_plan
from pipeline.store.records import Run
from pipeline.store.store import AmbiguousRunError, Store, UnknownRunError
from tasks.text import plural

LATEST = "latest"
DATE = len("20261129-")
"""Characters of the date at the beginning of a run's id."""


def choose(store: Store, names: Sequence[str]) -> tuple[Run, tuple[str, ...]]:
    """Return the run that the arguments `[RUN] [TASK]...` name, and the tasks. Blocking.

    The first is a run's id, the beginning of one, or `latest`, else a task of the newest run. What is shorter
    than the date that every id begins with is a task if there is one.

    Raises:
        UnknownRunError: It is neither, or there are no runs.
        AmbiguousRunError: It is both, or the beginning of several ids.
    """
    if not names or names[0] == LATEST:
        return store.run(), tuple(names[1:])
    first, newest = names[0], store.run()
    if first == newest.id:
        return newest, tuple(names[1:])
    found = [run for run in store.run_ids() if run.startswith(first)]
    if first in found:
        return store.run(first), tuple(names[1:])
    is_task = first in _tasks_of(store, newest)
    if found and is_task and len(first) >= DATE:
        command = _command()
        raise AmbiguousRunError(
            f"{first} is a task of the newest run, {newest.id}, and the id of {plural(len(found), 'run')} "
            f"starts with it; write `patchyard {command} {LATEST} {first}`, or more of the run's id"
        )
    if is_task:
        return newest, tuple(names)
    if found:
        return store.run(first), tuple(names[1:])
    raise UnknownRunError(
        f"there is no run {first}, and the newest run, {newest.id}, has no task {first}; `patchyard runs` "
        "lists the runs, `patchyard status` the tasks of the newest"
    )


def choose_one(store: Store, names: Sequence[str]) -> tuple[Run, str | None]:
    """Return the run and the task that the arguments `[RUN] [TASK]` name; `None` without a task. Blocking.

    Raises:
        click.UsageError: They name several tasks.
        UnknownRunError: As for `choose`.
    """
    run, tasks = choose(store, names)
    if len(tasks) > 1:
        raise click.UsageError(f"{tasks[0]} and {tasks[1]} are two tasks; name one.")
    return run, tasks[0] if tasks else None


def _tasks_of(store: Store, run: Run) -> set[str]:
    plan = known_plan(run)
    names = {task.id for task in plan.tasks} if plan else set()
    return names | {item.outcome.task for item in store.tasks(run.id)}


def _command() -> str:
    with suppress(RuntimeError):
        return click.get_current_context().info_name or ""
    return ""

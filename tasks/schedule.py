"""Select tasks of a plan, and decide which of them may start."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from itertools import pairwise

from tasks.errors import PatchyardError
from tasks.model import Batch, Plan, Task
from tasks.outcome import Outcome, Status
from tasks.text import closest


class SelectionError(PatchyardError):
    """A selected batch or task is not in the plan."""

    exit_code = 2


def select(
    plan: Plan,
    *,
    start_batch: int | None = None,
    end_batch: int | None = None,
    tasks: Collection[str] = (),
    with_needed: bool = False,
) -> Plan:
    """Return the plan with only the selected batches and tasks.

    Batches outside of the range, and tasks that are not in `tasks` (unless it is empty), are left out. The rest
    no longer depends on them: they count as done, and as part of the base. Every batch of the result has
    explicit dependencies.

    With `with_needed`, what `tasks` build on is selected too, unless its batch is outside of the range.

    Raises:
        SelectionError: A batch or task does not exist, or nothing is selected.
    """
    numbers = [batch.number for batch in plan.batches]
    for flag, number in (("--start-batch", start_batch), ("--end-batch", end_batch)):
        if number is not None and number not in numbers:
            known = ", ".join(map(str, numbers))
            raise SelectionError(f"{flag} {number}: {plan.path} has no batch {number}; its batches are {known}")
    known_tasks = {task.id for task in plan.tasks}
    if unknown := [task for task in tasks if task not in known_tasks]:
        similar = closest(unknown[0], known_tasks)
        hint = f"; did you mean {similar}?" if similar else ""
        raise SelectionError(f"--task {unknown[0]}: {plan.path} has no task {unknown[0]}{hint}")
    first = 0 if start_batch is None else numbers.index(start_batch)
    last = len(numbers) - 1 if end_batch is None else numbers.index(end_batch)
    chosen = plan.batches[first : last + 1]
    kept = {task.id for batch in chosen for task in batch.tasks if not tasks or task.id in tasks}
    if kept and tasks and with_needed:
        kept |= _needed(plan, kept) & {task.id for batch in chosen for task in batch.tasks}
    if not kept:
        raise SelectionError(f"nothing to run: no task of {plan.path} is in the selected batches and tasks")
    inside = {batch.number for batch in chosen}
    named = built_on(plan)
    return replace(plan, batches=tuple(_cut(batch, named[batch.number], inside, kept) for batch in chosen))


def _cut(batch: Batch, named: tuple[int, ...], batches: set[int], tasks: set[str]) -> Batch:
    """Return a batch with only the given tasks, and dependencies only on the given batches and tasks."""
    return replace(
        batch,
        dependencies=tuple(number for number in named if number in batches),
        tasks=tuple(
            replace(task, dependencies=tuple(name for name in task.dependencies if name in tasks))
            for task in batch.tasks
            if task.id in tasks
        ),
    )


def left_out(plan: Plan, chosen: Plan) -> tuple[str, ...]:
    """Return the ids of unselected tasks that selected ones build on, in the plan's order.

    The base is assumed to have the changes of these tasks already.
    """
    whole = select(plan)
    kept = {task.id for task in chosen.tasks}
    batches = {batch.number: batch for batch in whole.batches}
    needed: set[str] = set()
    for task in whole.tasks:
        if task.id in kept:
            needed.update(task.dependencies)
            for number in foundations(whole, task.batch):
                needed.update(other.id for other in batches[number].tasks)
    return tuple(task.id for task in whole.tasks if task.id in needed - kept and not task.is_left_out)


def _needed(plan: Plan, kept: Collection[str]) -> set[str]:
    """Return the tasks that others build on, directly or not.

    One that is completed is among them only if it holds the order of others.
    """
    whole = select(plan)
    batches = {batch.number: batch for batch in whole.batches}
    known = {task.id: task for task in whole.tasks}
    below: dict[str, set[str]] = {}
    pending = list(kept)
    while pending:
        if (name := pending.pop()) in below:
            continue
        task = known[name]
        lower = (other.id for number in foundations(whole, task.batch) for other in batches[number].tasks)
        below[name] = {*task.dependencies, *lower}
        pending += below[name]
    found: set[str] = set()
    for name in TopologicalSorter(below).static_order():
        if not known[name].is_left_out or below[name] & found:
            found.add(name)
    return found


def built_on(plan: Plan) -> Mapping[int, tuple[int, ...]]:
    """Return the batches that each batch names as its dependencies, or the one before it if it names none."""
    before = {later.number: (earlier.number,) for earlier, later in pairwise(plan.batches)}
    return {
        batch.number: before.get(batch.number, ()) if batch.dependencies is None else batch.dependencies
        for batch in plan.batches
    }


def foundations(plan: Plan, number: int) -> tuple[int, ...]:
    """Return every batch that this one builds on, directly or not, in the plan's order."""
    batches = {batch.number: batch for batch in plan.batches}
    found: set[int] = set()
    pending = [number]
    while pending:
        for below in batches[pending.pop()].dependencies or ():
            if below not in found:
                found.add(below)
                pending.append(below)
    return tuple(batch.number for batch in plan.batches if batch.number in found)


def ready(tasks: Iterable[Task], finished: Collection[str], started: Collection[str]) -> list[Task]:
    """Return the tasks of a batch that may start now, in the plan's order.

    A task may start if it was not started and the tasks of its batch that it depends on have finished.
    """
    tasks = list(tasks)
    own = {task.id for task in tasks}
    return [
        task
        for task in tasks
        if task.id not in started and all(name in finished for name in task.dependencies if name in own)
    ]


def needed_tasks(plan: Plan, task: Task) -> tuple[Task, ...]:
    """Return the tasks that a task builds on: those that it depends on, and what those need that are left out.

    A task that the plan calls completed changes nothing in the run, so the order holds through it.
    """
    tasks = {each.id: each for each in plan.tasks}
    found: dict[str, Task] = {}
    pending = list(reversed(task.dependencies))
    while pending:
        name = pending.pop()
        if name not in found:
            found[name] = tasks[name]
            if tasks[name].is_left_out:
                pending += reversed(tasks[name].dependencies)
    return tuple(found.values())


def is_done(task: Task, outcome: Outcome | None) -> bool:
    """Return whether dependent tasks may build on the task."""
    return outcome is not None and (outcome.succeeded or task.is_left_out)


def obstacle(
    plan: Plan, batch: Batch, task: Task, outcomes: Mapping[str, Outcome], *, keep_going: bool
) -> str | None:
    """Return why a task cannot run, in one sentence, or `None`.

    A task always needs the tasks that it depends on; without `keep_going` also all tasks of the batches
    that its batch builds on.
    """
    for needed in needed_tasks(plan, task):
        if not is_done(needed, outcomes.get(needed.id)):
            return f"it depends on task {needed.id}, which {_how(outcomes.get(needed.id))}"
    if keep_going:
        return None
    for number in foundations(plan, batch.number):
        below = next(batch for batch in plan.batches if batch.number == number)
        for other in below.tasks:
            if not is_done(other, outcomes.get(other.id)):
                how = _how(outcomes.get(other.id))
                hint = "`patchyard run --keep-going` runs it anyway"
                return f"it builds on batch {number}, and task {other.id} {how} ({hint})"
    return None


def _how(outcome: Outcome | None) -> str:
    words = {
        Status.FAILED: "failed",
        Status.TIMED_OUT: "timed out",
        Status.SKIPPED: "was skipped",
        Status.CANCELLED: "was cancelled",
    }
    return "did not run" if outcome is None else words.get(outcome.status, str(outcome.status))

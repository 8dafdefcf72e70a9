"""Select tasks of a plan, and decide which of them may start."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from itertools import pairwise

from tasks.errors import PatchyardError
from tasks.model import Batch, Plan, Task
from tasks.order import Order, first_of
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
    order, kept = Order(whole), {task.id for task in chosen.tasks}
    chosen_tasks = [task for task in whole.tasks if task.id in kept]
    needed = {name for task in chosen_tasks for name in task.dependencies}
    for number in order.foundations(*{task.batch for task in chosen_tasks}):
        needed.update(task.id for task in order.batches[number].tasks)
    return tuple(task.id for task in whole.tasks if task.id in needed - kept and not task.is_left_out)


def _needed(plan: Plan, kept: Collection[str]) -> set[str]:
    """Return the tasks that others build on, directly or not.

    One that is completed is among them only if it holds the order of others. A batch, which all of its tasks
    are below, is named by its number.
    """
    order = Order(select(plan))
    below: dict[str | int, set[str | int]] = {}
    pending: list[str | int] = list(kept)
    while pending:
        if (name := pending.pop()) in below:
            continue
        if isinstance(name, int):
            batch = order.batches[name]
            below[name] = {*(task.id for task in batch.tasks), *(batch.dependencies or ())}
        else:
            task = order.tasks[name]
            below[name] = {*task.dependencies, *(order.batches[task.batch].dependencies or ())}
        pending += below[name]
    found: set[str | int] = set()
    for name in TopologicalSorter(below).static_order():
        is_work = isinstance(name, str) and not order.tasks[name].is_left_out
        if is_work or below[name] & found:
            found.add(name)
    return {name for name in found if isinstance(name, str)}


def built_on(plan: Plan) -> Mapping[int, tuple[int, ...]]:
    """Return the batches that each batch names as its dependencies, or the one before it if it names none."""
    before = {later.number: (earlier.number,) for earlier, later in pairwise(plan.batches)}
    return {
        batch.number: before.get(batch.number, ()) if batch.dependencies is None else batch.dependencies
        for batch in plan.batches
    }


def is_done(task: Task, outcome: Outcome | None) -> bool:
    """Return whether dependent tasks may build on the task."""
    return outcome is not None and (outcome.succeeded or task.is_left_out)


class Obstacles:
    """Why tasks of a run cannot run. What is asked about the batches below one takes the same time in any plan.

    Args:
        order: The order of the selected part of the plan.
        keep_going: Whether a task only needs those that it depends on, and not all of the batches below it.
    """

    def __init__(self, order: Order, *, keep_going: bool) -> None:
        self._order = order
        self._keep_going = keep_going
        self._first: dict[int, Task | None] = {}  # of a batch that has ended, and of those below it

    def of(self, task: Task, outcomes: Mapping[str, Outcome]) -> str | None:
        """Return why a task cannot run, in one sentence, or `None`.

        Args:
            task: The task, when those that it depends on and all batches below its own have ended.
            outcomes: The outcomes so far, by task.
        """
        for needed in self._order.needed(task) if task.dependencies else ():
            if not is_done(needed, outcomes.get(needed.id)):
                return f"it depends on task {needed.id}, which {_how(outcomes.get(needed.id))}"
        if self._keep_going or (first := self._first_below(task.batch, outcomes)) is None:
            return None
        how = _how(outcomes.get(first.id))
        hint = "`patchyard run --keep-going` runs it anyway"
        return f"it builds on batch {first.batch}, and task {first.id} {how} ({hint})"

    def _first_below(self, number: int, outcomes: Mapping[str, Outcome]) -> Task | None:
        """Return the first task, in the plan's order, of the batches below one that is not done."""
        direct = self._order.batches[number].dependencies or ()
        if any(below not in self._first for below in direct):
            for below in self._order.foundations(number):
                self._first[below] = self._first_in(below, outcomes)
        return first_of(self._order, (self._first[below] for below in direct))

    def _first_in(self, number: int, outcomes: Mapping[str, Outcome]) -> Task | None:
        """Return such a task of a batch or of those below it, which have been looked at."""
        if number in self._first:
            return self._first[number]
        batch = self._order.batches[number]
        own = next((task for task in batch.tasks if not is_done(task, outcomes.get(task.id))), None)
        return first_of(self._order, (own, *(self._first[below] for below in batch.dependencies or ())))


def _how(outcome: Outcome | None) -> str:
    words = {
        Status.FAILED: "failed",
        Status.TIMED_OUT: "timed out",
        Status.SKIPPED: "was skipped",
        Status.CANCELLED: "was cancelled",
    }
    return "did not run" if outcome is None else words.get(outcome.status, str(outcome.status))

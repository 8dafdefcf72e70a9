"""What the tasks and batches of a plan build on, looked up: the cost does not grow with the plan."""

from collections import deque
from collections.abc import Iterable, Iterator

from tasks.model import Plan, Task


class Order:
    """What the tasks and batches of a plan build on, directly or not.

    Args:
        plan: A plan whose batches name what they build on, as `tasks.schedule.select` returns it.
    """

    def __init__(self, plan: Plan) -> None:
        self.tasks = {task.id: task for task in plan.tasks}
        self.batches = {batch.number: batch for batch in plan.batches}
        self._numbers = tuple(self.batches)
        self._place = {number: place for place, number in enumerate(self._numbers)}
        self._direct = {number for batch in plan.batches for number in batch.dependencies or ()}
        self._below: dict[int, int] = {}  # a bit for each batch that one builds on, by its place

    def foundations(self, *numbers: int) -> tuple[int, ...]:
        """Return every batch that one of these builds on, directly or not, in the plan's order."""
        below = 0
        for number in numbers:
            below |= self._below_of(number)
        return tuple(self._batches_of(below))

    def tops(self, number: int) -> tuple[int, ...]:
        """Return the batches that this one builds on and that no other of those builds on, in order."""
        below = self._below_of(number)
        covered = 0
        for direct in self.batches[number].dependencies or ():
            covered |= self._below_of(direct)
        return tuple(self._batches_of(below & ~covered))

    def among_foundations(self, number: int, wanted: Iterable[int]) -> tuple[int, ...]:
        """Return those of some batches that this one builds on, in the plan's order."""
        found = 0
        for one in wanted:
            found |= 1 << self._place[one]
        return tuple(self._batches_of(found & self._below_of(number)))

    def is_built_on(self, number: int) -> bool:
        """Whether another batch builds on this one."""
        return number in self._direct

    def place(self, number: int) -> int:
        """Return the 0-based place of a batch in the plan."""
        return self._place[number]

    def needed(self, task: Task) -> tuple[Task, ...]:
        """Return the tasks that a task builds on: those that it depends on, and what those left out need.

        A task that the plan calls completed changes nothing in the run, so the order holds through it.
        """
        found: dict[str, Task] = {}
        pending = list(reversed(task.dependencies))
        while pending:
            name = pending.pop()
            if name not in found:
                found[name] = self.tasks[name]
                if found[name].is_left_out:
                    pending += reversed(found[name].dependencies)
        return tuple(found.values())

    def _below_of(self, number: int) -> int:
        pending = [number]
        while pending:
            batch = self.batches[pending[-1]]
            direct = batch.dependencies or ()
            if missing := [one for one in direct if one not in self._below]:
                pending += missing
                continue
            below = 0
            for one in direct:
                below |= self._below[one] | 1 << self._place[one]
            self._below[batch.number] = below
            pending.pop()
        return self._below[number]

    def _batches_of(self, bits: int) -> Iterator[int]:
        while bits:
            lowest = bits & -bits
            yield self._numbers[lowest.bit_length() - 1]
            bits ^= lowest


class Line:
    """The tasks of a batch that have not started. Each is looked at once, and when one that it needs has ended.

    Args:
        tasks: The tasks of a batch, in the plan's order.
        finished: The tasks that have ended, by id.
    """

    def __init__(self, tasks: Iterable[Task], finished: Iterable[str] = ()) -> None:
        waiting = {task.id: task for task in tasks}
        for name in finished:
            waiting.pop(name, None)
        self._open: dict[str, int] = {}  # how many tasks of the line each one waits for
        self._next: dict[str, list[Task]] = {}  # those that wait for a task
        self._ready: deque[Task] = deque()
        for task in waiting.values():
            needed = {name for name in task.dependencies if name in waiting}
            for name in needed:
                self._next.setdefault(name, []).append(task)
            if needed:
                self._open[task.id] = len(needed)
            else:
                self._ready.append(task)

    def ready(self, most: int | None = None) -> list[Task]:
        """Return the tasks that may start and were not returned before, in order: all, or the first ones."""
        count = len(self._ready) if most is None else min(most, len(self._ready))
        return [self._ready.popleft() for _ in range(count)]

    def finish(self, name: str) -> None:
        """Note that a task has ended, so that others may start."""
        for task in self._next.pop(name, ()):
            self._open[task.id] -= 1
            if not self._open[task.id]:
                self._ready.append(task)


def first_of(order: Order, tasks: Iterable[Task | None]) -> Task | None:
    """Return that of some tasks, if there are any, whose batch comes first in the plan."""
    found = (task for task in tasks if task is not None)
    return min(found, key=lambda task: order.place(task.batch), default=None)

"""The parts of a plan whose tasks share a branch and a pull request. Pure functions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from tasks.dialects.blocks.ids import free_id
from tasks.lazy.dataclasses import dataclass
from tasks.model import Batch, Task
from tasks.outcome import PullRequestScope
from tasks.plan.parser import plan_name

WHOLE_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Part:
    """Tasks that share a pull request: `name` is for their branch; `title` is empty if they are the plan."""

    name: str
    title: str
    tasks: tuple[str, ...]


def parts_of(
    tasks: Sequence[Task],
    scope: PullRequestScope,
    *,
    batches: Iterable[Batch] = (),
    builds_on: Mapping[str, Collection[str]] | None = None,
) -> tuple[Part, ...]:
    """Return the parts of a plan, those that others build on first; a part of its own for each task has none.

    A group is that of the plan, else the batch. Groups that build on each other are one part.

    Args:
        tasks: The tasks, in the plan's order.
        scope: What has a pull request of its own.
        batches: The batches, for their titles.
        builds_on: The tasks that each task builds on; by default those that it names.
    """
    if scope is PullRequestScope.TASK or not tasks:
        return ()
    taken = {name for task in tasks for name in (task.id, f"{task.id}-base", f"batch-{task.batch}")}
    if scope is PullRequestScope.PLAN:
        return (Part(free_id(WHOLE_PLAN, taken), "", tuple(task.id for task in tasks)),)
    titles = {batch.number: batch.title for batch in batches}
    needs = builds_on if builds_on is not None else {task.id: task.dependencies for task in tasks}
    return tuple(_groups(tasks, titles, needs, taken))


def _groups(
    tasks: Sequence[Task], titles: Mapping[int, str], needs: Mapping[str, Collection[str]], taken: set[str]
) -> Iterator[Part]:
    """Yield a part for each group; no name of a part is one of those that are taken."""
    members: dict[str, list[str]] = {}  # ids of tasks, by what identifies a group
    named: dict[str, tuple[str, str]] = {}
    for task in tasks:
        key, name, title = _group_of(task, titles)
        members.setdefault(key, []).append(task.id)
        named[key] = name, title
    group = {task: key for key, ids in members.items() for task in ids}
    below = {
        key: {group[name] for task in ids for name in needs.get(task, ()) if name in group}
        for key, ids in members.items()
    }
    for circle in _joined(below):
        name = free_id(named[circle[0]][0], taken)
        taken |= {name, f"{name}-base"}
        own = tuple(task.id for task in tasks if group[task.id] in circle)
        yield Part(name, ", ".join(named[key][1] for key in circle), own)


def in_order(tasks: Sequence[str], builds_on: Mapping[str, Collection[str]]) -> list[str]:
    """Return tasks in their order, but each after those that it builds on."""
    place = {task: number for number, task in enumerate(tasks)}
    waiting = {task: {name for name in builds_on.get(task, ()) if name in place} for task in tasks}
    above: dict[str, list[str]] = {}
    for task, names in waiting.items():
        for name in names:
            above.setdefault(name, []).append(task)
    free = [place[task] for task, names in waiting.items() if not names]
    heapify(free)
    found = []
    while free:
        task = tasks[heappop(free)]
        found.append(task)
        for other in above.get(task, ()):
            waiting[other].discard(task)
            if not waiting[other]:
                heappush(free, place[other])
    return found


def reach(name: str, builds_on: Mapping[str, Collection[str]]) -> set[str]:
    """Return everything that one builds on, directly or not."""
    found: set[str] = set()
    pending = list(builds_on.get(name, ()))
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += builds_on.get(name, ())
    return found


def _group_of(task: Task, titles: Mapping[int, str]) -> tuple[str, str, str]:
    """Return what identifies the group of a task, its part of a branch's name, and its title."""
    if not task.group:
        title = titles.get(task.batch) or f"Batch {task.batch}"
        return f"batch {task.batch}", f"group-{task.batch}", title
    return f"group {task.group}", f"group-{plan_name(task.group, '')}", task.group


def _joined(below: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return groups that build on each other together, in their order, each after what it builds on."""
    reached = {key: reach(key, below) for key in below}
    circles: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for key in below:
        first[key] = next((other for other in circles if key in reached[other] and other in reached[key]), key)
        circles.setdefault(first[key], []).append(key)
    needs = {key: {first[name] for one in circles[key] for name in below[one]} - {key} for key in circles}
    return [circles[key] for key in in_order(list(circles), needs)]

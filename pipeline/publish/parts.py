"""The parts of a plan whose tasks share a branch and a pull request. Pure functions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from tasks.dialects.blocks.ids import free_id
from tasks.lazy.dataclasses import dataclass
from tasks.lineage import NO_TASKS, Lineage, lineage_of
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
        key: {group[name] for name in _direct(ids, needs) if name in group} for key, ids in members.items()
    }
    for circle in _joined(below):
        name = free_id(named[circle[0]][0], taken)
        taken |= {name, f"{name}-base"}
        own = tuple(task.id for task in tasks if group[task.id] in circle)
        yield Part(name, ", ".join(named[key][1] for key in circle), own)


def _direct(tasks: Iterable[str], builds_on: Mapping[str, Iterable[str]]) -> set[str]:
    """Return everything that some build on; not what that builds on, unless it is named too."""
    links = {id(link): link for task in tasks for link in lineage_of(builds_on.get(task, NO_TASKS)).links()}
    return {name for link in links.values() for name in link.names}


def in_order(tasks: Sequence[str], builds_on: Mapping[str, Iterable[str]]) -> list[str]:
    """Return tasks in their order, but each after those that it builds on."""
    place = {task: number for number, task in enumerate(tasks)}
    links: dict[int, Lineage] = {}  # a task waits for its lineage, and that for its tasks and what it adds to
    waits_for: dict[str | int, int] = {}
    above: dict[str | int, list[str | int]] = {}
    for task in tasks:
        lineage = lineage_of(builds_on.get(task, NO_TASKS))
        waits_for[task] = 1
        above.setdefault(id(lineage), []).append(task)
        for link in lineage.links():
            if id(link) in links:
                break
            links[id(link)] = link
            below: list[str | int] = [name for name in link.names if name in place]
            below += [id(link.below)] if link.below else []
            waits_for[id(link)] = len(below)
            for one in below:
                above.setdefault(one, []).append(id(link))
    free: list[int] = []  # places of tasks
    ended: list[str | int] = [key for key in links if not waits_for[key]]
    found: list[str] = []
    while ended or free:
        if not ended:
            found.append(tasks[heappop(free)])
            ended.append(found[-1])
        for other in above.get(ended.pop(), ()):
            waits_for[other] -= 1
            if waits_for[other]:
                continue
            if isinstance(other, str):
                heappush(free, place[other])
            else:
                ended.append(other)
    return found


def reach(names: Iterable[str], builds_on: Mapping[str, Iterable[str]]) -> set[str]:
    """Return everything that some build on, directly or not."""
    found: set[str] = set()
    seen: dict[int, Lineage] = {}
    pending = list(names)
    while pending:
        for link in lineage_of(builds_on.get(pending.pop(), NO_TASKS)).links():
            if id(link) in seen:
                break
            seen[id(link)] = link
            new = [name for name in link.names if name not in found]
            found.update(new)
            pending += new
    return found


def _group_of(task: Task, titles: Mapping[int, str]) -> tuple[str, str, str]:
    """Return what identifies the group of a task, its part of a branch's name, and its title."""
    if not task.group:
        title = titles.get(task.batch) or f"Batch {task.batch}"
        return f"batch {task.batch}", f"group-{task.batch}", title
    return f"group {task.group}", f"group-{plan_name(task.group, '')}", task.group


def _joined(below: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return groups that build on each other together, in their order, each after what it builds on."""
    reached = {key: reach([key], below) for key in below}
    circles: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for key in below:
        first[key] = next((other for other in circles if key in reached[other] and other in reached[key]), key)
        circles.setdefault(first[key], []).append(key)
    needs = {key: {first[name] for one in circles[key] for name in below[one]} - {key} for key in circles}
    return [circles[key] for key in in_order(list(circles), needs)]

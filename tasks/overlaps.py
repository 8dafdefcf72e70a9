"""Tasks of a batch that declare the same file, and so may conflict: named, or put one after the other."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from graphlib import TopologicalSorter
from itertools import pairwise
from posixpath import normpath

from tasks.lazy.dataclasses import dataclass
from tasks.model import Batch, FileAction, Plan, Task


@dataclass(frozen=True, slots=True)
class Overlap:
    """Tasks of a batch that declare to change the same file, and do not wait for each other."""

    batch: int
    path: str
    tasks: tuple[str, ...]


def overlaps(plan: Plan) -> tuple[Overlap, ...]:
    """Return the overlaps of a plan, by batch and path."""
    found = []
    for batch in plan.batches:
        below = {task.id: set(task.dependencies) for task in batch.tasks}
        for path, tasks in _shared_files(batch).items():
            pairs = _unordered(tasks, below)
            if names := {task.id for pair in pairs for task in pair}:
                ids = tuple(task.id for task in batch.tasks if task.id in names)
                found.append(Overlap(batch.number, path, ids))
    return tuple(found)


def serialized(plan: Plan) -> Plan:
    """Return a plan in which tasks of a batch that declare to change the same file wait for each other.

    Each waits for the one before it in the plan's order, unless they wait for each other already. What is left
    out changes nothing, and is not waited for.
    """
    return replace(plan, batches=tuple(map(_serialized, plan.batches)))


def _serialized(batch: Batch) -> Batch:
    below = {task.id: set(task.dependencies) for task in batch.tasks}
    added: dict[str, dict[str, str]] = {}
    for path, tasks in _shared_files(batch).items():
        for earlier, later in _unordered(tasks, below):
            below[later.id].add(earlier.id)
            added.setdefault(later.id, {})[earlier.id] = f"both change {path}"
    if not added:
        return batch
    return replace(batch, tasks=tuple(_with(task, added.get(task.id, {})) for task in batch.tasks))


def _with(task: Task, reasons: Mapping[str, str]) -> Task:
    if not reasons:
        return task
    dependencies = tuple(dict.fromkeys((*task.dependencies, *reasons)))
    return replace(task, dependencies=dependencies, reasons={**reasons, **task.reasons})


def _shared_files(batch: Batch) -> Mapping[str, list[Task]]:
    """Return the files that several tasks declare to change, each with these in an order for a run."""
    found: dict[str, dict[str, Task]] = {}
    for task in batch.tasks:
        for file in task.files if not task.is_left_out else ():
            if file.action is not FileAction.READ and not file.outside:
                found.setdefault(normpath(file.path), {})[task.id] = task
    shared = {path: list(tasks.values()) for path, tasks in found.items() if len(tasks) > 1}
    place = _places(batch) if shared else {}
    return {path: sorted(tasks, key=lambda task: place[task.id]) for path, tasks in sorted(shared.items())}


def _places(batch: Batch) -> Mapping[str, int]:
    """Return the place of each task in an order in which none is before one that it depends on.

    It is the plan's order, but for tasks that depend on later ones.
    """
    place = {task.id: at for at, task in enumerate(batch.tasks)}
    below = {task.id: [name for name in task.dependencies if name in place] for task in batch.tasks}
    if all(place[name] < place[task] for task, names in below.items() for name in names):
        return place
    return {name: at for at, name in enumerate(TopologicalSorter(below).static_order())}


def _unordered(tasks: list[Task], below: Mapping[str, Collection[str]]) -> Iterator[tuple[Task, Task]]:
    """Yield the neighbours of which the later does not wait for the earlier, directly or not.

    If there are none, all wait for each other. `below` may change in between.
    """
    for earlier, later in pairwise(tasks):
        if not _waits(later.id, earlier.id, below):
            yield earlier, later


def _waits(task: str, other: str, below: Mapping[str, Collection[str]]) -> bool:
    seen, pending = {task}, [task]
    while pending:
        direct = below.get(pending.pop(), ())
        if other in direct:
            return True
        new = set(direct) - seen
        seen |= new
        pending += new
    return False

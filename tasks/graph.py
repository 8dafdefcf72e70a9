"""The tasks of a plan as a graph: which wait for which, in how many waves, and the longest chain."""

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter

from tasks.model import Plan, Task
from tasks.schedule import built_on


def edges(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks that each task waits for directly, those of its batch's foundations included.

    Tasks of a batch that name none themselves have the same tuple: all of them wait for thousands.
    """
    known = {task.id for task in plan.tasks}
    own = {batch.number: tuple(task.id for task in batch.tasks) for batch in plan.batches}
    place = {number: at for at, number in enumerate(own)}
    foundations = built_on(plan)
    found: dict[str, tuple[str, ...]] = {}
    for batch in plan.batches:
        batches = sorted(own.keys() & set(foundations[batch.number]), key=place.__getitem__)
        below = tuple(dict.fromkeys(name for number in batches for name in own[number]))
        for task in batch.tasks:
            named = [name for name in task.dependencies if name in known]
            found[task.id] = tuple(dict.fromkeys((*named, *below))) if named else below
    return found


def direct(waits: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks that each one waits for, without those that others of them wait for already."""
    place = {name: at for at, name in enumerate(waits)}
    above: dict[str, int] = {}  # a bit for each task that one waits for, directly or not
    of_tuples: dict[int, tuple[tuple[str, ...], int]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for name in _in_order(waits):
        key = id(waits[name])
        if key not in of_tuples:
            implied = own = 0
            for other in waits[name]:
                implied |= above[other]
                own |= 1 << place[other]
            left = tuple(other for other in waits[name] if not implied >> place[other] & 1)
            of_tuples[key] = left, implied | own
        found[name], above[name] = of_tuples[key]
    return {name: found[name] for name in waits}


def waves(plan: Plan) -> list[list[str]]:
    """Return the tasks by wave: those of one can run side by side once all waves before it have ended."""
    depth = _depths(edges(plan))
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=0))]
    for name, at in depth.items():
        found[at - 1].append(name)
    return found


def longest_chain(plan: Plan) -> tuple[str, ...]:
    """Return the longest chain of tasks that wait for each other, the first of equal ones."""
    waits = edges(plan)
    depth = _depths(waits)
    chain: list[str] = []
    last = max(waits, key=depth.__getitem__, default=None)
    while last is not None:
        chain.append(last)
        last = max(waits[last], key=depth.__getitem__, default=None)
    return tuple(reversed(chain))


def text_lines(plan: Plan) -> Iterator[str]:
    """Yield a line per task: what it waits for, and why where that was inferred."""
    waits = edges(plan)
    for task in plan.tasks:
        needed = [_with_reason(task, name) for name in waits[task.id]]
        yield f"{task.id} after {', '.join(needed)}" if needed else task.id


def mermaid(plan: Plan) -> str:
    """Return the graph as a Mermaid diagram (https://mermaid.js.org/syntax/flowchart.html)."""
    numbers = {task.id: f"t{number}" for number, task in enumerate(plan.tasks)}
    waits = edges(plan)
    lines = ["graph TD"]
    for task in plan.tasks:
        label = f"{task.id} {task.title}".replace('"', "#quot;")
        lines.append(f'  {numbers[task.id]}["{label}"]')
    for task in plan.tasks:
        for name in waits[task.id]:
            reason = task.reasons.get(name, "").replace('"', "#quot;")
            arrow = f'-- "{reason}" -->' if reason else "-->"
            lines.append(f"  {numbers[name]} {arrow} {numbers[task.id]}")
    return "\n".join(lines)


def _with_reason(task: Task, name: str) -> str:
    reason = task.reasons.get(name)
    return f"{name} ({reason})" if reason else name


def _depths(waits: Mapping[str, tuple[str, ...]]) -> Mapping[str, int]:
    """Return the length of the longest chain that ends in each task. A plan has no cycle."""
    depth: dict[str, int] = {}
    deepest: dict[int, int] = {}
    for name in _in_order(waits):
        key = id(waits[name])
        if key not in deepest:
            deepest[key] = max((depth[other] for other in waits[name]), default=0)
        depth[name] = 1 + deepest[key]
    return {name: depth[name] for name in waits}


def _in_order(waits: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield the tasks, each after those that it waits for; a tuple that many share is looked at once."""
    nodes: dict[str | int, tuple[str | int, ...]] = {}
    for name, others in waits.items():
        nodes[name] = (id(others),)
        nodes[id(others)] = others
    return (node for node in TopologicalSorter(nodes).static_order() if isinstance(node, str))

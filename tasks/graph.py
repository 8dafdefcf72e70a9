"""The tasks of a plan as a graph: which wait for which, in how many waves, and the longest chain."""

from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter

from tasks.model import Plan, Task
from tasks.schedule import built_on


def edges(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks that each task waits for directly, those of its batch's foundations included."""
    known = {task.id for task in plan.tasks}
    own = {batch.number: tuple(task.id for task in batch.tasks) for batch in plan.batches}
    place = {number: at for at, number in enumerate(own)}
    named = built_on(plan)
    found: dict[str, tuple[str, ...]] = {}
    for batch in plan.batches:
        batches = sorted((number for number in named[batch.number] if number in own), key=place.__getitem__)
        below = [name for number in batches for name in own[number]]
        for task in batch.tasks:
            wanted = dict.fromkeys((*task.dependencies, *below))
            found[task.id] = tuple(name for name in wanted if name in known)
    return found


def direct(waits: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks that each one waits for, without those that others of them wait for already."""
    place = {name: at for at, name in enumerate(waits)}
    above: dict[str, int] = {}  # a bit for each task that one waits for, directly or not
    found: dict[str, tuple[str, ...]] = {}
    for name in TopologicalSorter(waits).static_order():
        implied = 0
        for other in waits[name]:
            implied |= above[other]
        found[name] = tuple(other for other in waits[name] if not implied >> place[other] & 1)
        above[name] = implied
        for other in waits[name]:
            above[name] |= 1 << place[other]
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
    for name in TopologicalSorter(waits).static_order():
        depth[name] = 1 + max((depth[other] for other in waits[name]), default=0)
    return {name: depth[name] for name in waits}

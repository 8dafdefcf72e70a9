"""The tasks of a plan as a graph: which wait for which, in how many waves, and the longest chain."""

from collections.abc import Iterator, Mapping

from tasks.model import Plan, Task
from tasks.schedule import waits_for


def edges(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """Return the tasks that each task waits for, in the plan's order."""
    known = {task.id for task in plan.tasks}
    return {task.id: tuple(name for name in waits_for(plan, task) if name in known) for task in plan.tasks}


def waves(plan: Plan) -> list[list[str]]:
    """Return the tasks by wave: those of one can run side by side once all waves before it have ended."""
    depth = {name: len(chain) for name, chain in _chains(edges(plan)).items()}
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=0))]
    for name, at in depth.items():
        found[at - 1].append(name)
    return found


def longest_chain(plan: Plan) -> tuple[str, ...]:
    """Return the longest chain of tasks that wait for each other, the first of equal ones."""
    return max(_chains(edges(plan)).values(), key=len, default=())


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


def _chains(waits: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the longest chain that ends in each task. A plan has no cycle."""
    depth: dict[str, int] = {}
    before: dict[str, str | None] = {}
    for start in waits:
        pending = [start]
        while pending:
            name = pending[-1]
            missing = [other for other in waits[name] if other not in depth]
            if missing:
                pending += missing
                continue
            pending.pop()
            if name not in depth:
                longest = max(waits[name], key=lambda other: depth[other], default=None)
                before[name] = longest
                depth[name] = 1 + (depth[longest] if longest else 0)
    return {name: _walk(before, name) for name in waits}


def _walk(before: Mapping[str, str | None], name: str) -> tuple[str, ...]:
    chain: list[str] = []
    at: str | None = name
    while at is not None:
        chain.append(at)
        at = before[at]
    return tuple(reversed(chain))

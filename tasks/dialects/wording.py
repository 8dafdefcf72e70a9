"""What is said of a plan as a whole, in every entry point."""

from types import MappingProxyType

from tasks.model import Plan
from tasks.text import article

_SPELLING = MappingProxyType({"bmad": "BMAD", "gsd": "GSD"})


def named(dialect: str) -> str:
    """Return a dialect with its article, such as `a GSD plan` or `an openspec plan`."""
    name = _SPELLING.get(dialect, dialect)
    return f"{article(name)} {name} plan"


def nothing_left(plan: Plan) -> str | None:
    """Return why a plan has nothing to run, such as `a GSD plan in which every task is done`, or `None`."""
    if not plan.tasks or not all(task.is_left_out for task in plan.tasks):
        return None
    optional = " or optional" if any(task.optional for task in plan.tasks) else ""
    return f"{named(plan.dialect)} in which every task is done{optional}"


def nothing_to_start(plan: Plan) -> str | None:
    """Return `nothing_left` of a plan of another tool, of which no run is made; `None` for all others.

    A run of a native plan shows each of its tasks as skipped.
    """
    return None if plan.has_batches else nothing_left(plan)

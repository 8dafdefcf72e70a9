"""The groups of a plan: its batches, or the groups of one without batches."""

from collections.abc import Iterable, Mapping

from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.outcome import Outcome
from tasks.usage import NO_USAGE, Usage, total


@dataclass(frozen=True, slots=True)
class Group:
    """A batch or a group: its number, its title as written, and the ids of its tasks."""

    number: int
    title: str
    tasks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """What the agents of the tasks of a group used; see `Group`."""

    number: int
    title: str
    usage: Usage


def groups_of(plan: Plan) -> tuple[Group, ...]:
    """Return the groups of a plan, in its order; one without a title where the plan has none."""
    if plan.has_batches:
        return tuple(
            Group(batch.number, batch.title, tuple(task.id for task in batch.tasks)) for batch in plan.batches
        )
    members: dict[str, list[str]] = {}
    for task in plan.tasks:
        members.setdefault(task.group, []).append(task.id)
    return tuple(Group(place, title, tuple(ids)) for place, (title, ids) in enumerate(members.items(), 1))


def usage_of_groups(plan: Plan, outcomes: Iterable[Outcome]) -> tuple[GroupUsage, ...]:
    """Return what was used in each group, without those of which nothing is known; none for a plan without."""
    groups = groups_of(plan)
    if not plan.has_batches and not any(group.title for group in groups):
        return ()
    used: Mapping[str, Usage] = {outcome.task: outcome.usage for outcome in outcomes}
    found = (
        GroupUsage(group.number, group.title, total(used.get(task, NO_USAGE) for task in group.tasks))
        for group in groups
    )
    return tuple(one for one in found if one.usage)

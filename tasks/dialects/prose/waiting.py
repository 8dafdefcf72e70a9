"""Make units wait for each other: for what they name, or else for what precedes them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tasks.dialects.dialect import Unit


def one_after_another(
    units: Sequence[Unit],
    waits: Mapping[str, tuple[str, ...] | None],
    implied: Mapping[str, tuple[str, ...]] | None = None,
) -> Iterator[Unit]:
    """Yield units with the ids that each waits for.

    `waits` has what a unit names by its id. One with `None` waits for what `implied` has for it, else for the
    unit before it, but never for one that waits for it.
    """
    requires = {unit.id: tuple(waits.get(unit.id) or ()) for unit in units}
    awaited = {name for names in requires.values() for name in names}
    for at, unit in enumerate(units):
        if waits.get(unit.id) is not None:
            continue
        only = None if unit.id in awaited else {unit.id}  # what nothing waits for is waited for by itself alone
        if implied is not None and unit.id in implied:
            before = tuple(name for name in implied[unit.id] if not _waits(name, unit.id, requires, only))
        else:
            earlier = (units[place].id for place in range(at - 1, -1, -1))
            nearest = next((name for name in earlier if not _waits(name, unit.id, requires, only)), None)
            before = () if nearest is None else (nearest,)
        requires[unit.id] = before
        awaited.update(before)
    for unit in units:
        yield replace(unit, requires=requires[unit.id])


def _waits(name: str, other: str, requires: Mapping[str, Sequence[str]], only: set[str] | None) -> bool:
    return waits_for(name, other, requires) if only is None else name in only


def waits_for(name: str, other: str, requires: Mapping[str, Sequence[str]]) -> bool:
    """Whether a unit is another, or waits for it, directly or through others."""
    seen: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current == other:
            return True
        if current not in seen:
            seen.add(current)
            pending += requires.get(current, ())
    return False

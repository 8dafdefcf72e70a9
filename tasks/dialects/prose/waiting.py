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
    for at, unit in enumerate(units):
        if waits.get(unit.id) is not None:
            continue
        if implied is not None and unit.id in implied:
            before = tuple(name for name in implied[unit.id] if not waits_for(name, unit.id, requires))
        else:
            earlier = (other.id for other in reversed(units[:at]))
            nearest = next((name for name in earlier if not waits_for(name, unit.id, requires)), None)
            before = () if nearest is None else (nearest,)
        requires[unit.id] = before
    for unit in units:
        yield replace(unit, requires=requires[unit.id])


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

"""The names of the dialects, and what the user says of how a plan is read."""

from enum import StrEnum

from tasks.lazy.dataclasses import dataclass
from tasks.model import NATIVE

NAMES = (
    NATIVE,
    "superpowers",
    "sisyphus",
    "kiro",
    "openspec",
    "spec-kit",
    "conductor",
    "gsd",
    "taskmaster",
    "ralph",
    "humanlayer",
    "bmad",
    "checklist",
)
"""The names of all dialects, in the order in which they win a tie; each but the native one is a module."""


class UnitKind(StrEnum):
    """What becomes one task, so one worktree, one patch and one pull request."""

    ITEM = "item"
    GROUP = "group"


class Order(StrEnum):
    """Which units wait for which."""

    AS_WRITTEN = "as-written"
    SEQUENTIAL = "sequential"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user says of how a plan is read; `None` leaves it to the dialect.

    `dialect` is the name of one. `optional` runs units that the plan calls optional. `tag` is the list of tasks
    in a file that holds several.
    """

    dialect: str | None = None
    unit: UnitKind | None = None
    order: Order = Order.AS_WRITTEN
    optional: bool = False
    tag: str | None = None

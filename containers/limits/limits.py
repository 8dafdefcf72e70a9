"""What the processes of a task may take."""

from collections.abc import Collection
from dataclasses import fields, replace

from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

GROUP = "control group"
"""Limits all processes of a task together."""
RESOURCE = "resource limit"
"""Limits each process of a task."""


class LimitsError(PatchyardError):
    """The limits cannot be set here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task may take; `None` for no limit.

    A control group limits all processes of a task together, a resource limit each of them.

    Args:
        cpus: Processors that all processes of a task may use.
        memory: Bytes that the task, or one process of it, may allocate.
        processes: Processes that the task, or its user, may have; as resource limit, root has none.
        files: Bytes of one file that a process writes.
    """

    cpus: int | None = None
    memory: int | None = None
    processes: int | None = None
    files: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of those that are set."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def without(self, names: Collection[str]) -> "Limits":
        """Return the others than those of some names."""
        return replace(self, **dict.fromkeys(names))

    def only(self, names: Collection[str]) -> "Limits":
        """Return those of some names."""
        return self.without([name for name in self.names if name not in names])

    def kinds(self, by_group: Collection[str]) -> dict[str, str]:
        """Return by what each holds, by its name: a control group, for some names, or a resource limit."""
        return {name: GROUP if name in by_group else RESOURCE for name in self.names}


UNLIMITED = Limits()

"""What the processes of a task may take."""

from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass


class LimitsError(PatchyardError):
    """The limits cannot be set here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a task may take; `None` for no limit.

    Args:
        cpus: Processors that all processes of a task may use.
        memory: Bytes that one process may allocate.
        processes: Processes of the user that may run; root has no such limit.
        files: Bytes of one file that a process writes.
    """

    cpus: int | None = None
    memory: int | None = None
    processes: int | None = None
    files: int | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(value is not None for value in (self.cpus, self.memory, self.processes, self.files))


UNLIMITED = Limits()

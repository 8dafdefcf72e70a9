"""What happens to tasks whose patches do not go together."""

from enum import StrEnum

from tasks.lazy.dataclasses import dataclass


class OnConflict(StrEnum):
    """What follows when patches of a batch do not go together."""

    RERUN = "rerun"  # the later task runs again, on top of what it conflicts with
    AGENT = "agent"  # likewise, and its agent begins with the merge, which has conflict marks in its files
    STOP = "stop"  # nothing: it is reported, and what builds on the batch is skipped


class Serialize(StrEnum):
    """Which tasks of a batch wait for each other although none names the other."""

    NONE = "none"
    DECLARED = "declared"  # those that declare the same file


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a task that had a result runs again: it conflicts with others, or one that it builds on ran again.

    `tasks` are the ids of these others. `files` are those in which they conflict; without any, the patches
    do not conflict.
    """

    tasks: tuple[str, ...]
    files: tuple[str, ...] = ()

    @property
    def is_conflict(self) -> bool:
        """Whether the patches did not go together."""
        return bool(self.files)

    def __str__(self) -> str:
        """Say it in a few words."""
        names = " and ".join(self.tasks)
        if self.is_conflict:
            return f"conflict with {names} in {', '.join(self.files)}"
        return f"it builds on {names}, which ran again"

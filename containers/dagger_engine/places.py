"""Containers that a task has reached, before its first steps and after each part of them."""

from typing import TYPE_CHECKING, Self

from containers.git.working_tree.task_files import GIT
from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from dagger import Container, Directory

WORK = "/work"
"""Directory of the task's tree in its container."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A container, and the task's tree in it without `.git`."""

    container: "Container"
    tree: "Directory"

    @classmethod
    def from_container(cls, container: "Container") -> Self:
        """Return a container with its tree."""
        return cls(container, container.directory(WORK).without_directory(GIT))


@dataclass(slots=True)
class Place:
    """Where a task continues: its round, the seconds left of its limit, the container after its last part.

    `is_repeated` is whether an earlier round was run here: the same exec must not be a cache hit then.
    """

    round: int
    seconds: float | None
    after: Prepared | None = None
    is_repeated: bool = False

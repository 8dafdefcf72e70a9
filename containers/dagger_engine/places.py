"""Containers that a task has reached, before its first steps and after each part of them."""

from typing import Self

from containers.dagger_engine.client.api import Container, Directory
from containers.dagger_engine.client.values import together
from containers.git.working_tree.task_files import GIT
from tasks.lazy.dataclasses import dataclass

WORK = "/work"
"""Directory of the task's tree in its container."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A container, and the task's tree in it without `.git`."""

    container: Container
    tree: Directory

    @classmethod
    def from_container(cls, container: Container) -> Self:
        """Return a container with its tree."""
        return cls(container, container.directory(WORK).without_directory(GIT))

    async def sync(self) -> Self:
        """Return both by their ids when all execs have ended; one request.

        Raises:
            ClientError: The engine cannot run them, or is unavailable.
        """
        return type(self)(*await together(self.container.sync(), self.tree.loaded()))


@dataclass(slots=True)
class Place:
    """Where a task continues: its round, the seconds left of its limit, the container after its last part.

    `is_repeated` is whether an earlier round was run here: the same exec must not be a cache hit then.
    """

    round: int
    seconds: float | None
    after: Prepared | None = None
    is_repeated: bool = False

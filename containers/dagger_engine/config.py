"""What all containers of a run share, and how files come to an engine and back."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol

from containers.dagger_engine.client.api import Client, Directory
from containers.dagger_engine.encoding import encoding_error
from containers.dagger_engine.query import EngineQueryError
from containers.git.repository import Identity
from containers.limits.limits import UNLIMITED, Limits
from tasks.lazy.dataclasses import dataclass


class Files(Protocol):
    """Transfer of files between this machine and an engine."""

    def directory(
        self, client: Client, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Directory:
        """Return a directory of this machine, not from the engine's cache."""
        ...

    async def export(self, directory: Directory, path: Path) -> None:
        """Write the content of a directory over one of this machine."""
        ...


class HostFiles:
    """Files of the machine that the client runs on."""

    def directory(
        self, client: Client, path: Path, *, include: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> Directory:
        """Return a directory of the host, not from the engine's cache.

        `host.directory` is cached per client unless `no_cache` is set: https://docs.dagger.io/reference/api.

        Raises:
            EngineQueryError: The path is not UTF-8.
        """
        if reason := encoding_error([(f"the path {path}", str(path))]):
            raise EngineQueryError(reason)
        return client.host().directory(str(path), include=include, exclude=exclude, no_cache=True)

    async def export(self, directory: Directory, path: Path) -> None:
        """Write the content of a directory over one of the host."""
        await directory.export(str(path))


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """Configuration that all containers of a run share.

    `common` is the repository's common git directory. `identity` is the author of commits made by steps.
    `repository` is an id that all clones of the repository share. `depth` is the number of commits of history
    that a task sees, 0 for all. `caches` are directories that containers keep between tasks and runs of one
    repository. `copy` are patterns of untracked files to copy from the worktree. `fresh` ignores the engine's
    cache. `services` are ports of this machine, such as `localhost:11434`, by the names under which containers
    reach them, each at the same port. `limits` hold for each process of a task's steps.
    """

    common: Path
    identity: Identity
    repository: str = ""
    depth: int = 1
    caches: tuple[str, ...] = ()
    copy: tuple[str, ...] = ()
    fresh: bool = False
    services: Mapping[str, str] = field(default_factory=dict)
    files: Files = field(default_factory=HostFiles)
    limits: Limits = UNLIMITED

"""Digests of container images, as an engine resolves them."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Protocol, runtime_checkable

from containers.concurrency import plain_task_group
from containers.dagger_engine.client.api import Client
from containers.dagger_engine.digests import digest_of
from containers.dagger_engine.query import EngineClient, EngineQueryError


@runtime_checkable
class Resolver(Protocol):
    """Resolves names of images to digests."""

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that cannot be resolved.

        Raises:
            EngineError: The engine is unavailable.
        """
        ...


async def resolve_digests(client: Client, names: Iterable[str]) -> dict[str, str]:
    """Query an engine for the digests of images: that of the index, for an image of several platforms.

    A name that the engine cannot resolve is left out; running a container of it reports why.

    Raises:
        EngineError: The engine is unavailable.
    """
    found: dict[str, str] = {}
    query = EngineClient(client)

    async def look_up(name: str) -> None:
        with suppress(EngineQueryError):
            if digest := digest_of(await query.run_long(client.container().from_(name).image_ref)):
                found[name] = digest

    async with plain_task_group() as group:
        for name in dict.fromkeys(names):
            group.start_soon(look_up, name)
    return found

"""Digests of container images."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from containers.concurrency import plain_task_group
from containers.dagger_engine.query import EngineClient, EngineQueryError
from tasks.lazy.patterns import regex

if TYPE_CHECKING:
    from dagger import Client

DIGEST = regex(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


@runtime_checkable
class Resolver(Protocol):
    """Resolves names of images to digests."""

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that cannot be resolved.

        Raises:
            EngineError: The engine is unavailable.
        """
        ...


def digest_of(reference: str) -> str | None:
    """Return the digest that an image's reference names, such as `sha256:…`; `None` without one."""
    digest = reference.rpartition("@")[2]
    return digest if "@" in reference and DIGEST.fullmatch(digest) else None


def pinned(name: str, digests: Mapping[str, str]) -> str:
    """Return an image's reference with the digest known for its name; unchanged if none is."""
    digest = digests.get(name)
    return f"{name}@{digest}" if digest and digest_of(name) is None else name


async def resolve_digests(client: "Client", names: Iterable[str]) -> dict[str, str]:
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

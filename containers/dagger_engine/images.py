"""Images and their digests: what a name stands for at the moment."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from containers.concurrency import plain_task_group
from containers.dagger_engine.query import EngineClient, EngineQueryError

if TYPE_CHECKING:
    from dagger import Client

DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


@runtime_checkable
class Resolver(Protocol):
    """Knows which image a name stands for."""

    async def resolve_digests(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of images by name, without those that are not to be had.

        Raises:
            EngineError: Whoever is asked has gone.
        """
        ...


def digest_of(reference: str) -> str | None:
    """Return the digest that an image's reference names, such as `sha256:…`; `None` without one."""
    digest = reference.rpartition("@")[2]
    return digest if "@" in reference and DIGEST.fullmatch(digest) else None


def pinned(name: str, digests: Mapping[str, str]) -> str:
    """Return an image's reference with the digest that is known for its name; as it is without one."""
    digest = digests.get(name)
    return f"{name}@{digest}" if digest and digest_of(name) is None else name


async def resolve_digests(client: "Client", names: Iterable[str]) -> dict[str, str]:
    """Ask an engine for the digests of images: of the index, where an image is for several platforms.

    A name that the engine cannot resolve is left out: whoever uses it is told why.

    Raises:
        EngineError: The engine has gone.
    """
    found: dict[str, str] = {}
    ask = EngineClient(client)

    async def look_up(name: str) -> None:
        with suppress(EngineQueryError):
            if digest := digest_of(await ask.attend(client.container().from_(name).image_ref)):
                found[name] = digest

    async with plain_task_group() as group:
        for name in dict.fromkeys(names):
            group.start_soon(look_up, name)
    return found

"""A port of this machine, for the containers of an engine."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagger import Client


@asynccontextmanager
async def reachable(client: "Client", port: int, image: str) -> AsyncIterator[str]:
    """Let every container of an engine reach a port of this machine, at the same port of the address given.

    A name would be known to the containers of one session alone, and what `dagger call` runs is in its own.
    """
    from dagger import PortForward  # noqa: PLC0415 - takes a second

    service = client.host().service([PortForward(backend=port, frontend=port)], host="127.0.0.1")
    await service.start()
    try:
        asked = (
            client.container()
            .from_(image)
            .with_service_binding("here", service)
            .with_env_variable("ASKED", secrets.token_hex(8))
            .with_exec(["getent", "hosts", "here"])
        )
        yield (await asked.stdout()).split()[0]
    finally:
        await service.stop(kill=True)

"""Make a port of this machine reachable for the containers of an engine."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagger import Client


@asynccontextmanager
async def reachable(client: "Client", port: int, image: str) -> AsyncIterator[str]:
    """Yield an address at which every container of an engine reaches a port of this machine.

    A host name is known only to the containers of one session, and `dagger call` opens a session of its own.
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

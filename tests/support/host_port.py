"""Make a port of this machine reachable for the containers of an engine."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from containers.dagger_engine.client.api import Client
from containers.dagger_engine.client.values import as_text


@asynccontextmanager
async def reachable(client: Client, port: int, image: str) -> AsyncIterator[str]:
    """Yield an address at which every container of an engine reaches a port of this machine.

    A host name is known only to the containers of one session, and `dagger call` opens a session of its own.
    """
    service = client.host().service(port, "127.0.0.1")
    await service.value(as_text, "start")
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
        await service.value(as_text, "stop", kill=True)

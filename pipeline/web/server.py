"""Run the web application: listen on a socket, serve with uvicorn, shut down on a signal."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

import anyio
import uvicorn
from anyio import to_thread

from containers.concurrency import receive_stop_signals
from pipeline.web.app import create_app
from pipeline.web.security.connections import BoundedProtocol, QuietAcceptErrors
from pipeline.web.services import ServerSettings, Services
from tasks.errors import PatchyardError

CLOSE_TIMEOUT = 5
"""Seconds that open connections have to close when the server shuts down."""
BACKLOG = 2048
"""Connections that wait to be accepted."""
ACCEPTED_AT_ONCE = 8
"""Connections that asyncio accepts before the first of them is made, which may close others."""
POLL_INTERVAL = 0.02
"""Seconds between two checks whether the server has started."""


class ServerError(PatchyardError):
    """The server cannot start with the given options."""

    exit_code: ClassVar[int] = 2


class _Server(uvicorn.Server):
    """Server that leaves signal handling to `_stop_on_signal`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def run_server(settings: ServerSettings, port: int, on_started: Callable[[str], None]) -> None:
    """Serve the API and the page until a signal arrives. Blocking.

    Args:
        settings: The settings; `settings.host` is the address to listen on.
        port: The port; 0 for any free one.
        on_started: Called on the event loop with the URL once connections are accepted.

    Raises:
        ServerError: The address cannot be listened on, or the server did not start.
        DatabaseError: The database cannot be opened.
    """
    with _listening_socket(settings.host, port) as listener:
        anyio.run(partial(_serve, settings, listener, on_started))


@contextmanager
def _listening_socket(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServerError(
            f"cannot listen on {host} port {port}: {reason}; choose another --host or --port"
        ) from None
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(settings: ServerSettings, listener: socket.socket, on_started: Callable[[str], None]) -> None:
    app = await to_thread.run_sync(create_app, settings)
    services: Services = app.state.services
    await services.runs(skip_damaged=True)  # opens the stores: an error is reported before the first request
    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http=BoundedProtocol,
        backlog=ACCEPTED_AT_ONCE,
        timeout_graceful_shutdown=CLOSE_TIMEOUT,
    )
    server = _Server(config)
    asyncio.get_running_loop().set_exception_handler(QuietAcceptErrors())
    async with anyio.create_task_group() as group:
        group.start_soon(_report_start, server, listener, partial(on_started, _url(listener)))
        group.start_soon(_stop_on_signal, server, services)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()
    if not server.started:
        raise ServerError("the server did not start; see the error above")


async def _report_start(
    server: uvicorn.Server, listener: socket.socket, on_started: Callable[[], None]
) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn offers no event to wait for
        await anyio.sleep(POLL_INTERVAL)
    listener.listen(BACKLOG)  # asyncio has set it to the other number
    on_started()


async def _stop_on_signal(server: uvicorn.Server, services: Services) -> None:
    """Stop the runs and then the server on the first signal; stop the server at once on the second."""
    with receive_stop_signals() as received:
        async with anyio.create_task_group() as group:
            async for _ in received:
                if services.workers.closing:
                    break
                group.start_soon(_stop_runs_and_server, server, services)
            group.cancel_scope.cancel()
    _stop_server(server, services)


async def _stop_runs_and_server(server: uvicorn.Server, services: Services) -> None:
    await services.stop()
    _stop_server(server, services)


def _stop_server(server: uvicorn.Server, services: Services) -> None:
    services.subscribers.close()
    server.should_exit = True

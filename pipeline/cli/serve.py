"""The command `serve`: where the server listens, what it needs for that, and how it ends."""

import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import anyio
import click
from anyio import to_thread

from containers.git.repository import NotARepositoryError, Repository
from pipeline.cli.options import environment
from tasks.errors import PatchyardError

if TYPE_CHECKING:
    from uvicorn import Server

    from pipeline.web.services import ServerSettings, Services

NEEDS = ("fastapi", "uvicorn", "fastapi_offline")
"""What the extra `server` brings."""
TOKEN_VARIABLE = "PATCHYARD_TOKEN"  # noqa: S105 - the name of a variable
DATABASE_VARIABLE = "PATCHYARD_DATABASE"
GRACE = 5
"""Seconds in which open connections are let end."""
LOOK = 0.02
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServeError(PatchyardError):
    """The server cannot start as it was called."""

    exit_code: ClassVar[int] = 2


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any.")
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Where plans and repositories may be; may be given several times.  [default: the repository here]",
)
@click.option("--database", metavar="URL", help="The database of the runs.  [default: one a repository]")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="A name that the server is reached by, as behind a proxy; may be given several times.",
)
@click.option("--runs", type=click.IntRange(min=1), default=8, show_default=True, help="How many runs at once.")
def serve(  # noqa: PLR0913 - the command's own parameters
    *, host: str, port: int, roots: tuple[Path, ...], database: str | None, names: tuple[str, ...], runs: int
) -> None:
    """Serve the HTTP API and a page that shows the runs as they go.

    Without a token only this machine can reach it; any other address needs PATCHYARD_TOKEN. TERM or Ctrl-C ends
    it: running tasks get their grace, and the next `serve` goes on with what was cut off.
    """
    if lacking := [name for name in NEEDS if find_spec(name) is None]:
        how = "which the extra `server` brings: pip install 'patchyard[server]'"
        raise ServeError(f"`serve` needs {', '.join(lacking)}, {how}")
    from pipeline.web.security import is_loopback  # noqa: PLC0415 - needs the extra
    from pipeline.web.services import ServerSettings  # noqa: PLC0415 - likewise

    environ = environment()
    token = environ.get(TOKEN_VARIABLE) or None
    if token is None and not is_loopback(host):
        raise ServeError(
            f"--host {host}: other machines may reach that, so it needs a token; set {TOKEN_VARIABLE} to a "
            "long random text, or leave --host out"
        )
    settings = ServerSettings(
        roots=roots or (_here(environ),),
        environ={name: environ[name] for name in environ if name not in {TOKEN_VARIABLE, DATABASE_VARIABLE}},
        database=database or environ.get(DATABASE_VARIABLE) or None,
        token=token,
        host=host,
        names=names,
        runs=runs,
    )
    with _listening(host, port) as listener:
        anyio.run(partial(_serve, settings, listener))


def _here(environ: Mapping[str, str]) -> Path:
    """Return the top of the repository where the server was started, or the directory itself."""
    try:
        return Repository.open(Path(), environ).root
    except NotARepositoryError:
        return Path()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens.

    Raises:
        ServeError: The address is taken, or none of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ServeError(
            f"cannot listen at {host} port {port}: {reason}; name another --host or --port"
        ) from None
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(settings: "ServerSettings", listener: socket.socket) -> None:
    """Serve until a signal says that it is enough.

    Raises:
        PatchyardError: The store cannot be opened, or the server did not start.
    """
    from uvicorn import Config  # noqa: PLC0415 - needs the extra

    from pipeline.web.app import create_app  # noqa: PLC0415 - likewise

    app = await to_thread.run_sync(create_app, settings)
    services: Services = app.state.services
    await services.runs()  # what is wrong with a store is told in a sentence, before anybody asks
    config = Config(
        app,
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http="h11",
        timeout_graceful_shutdown=GRACE,
    )
    server = _server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(_tell, server, listener)
        group.start_soon(_until_signal, server, services)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()
    if not server.started:
        raise ServeError("the server did not start; what it wrote before this says why")


def _server(config: object) -> "Server":
    """Return a server that leaves signals to us."""
    import uvicorn  # noqa: PLC0415 - needs the extra

    class Quiet(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    if not isinstance(config, uvicorn.Config):
        raise TypeError("a server takes a configuration of uvicorn's")
    return Quiet(config)


async def _tell(server: "Server", listener: socket.socket) -> None:
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await anyio.sleep(LOOK)
    click.echo(f"patchyard serves {_url(listener)} (Ctrl-C ends it)")
    sys.stdout.flush()


async def _until_signal(server: "Server", services: "Services") -> None:
    """End the server at a signal, when its workers have brought their tasks to an end; at once at the next."""
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    with anyio.open_signal_receiver(*heeded) as received:
        async with anyio.create_task_group() as group:
            async for _ in received:
                if services.workers.closing:
                    break
                group.start_soon(_end, server, services)
            group.cancel_scope.cancel()
    _leave(server, services)


async def _end(server: "Server", services: "Services") -> None:
    await services.stop()
    _leave(server, services)


def _leave(server: "Server", services: "Services") -> None:
    services.followers.close()
    server.should_exit = True


COMMANDS = (serve,)

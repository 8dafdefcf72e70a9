"""Command `serve`: run the web server."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import click

from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, repository_if_any
from pipeline.store.database_url import VARIABLE as DATABASE_VARIABLE
from tasks.errors import PatchyardError

REQUIRED_MODULES = ("fastapi", "uvicorn", "fastapi_offline")
"""Modules that the extra `server` installs."""
TOKEN_VARIABLE = "PATCHYARD_TOKEN"  # noqa: S105 - the name of a variable


class ServeError(PatchyardError):
    """The server cannot start with the given options."""

    exit_code = 2


@click.command()
@repo_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="Port to listen on; 0 for any free port.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Directory that may hold plans and repositories; may be given several times.  [default: the "
    "repository]",
)
@click.option("--database", metavar="URL", help="Database of the runs.  [default: one per repository]")
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name by which clients reach the server, for example through a proxy; may be given several "
    "times.",
)
@click.option(
    "--runs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Maximum number of concurrent runs.",
)
def serve(  # noqa: PLR0913 - the command's own parameters
    repo: Path,
    *,
    host: str,
    port: int,
    roots: tuple[Path, ...],
    database: str | None,
    names: tuple[str, ...],
    runs: int,
) -> None:
    """Serve the HTTP API and a web page that shows the runs live.

    Without a token the server is reachable from this machine only; any other address needs PATCHYARD_TOKEN.
    Stops on SIGTERM or Ctrl-C: running tasks get a grace period, and the next `serve` resumes interrupted runs.
    """
    if missing := [name for name in REQUIRED_MODULES if find_spec(name) is None]:
        how = "install patchyard with its extra, from a clone by `uv tool install '.[server]'`"
        raise ServeError(f"`serve` needs the missing modules {', '.join(missing)}; {how}")
    from pipeline.web.security.policy import is_loopback  # noqa: PLC0415 - needs the extra `server`
    from pipeline.web.server import run_server  # noqa: PLC0415 - likewise
    from pipeline.web.services import ServerSettings  # noqa: PLC0415 - likewise

    environ = environment()
    token = environ.get(TOKEN_VARIABLE) or None
    if token is None and not is_loopback(host):
        raise ServeError(
            f"--host {host} is reachable from other machines and needs a token; set {TOKEN_VARIABLE} to a long "
            "random string, or omit --host"
        )
    settings = ServerSettings(
        roots=roots_of(repo, roots, environ),
        environ={name: environ[name] for name in environ if name not in {TOKEN_VARIABLE, DATABASE_VARIABLE}},
        database=database or environ.get(DATABASE_VARIABLE) or None,
        token=token,
        host=host,
        names=names,
        runs=runs,
    )
    run_server(settings, port, lambda url: click.echo(f"patchyard serves {url} (press Ctrl-C to stop)"))


def roots_of(repo: Path, roots: tuple[Path, ...], environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the roots, of which the first has the repository that is meant where none is named.

    That is the one of --repo, if it is given; without any root, that of the current directory.
    """
    if roots and repo == Path():
        return roots
    return (repository_if_any(repo, environ)[1], *roots)

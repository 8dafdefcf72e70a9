"""The process of a command: environment, signals, streams and exit codes."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from pipeline.store.database_url import VARIABLE
from tasks.outcome import RunStatus

if TYPE_CHECKING:
    from containers.git.repository import Repository
    from pipeline.store.store import Store

OUTPUT_FAILED = 1
BAD_PLAN = 2
GITHUB_FAILED = 3
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as in a shell."""
RUN_EXIT_CODES = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.CANCELLED: INTERRUPTED,
    RunStatus.INTERRUPTED: INTERRUPTED,
}
"""Exit code of a run by its final status. Errors have the `exit_code` of their class."""

STDOUT, STDERR = 1, 2


def environment() -> Mapping[str, str]:
    """Return the environment variables of the process, with the database that --database names.

    The program's own secrets are no longer among those of the process: its start took them out.

    Only entry points read the environment; everything else receives it as an argument.
    """
    context = click.get_current_context(silent=True)
    override = {VARIABLE: context.meta[VARIABLE]} if context and VARIABLE in context.meta else {}
    secrets = (context and context.find_root().obj) or {}
    return {**os.environ, **secrets, **override}


def repository_if_any(path: Path, environ: Mapping[str, str]) -> "tuple[Repository | None, Path]":
    """Return the repository of a path and its root; `None` and the path itself outside of one. Blocking."""
    from containers.git.repository import NotARepositoryError, Repository  # noqa: PLC0415 - start-up stays quick

    try:
        repository = Repository.open(path, environ)
    except NotARepositoryError:
        return None, path
    return repository, repository.root


@contextmanager
def repository_and_store(repo: Path) -> "Iterator[tuple[Repository, Store]]":
    """Open a repository and its store. Blocking.

    Raises:
        NotARepositoryError: `repo` is not in a git repository.
        DatabaseError: The database cannot be opened.
    """
    from containers.git.repository import Repository  # noqa: PLC0415 - start-up stays quick
    from pipeline.run.stored.open_store import open_store  # noqa: PLC0415 - likewise

    environ = environment()
    repository = Repository.open(repo, environ)
    with open_store(repository, environ) as store:
        yield repository, store


def exit_with(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


def interrupt_on_sigterm() -> None:
    """Make SIGTERM raise `KeyboardInterrupt`, as SIGINT does, unless it is ignored."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def configure_streams() -> None:
    """Make standard output and error accept any text, whatever the encoding of the locale.

    Characters that cannot be encoded are escaped. A stream that was closed when the program started is
    replaced by the null device.
    """
    if sys.stdout is None or sys.stderr is None:
        # Occupy descriptors 0 to 2, or the next file that is opened would become a standard stream.
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            pass
        os.close(descriptor)
        sys.stdout = sys.stdout or os.fdopen(STDOUT, "w")
        sys.stderr = sys.stderr or os.fdopen(STDERR, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Redirect standard output to the null device, after its reader has closed it."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)


def report_wait(seconds: float) -> None:
    """Print that a request to GitHub is retried in `seconds`."""
    click.echo(f"GitHub cannot answer now: trying again in {seconds:.0f} s", err=True)

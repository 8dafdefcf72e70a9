"""Command `publish`: open or update the pull requests of a run."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import (
    GITHUB_FAILED,
    environment,
    exit_with,
    report_wait,
    repository_and_store,
)
from pipeline.console import JsonLines, Lines
from pipeline.events import Broadcast
from pipeline.run.call.prepare import CallError
from pipeline.run.recording.recorder import EventWriter
from pipeline.run.stored.status import current_status
from pipeline.store.records import Run
from tasks.model import RunStatus

if TYPE_CHECKING:
    from containers.git.repository import Repository
    from pipeline.publish.service import Target
    from pipeline.store.store import Store


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Publish the patches and the report in DIR instead of RUN: from another machine, or a Dagger call.",
)
@repo_option
@database_option
@click.option(
    "--remote", metavar="NAME", help="Remote to push to.  [default: the remote given to `run`, else origin]"
)
@click.option("--github", metavar="OWNER/REPO", help="Repository on GitHub.  [default: from the remote's URL]")
@click.option("--draft", is_flag=True, default=None, help="Open the pull requests as drafts.")
@click.option(
    "--auto-merge",
    is_flag=True,
    default=None,
    help="Enable auto-merge on GitHub, or merge at once if the repository requires nothing.",
)
@click.option(
    "--allow-unpushed",
    is_flag=True,
    default=None,
    help="Publish also commits of the base that the remote's branch of the pull requests does not have.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to standard output.")
def publish(
    run_name: str | None, directory: Path | None, repo: Path, *, as_json: bool, **flags: object
) -> None:
    """Push the branches of RUN, and open or update its pull requests.

    With --from, first create the commits from the patches in DIR: the repository needs only the commit that the
    run started from. Safe to repeat: existing pull requests are updated, not opened twice. Exit code: 0
    everything is published, 3 something could not be published.
    """
    from pipeline.publish.service import publish_run  # noqa: PLC0415 - start-up stays quick

    if (run_name is None) == (directory is None):
        raise click.UsageError("name either a RUN or a directory with --from DIR.")
    given = {name: value for name, value in flags.items() if value is not None}
    with repository_and_store(repo) as (repository, store):
        if directory is None:
            run = store.run(run_name)
            target = _target(repository, store, run, given)
        else:
            from pipeline.publish.service import import_run  # noqa: PLC0415 - start-up stays quick
            from pipeline.report.importer import ImportedRun  # noqa: PLC0415 - start-up stays quick

            imported = ImportedRun.read(directory)
            run = imported.run
            target = _target(repository, store, run, given)
            import_run(store, imported, target)
        output = JsonLines(sys.stdout) if as_json else Lines(sys.stdout)
        with Broadcast([output, EventWriter(run.id, lambda: store)]) as listener:
            failures = publish_run(store, run.id, target, listener)
    exit_with(GITHUB_FAILED if failures else 0)


def _target(repository: "Repository", store: "Store", run: Run, flags: Mapping[str, object]) -> "Target":
    """Return where a run is published: as it was given to `run`, overridden by the flags of this command.

    Raises:
        CallError: The run is still running.
        ForgeError: The run cannot be published.
    """
    from pipeline.publish.service import target_for_run  # noqa: PLC0415 - start-up stays quick

    if current_status(store, run, environment()) is RunStatus.RUNNING:
        raise CallError(f"run {run.id} is still running; publish it when it has ended")
    settings = replace(run.settings, **flags)  # type: ignore[arg-type]  # click has converted them
    return target_for_run(repository, replace(run, settings=settings), environment(), report_wait)

"""Commands that inspect stored runs: `runs`, `patches`."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import click

from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.events import timestamp
from pipeline.renderables import Table, show
from pipeline.run.stored.status import current_status
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store, UnknownRunError


def run_record(store: Store, run: Run) -> dict[str, object]:
    """Return the fields of a run in JSON."""
    return {
        "run": run.id,
        "status": str(current_status(store, run, environment())),
        "plan": run.plan_path,
        "title": run.plan_title,
        "base": run.base,
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at) if run.finished_at else None,
        "seconds": run.seconds,
        "speedup": run.speedup,
        "efficiency": run.efficiency,
    }


@click.command()
@repo_option
@database_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per run.")
def runs(repo: Path, *, as_json: bool) -> None:
    """List the runs of the repository, newest last."""
    with repository_and_store(repo) as (_, store):
        found, environ = store.runs(), environment()
        if as_json:
            for run in found:
                click.echo(json.dumps(run_record(store, run)))
            return
        rows = [
            (
                run.id,
                str(current_status(store, run, environ)),
                run.started_at.astimezone().isoformat(sep=" ", timespec="seconds")[:19],
                f"{run.seconds:.1f} s" if run.seconds is not None else "",
                run.plan_title or run.plan_path,
            )
            for run in found
        ]
        show(Table(("run", "status", "started", "time", "plan"), rows), sys.stdout)


def task_of(store: Store, run: Run, task: str) -> StoredTask:
    """Return a task of a run that has an outcome.

    Raises:
        UnknownRunError: There is none.
    """
    for item in store.tasks(run.id, task):
        return item
    raise UnknownRunError(
        f"run {run.id} has no finished task {task}; `patchyard status {run.id}` lists its tasks"
    )


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Directory for the files; created if missing.",
)
@repo_option
@database_option
def patches(run_name: str | None, output: Path, repo: Path) -> None:
    """Write the patches of RUN, or of the newest run, to DIR/<task>.patch, and its report beside them.

    The report is in DIR/report.json and DIR/report.md.

    Apply a patch with `git apply --index`, on the commit that its task started from. Failed tasks are left out;
    `patchyard diff` shows their patches. `patchyard publish --from DIR` opens the pull requests, also in
    another clone.
    """
    from pipeline.report.exporter import export_run  # noqa: PLC0415 - start-up stays quick

    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        current = replace(run, status=current_status(store, run, environment()))
        written = export_run(repository, store, current, output)
        for path in written:
            click.echo(str(path))
        if not written:
            click.echo(f"no task of run {run.id} succeeded with changes", err=True)

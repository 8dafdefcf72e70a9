"""Command `discard`."""

from pathlib import Path

import click

from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.run.stored.discard import Discard
from tasks.text import plural, printable


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing anything.")
@repo_option
@database_option
def discard(run_name: str, tasks: tuple[str, ...], repo: Path, *, dry_run: bool) -> None:
    """Remove what RUN made: its branches, patches, cached results, logs and records; or those of TASKs only.

    What is published stays, with what it builds on. So does a branch that has commits of others, that is
    checked out, or that another run needs. A run that is running is refused.
    """
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        work = Discard(repository, store, run, tasks, environment(), dry_run)
        kept = [f"task {task}: {reason}" for task, reason in work.kept.items()] if not tasks else []
        kept += work.branches_kept()
        verb = "would remove" if dry_run else "removed"
        for item in work.remove():
            click.echo(printable(f"{verb} {item}"))
        for item in kept:
            click.echo(printable(f"{'would keep' if dry_run else 'kept'} {item}"))
        counts = f"{plural(len(work.gone), 'task')} and {plural(work.removed, 'branch')}"
        more = f", {plural(len(kept), 'thing')} kept" if kept else ""
        click.echo(f"run {run.id}: {verb} {counts}{more}")

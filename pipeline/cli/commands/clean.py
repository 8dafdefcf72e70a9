"""Command `clean`: remove unused worktrees and, on request, old runs."""

from functools import partial
from itertools import chain
from pathlib import Path

import click

from containers.git.repository import Repository
from containers.worktrees.directory import default_directory
from containers.worktrees.recovery import quarantined_worktrees, remove_worktrees
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment
from pipeline.config.sources import load
from pipeline.config.trust import require_trust
from pipeline.run.call.plan_file import CallError
from pipeline.run.stored.open_store import open_store
from pipeline.run.stored.recovery import make_store_work, release_commits
from pipeline.run.stored.retention import Retention
from tasks.durations import parse_duration
from tasks.model import PlanSettings
from tasks.text import plural, printable


@click.command()
@repo_option
@database_option
@click.option(
    "--worktrees",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Directory of the worktrees.  [default: <repository>-worktrees beside the repository]",
)
@click.option(
    "--older-than",
    metavar="AGE",
    help="Also remove runs that ended longer ago (14d, 12h) with their logs and patches, older cached results, "
    "and the merged branches of those runs.",
)
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    help="Also remove this run, by its whole id, with its logs and patches, even if damaged in the database; "
    "its branches are kept. May be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, without removing anything.")
def clean(
    repo: Path, worktrees: Path | None, older_than: str | None, runs: tuple[str, ...], *, dry_run: bool
) -> None:
    """Remove the worktrees of the pool that no run is using.

    Runs, their logs and patches, and all branches are kept, unless --older-than or --run is given. A branch is
    removed only if a run created it and it was not moved since.
    """
    max_age = _seconds(older_than)
    environ = environment()
    repository = Repository.open(repo, environ)
    sources = load({"worktrees": worktrees}, environ, repository.root)
    settings = sources.resolve(PlanSettings())
    directory = settings.worktrees or default_directory(repository).path
    require_trust(sources, PlanSettings(), "", repository.root, environ, only=["worktrees"])
    opener = partial(open_store, repository, environ)
    store_work = make_store_work(opener, environ, settings.max_patch)
    removed = remove_worktrees(repository, directory, dry_run=dry_run, store_work=store_work)
    if not dry_run:
        release_commits(repository)
    verb = "would remove" if dry_run else "removed"
    for item in removed:
        click.echo(printable(f"{verb} {item}"))
    if max_age is not None or runs:
        with opener() as store:
            old = Retention(repository, store, environ, max_age, dry_run)
            for description in chain(map(old.remove_run, runs), old.remove()):
                click.echo(printable(f"{verb} {description}"))
    if not removed:
        click.echo(f"no worktrees to remove in {directory}")
    else:
        click.echo(f"{plural(len(removed), 'worktree')} {'would be removed' if dry_run else 'removed'}")
    for path in quarantined_worktrees(directory):
        click.echo(f"kept {path}: it holds work of a task that is stored nowhere else; remove it after review")


def _seconds(age: str | None) -> float | None:
    """Return an age in seconds. A number without a unit is not accepted.

    Raises:
        CallError: It is not a duration.
    """
    if age is None:
        return None
    try:
        if not age.strip().isdigit():
            return parse_duration(age, allow_zero=True)
    except ValueError:
        pass
    raise CallError(f"--older-than: {age!r} is not an age; write for example 14d, 12h or 30m")

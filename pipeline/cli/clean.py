"""The command `clean`: what runs left and nobody needs any more."""

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click

from containers.git.repository import GitError, Repository
from containers.worktrees.pool import clean as clean_pool
from containers.worktrees.pool import default_directory, set_aside
from pipeline.cli.options import database_option, environment, repo_option
from pipeline.config.settings import load
from pipeline.run import result_cache as results
from pipeline.run.lifecycle import current_status, open_store
from pipeline.run.paths import run_directory
from pipeline.run.prepare import CallError
from pipeline.run.recovery import salvager
from pipeline.store.records import BranchRecord, Run
from pipeline.store.store import Store
from tasks.durations import parse_duration
from tasks.model import RunStatus
from tasks.text import plural


@click.command()
@repo_option
@database_option
@click.option(
    "--worktrees",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the worktrees stand.  [default: <repository>-worktrees beside the repository]",
)
@click.option(
    "--older-than",
    metavar="AGE",
    help="Also remove runs that ended longer ago (14d, 12h), with their logs and patches, results that are "
    "older, and their branches where those are merged.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
def clean(repo: Path, worktrees: Path | None, older_than: str | None, *, dry_run: bool) -> None:
    """Remove the worktrees of the pool that no run is using.

    Runs, their logs and patches, and all branches stay, unless --older-than is given. Only what the store says
    to be this program's is removed: a branch that somebody moved or made stays.
    """
    age = _age(older_than)
    environ = environment()
    repository = Repository.open(repo, environ)
    settings = load({"worktrees": worktrees}, environ, repository.root)
    named = settings.forced.get("worktrees") or settings.file.get("worktrees")
    directory = named or default_directory(repository)
    opener = partial(open_store, repository, environ)
    removed = clean_pool(repository, directory, dry_run=dry_run, salvage=salvager(opener, environ))
    would = "would remove" if dry_run else "removed"
    for item in removed:
        click.echo(f"{would} {item}")
    if age is not None:
        with opener() as store:
            for told in _Old(repository, store, age, dry_run=dry_run).remove():
                click.echo(f"{would} {told}")
    if not removed:
        click.echo(f"no worktrees to remove in {directory}")
    else:
        click.echo(f"{plural(len(removed), 'worktree')} {'would be removed' if dry_run else 'removed'}")
    for path in set_aside(directory):
        click.echo(
            f"left {path}: it holds work of a task that could not be kept; remove it when you have looked"
        )


def _age(text: str | None) -> float | None:
    """Return an age in seconds.

    Raises:
        CallError: It is none.
    """
    if text is None:
        return None
    number, unit = text[:-1], text[-1:]
    if unit == "d" and number.isdigit():
        return float(number) * 86400
    with suppress(ValueError):
        if not text.isdigit():
            return parse_duration(text)
    raise CallError(f"--older-than: {text!r} is no age; write 14d, 12h or 30m")


@dataclass(frozen=True)
class _Old:
    """What is older than an age, in seconds."""

    repository: Repository
    store: Store
    age: float
    dry_run: bool

    def remove(self) -> Iterator[str]:
        """Remove it, and yield what it was; with `dry_run` only that."""
        old = [run for run in self.store.runs() if self._is_old(run)]
        yield from self._branches(old)
        for run in old:
            yield f"run {run.id}: {run.plan_title or run.plan_path}, ended {self._end(run):%Y-%m-%d}"
            if not self.dry_run:
                shutil.rmtree(run_directory(self.repository.common, run.id), ignore_errors=True)
                self.store.forget_run(run.id)
        count = 0
        for path in results.older_than(self.repository.common, self.age):
            count += 1
            if not self.dry_run:
                path.unlink(missing_ok=True)
        if count:
            yield plural(count, "cached result")

    def _is_old(self, run: Run) -> bool:
        limit = datetime.fromtimestamp(time.time(), UTC) - timedelta(seconds=self.age)
        status = current_status(self.store, run, environment())
        return (status.is_over or status is RunStatus.INTERRUPTED) and self._end(run) < limit

    def _end(self, run: Run) -> datetime:
        """Return when a run ended; of one that was cut off, when it was last seen at work."""
        if run.finished_at:
            return run.finished_at
        attempts = self.store.attempts(run.id, patches=False)
        known = [run.started_at, run.lease_until, *(item.started_at for item in attempts)]
        known += [item.finished_at for item in attempts]
        return max(moment for moment in known if moment)

    def _branches(self, old: list[Run]) -> Iterator[str]:
        """Remove the branches that no newer run needs, that stand where a run set them, and that are merged."""
        kept = {run.id for run in self.store.runs()} - {run.id for run in old}
        needed = {name for run in kept for name in self._names(run)}
        known = {record.name: record for record in self.store.branches()}
        there = self.repository.branches("")
        heads = [commit for name, commit in there.items() if name not in known]
        checked_out = self.repository.checked_out()
        merged = {
            item.outcome.branch
            for run in old
            for item in self.store.tasks(run.id)
            if item.request and item.request.action == "merged"
        }
        for name, record in known.items():
            if name in needed or name in checked_out or there.get(name) != record.commit:
                continue
            if name in merged or any(self._is_in(record, head) for head in heads):
                yield f"branch {name}"
                if not self.dry_run:
                    with suppress(GitError):
                        self.repository.delete_branch(name, record.commit)
                        self.store.forget_branch(name)

    def _names(self, run: Run | str) -> list[str]:
        stored = self.store.tasks(run if isinstance(run, str) else run.id)
        names = [name for item in stored for name in (item.outcome.branch, item.start_branch) if name]
        return list(dict.fromkeys(names))

    def _is_in(self, record: BranchRecord, head: str) -> bool:
        return self.repository.is_ancestor(record.commit, head)


COMMANDS = (clean,)

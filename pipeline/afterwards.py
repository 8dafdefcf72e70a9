"""The commands that look at runs that were, and act on what they left."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from containers.git import Repository
from containers.worktrees import clean as clean_pool
from containers.worktrees import default_directory, set_aside
from pipeline.agents_command import agents
from pipeline.config import load
from pipeline.console import JsonLines, Lines, outcome_table, plural, printable, show, table
from pipeline.events import Broadcast, outcome_fields, timestamp
from pipeline.options import environment, leave, repo_option, tell_wait
from pipeline.store import Run, Store, StoredTask, UnknownRunError
from pipeline.wiring import CallError, is_alive, run_directory
from tasks.model import RunStatus, Status

POLL = 0.1
"""Seconds between two looks at a log that grows."""
GITHUB_FAILED = 3


@contextmanager
def opened(repo: Path) -> Iterator[tuple[Repository, Store]]:
    """Open a repository and its store."""
    repository = Repository.open(repo, environment())
    with Store.beside(repository.common) as store:
        yield repository, store


def told_status(repository: Repository, run: Run) -> str:
    """Return a run's status; one that no process works on any more was interrupted."""
    if run.status is RunStatus.RUNNING and not is_alive(repository.common, run.id):
        return "interrupted"
    return str(run.status)


def _run_record(repository: Repository, run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "status": told_status(repository, run),
        "plan": run.plan_path,
        "title": run.plan_title,
        "base": run.base,
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at) if run.finished_at else None,
        "seconds": run.seconds,
        "speedup": run.speedup,
        "efficiency": run.efficiency,
    }


def _task_record(stored: StoredTask) -> dict[str, object]:
    request = stored.request
    return {
        **outcome_fields(stored.outcome),
        "log": str(stored.log) if stored.log else None,
        "pull_request": None
        if request is None
        else {"number": request.number, "url": request.url, "base": request.base},
    }


@click.command()
@repo_option
@click.option("--json", "as_json", is_flag=True, help="Write a JSON line a run.")
def runs(repo: Path, *, as_json: bool) -> None:
    """List the runs of the repository, the newest last."""
    with opened(repo) as (repository, store):
        found = store.runs()
        if as_json:
            for run in found:
                click.echo(json.dumps(_run_record(repository, run)))
            return
        rows = [
            (
                run.id,
                told_status(repository, run),
                run.started_at.astimezone().isoformat(sep=" ", timespec="seconds")[:19],
                f"{run.seconds:.1f} s" if run.seconds is not None else "",
                run.plan_title or run.plan_path,
            )
            for run in found
        ]
        show(table(("run", "status", "started", "time", "plan"), rows), sys.stdout)


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@click.option("--json", "as_json", is_flag=True, help="Write the run and its tasks as one JSON object.")
def status(run_name: str | None, repo: Path, *, as_json: bool) -> None:
    """Show the tasks of RUN, or of the newest run.

    RUN is a run's id, or the beginning of one.
    """
    with opened(repo) as (repository, store):
        run = store.run(run_name)
        stored = store.tasks(run.id)
        if as_json:
            tasks = [_task_record(item) for item in stored]
            conflicts = [
                {"batch": item.batch, "tasks": list(item.tasks), "files": list(item.files)}
                for item in store.conflicts(run.id)
            ]
            click.echo(json.dumps({**_run_record(repository, run), "tasks": tasks, "conflicts": conflicts}))
            return
        title = run.plan_title or run.plan_path
        click.echo(printable(f"run {run.id}: {title}: {told_status(repository, run)}, base {run.base[:12]}"))
        links = {item.outcome.task: item.request.url for item in stored if item.request}
        show(outcome_table([item.outcome for item in stored], links), sys.stdout)
        for conflict in store.conflicts(run.id):
            click.echo(printable(f"batch {conflict.batch}: {conflict}"))
        for item in stored:
            if item.outcome.error and item.outcome.status not in {Status.SKIPPED, Status.CANCELLED}:
                click.echo(printable(f"\ntask {item.outcome.task}: {item.outcome.error}"))


def _task_of(store: Store, run: Run, task: str) -> StoredTask:
    for item in store.tasks(run.id):
        if item.outcome.task == task:
            return item
    raise UnknownRunError(
        f"run {run.id} has no finished task {task}; `patchyard status {run.id}` lists its tasks"
    )


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("task")
@repo_option
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows, until the task has ended.")
def logs(run_name: str, task: str, repo: Path, *, follow: bool) -> None:
    """Print the output of TASK in RUN."""
    with opened(repo) as (repository, store):
        run = store.run(run_name)
        path = run_directory(repository.common, run.id) / f"{task}.log"

        def ended() -> bool:
            return not follow or store.has_ended(run.id, task) or not is_alive(repository.common, run.id)

        while True:
            last = ended()
            if path.exists():
                break
            if last:
                outcome = _task_of(store, run, task).outcome
                how = f"it was {outcome.status}: {outcome.error}"
                raise UnknownRunError(f"task {task} of run {run.id} has no log: {how}")
            time.sleep(POLL)
        _print_log(path, ended)


def _print_log(path: Path, ended: Callable[[], bool]) -> None:
    """Copy a log to standard output until `ended`, whatever it has by then."""
    out = sys.stdout.buffer
    with path.open("rb") as log:
        while True:
            last = ended()
            while data := log.read(65536):
                out.write(data)
            out.flush()
            if last:
                return
            time.sleep(POLL)


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("task", required=False)
@repo_option
def diff(run_name: str, task: str | None, repo: Path) -> None:
    """Print the patch of TASK in RUN, or those of all of its tasks.

    A task that failed or timed out shows what it had changed by then.
    """
    with opened(repo) as (_, store):
        run = store.run(run_name)
        chosen = (_task_of(store, run, task),) if task else store.tasks(run.id)
        out = sys.stdout.buffer
        for item in chosen:
            if item.outcome.patch:
                out.write(item.outcome.patch.diff)
        out.flush()


@click.command()
@click.argument("run_name", metavar="RUN")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Where the files are written; made where it lacks.",
)
@repo_option
def patches(run_name: str, output: Path, repo: Path) -> None:
    """Write the patch of each task that changed something in RUN to DIR/<task>.patch, and the report beside.

    `git apply --index` takes them, on the commit that the task started from. Failed tasks are left out;
    `patchyard diff` shows theirs. The report is DIR/report.json and DIR/report.md; with it,
    `patchyard publish --from DIR` opens the pull requests, also in another clone.
    """
    from pipeline.report import export  # noqa: PLC0415 - start-up stays quick

    with opened(repo) as (repository, store):
        run = store.run(run_name)
        written = export(repository, store, run, output)
        for path in written:
            click.echo(str(path))
        if not written:
            click.echo(f"run {run.id} has no task that changed something", err=True)


@click.command()
@click.argument("run_name", metavar="RUN", required=False)
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A directory of patches and their report, instead of RUN: from another machine, or a Dagger call.",
)
@repo_option
@click.option(
    "--remote", metavar="NAME", help="The remote to push to.  [default: as the run was told, else origin]"
)
@click.option(
    "--github", metavar="OWNER/REPO", help="The repository on GitHub.  [default: from the remote's URL]"
)
@click.option("--draft", is_flag=True, default=None, help="Open the pull requests as drafts.")
@click.option(
    "--auto-merge",
    is_flag=True,
    default=None,
    help="Turn on GitHub's auto-merge, or merge where nothing is required.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to standard output.")
def publish(
    run_name: str | None, directory: Path | None, repo: Path, *, as_json: bool, **flags: object
) -> None:
    """Push the branches of RUN and open its pull requests, or bring them up to date.

    With --from, make the commits of that directory's patches first: the repository needs the commit that they
    start from, and nothing else of the run. Safe to repeat: what is there is found and updated, never opened
    twice. Exit code: 0 all is published, 3 something could not be.
    """
    from pipeline.importing import Carried  # noqa: PLC0415 - start-up stays quick
    from pipeline.publishing import bring, publish_run, target_of  # noqa: PLC0415 - start-up stays quick

    if (run_name is None) == (directory is None):
        raise click.UsageError("name either a RUN or a directory with --from DIR.")
    with opened(repo) as (repository, store):
        carried = Carried.at(directory) if directory else None
        run = carried.run if carried else store.run(run_name)
        if told_status(repository, run) == "running":
            raise CallError(f"run {run.id} is still under way; publish it when it has ended")
        settings = {**run.settings, **{name: value for name, value in flags.items() if value is not None}}
        target = target_of(repository, replace(run, settings=settings), environment(), tell_wait)
        if carried:
            bring(repository, store, carried, target)
    stream = JsonLines(sys.stdout) if as_json else Lines(sys.stdout)
    with Broadcast([stream]) as listener:
        failures = publish_run(repository, run.id, target, listener)
    leave(GITHUB_FAILED if failures else 0)


@click.command()
@repo_option
@click.option(
    "--worktrees",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the worktrees stand.  [default: <repository>-worktrees beside the repository]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
def clean(repo: Path, worktrees: Path | None, *, dry_run: bool) -> None:
    """Remove the worktrees of the pool that no run is using.

    Runs, their logs and patches, and all branches stay.
    """
    repository = Repository.open(repo, environment())
    settings = load({"worktrees": worktrees}, environment(), repository.root)
    named = settings.forced.get("worktrees") or settings.file.get("worktrees")
    directory = named or default_directory(repository)
    removed = clean_pool(repository, directory, dry_run=dry_run)
    for item in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {item}")
    if not removed:
        click.echo(f"no worktrees to remove in {directory}")
    else:
        click.echo(f"{plural(len(removed), 'worktree')} {'would be removed' if dry_run else 'removed'}")
    for path in set_aside(directory):
        click.echo(
            f"left {path}: it holds work of a task that could not be kept; remove it when you have looked"
        )


COMMANDS = (status, logs, diff, patches, publish, runs, clean, agents)

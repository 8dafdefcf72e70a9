"""The commands that look at runs that were, and act on what they left."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from containers.git.repository import Repository
from pipeline.cli.agents import agents
from pipeline.cli.options import database_option, environment, leave, repo_option, tell_wait
from pipeline.console import JsonLines, Lines, outcome_table, show, table
from pipeline.events import Broadcast, outcome_fields, timestamp
from pipeline.run.control import host_name
from pipeline.run.lifecycle import current_status, is_dead, open_store
from pipeline.run.paths import log_path, run_directory
from pipeline.run.prepare import CallError
from pipeline.run.recorder import EventKeeper
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store, UnknownRunError
from tasks.model import Patch, Status
from tasks.text import printable

attempt_option = click.option(
    "--attempt",
    "number",
    type=click.IntRange(min=1),
    metavar="N",
    help="Of the Nth attempt at TASK.  [default: the last]",
)
POLL = 0.1
"""Seconds between two looks at a log that grows."""
GITHUB_FAILED = 3


@contextmanager
def opened(repo: Path) -> Iterator[tuple[Repository, Store]]:
    """Open a repository and its store."""
    repository = Repository.open(repo, environment())
    with open_store(repository, environment()) as store:
        yield repository, store


def told_status(store: Store, run: Run) -> str:
    """Return a run's status; one that no process works on any more was interrupted."""
    return str(current_status(store, run, environment()))


def _run_record(store: Store, run: Run) -> dict[str, object]:
    return {
        "run": run.id,
        "status": told_status(store, run),
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
@database_option
@click.option("--json", "as_json", is_flag=True, help="Write a JSON line a run.")
def runs(repo: Path, *, as_json: bool) -> None:
    """List the runs of the repository, the newest last."""
    with opened(repo) as (_, store):
        found = store.runs()
        if as_json:
            for run in found:
                click.echo(json.dumps(_run_record(store, run)))
            return
        rows = [
            (
                run.id,
                told_status(store, run),
                run.started_at.astimezone().isoformat(sep=" ", timespec="seconds")[:19],
                f"{run.seconds:.1f} s" if run.seconds is not None else "",
                run.plan_title or run.plan_path,
            )
            for run in found
        ]
        show(table(("run", "status", "started", "time", "plan"), rows), sys.stdout)


def _attempt_record(attempt: StoredAttempt) -> dict[str, object]:
    return {
        "task": attempt.task,
        "attempt": attempt.number,
        "status": None if attempt.status is None else str(attempt.status),
        "worktree": attempt.worktree,
        "host": attempt.host,
        "started_at": timestamp(attempt.started_at),
        "finished_at": timestamp(attempt.finished_at) if attempt.finished_at else None,
        "seconds": round(attempt.seconds, 3),
        "error": attempt.error,
        "log": str(attempt.log) if attempt.log else None,
    }


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--json", "as_json", is_flag=True, help="Write the run and its tasks as one JSON object.")
def status(run_name: str | None, repo: Path, *, as_json: bool) -> None:
    """Show the tasks of RUN, or of the newest run.

    RUN is a run's id, or the beginning of one.
    """
    with opened(repo) as (_, store):
        run = store.run(run_name)
        stored = store.tasks(run.id)
        if as_json:
            tasks = [_task_record(item) for item in stored]
            conflicts = [
                {"batch": item.batch, "tasks": list(item.tasks), "files": list(item.files)}
                for item in store.conflicts(run.id)
            ]
            attempts = [_attempt_record(item) for item in store.attempts(run.id)]
            record = {**_run_record(store, run), "tasks": tasks, "conflicts": conflicts, "attempts": attempts}
            click.echo(json.dumps(record))
            return
        title = run.plan_title or run.plan_path
        click.echo(printable(f"run {run.id}: {title}: {told_status(store, run)}, base {run.base[:12]}"))
        links = {item.outcome.task: item.request.url for item in stored if item.request}
        show(outcome_table([item.outcome for item in stored], links), sys.stdout)
        for attempt in store.attempts(run.id):
            if attempt.status is None:
                since = attempt.started_at.astimezone().isoformat(sep=" ", timespec="seconds")[11:19]
                words = "under way" if not is_dead(store, run, environment()) else "was cut off"
                where = f"{attempt.worktree} {attempt.task}"
                click.echo(printable(f"{where} {words}, begun at {since}: {attempt.title}"))
        for conflict in store.conflicts(run.id):
            click.echo(printable(f"batch {conflict.batch}: {conflict}"))
        for item in stored:
            if item.outcome.error and item.outcome.status not in {Status.SKIPPED, Status.CANCELLED}:
                click.echo(printable(f"\ntask {item.outcome.task}: {item.outcome.error}"))


def _patch_of(store: Store, run: Run, task: str | None, number: int) -> Patch | None:
    if task is None:
        raise click.UsageError("--attempt is of a TASK; name it.")
    for attempt in store.attempts(run.id, task):
        if attempt.number == number:
            return attempt.patch
    hint = "`patchyard status --json` lists them"
    raise UnknownRunError(f"run {run.id} has no attempt {number} at task {task}; {hint}")


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
@database_option
@click.option("--follow", "-f", is_flag=True, help="Go on as the log grows, until the task has ended.")
@attempt_option
def logs(run_name: str, task: str, repo: Path, *, follow: bool, number: int | None) -> None:
    """Print the output of TASK in RUN."""
    with opened(repo) as (repository, store):
        run = store.run(run_name)
        numbers = [attempt.number for attempt in store.attempts(run.id, task)]
        wanted = number or max(numbers, default=1)
        path = log_path(run_directory(repository.common, run.id), task, wanted)

        def ended() -> bool:
            return (
                not follow or store.has_ended(run.id, task) or is_dead(store, store.run(run.id), environment())
            )

        while True:
            last = ended()
            if path.exists():
                break
            if last:
                _check_host(store, run, task, wanted)
                outcome = _task_of(store, run, task).outcome
                why = outcome.error or ("its result was there already" if outcome.cached else "it is gone")
                which = f"attempt {number} at task {task}" if number else f"task {task}"
                raise UnknownRunError(f"{which} of run {run.id} has no log ({outcome.status}): {why}")
            time.sleep(POLL)
        _print_log(path, ended)


def _check_host(store: Store, run: Run, task: str, number: int) -> None:
    """Say on which host a log is, where it is another."""
    for attempt in store.attempts(run.id, task):
        if attempt.number == number and attempt.host not in {None, host_name(environment())}:
            raise UnknownRunError(
                f"task {task} of run {run.id} ran on {attempt.host}, and its log is there: ask on that host"
            )


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
@attempt_option
@repo_option
@database_option
def diff(run_name: str, task: str | None, repo: Path, number: int | None) -> None:
    """Print the patch of TASK in RUN, or those of all of its tasks.

    A task that failed or timed out shows what it had changed by then.
    """
    with opened(repo) as (_, store):
        run = store.run(run_name)
        if number is not None:
            patch = _patch_of(store, run, task, number)
            sys.stdout.buffer.write(patch.diff if patch else b"")
            sys.stdout.buffer.flush()
            return
        chosen = (_task_of(store, run, task),) if task else store.tasks(run.id)
        out = sys.stdout.buffer
        if task and chosen[0].outcome.patch is None:
            click.echo(f"task {task} of run {run.id} has no patch ({chosen[0].outcome.status})", err=True)
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
@database_option
def patches(run_name: str, output: Path, repo: Path) -> None:
    """Write the patch of each task that changed something in RUN to DIR/<task>.patch, and the report beside.

    `git apply --index` takes them, on the commit that the task started from. Failed tasks are left out;
    `patchyard diff` shows theirs. The report is DIR/report.json and DIR/report.md; with it,
    `patchyard publish --from DIR` opens the pull requests, also in another clone.
    """
    from pipeline.report.exporter import export_run  # noqa: PLC0415 - start-up stays quick

    with opened(repo) as (repository, store):
        run = store.run(run_name)
        now_is = current_status(store, run, environment())
        written = export_run(repository, store, replace(run, status=now_is), output)
        for path in written:
            click.echo(str(path))
        if not written:
            click.echo(f"run {run.id} has no task that changed something", err=True)


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--from",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A directory of patches and their report, instead of RUN: from another machine, or a Dagger call.",
)
@repo_option
@database_option
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
    from pipeline.publish.service import bring, publish_run, target_of  # noqa: PLC0415 - start-up stays quick
    from pipeline.report.importer import ImportedRun  # noqa: PLC0415 - start-up stays quick

    if (run_name is None) == (directory is None):
        raise click.UsageError("name either a RUN or a directory with --from DIR.")
    with opened(repo) as (repository, store):
        carried = ImportedRun.at(directory) if directory else None
        run = carried.run if carried else store.run(run_name)
        if told_status(store, run) == "running":
            raise CallError(f"run {run.id} is still under way; publish it when it has ended")
        given = {name: value for name, value in flags.items() if value is not None}
        settings = replace(run.settings, **given)  # type: ignore[arg-type]  # click has converted them
        target = target_of(repository, replace(run, settings=settings), environment(), tell_wait)
        if carried:
            bring(repository, store, carried, target)
    stream = JsonLines(sys.stdout) if as_json else Lines(sys.stdout)
    kept = open_store(repository, environment())
    with kept, Broadcast([stream, EventKeeper(run.id, lambda: kept)]) as listener:
        failures = publish_run(partial(open_store, repository, environment()), run.id, target, listener)
    leave(GITHUB_FAILED if failures else 0)


COMMANDS = (status, logs, diff, patches, publish, runs, agents)

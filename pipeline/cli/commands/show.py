"""Commands that inspect stored runs: `runs`, `status`, `patches`."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from containers.git.repository import Repository
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.console import outcome_table, show, table, verdict_block
from pipeline.events import outcome_fields, timestamp, usage_fields
from pipeline.run.results.conflict_sides import pairs_of, places
from pipeline.run.stored.status import current_status, is_dead, known_plan
from pipeline.run.stored.verdicts import stored_verdict
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store, UnknownRunError
from pipeline.verdict.words import as_fields
from tasks.model import Outcome, Status
from tasks.text import printable


def _run_record(store: Store, run: Run) -> dict[str, object]:
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


def _task_record(stored: StoredTask) -> dict[str, object]:
    request = stored.pull_request
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
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per run.")
def runs(repo: Path, *, as_json: bool) -> None:
    """List the runs of the repository, newest last."""
    with repository_and_store(repo) as (_, store):
        found = store.runs()
        if as_json:
            for run in found:
                click.echo(json.dumps(_run_record(store, run)))
            return
        rows = [
            (
                run.id,
                str(current_status(store, run, environment())),
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
        "start": attempt.start,
        "reason": str(attempt.cause) if attempt.cause else None,
        "log": str(attempt.log) if attempt.log else None,
    }


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--json", "as_json", is_flag=True, help="Write the run and its tasks as one JSON object.")
def status(run_name: str | None, repo: Path, *, as_json: bool) -> None:
    """Show the tasks of RUN, or of the newest run.

    RUN is the id of a run, or a unique prefix of one.
    """
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        verdict = stored_verdict(store, run, current_status(store, run, environment()))
        if as_json:
            tasks = [_task_record(item) for item in store.tasks(run.id)]
            attempts = [_attempt_record(item) for item in store.attempts(run.id)]
            used = {"cost": None, "tokens": {}} | usage_fields(verdict.usage)
            record = {**_run_record(store, run), "tasks": tasks, **as_fields(verdict), **used}
            click.echo(json.dumps({**record, "attempts": attempts}))
            return
        title = run.plan_title or run.plan_path
        click.echo(printable(f"run {run.id}: {title}: {verdict.status}, base {run.base[:12]}"))
        show(outcome_table(verdict), sys.stdout)
        for attempt in store.attempts(run.id):
            if attempt.status is None:
                since = attempt.started_at.astimezone().isoformat(sep=" ", timespec="seconds")[11:19]
                state = "interrupted" if is_dead(store, run, environment()) else "running"
                where = f"{attempt.worktree} {attempt.task}"
                click.echo(printable(f"{where} {state}, started at {since}: {attempt.title}"))
            if attempt.cause:
                click.echo(printable(f"task {attempt.task}, attempt {attempt.number}: {attempt.cause}"))
        _print_conflicts(repository, store, run, {one.task: one for one in verdict.outcomes})
        for outcome in verdict.outcomes:
            if outcome.error and outcome.status not in {Status.SKIPPED, Status.CANCELLED}:
                click.echo(printable(f"\ntask {outcome.task}: {outcome.error}"))
        click.echo()
        show(verdict_block(verdict), sys.stdout)


def _print_conflicts(repository: Repository, store: Store, run: Run, outcomes: Mapping[str, Outcome]) -> None:
    """Print the conflicts of a run, and where they are."""
    if not (found := store.conflicts(run.id)):
        return
    has_batches = _has_batches(run)
    for conflict in found:
        where = f"batch {conflict.batch}: " if has_batches else ""
        click.echo(printable(f"{where}{conflict}"))
        for pair in pairs_of(repository, conflict, outcomes):
            if shown := places(pair):
                click.echo(printable(f"  {pair.other} and {pair.task}: {shown}"))


def _has_batches(run: Run) -> bool:
    """Whether the plan of a run has batches, as far as is known."""
    plan = known_plan(run)
    return plan is None or plan.has_batches


def task_of(store: Store, run: Run, task: str) -> StoredTask:
    """Return a task of a run that has an outcome.

    Raises:
        UnknownRunError: There is none.
    """
    for item in store.tasks(run.id):
        if item.outcome.task == task:
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
            click.echo(f"no task of run {run.id} changed anything", err=True)

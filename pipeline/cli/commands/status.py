"""Commands `status` and `attach`: how a run goes, or went."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from containers.git.repository import Repository
from pipeline.cli.commands.show import run_record
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import INTERRUPTED, RUN_EXIT_CODES, environment, exit_with, repository_and_store
from pipeline.console import OpenTask, outcome_table, verdict_block
from pipeline.events import now, outcome_fields, timestamp, usage_fields
from pipeline.live.follow import RecordLines, detached, follow
from pipeline.live.observer import observer_for
from pipeline.renderables import show
from pipeline.run.control import host_name
from pipeline.run.results.conflict_sides import pairs_of, places
from pipeline.run.stored.status import current_status, known_plan, waits_of
from pipeline.run.stored.verdicts import verdict_from
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from pipeline.verdict.model import Kind, Verdict
from pipeline.verdict.words import as_fields
from tasks.durations import format_duration
from tasks.model import Plan
from tasks.outcome import Outcome, RunStatus, Status
from tasks.text import printable
from tasks.usage import Usage, total


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--watch", "-w", is_flag=True, help="Show the live table of RUN until it ends.")
@click.option("--json", "as_json", is_flag=True, help="Write the run and its tasks as one JSON object.")
def status(run_name: str | None, repo: Path, *, watch: bool, as_json: bool) -> None:
    """Show the tasks of RUN, or of the newest run.

    RUN is the id of a run, or a unique prefix of one.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people; `patchyard attach --json` writes events.")
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        if watch and _watch(store, run, as_json=False) is None:
            exit_with(INTERRUPTED)
        _show(repository, store, store.run(run.id), as_json=as_json)


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--json", "as_json", is_flag=True, help="Write all events of RUN as JSON lines.")
def attach(run_name: str | None, repo: Path, *, as_json: bool) -> None:
    """Show RUN, or the newest run, as if it ran here, until it ends; also one of `patchyard serve`.

    Ctrl-C ends the command; the run continues. Exit codes are those of `patchyard run`, and 130 after Ctrl-C.
    """
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        ended = _watch(store, run, as_json=as_json)
        if ended is None:
            exit_with(INTERRUPTED)
        if not as_json:
            _show(repository, store, store.run(run.id), as_json=False)
        exit_with(RUN_EXIT_CODES.get(ended, 0))


def _watch(store: Store, run: Run, *, as_json: bool) -> RunStatus | None:
    """Show a run until it ends; return its status then, or `None` if the user ended this. Blocking."""
    now_is = current_status(store, run, environment())
    if not as_json and not now_is.is_active and now_is is not RunStatus.PENDING:
        return now_is
    directory = run.directory if run.host in {None, host_name(environment())} else None
    observer = (
        RecordLines(sys.stdout)
        if as_json
        else observer_for(sys.stdout, environment(), as_lines_of_json=False, directory=directory)
    )
    ended = detached(observer, lambda: follow(store, run, environment(), observer))
    if ended is None:
        click.echo(f"run {run.id} continues; `patchyard cancel {run.id}` ends it", err=True)
    return ended


def _show(repository: Repository, store: Store, run: Run, *, as_json: bool) -> None:
    """Print a run and its tasks."""
    plan, stored, attempts = known_plan(run), store.tasks(run.id), store.attempts(run.id)
    now_is = current_status(store, run, environment())
    verdict = verdict_from(store, run, now_is, plan, stored, attempts)
    unfinished = _open_tasks(verdict, plan, attempts)
    if as_json:
        tasks = [_task_record(item) for item in stored]
        used = {"cost": None, "tokens": {}} | usage_fields(verdict.usage)
        record = {**run_record(store, run), "tasks": tasks, **as_fields(verdict), **used}
        record["open"] = [_open_record(task) for task in unfinished]
        steps = store.steps_of_run(run.id)
        record["attempts"] = [
            _attempt_record(item, total(step.usage for step in steps.get((item.task, item.number), ())))
            for item in attempts
        ]
        click.echo(json.dumps(record))
        return
    title = run.plan_title or run.plan_path
    state = f"{verdict.status}{_elapsed(run, verdict.status, attempts)}"
    click.echo(printable(f"run {run.id}: {title}: {state}, base {run.base[:12]}"))
    order = [task.id for task in plan.tasks] if plan else []
    show(outcome_table(verdict, unfinished, order), sys.stdout)
    for attempt in attempts:
        if attempt.cause:
            click.echo(printable(f"task {attempt.task}, attempt {attempt.number}: {attempt.cause}"))
    _print_conflicts(repository, store, run, {one.task: one for one in verdict.outcomes}, plan)
    for outcome in verdict.outcomes:
        if outcome.error and outcome.status not in {Status.SKIPPED, Status.CANCELLED}:
            click.echo(printable(f"\ntask {outcome.task}: {outcome.error}"))
    click.echo()
    show(verdict_block(verdict), sys.stdout)


def _elapsed(run: Run, state: RunStatus, attempts: tuple[StoredAttempt, ...]) -> str:
    """Return for how long a run has been running, without the time before it was resumed."""
    if not state.is_active:
        return ""
    began = [attempt.started_at for attempt in attempts if attempt.status is None]
    since = run.started_at if run.seconds is None else min(began, default=now())
    seconds = (run.seconds or 0.0) + (now() - since).total_seconds()
    return f" for {format_duration(max(0.0, seconds))}"


def _open_tasks(verdict: Verdict, plan: Plan | None, attempts: tuple[StoredAttempt, ...]) -> list[OpenTask]:
    """Return the tasks without an outcome, in the plan's order."""
    titles = {task.id: task.title for task in plan.tasks} if plan else {}
    begun = {attempt.task: attempt for attempt in attempts if attempt.status is None}
    waits = waits_of(attempts, now()) if verdict.status.is_active else {}
    return [
        OpenTask(
            task,
            titles.get(task, ""),
            kind,
            worktree=begun[task].worktree if task in begun else None,
            since=begun[task].started_at if task in begun and kind is Kind.RUNNING else None,
            until=waits.get(task),
        )
        for task, kind in verdict.open_tasks.items()
    ]


def _print_conflicts(
    repository: Repository, store: Store, run: Run, outcomes: Mapping[str, Outcome], plan: Plan | None
) -> None:
    """Print the conflicts of a run, and where they are."""
    for conflict in store.conflicts(run.id):
        where = f"batch {conflict.batch}: " if plan is None or plan.has_batches else ""
        click.echo(printable(f"{where}{conflict}"))
        for pair in pairs_of(repository, conflict, outcomes):
            if shown := places(pair):
                click.echo(printable(f"  {pair.other} and {pair.task}: {shown}"))


def _open_record(task: OpenTask) -> dict[str, object]:
    return {
        "task": task.task,
        "title": task.title,
        "status": str(task.kind),
        "worktree": task.worktree,
        "started_at": timestamp(task.since) if task.since else None,
        "waiting_until": timestamp(task.until) if task.until else None,
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


def _attempt_record(attempt: StoredAttempt, usage: Usage) -> dict[str, object]:
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
        "feedback": attempt.feedback,
        "log": str(attempt.log) if attempt.log else None,
        **usage_fields(usage),
    }

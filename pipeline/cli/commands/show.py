"""Commands that inspect stored runs: `runs`, `status`, `logs`, `diff`, `patches`."""

import codecs
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import click

from containers.filesystem import open_regular
from containers.git.repository import Repository
from containers.raw_log import raw_log_path
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.console import outcome_table, show, table, verdict_block
from pipeline.events import outcome_fields, timestamp, usage_fields
from pipeline.run.control import host_name
from pipeline.run.paths import base_log_path, log_path, run_directory
from pipeline.run.recording.prompts import read_prompts
from pipeline.run.results.conflict_sides import pairs_of, places
from pipeline.run.stored.status import current_status, is_dead, known_plan
from pipeline.run.stored.verdicts import stored_verdict
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store, UnknownRunError
from pipeline.verdict.words import as_fields
from pipeline.view.log_text import LogText
from tasks.model import Outcome, Patch, Status
from tasks.text import printable

attempt_option = click.option(
    "--attempt",
    "number",
    type=click.IntRange(min=1),
    metavar="N",
    help="The Nth attempt of TASK.  [default: the last]",
)
POLL_INTERVAL = 0.1
"""Seconds between two reads of a growing log."""


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


def _patch_of(store: Store, run: Run, task: str | None, number: int) -> Patch | None:
    if task is None:
        raise click.UsageError("--attempt needs a TASK.")
    for attempt in store.attempts(run.id, task):
        if attempt.number == number:
            return attempt.patch
    hint = "`patchyard status --json` lists them"
    raise UnknownRunError(f"run {run.id} has no attempt {number} of task {task}; {hint}")


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
@click.option("--follow", "-f", is_flag=True, help="Keep printing as the log grows, until the task has ended.")
@click.option("--raw", is_flag=True, help="Print what the task's agent printed, as it was.")
@click.option("--prompt", is_flag=True, help="Print what the task's agent was given, in each round.")
@click.option("--base", is_flag=True, help="Print the output of its verification before any change.")
@attempt_option
def logs(  # noqa: PLR0913 - one per option
    run_name: str,
    task: str,
    repo: Path,
    *,
    follow: bool,
    raw: bool,
    prompt: bool,
    base: bool,
    number: int | None,
) -> None:
    """Print the output of TASK in RUN."""
    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        numbers = [attempt.number for attempt in store.attempts(run.id, task)]
        wanted = number or max(numbers, default=1)
        shown = log_path(run_directory(repository.common, run.id), task, wanted)
        path = raw_log_path(shown) if raw else shown
        if prompt:
            _check_host(store, run, task, wanted)
            _print_prompts(read_prompts(shown), f"task {task} of run {run.id}")
            return
        if base:
            for path in _base_logs(store, run, run_directory(repository.common, run.id), task, wanted):
                _print_log(path, lambda: True)
            return

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
                why = outcome.error or ("its result was cached" if outcome.cached else "the log was removed")
                which = f"attempt {number} of task {task}" if number else f"task {task}"
                if raw and shown.exists():
                    why = (
                        "it has no agent whose output is shown otherwise, so `patchyard logs` prints all of it"
                    )
                    raise UnknownRunError(f"{which} of run {run.id} has no raw log: {why}")
                raise UnknownRunError(f"{which} of run {run.id} has no log ({outcome.status}): {why}")
            time.sleep(POLL_INTERVAL)
        _print_log(path, ended)


def _base_logs(store: Store, run: Run, directory: Path, task: str, number: int) -> list[Path]:
    """Return the logs of what `--check-base` ran at the start point of an attempt, each once.

    Raises:
        UnknownRunError: There is none.
    """
    keys = {key for one in store.attempts(run.id, task) if one.number == number for key in one.base_checks}
    checks = [check for check in store.base_checks(run.id) if check.key in keys]
    paths = [directory / check.log.name for check in checks if check.log]
    found = [path for path in dict.fromkeys([*paths, base_log_path(directory, task, number)]) if path.exists()]
    if not found:
        _check_host(store, run, task, number)
        raise UnknownRunError(
            f"task {task} of run {run.id} has no log of its verification before any change: `--check-base` was "
            "not given, or nothing had to be checked"
        )
    return found


def _print_prompts(prompts: Mapping[int, str], task: str) -> None:
    """Print what an agent was given; `task` names the task.

    Raises:
        UnknownRunError: Nothing is known of it.
    """
    if not prompts:
        raise UnknownRunError(f"{task} has no prompt: no agent was called, or its files were removed")
    for number, text in prompts.items():
        if len(prompts) > 1:
            click.echo(f"--- round {number} ---\n")
        click.echo(printable(text))


def _check_host(store: Store, run: Run, task: str, number: int) -> None:
    """Check that a log was written on this host.

    Raises:
        UnknownRunError: It was written on another host; the message names it.
    """
    for attempt in store.attempts(run.id, task):
        if attempt.number == number and attempt.host not in {None, host_name(environment())}:
            raise UnknownRunError(
                f"task {task} of run {run.id} ran on host {attempt.host}; its log is only available there"
            )


def _print_log(path: Path, ended: Callable[[], bool]) -> None:
    """Copy a log to standard output until `ended` returns true, up to its end at that moment. Blocking.

    A terminal gets no control sequence of it; a file or a pipe gets every byte.

    Raises:
        UnknownRunError: It is not a plain file: a pipe would block.
    """
    out, text = sys.stdout.buffer, LogText() if sys.stdout.isatty() else None
    if (log := open_regular(path)) is None:
        raise UnknownRunError(f"{path} is not a plain file, so it is not printed")
    with log:
        while True:
            last = ended()
            while data := log.read(65536):
                out.write(printable(text.add(data)).encode() if text else data)
            if last and text:
                out.write(printable(text.rest).encode())
            out.flush()
            if last:
                return
            time.sleep(POLL_INTERVAL)


def _write_patches(patches: Iterable[Patch | None]) -> None:
    """Write patches to standard output: to a terminal without control characters, else every byte as it is."""
    out, safe = sys.stdout.buffer, sys.stdout.isatty()
    for patch in patches:
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        for block in patch.diff.blocks() if patch else ():
            out.write(printable(decoder.decode(block)).encode() if safe else block)
        if safe:
            out.write(printable(decoder.decode(b"", final=True)).encode())
    out.flush()


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("task", required=False)
@attempt_option
@repo_option
@database_option
def diff(run_name: str, task: str | None, repo: Path, number: int | None) -> None:
    """Print the patch of TASK in RUN, or the patches of all its tasks.

    The patch of a failed or timed-out task holds what it had changed until then.
    """
    with repository_and_store(repo) as (_, store):
        run = store.run(run_name)
        if number is not None:
            _write_patches([_patch_of(store, run, task, number)])
            return
        chosen = (_task_of(store, run, task),) if task else store.tasks(run.id)
        if task and chosen[0].outcome.patch is None:
            click.echo(f"task {task} of run {run.id} has no patch ({chosen[0].outcome.status})", err=True)
        _write_patches(item.outcome.patch for item in chosen)


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

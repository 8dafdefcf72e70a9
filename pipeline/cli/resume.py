"""The commands that act on runs that were begun: `resume`, `retry`, `cancel`."""

import time
from pathlib import Path

import click

from pipeline.cli.options import database_option, environment, leave, repo_option
from pipeline.cli.show import opened
from pipeline.run.lifecycle import (
    RunStateError,
    current_status,
    is_dead,
    is_unpublished,
    plan_of,
    request_stop,
    tasks_to_retry,
)
from pipeline.run.prepare import CallError
from tasks.model import Request, RunStatus
from tasks.text import plural

POLL = 0.1
"""Seconds between two looks at a run that is to end."""
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Write JSON lines, and nothing else, to standard output."
)


notify_option = click.option(
    "--notify",
    metavar="URL",
    help="Tell this URL of the run's end. What `run` was given is not kept, since it may be a secret; "
    "PATCHYARD_NOTIFY and patchyard.toml are read again.",
)


@click.command()
@click.argument("run_name", metavar="RUN")
@repo_option
@database_option
@notify_option
@json_option
@click.option("--served", is_flag=True, hidden=True)  # a server's worker: see `take_up`
def resume(run_name: str, repo: Path, *, notify: str | None, as_json: bool, served: bool) -> None:
    """Go on with RUN, which was interrupted, cancelled, or could not go on.

    What has a result is not run again. A task that was under way starts anew, after what stands in its worktree
    was kept as the patch of that attempt. With the plan, the base and the flags of the run; settings from files
    are read again. A run that was to be published is, also where only that is left to do. Exit codes are those
    of `patchyard run`.
    """
    from pipeline.cli.run import resume_run  # noqa: PLC0415 - start-up stays quick

    with opened(repo) as (repository, store):
        run = store.run(run_name)
        status = current_status(store, run, environment())
        ended = store.tasks(run.id)
        done = len(ended) == len(plan_of(run).tasks)
        to_publish = is_unpublished(store, run)
    if status is RunStatus.SUCCEEDED and done and not to_publish:
        click.echo(f"run {run.id} is complete: there is nothing left to do", err=True)
        return
    leave(resume_run(repository, run, environment(), notify=notify, served=served, as_json=as_json))


@click.command()
@click.argument("run_name", metavar="RUN")
@click.argument("tasks", metavar="[TASK]...", nargs=-1)
@click.option("--failed", is_flag=True, help="Every task that failed or timed out; the default without a TASK.")
@repo_option
@database_option
@notify_option
@json_option
def retry(  # noqa: PLR0913 - what the command takes
    run_name: str, tasks: tuple[str, ...], repo: Path, *, failed: bool, notify: str | None, as_json: bool
) -> None:
    """Run TASKs of RUN again, with what builds on them and what was skipped because of them.

    Each attempt has a log and a patch of its own. Exit codes are those of `patchyard run`.
    """
    from pipeline.cli.run import resume_run  # noqa: PLC0415 - start-up stays quick

    if failed and tasks:
        raise click.UsageError("name TASKs or --failed, not both.")
    with opened(repo) as (repository, store):
        run = store.run(run_name)
        if current_status(store, run, environment()).is_active:
            raise RunStateError(
                f"run {run.id} is under way; retry when it has ended, or `patchyard cancel {run.id}`"
            )
        again = tasks_to_retry(store, run, tasks)
    if not again:
        raise CallError(f"run {run.id} has no task that failed; name the tasks that are to run again")
    leave(resume_run(repository, run, environment(), again=again, notify=notify, as_json=as_json))


@click.command()
@click.argument("run_name", metavar="RUN")
@repo_option
@database_option
@click.option("--no-wait", is_flag=True, help="Return at once, not when the run has ended.")
def cancel(run_name: str, repo: Path, *, no_wait: bool) -> None:
    """End RUN, which is under way in another terminal, on another machine, or below `patchyard serve`.

    As Ctrl-C would: running tasks are ended, their patches are kept, and `patchyard resume` goes on with it.
    """
    with opened(repo) as (_, store):
        run = store.run(run_name)
        request_stop(store, run, environment(), Request.CANCEL)
        while not no_wait and not current_status(store, run := store.run(run.id), environment()).is_over:
            if is_dead(store, run, environment()):
                break
            time.sleep(POLL)
        counts = plural(len(store.tasks(run.id)), "task")
        click.echo(f"run {run.id}: {current_status(store, run, environment())}, {counts} with an outcome")


COMMANDS = (resume, retry, cancel)

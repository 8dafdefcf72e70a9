"""Commands `resume`, `retry` and `cancel`."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from pipeline.cli.chosen import choose
from pipeline.cli.options import REPEATABLE, F, database_option, repo_option, setting_option
from pipeline.cli.process import RUN_EXIT_CODES, environment, exit_with, repository_and_store
from pipeline.config.settings import SETTINGS
from pipeline.events import RunFinished
from pipeline.json_lines import JsonLines
from pipeline.run.call.plan_file import CallError
from pipeline.run.stored.onto import causes_onto, from_text
from pipeline.run.stored.requests import feedback_for, request_stop, tasks_to_retry
from pipeline.run.stored.status import RunStateError, current_status, is_dead, is_unpublished, plan_of
from pipeline.run.stored.verdicts import verdict_from
from pipeline.store.records import Run
from pipeline.verdict.model import Verdict
from pipeline.verdict.words import advice
from tasks.groups import usage_of_groups
from tasks.model import Plan
from tasks.outcome import Request, RunStatus
from tasks.text import plural

POLL_INTERVAL = 0.1
"""Seconds between two checks whether a cancelled run has ended."""
json_option = click.option("--json", "as_json", is_flag=True, help="Write only JSON lines to standard output.")
notify_option = click.option(
    "--notify",
    metavar="URL",
    help="Webhook URL to call when the run ends. The URL that was given to `run` is not stored, since it may "
    "be secret; PATCHYARD_NOTIFY and patchyard.toml are read again.",
)
remote_option = click.option(
    "--remote",
    metavar="NAME",
    help="Remote to push to, wherever it leads now.  [default: that of the run, if it has not moved since]",
)


def budget_options(function: F) -> F:
    """Add the options for what the run may cost from now on."""
    for name in ("task_budget", "budget"):
        function = setting_option(replace(SETTINGS[name], default_text="that of the run"))(function)
    return function


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@notify_option
@remote_option
@budget_options
@json_option
@click.option("--served", is_flag=True, hidden=True)  # set by a worker process of a server
@click.option("--keep", is_flag=True, hidden=True)  # likewise: for the tasks that a request retries
@click.option("--onto", hidden=True)  # likewise
def resume(  # noqa: PLR0913 - the command's own parameters
    run_name: str | None,
    repo: Path,
    *,
    notify: str | None,
    remote: str | None,
    budget: str | None,
    task_budget: str | None,
    as_json: bool,
    served: bool,
    keep: bool,
    onto: str | None,
) -> None:
    """Resume RUN, or the newest run, which was interrupted, cancelled, or ended by an error.

    Tasks that have a result are not run again. A task that was running starts again from the beginning, or
    after its last round that had ended; the changes in its worktree are first stored as the patch of the
    interrupted attempt. The plan, the base and the options are those of the run; settings from files are read
    again. A run with --publish is published, even if nothing else is left to do. Exit codes are those of
    `patchyard run`.
    """
    from pipeline.cli.commands.resumption import resume_run  # noqa: PLC0415 - start-up stays quick

    with repository_and_store(repo) as (repository, store):
        run = store.run(run_name)
        status = current_status(store, run, environment())
        ended = store.tasks(run.id)
        plan = plan_of(run)
        done = len(ended) == len(plan.tasks)
        verdict = verdict_from(store, run, status, plan, ended, store.attempts(run.id))
        to_publish = is_unpublished(store, run)
    only_conflicts = status is RunStatus.FAILED and verdict.has_only_conflicts
    if (status is RunStatus.SUCCEEDED or only_conflicts) and done and not to_publish:
        click.echo(f"run {run.id} is complete: {_what_is_left(verdict)}", err=True)
        if as_json:
            JsonLines(sys.stdout).notify(_finished(run, plan, verdict))
        exit_with(RUN_EXIT_CODES[status])
    exit_with(
        resume_run(
            repository,
            run,
            environment(),
            keep=keep,
            notify=notify,
            remote=remote,
            changed={"budget": budget, "task_budget": task_budget},
            served=served,
            onto=from_text(onto),
            as_json=as_json,
        )
    )


def _what_is_left(verdict: Verdict) -> str:
    if not verdict.has_only_conflicts:
        return "nothing left to do"
    commands = " or ".join(f"`{one.command}`" for one in advice(verdict) if " retry " in one.command)
    return f"nothing left to do, but {len(verdict.conflicts)} in conflict; {commands} solves it"


def _finished(run: Run, plan: Plan, verdict: Verdict) -> RunFinished:
    """Return the event that ended a run which has finished."""
    return RunFinished(
        run=run.id,
        status=run.status,
        seconds=run.seconds or 0.0,
        speedup=run.speedup or 0.0,
        efficiency=run.efficiency or 0.0,
        outcomes=tuple(verdict.outcomes),
        usage=verdict.usage,
        groups=usage_of_groups(plan, verdict.outcomes),
        conflicts=tuple(verdict.conflicts),
        requests=tuple(verdict.requests),
        unpublished=tuple(verdict.unpublished),
        left_out=tuple(verdict.left_out),
        without=verdict.without,
        publishes=verdict.publishes,
    )


@click.command()
@click.argument("names", metavar="[RUN] [TASK]...", nargs=-1)
@click.option(
    "--failed", is_flag=True, help="Retry every task that failed or timed out; the default without a TASK."
)
@click.option("--keep", is_flag=True, help="Start from what the failed attempts left.")
@click.option(
    "--onto",
    "others",
    multiple=True,
    metavar="OTHER",
    help=f"Let the TASK start from the changes of this task, with which its own conflict{REPEATABLE}",
)
@click.option(
    "--feedback",
    metavar="TEXT",
    help="What the agents of the TASKs are given about their last attempts: what to do otherwise.",
)
@repo_option
@database_option
@notify_option
@remote_option
@budget_options
@json_option
def retry(  # noqa: PLR0913 - the command's own parameters
    names: tuple[str, ...],
    repo: Path,
    *,
    failed: bool,
    keep: bool,
    others: tuple[str, ...],
    feedback: str | None,
    notify: str | None,
    remote: str | None,
    budget: str | None,
    task_budget: str | None,
    as_json: bool,
) -> None:
    """Run TASKs of RUN again, with the tasks that build on them or were skipped because of them.

    Without RUN, the newest run is meant; without TASKs, those that failed.
    Each attempt has its own log and patch. An agent is given the last failure. Exit codes are those
    of `patchyard run`.
    """
    from pipeline.cli.commands.resumption import resume_run  # noqa: PLC0415 - start-up stays quick

    with repository_and_store(repo) as (repository, store):
        run, tasks = choose(store, names)
        if failed and tasks:
            raise click.UsageError("name TASKs or --failed, not both.")
        if current_status(store, run, environment()).is_active:
            raise RunStateError(
                f"run {run.id} is still running; retry when it has ended, or "
                f"end it with `patchyard cancel {run.id}`"
            )
        onto = causes_onto(repository, store, run, tasks, others)
        again = tasks_to_retry(store, run, tasks)
        said = feedback_for(store, run, tasks, feedback) if again else {}
    if not again:
        raise CallError(f"run {run.id} has no failed task; name the tasks to run again")
    exit_with(
        resume_run(
            repository,
            run,
            environment(),
            again=again,
            onto=onto,
            feedback=said,
            keep=keep,
            notify=notify,
            remote=remote,
            changed={"budget": budget, "task_budget": task_budget},
            as_json=as_json,
        )
    )


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option("--no-wait", is_flag=True, help="Return at once, without waiting for the run to end.")
def cancel(run_name: str | None, repo: Path, *, no_wait: bool) -> None:
    """Cancel RUN, which is running in another terminal, on another machine, or in `patchyard serve`.

    Without RUN, the newest run is meant.
    This has the effect of Ctrl-C: running tasks are terminated, their patches are kept, and `patchyard resume`
    runs what is left.
    """
    with repository_and_store(repo) as (_, store):
        run = store.run(run_name)
        request_stop(store, run, environment(), Request.CANCEL)
        while not no_wait and not current_status(store, run := store.run(run.id), environment()).is_over:
            if is_dead(store, run, environment()):
                break
            time.sleep(POLL_INTERVAL)
        counts = plural(len(store.tasks(run.id)), "task")
        click.echo(f"run {run.id}: {current_status(store, run, environment())}, {counts} with an outcome")

"""Command `run`, and what it has in common with the resumption of runs."""

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import click

from containers.git.repository import Repository
from pipeline.broadcast import Broadcast
from pipeline.cli.commands.remarks import print_warnings
from pipeline.cli.process import (
    GITHUB_FAILED,
    OUTPUT_FAILED,
    RUN_EXIT_CODES,
    interrupt_on_sigterm,
    report_wait,
)
from pipeline.config.settings import DEFAULT_REMOTE
from pipeline.events import Event, Notice, RunFinished, now
from pipeline.events import as_json as event_as_json
from pipeline.live.observer import observer_for
from pipeline.run.call.prepare import Call, Prepared, prepare
from pipeline.run.context import ResumeState
from pipeline.run.execute import execute, recorder_for
from pipeline.run.recording.recorder import EventWriter, Recorder
from pipeline.run.stored.open_store import open_store, repository_id
from pipeline.store.database_url import VARIABLE
from pipeline.store.records import new_run_id
from tasks.dialects.wording import nothing_to_start
from tasks.errors import PatchyardError
from tasks.outcome import RunStatus
from tasks.text import plural, printable

if TYPE_CHECKING:
    from pipeline.publish.service import Target


def run_plan(call: Call, repository: Repository, *, as_json: bool) -> int:
    """Run a plan in the repository of the call, show its progress, and return the exit code. Blocking.

    Raises:
        PatchyardError: The plan or an option is invalid, or the run was ended by an error.
    """
    interrupt_on_sigterm()
    with repository.preparing_ahead(DEFAULT_REMOTE):
        prepared = prepare(call, repository=repository)
        print_warnings(prepared)
        if left := nothing_to_start(prepared.plan):
            notice = Notice(message=f"{prepared.plan.path}: {left}: nothing is left to run")
            click.echo(event_as_json(notice) if as_json else printable(notice.message))
            return 0
        target = None
        if prepared.settings.publish:
            from pipeline.publish.service import target_for_call  # noqa: PLC0415 - start-up stays quick

            target = target_for_call(prepared, on_wait=report_wait)
        database = call.environ.get(VARIABLE)
        shared = repository_id(repository, call.environ) if database else ""
        opener = partial(open_store, repository, call.environ)
        recorder = recorder_for(prepared, new_run_id(now()), opener, shared)
    return execute_and_publish(prepared, recorder, ResumeState(), target, as_json=as_json)


class _FinishedObserver:
    """Observer that remembers how the run ended."""

    def __init__(self) -> None:
        self.finished: RunFinished | None = None

    def notify(self, event: Event) -> None:
        """Remember the event if it is the end of the run."""
        if isinstance(event, RunFinished):
            self.finished = event

    def close(self) -> None:
        """Do nothing."""


def execute_and_publish(
    prepared: Prepared, recorder: Recorder, before: ResumeState, target: "Target | None", *, as_json: bool
) -> int:
    """Execute a run, publish it if there is a target, notify its webhook, and return the exit code. Blocking.

    Raises:
        PatchyardError: The run was ended by an error.
    """
    run_id, failures = recorder.run.id, 0
    last = _FinishedObserver()
    observers = [
        observer_for(
            sys.stdout,
            prepared.call.environ,
            as_lines_of_json=as_json,
            directory=recorder.run.directory,
            known=[stored.outcome for stored in before.tasks.values()],
            notifies=prepared.settings.notify_desktop,
        ),
        EventWriter(run_id, recorder.wait),
        last,
    ]
    with recorder:
        try:
            with Broadcast(observers) as listener:
                try:
                    finished = anyio.run(partial(execute, prepared, recorder, listener, before=before))
                finally:
                    recorder.stop_waiting()
                if target is not None and not _is_resumable(finished):
                    failures, finished = _publish(prepared, target, listener, finished)
                    if failures and as_json:
                        hint = f"`patchyard publish {run_id}` tries again"
                        failed = plural(failures, "task")
                        click.echo(f"patchyard: {failed} could not be published; {hint}", err=True)
                finished = _with_publication(recorder, finished, publishes=target is not None)
                if warning := _send_notification(prepared, recorder, finished, failures):
                    listener.notify(Notice(message=warning, level="warning"))
                listener.notify(replace(finished, time=now()))
        except PatchyardError:
            if last.finished and (warning := _send_notification(prepared, recorder, last.finished)):
                click.echo(f"warning: {warning}", err=True)
            raise
    code = RUN_EXIT_CODES[finished.status] or (GITHUB_FAILED if failures else 0)
    if listener.failure is None or isinstance(listener.failure, BrokenPipeError):
        return code
    click.echo(f"patchyard: cannot write the output: {listener.failure}", err=True)
    return code or OUTPUT_FAILED


def _is_resumable(finished: RunFinished) -> bool:
    return finished.status in {RunStatus.CANCELLED, RunStatus.INTERRUPTED}


def _with_publication(recorder: Recorder, finished: RunFinished, *, publishes: bool) -> RunFinished:
    """Return the end of a run with its pull requests, and what is in none. Blocking."""
    if (store := recorder.wait(0)) is None:
        return finished
    from pipeline.run.stored.verdicts import with_stored_facts  # noqa: PLC0415 - start-up stays quick

    try:
        return with_stored_facts(store, recorder.run, finished, publishes=publishes)
    except PatchyardError:
        return finished


def _send_notification(
    prepared: Prepared, recorder: Recorder, finished: RunFinished, unpublished: int = 0
) -> str | None:
    """Send the notification of a run's end, if one is configured; return why it could not be sent. Blocking.

    `unpublished` is the number of tasks that could not be published.
    """
    url = prepared.settings.notify
    # An interrupted run is resumed later, and sends its notification then.
    if url is None or finished.status is RunStatus.INTERRUPTED:
        return None
    from pipeline.run.webhook import Notification, notify  # noqa: PLC0415 - start-up stays quick

    interrupt_on_sigterm()
    try:
        end = Notification(finished, recorder.run.plan_title, recorder.run.plan_path, unpublished)
        notify(url, end, prepared.call.environ)
    except PatchyardError as error:
        return str(error)
    except KeyboardInterrupt:
        return "cancelled: the notification was not sent"
    return None


def _publish(
    prepared: Prepared, target: "Target", listener: Broadcast, finished: RunFinished
) -> tuple[int, RunFinished]:
    """Publish a run; return the number of tasks that could not be, and the end of the run. Blocking.

    When publishing is interrupted the run ends as cancelled.
    """
    from pipeline.publish.service import publish_run  # noqa: PLC0415 - start-up stays quick

    interrupt_on_sigterm()
    hint = f"run `patchyard publish {finished.run}` to publish the rest"
    try:
        with open_store(prepared.repository, prepared.call.environ) as store:
            return publish_run(store, finished.run, target, listener), finished
    except PatchyardError as error:
        listener.notify(Notice(message=f"publishing failed: {error}", level="error"))
        listener.notify(Notice(message=hint))
        return 1, finished
    except KeyboardInterrupt:
        listener.notify(Notice(message=f"cancelled; {hint}", level="warning"))
        return 0, replace(finished, status=RunStatus.CANCELLED)

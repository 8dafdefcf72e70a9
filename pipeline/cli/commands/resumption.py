"""The resumption of a stored run by a command."""

from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType

import click

from containers.git.repository import Repository
from pipeline.cli.commands.run import execute_and_publish
from pipeline.cli.process import interrupt_on_sigterm, report_wait
from pipeline.run.recording.recorder import Recorder
from pipeline.run.stored.claim import as_published, claim_and_resume, with_remote, with_settings
from pipeline.run.stored.open_store import open_store
from pipeline.run.stored.stacks import NOTHING
from pipeline.store.records import Run
from tasks.conflicts import Cause


def resume_run(  # noqa: PLR0913 - how a run is resumed, all of it named
    repository: Repository,
    run: Run,
    environ: Mapping[str, str],
    *,
    again: Collection[str] = (),
    keep: bool = False,
    notify: str | None = None,
    remote: str | None = None,
    changed: Mapping[str, object] | None = None,
    served: bool = False,
    feedback: Mapping[str, str] = MappingProxyType({}),
    onto: Mapping[str, Cause] = NOTHING,
    as_json: bool,
) -> int:
    """Resume a stored run, show its progress, and return the exit code. Blocking.

    Args:
        repository: The repository of the run.
        run: The run.
        environ: The environment variables.
        again: Ids of tasks to run again although they have a result.
        keep: Whether these start from what their last attempts left.
        notify: Webhook URL to call when the run ends.
        remote: Remote to push to, wherever it leads now; without one, that of the run, if it has not moved.
        changed: Settings that the run has from now on; `None` for those that stay.
        served: Whether a server resumes it; pending requests to cancel or pause the run are then kept.
        onto: Why tasks run again on top of others; see `causes_onto`.
        feedback: What the user says of some of these tasks, for their agents.
        as_json: Whether to write JSON lines.

    Raises:
        PatchyardError: The run is running elsewhere, cannot be resumed here, or was ended by an error.
    """
    interrupt_on_sigterm()
    run = with_settings(with_remote(run, repository, remote) if remote else run, changed or {})
    opener = partial(open_store, repository, environ)
    store = opener()
    try:
        from pipeline.publish.service import target_to_resume  # noqa: PLC0415 - start-up stays quick

        run = as_published(store, run)
        target = target_to_resume(repository, run, environ, on_wait=report_wait)
        claimed = claim_and_resume(
            repository,
            store,
            run,
            environ,
            again=again,
            keep=keep,
            served=served,
            notify=notify,
            onto=onto,
            feedback=feedback,
        )
    except BaseException:
        store.close()
        raise
    if run.call.notify and claimed.prepared.settings.notify is None:
        click.echo(
            "warning: no notification will be sent: the URL given with --notify is not stored, since it may be "
            "secret; give --notify again, or set PATCHYARD_NOTIFY",
            err=True,
        )
    recorder = Recorder(opener, claimed.run, store=store)
    return execute_and_publish(claimed.prepared, recorder, claimed.before, target, as_json=as_json)

"""What `run`, `run --dry-run` and `check` do, and show."""

import json
import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import click

from containers.git.repository import NotARepositoryError, Repository
from pipeline.cli.options import interruptible, tell_wait
from pipeline.config.settings import load
from pipeline.console import observer_for
from pipeline.events import Broadcast, Event, Notice, RunFinished, now, timestamp
from pipeline.run.attempt import steps_of
from pipeline.run.execute import ResumeState, execute, recorder_for
from pipeline.run.lifecycle import claim_and_resume, open_store, repository_id
from pipeline.run.prepare import Call, Prepared, check_agents, left_out_warning, parse_plan, prepare, read_plan
from pipeline.run.recorder import EventKeeper, Recorder
from pipeline.store.engine import VARIABLE
from pipeline.store.records import Run, new_run_id
from tasks.errors import PatchyardError
from tasks.model import RunStatus, Task
from tasks.plan.parser import Diagnostic
from tasks.text import plural, printable

if TYPE_CHECKING:
    from pipeline.publish.service import Target

EXIT_CODES = {
    RunStatus.SUCCEEDED: 0,
    RunStatus.FAILED: 1,
    RunStatus.CANCELLED: 130,
    RunStatus.INTERRUPTED: 130,
}
GITHUB_FAILED = 3
BAD_PLAN = 2
OUTPUT_FAILED = 1


def run_plan(call: Call, *, as_json: bool) -> int:
    """Run a plan, show how it goes, and return the exit code.

    Raises:
        PatchyardError: The call is wrong, or the run could not go on.
    """
    interruptible()
    prepared = prepare(call)
    _warn(prepared.warnings)
    _warn_of_left_out(prepared)
    target = None
    if prepared.settings.publish:
        from pipeline.publish.service import connect_for  # noqa: PLC0415 - start-up stays quick

        target = connect_for(prepared, on_wait=tell_wait)
    database = call.environ.get(VARIABLE)
    shared = repository_id(prepared.repository, call.environ) if database else ""
    opener = partial(open_store, prepared.repository, call.environ)
    recorder = recorder_for(prepared, new_run_id(now()), opener, shared)
    return _work(prepared, recorder, ResumeState(), target, as_json=as_json)


def resume_run(  # noqa: PLR0913 - how a run goes on, all of it named
    repository: Repository,
    run: Run,
    environ: Mapping[str, str],
    *,
    again: Collection[str] = (),
    notify: str | None = None,
    served: bool = False,
    as_json: bool,
) -> int:
    """Go on with a run that is stored, show how it goes, and return the exit code.

    Args:
        repository: Whose run it is.
        run: The run.
        environ: The environment.
        again: Tasks that are to run again, though they have a result.
        notify: The URL that is told of the end.
        served: Whether a server has it done, and what was asked of the run before still stands.
        as_json: Whether it is shown as JSON lines.

    Raises:
        PatchyardError: It is under way elsewhere, or cannot go on here.
    """
    interruptible()
    opener = partial(open_store, repository, environ)
    store = opener()
    try:
        from pipeline.publish.service import target_to_resume  # noqa: PLC0415 - start-up stays quick

        target = target_to_resume(repository, run, environ, on_wait=tell_wait)
        taken = claim_and_resume(repository, store, run, environ, again=again, served=served, notify=notify)
    except BaseException:
        store.close()
        raise
    if run.call.notify and taken.prepared.settings.notify is None:
        click.echo(
            "warning: the URL that --notify named is not kept, since it may be a secret, so nobody is told of "
            "the end: name it again with --notify, or in PATCHYARD_NOTIFY",
            err=True,
        )
    recorder = Recorder(opener, taken.run, of=store)
    return _work(taken.prepared, recorder, taken.before, target, as_json=as_json)


def _work(
    prepared: Prepared, recorder: Recorder, before: ResumeState, target: "Target | None", *, as_json: bool
) -> int:
    run_id, failures = recorder.run.id, 0
    observers = [observer_for(sys.stdout, as_lines_of_json=as_json), EventKeeper(run_id, recorder.wait)]
    with recorder, _Ending(prepared, recorder) as ending, Broadcast([*observers, ending]) as listener:
        try:
            finished = anyio.run(partial(execute, prepared, recorder, listener, before=before))
        finally:
            recorder.settle()
        if finished.status in {RunStatus.CANCELLED, RunStatus.INTERRUPTED}:
            listener.notify(
                Notice(message=f"nothing was published; `patchyard resume {run_id}` goes on with what is left")
            )
        elif target is not None:
            failures, finished = _publish(prepared, target, listener, finished)
            if failures and as_json:
                hint = f"`patchyard publish {run_id}` tries again"
                click.echo(f"patchyard: {plural(failures, 'task')} could not be published; {hint}", err=True)
        elif changed := [outcome for outcome in finished.outcomes if outcome.commit]:
            hint = f"`patchyard publish {run_id}` opens the pull requests"
            listener.notify(Notice(message=f"{plural(len(changed), 'branch')}, nothing published; {hint}"))
        if warning := _tell_of_end(prepared, recorder, finished, failures):
            listener.notify(Notice(message=warning, level="warning"))
        listener.notify(replace(finished, time=now()))
    code = EXIT_CODES[finished.status] or (GITHUB_FAILED if failures else 0)
    if listener.failure is None or isinstance(listener.failure, BrokenPipeError):
        return code
    click.echo(f"patchyard: the output could not be written: {listener.failure}", err=True)
    return code or OUTPUT_FAILED


def _tell_of_end(
    prepared: Prepared, recorder: Recorder, finished: RunFinished, unpublished: int = 0
) -> str | None:
    """Send the notification of a run's end, where one is asked for; returns why it could not be sent."""
    url = prepared.settings.notify
    if url is None or finished.status is RunStatus.INTERRUPTED:  # that one goes on later, and ends then
        return None
    from pipeline.run.webhook import End, notify  # noqa: PLC0415 - start-up stays quick

    interruptible()
    try:
        store = recorder.wait(0)
        stored = store.tasks(finished.run) if store else ()
        requests = [item.request for item in stored if item.request]
        end = End(finished, recorder.run.plan_title, recorder.run.plan_path, requests, unpublished)
        notify(url, end, prepared.call.environ)
    except PatchyardError as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupted: the notification was not sent"
    return None


class _Ending:
    """An observer that sees how a run ended; as a context manager it tells of one that could not go on."""

    def __init__(self, prepared: Prepared, recorder: Recorder) -> None:
        self._prepared = prepared
        self._recorder = recorder
        self._finished: RunFinished | None = None

    def notify(self, event: Event) -> None:
        """Remember the end."""
        if isinstance(event, RunFinished):
            self._finished = event

    def close(self) -> None:
        """Nothing is held back."""

    def __enter__(self) -> Self:
        """Return the observer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Tell of an end that came by an error."""
        if isinstance(error, PatchyardError) and self._finished:
            warning = _tell_of_end(self._prepared, self._recorder, self._finished)
            if warning:
                click.echo(f"warning: {warning}", err=True)


def _publish(
    prepared: Prepared, target: "Target", listener: Broadcast, finished: RunFinished
) -> tuple[int, RunFinished]:
    """Publish a run; returns how many tasks could not be, and how the run ends when this is interrupted."""
    from pipeline.publish.service import publish_run  # noqa: PLC0415 - start-up stays quick

    interruptible()
    hint = f"`patchyard publish {finished.run}` publishes what is left"
    try:
        opener = partial(open_store, prepared.repository, prepared.call.environ)
        return publish_run(opener, finished.run, target, listener), finished
    except PatchyardError as error:
        listener.notify(Notice(message=f"publishing could not go on: {error}", level="error"))
        listener.notify(Notice(message=hint))
        return 1, finished
    except KeyboardInterrupt:
        listener.notify(Notice(message=f"interrupted; {hint}", level="warning"))
        return 0, replace(finished, status=RunStatus.CANCELLED)


def show_plan(call: Call, *, as_json: bool) -> int:
    """Show what a run would do, without doing any of it; returns the exit code.

    Raises:
        PatchyardError: The call is wrong.
    """
    prepared = prepare(call)
    _warn(prepared.warnings)
    _warn_of_left_out(prepared)
    settings = prepared.settings
    if not as_json:
        base = f"{prepared.base[:12]}{f' ({prepared.base_name})' if prepared.base_name else ''}"
        click.echo(f"would run {plural(len(prepared.plan.tasks), 'task')} of {prepared.plan.path} from {base},")
        click.echo(f"in a pool of {settings.pool_size} worktrees at {prepared.worktrees}")
    for batch in prepared.plan.batches:
        if not batch.tasks:
            continue
        if not as_json:
            builds = ", ".join(map(str, batch.dependencies or ()))
            on = f", builds on batch {builds}" if builds else ""
            click.echo(printable(f"\nbatch {batch.number}: {batch.title} ({settings.mode_for(batch)}{on})"))
        for task in batch.tasks:
            record = _would_run(prepared, task, str(settings.mode_for(batch)))
            click.echo(json.dumps(record) if as_json else _would_run_text(record))
    return 0


def _would_run(prepared: Prepared, task: Task, mode: str) -> dict[str, object]:
    settings = prepared.settings
    return {
        "event": "would_run",
        "time": timestamp(now()),
        "task": task.id,
        "title": task.title,
        "batch": task.batch,
        "mode": mode,
        "skipped": task.completed,
        "depends_on": list(task.dependencies),
        "branch": settings.branch.format(plan=prepared.plan.name, task=task.id, run="RUN"),
        "timeout": settings.timeout_for(task),
        "steps": [
            {"kind": str(step.kind), "command": prepared.secrets.mask_text(step.title)}
            for step in steps_of(task, prepared.plan, settings)
        ],
    }


def _would_run_text(record: Mapping[str, object]) -> str:
    lines = [f"  task {record['task']}: {record['title']}"]
    if record["skipped"]:
        lines[0] += " (skipped: the plan says that it is completed)"
    elif record["depends_on"]:
        lines[0] += f" (after {', '.join(map(str, record['depends_on']))})"  # type: ignore[call-overload]  # a list, see above
    if not record["skipped"]:
        lines += [f"    {step['kind']:6} {step['command']}" for step in record["steps"]]  # type: ignore[attr-defined]  # likewise
        lines.append(f"    branch {record['branch']}")
    return printable("\n".join(lines))


def check_plan(path: str, repo: Path, environ: Mapping[str, str], *, agent: str | None, as_json: bool) -> int:
    """Report a plan's mistakes, and show which verification is run and which goes to the agent.

    Returns the exit code: 0 when the plan can be run, 2 when it has errors. A repository is not needed; without
    one, the configuration file is looked for in `repo` itself.
    """
    try:
        root = Repository.open(repo, environ).root
    except NotARepositoryError:
        root = repo
    sources = load({"agent": agent}, environ, root)
    parsed = parse_plan(read_plan(path), path, sources, environ)
    if as_json:
        for found in parsed.diagnostics:
            click.echo(json.dumps(_diagnostic_record(found)))
    else:
        _warn(parsed.diagnostics)
    if parsed.plan is None:
        return BAD_PLAN
    settings = sources.resolve(parsed.plan.settings)
    check_agents(parsed.plan, settings, environ)
    for task in parsed.plan.tasks:
        steps = steps_of(task, parsed.plan, settings)
        prose = [item.text for item in task.verification if item.step is None]
        if as_json:
            record = {
                "event": "task",
                "time": timestamp(now()),
                "task": task.id,
                "title": task.title,
                "batch": task.batch,
                "runs": [{"kind": str(step.kind), "command": step.title} for step in steps],
                "prose": prose,
            }
            click.echo(json.dumps(record))
        else:
            click.echo(printable(f"task {task.id}: {task.title}"))
            for step in steps:
                click.echo(printable(f"  {step.kind:6} {step.title}"))
            for text in prose:
                click.echo(printable(f"  prose  {' '.join(text.split())}"))
    if not as_json:
        counts = f"{plural(len(parsed.plan.tasks), 'task')} in {plural(len(parsed.plan.batches), 'batch')}"
        click.echo(f"{path}: {counts}: the plan can be run")
    return 0


def _diagnostic_record(found: Diagnostic) -> dict[str, object]:
    return {
        "event": "diagnostic",
        "time": timestamp(now()),
        "path": found.path,
        "line": found.line,
        "column": found.column,
        "severity": str(found.severity),
        "message": found.message,
    }


def _warn_of_left_out(prepared: Prepared) -> None:
    if warning := left_out_warning(prepared):
        click.echo(warning, err=True)


def _warn(diagnostics: tuple[Diagnostic, ...]) -> None:
    for found in diagnostics:
        click.echo(printable(str(found)), err=True)

"""Results that a task has without a new attempt: of the run before it was resumed, or of the same work."""

from dataclasses import replace
from datetime import datetime
from time import perf_counter

from anyio import to_thread

from pipeline.events import Notice, now
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import RunContext
from pipeline.run.outcomes import TaskResult
from pipeline.run.results.bases import StartPoint
from pipeline.run.results.restore import applies, restore_commit
from pipeline.store.records import StoredTask
from pipeline.store.store import Store
from tasks.keys import inputs_of
from tasks.outcome import Outcome, Patch, Status


def restored(context: RunContext, spec: TaskSpec, start: StartPoint, stored: StoredTask) -> Outcome:
    """Return the outcome that a task had before the run was resumed, with its commit and branches. Blocking.

    The commit may be on another host, or have lost objects to `git gc --prune=now` or to a loss of power.

    Raises:
        PatchyardError: The patch gives another commit here.
    """
    outcome = stored.outcome
    if outcome.commit and outcome.branch:
        if context.bases.below(spec.task):
            context.bases.task_start(spec.task, start, context.outcomes)
        if restore_commit(context.repository, context.run, spec.task, outcome):
            message = f"the commit of task {spec.id} was not whole, and was made again from its patch"
            context.listener.notify(Notice(message=message))
        wanted = {stored.start_branch: outcome.start, outcome.branch: outcome.commit}
        for name, commit in wanted.items():
            if name and commit:
                context.branches.restore(name, commit)
    return outcome


async def kept(context: RunContext, spec: TaskSpec, start: StartPoint) -> TaskResult | None:
    """Return the stored patch of a task whose branch could not be set before; `None` where there is none.

    A patch for another start point is of no use any more; it stays with its attempt.
    """
    outcome = context.before.kept.get(spec.id)
    patch = outcome.patch if outcome else None
    if (
        outcome is None
        or patch is None
        or not await to_thread.run_sync(applies, context.repository, patch, start.commit)
    ):
        return None
    outcome = replace(outcome, status=Status.UNCHANGED, exit_code=0, error=None)
    return TaskResult(outcome, start, attempt=context.before.attempts.get(spec.id))


async def succeeded(context: RunContext, spec: TaskSpec, start: StartPoint) -> TaskResult | None:
    """Return the result of an attempt that was cut off after its last round had succeeded, if there is one."""
    continued = context.continued(spec.id)
    last = continued.ended if continued else None
    patch = last.patch if last else None
    if continued is None or last is None or patch is None:
        return None
    if not await to_thread.run_sync(applies, context.repository, patch, start.commit):
        return None
    outcome = replace(
        _outcome(spec, start, patch, now()),
        rounds=last.number,
        said=last.said,
        fails_before=context.base_checks.fail_at(start.commit, spec.steps),
    )
    return TaskResult(outcome, start, attempt=context.before.attempts.get(spec.id))


async def release_kept(context: RunContext, spec: TaskSpec) -> None:
    """Move the stored patch of a task, if one waits for its commit, to its attempt: another outcome follows."""
    if spec.id in context.before.kept:
        await context.recorder.call(Store.mark_for_redo, context.run.id, [spec.id])


async def cached(context: RunContext, spec: TaskSpec, start: StartPoint) -> TaskResult | None:
    """Return the cached result of the same work; `None` where there is none, or it must not be used."""
    results = context.results
    if results is None or spec.id in context.before.again:
        return None
    began, moment = perf_counter(), now()
    version = await context.agent_version(spec)
    inputs = await to_thread.run_sync(context.inputs, spec, start, version)
    found = await to_thread.run_sync(results.find, inputs, start.commit)
    if found is None:
        return None
    outcome = replace(_outcome(spec, start, found.patch, moment), cached=True, said=found.said)
    return TaskResult(outcome, start, inputs_of(inputs), began=began)


def _outcome(spec: TaskSpec, start: StartPoint, patch: Patch, moment: datetime) -> Outcome:
    """Return the outcome of a task that has its patch already, from `moment` on."""
    return Outcome(
        task=spec.id,
        title=spec.title,
        batch=spec.task.batch,
        status=Status.UNCHANGED,
        started_at=moment,
        start=start.commit,
        exit_code=0,
        files=patch.files,
        patch=patch if patch.files else None,
    )

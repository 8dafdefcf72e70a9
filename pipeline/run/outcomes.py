"""Outcomes of tasks: without running, from the result cache, committed, or failed afterwards."""

from dataclasses import replace
from time import perf_counter

from anyio import CancelScope, to_thread

from containers.git.repository import BranchMovedError, GitError
from pipeline.events import now
from pipeline.run.bases import StartPoint
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.commits import commit_message, signature
from pipeline.run.context import RunContext
from pipeline.store.store import Store
from tasks.keys import inputs_of
from tasks.model import Outcome, Status


def outcome_without_run(spec: TaskSpec, status: Status, error: str | None) -> Outcome:
    """Return the outcome of a task that is not run; `error` says why."""
    return Outcome(task=spec.id, title=spec.title, batch=spec.task.batch, status=status, error=error)


async def cached_outcome(context: RunContext, spec: TaskSpec, start: StartPoint) -> Outcome | None:
    """Commit and store the cached result of the same work; `None` where there is none."""
    results = context.results
    if results is None:
        return None
    began, moment = perf_counter(), now()
    version = await context.agent_version(spec)
    inputs = await to_thread.run_sync(context.inputs, spec, start, version)
    found = await to_thread.run_sync(results.find, inputs, start.commit)
    if found is None:
        return None
    outcome = Outcome(
        task=spec.id,
        title=spec.title,
        batch=spec.task.batch,
        status=Status.UNCHANGED,
        started_at=moment,
        start=start.commit,
        exit_code=0,
        files=found.files,
        patch=found if found.files else None,
        cached=True,
    )
    with CancelScope(shield=True):
        outcome = replace(await commit_outcome(context, spec, start, outcome), seconds=perf_counter() - began)
        await context.record_outcome(spec, outcome, start, inputs_of(inputs))
    return outcome


async def commit_outcome(context: RunContext, spec: TaskSpec, start: StartPoint, outcome: Outcome) -> Outcome:
    """Commit the patch of a task that succeeded, and set its branch; return the outcome with both.

    Where git refuses, the returned outcome is a failure that says why.
    """
    patch, branch = outcome.patch, context.branches.name(spec.id)
    if patch is None or not outcome.succeeded:
        return outcome
    signed = signature(context.run, outcome.started_at or now())
    message = commit_message(spec.task, context.run.id)
    try:
        commit = await to_thread.run_sync(context.repository.commit, patch.tree, [patch.start], message, signed)
        wanted = {**({start.branch: start.commit} if start.branch else {}), branch: commit}
        await context.recorder.call(Store.announce_branches, context.run.id, wanted)
        for name, target in wanted.items():
            await _set_branch(context, name, target)
    except GitError as error:
        return with_failure(outcome, str(error))
    return replace(outcome, status=Status.CHANGED, branch=branch, commit=commit)


async def _set_branch(context: RunContext, branch: str, commit: str) -> None:
    branches = context.branches
    try:
        await to_thread.run_sync(branches.set, branch, commit)
    except BranchMovedError:
        await context.recorder.call(lambda store: branches.refresh(store, branch))
        await to_thread.run_sync(branches.set, branch, commit)


def with_failure(outcome: Outcome, reason: str) -> Outcome:
    """Return an outcome whose patch cannot be kept: failed, or with one more reason in its first line."""
    if outcome.succeeded:
        return replace(outcome, status=Status.FAILED, exit_code=None, error=reason)
    first, line, rest = (outcome.error or "").partition("\n")
    return replace(outcome, error=f"{first}; {reason}{line}{rest}")

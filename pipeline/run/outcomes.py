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


async def commit_kept(context: RunContext, spec: TaskSpec, start: StartPoint) -> Outcome | None:
    """Commit the stored patch of a task whose branch could not be set before; `None` where there is none.

    A patch for another start point is of no use any more; it stays with its attempt.
    """
    kept = context.before.kept.get(spec.id)
    if kept is None:
        return None
    if not await to_thread.run_sync(_is_usable, context, kept, start):
        await release_kept(context, spec)
        return None
    outcome = replace(kept, status=Status.UNCHANGED, exit_code=0, error=None)
    with CancelScope(shield=True):
        outcome = await commit_outcome(context, spec, start, outcome)
        await context.record_outcome(spec, outcome, start, attempt=context.before.attempts.get(spec.id))
    return outcome


def _is_usable(context: RunContext, kept: Outcome, start: StartPoint) -> bool:
    """Whether a stored patch is for a start point. Makes its tree again: the run may be from another host."""
    if kept.patch is None or kept.patch.start != start.commit:
        return False
    try:
        return context.repository.history.apply(start.commit, kept.patch.diff) == kept.patch.tree
    except GitError:
        return False


async def release_kept(context: RunContext, spec: TaskSpec) -> None:
    """Move the stored patch of a task, if one waits for its commit, to its attempt: another outcome follows."""
    if spec.id in context.before.kept:
        await context.recorder.call(Store.mark_for_redo, context.run.id, [spec.id])


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
        hint = f"its patch is kept, and `patchyard resume {context.run.id}` commits it without running the task"
        return with_failure(outcome, f"{error}; {hint}")
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

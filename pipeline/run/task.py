"""One task of a run: from its start point to its stored outcome."""

from collections.abc import Callable
from dataclasses import replace

from anyio import to_thread

from pipeline.run.attempt import run_attempt
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from pipeline.run.check_base import check_base
from pipeline.run.context import RunContext
from pipeline.run.outcomes import TaskResult, conclude, outcome_without_run
from pipeline.run.reruns import on_top
from pipeline.run.results.bases import StartPoint
from pipeline.run.reuse import cached, kept, release_kept, succeeded
from tasks.conflicts import Cause
from tasks.outcome import Outcome, Status

DID_NOT_START = "it did not start: "


async def run_task(  # noqa: PLR0913 - what a task needs, by name
    context: RunContext,
    batch: BatchSpec,
    spec: TaskSpec,
    start: StartPoint,
    why_cancelled: Callable[[], str],
    *,
    may_wait: bool = False,
) -> Outcome | None:
    """Return the stored outcome of a task: without running it, from an earlier result, or from an attempt.

    Args:
        context: The run's.
        batch: The batch of the task.
        spec: The task.
        start: The start point of the batch.
        why_cancelled: Returns why the run ends early.
        may_wait: Whether it returns `None`, with nothing done, where the patches that the task starts from
            conflict, since some of these tasks may run again.

    Raises:
        PatchyardError: The run as a whole cannot continue.
    """
    await context.control.wait_while_paused()
    reason, tree = _why_skipped(context, spec) or start.obstacle, None
    if reason is None and context.bases.below(spec.task):
        start = await to_thread.run_sync(context.bases.task_start, spec.task, start, context.outcomes)
        reason = start.obstacle
        if start.has_conflict and may_wait:
            return None
    asked = spec
    if reason is None and spec.id in context.stacks:
        spec, tree = await to_thread.run_sync(on_top, context, batch, spec, start)
    if result := await _result_without_attempt(context, spec, start, reason):
        if reason is None and result.outcome.status is Status.SKIPPED and spec.id in context.earlier:
            cause = context.stacks[spec.id].causes[-1]
            if cause.is_conflict:  # its agent must not be called: the conflict is then reported
                return context.outcomes.setdefault(spec.id, context.earlier[spec.id])
            result = replace(result, outcome=_not_again(result.outcome, cause))
        return await conclude(context, spec, result)
    with context.control.task_running():
        await check_base(context, asked, start)
        return await run_attempt(context, spec, start, why_cancelled, tree)


def _not_again(skipped: Outcome, cause: Cause) -> Outcome:
    """Return the outcome of a task whose result has an old start point, and whose agent must not be called."""
    why = (skipped.error or "").removeprefix(DID_NOT_START)
    return replace(skipped, error=f"it did not run again, although {cause}: {why}")


def _why_skipped(context: RunContext, spec: TaskSpec) -> str | None:
    """Return why a task need not run, or cannot."""
    if spec.task.completed:
        return "the plan says that it is completed"
    if spec.task.optional:
        return "the plan says that it is optional; --optional runs it"
    return context.obstacles.of(spec.task, context.outcomes)


async def _result_without_attempt(
    context: RunContext, spec: TaskSpec, start: StartPoint, skipped: str | None
) -> TaskResult | None:
    """Return the result of a task that is skipped, refused, or has one already; `None` if it has to run."""
    branch, refused = context.branches.name(spec.id), context.branches.refused
    if not skipped and not spec.refusal and (result := await kept(context, spec, start)):
        return result
    await release_kept(context, spec)
    if skipped:
        return TaskResult(outcome_without_run(spec, Status.SKIPPED, skipped))
    if refusal := spec.refusal or refused.get(start.branch or branch) or refused.get(branch):
        return TaskResult(outcome_without_run(spec, Status.FAILED, refusal))
    if result := await succeeded(context, spec, start) or await cached(context, spec, start):
        return result
    if reason := context.why_no_call(spec):
        return TaskResult(outcome_without_run(spec, Status.SKIPPED, f"{DID_NOT_START}{reason}"))
    return None

"""From a plan to outcomes: start each batch, run its tasks in worktrees, merge their patches."""

from contextlib import nullcontext, suppress
from time import perf_counter

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from containers.concurrency import in_thread
from pipeline.events import BatchStarted, ConflictFound, Notice, RunFinished, RunStarted
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from pipeline.run.context import RunContext
from pipeline.run.outcomes import TaskResult, conclude, outcome_without_run
from pipeline.run.reruns import merge_or_rerun, reruns
from pipeline.run.results.bases import BatchResult, StartPoint
from pipeline.run.reuse import restored
from pipeline.run.starts import TaskStarts
from pipeline.run.task import run_task
from pipeline.store.store import Store
from tasks.conflicts import OnConflict
from tasks.errors import PatchyardError, first_error
from tasks.groups import usage_of_groups
from tasks.model import Mode, Task
from tasks.order import Line
from tasks.outcome import Conflict, Outcome, Request, RunStatus, Status
from tasks.schedule import is_done

STARTED_PER_WORKTREE = 2
"""Tasks that are started for each worktree: one is in it, and the next waits for it."""


async def run(context: RunContext, stop: CancelScope) -> RunFinished:
    """Run a plan, and return the result.

    Args:
        context: The resolved tasks, where they run, the store and the listener.
        stop: Cancelled by the caller to interrupt the run, which then ends with what it has.

    Raises:
        PatchyardError: The run cannot continue: the store, the pool or a runner as a whole failed.
    """
    flow = _Flow(context, stop)
    reading_ahead = context.repository.reading_ahead(context.branches.directory, context.run.base)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(context.recorder.open)
            async with context.control.watch(context.recorder, stop):
                with stop:
                    async with in_thread(reading_ahead), context.pool:
                        await flow.begin()
                        for batch in context.batches:
                            await flow.run_batch(batch)
                with CancelScope(shield=True):
                    finished = await flow.finish()
    except BaseExceptionGroup as errors:
        error = first_error(errors)
        if isinstance(error, PatchyardError):
            with CancelScope(shield=True):
                await flow.abort(error)
        raise error from errors
    return finished


class _Flow:
    """One run in progress."""

    def __init__(self, context: RunContext, stop: CancelScope) -> None:
        self._context = context
        self._stop = stop
        self._began = perf_counter()
        self._announced = False
        self._failed_fast: str | None = None  # the task whose failure ended the run
        self._failure: PatchyardError | None = None
        self._conflicts: list[Conflict] = []

    async def begin(self) -> None:
        """Notify the listener that the run starts, and check who owns the branches that exist."""
        context = self._context
        self._announced = True
        context.listener.notify(
            RunStarted(
                run=context.run.id,
                plan=context.run.plan_path,
                title=context.run.plan_title,
                base=context.run.base,
                pool_size=len(context.pool),
                tasks=len(context.tasks),
                worktrees=str(context.pool.directory),
                dialect=context.plan.dialect,
                batches=len(context.batches) if context.plan.has_batches else 0,
                sandbox=context.in_sandbox,
                limits=dict(context.kinds_of_limits),
            ),
        )
        for message in context.notices:
            context.listener.notify(Notice(message=message, level="warning"))
        names = [spec.id for spec in context.tasks]
        names += [f"{task}-base" for task in names] + [f"batch-{batch.number}" for batch in context.batches]
        if not context.before.attempts and await to_thread.run_sync(context.branches.has_any):
            await context.recorder.call(context.branches.choose_name)
        if await to_thread.run_sync(context.branches.load_existing, names):
            await context.recorder.call(context.branches.check_ownership)

    async def run_batch(self, batch: BatchSpec) -> None:
        """Run the tasks of a batch concurrently, one per worktree of the pool."""
        context = self._context
        start = await to_thread.run_sync(context.bases.batch_start, batch.batch)
        if left := [spec for spec in batch.tasks if spec.id not in context.before.tasks]:
            context.listener.notify(
                BatchStarted(
                    batch=batch.number,
                    title=batch.title,
                    mode=batch.mode,
                    start=start.commit,
                    tasks=len(left),
                ),
            )
            self._warn_of_left_behind(batch, start)
        name = f"batch {batch.number}: {batch.title}" if context.plan.has_batches else batch.title
        with context.span(name):
            result = await self._run_until_settled(batch, start)
        await self._close_batch(batch, result)

    def _warn_of_left_behind(self, batch: BatchSpec, start: StartPoint) -> None:
        """Name the patches that a batch builds without, since they conflict with others: --keep-going."""
        context = self._context
        for conflict in () if start.obstacle else context.bases.left_behind(batch.batch):
            *kept, late = conflict.tasks
            others = f"{'task' if len(kept) == 1 else 'tasks'} {' and '.join(kept)}"
            which = f"batch {batch.number} builds on {others} without task {late}"
            message = f"{which}: they conflict in {', '.join(conflict.files)}"
            context.listener.notify(Notice(message=message, level="warning"))

    async def _run_until_settled(self, batch: BatchSpec, start: StartPoint) -> BatchResult:
        """Run the tasks of a batch, and those whose patches conflict again; return their merged patches."""
        context = self._context
        await self._run_tasks(batch, start)
        while True:
            merged = await to_thread.run_sync(merge_or_rerun, context, batch, start)
            is_settled = all(spec.id in context.outcomes for spec in batch.tasks)
            if is_settled and not merged.causes:
                return merged.result
            with reruns(context, batch, merged.causes):
                await self._run_tasks(batch, start, may_wait=merged.may_wait)

    async def _run_tasks(self, batch: BatchSpec, start: StartPoint, *, may_wait: bool = True) -> None:
        """Start each task without an outcome as soon as those that it depends on have ended."""
        context = self._context
        size = 1 if batch.mode is Mode.LOCAL else len(context.pool)
        limiter = CapacityLimiter(size)
        may_wait = may_wait and context.settings.on_conflict_for(batch.batch) is not OnConflict.STOP
        specs = {spec.id: spec for spec in batch.tasks}
        line = Line(context.bases.in_line(batch.batch), context.outcomes.keys() & specs.keys())
        async with anyio.create_task_group() as group:

            def start_task(task: Task) -> None:
                group.start_soon(run_one, specs[task.id])

            async def run_one(spec: TaskSpec) -> None:
                known = context.before.tasks.get(spec.id)
                if known and spec.id not in context.earlier:
                    outcome = await to_thread.run_sync(restored, context, spec, start, known)
                    context.outcomes[spec.id] = outcome
                else:
                    ended = await self._run_when_free(batch, spec, start, limiter, starts, may_wait=may_wait)
                    if ended is None:
                        return starts.end(None)
                    self._fail_fast(ended)
                return starts.end(spec.id)

            starts = TaskStarts(line, STARTED_PER_WORKTREE * size, start_task)
            starts.begin()

    async def _run_when_free(  # noqa: PLR0913 - what a task needs, by name
        self,
        batch: BatchSpec,
        spec: TaskSpec,
        start: StartPoint,
        limiter: CapacityLimiter,
        starts: TaskStarts,
        *,
        may_wait: bool,
    ) -> Outcome | None:
        """Run a task when there is a worktree for it and its agent does not wait for its provider."""
        context, agent = self._context, spec.agent.name if spec.agent else None
        while True:
            if (
                agent is not None
                and context.limits.remaining(agent)
                and not context.limits.why_not_waited(agent)
            ):
                with starts.others_first():
                    await context.limits.wait(agent)
            async with limiter:
                if agent is None or not context.limits.remaining(agent) or context.limits.why_not_waited(agent):
                    return await run_task(context, batch, spec, start, self._why_cancelled, may_wait=may_wait)

    def _fail_fast(self, outcome: Outcome) -> None:
        if self._context.settings.fail_fast and outcome.status in {Status.FAILED, Status.TIMED_OUT}:
            self._failed_fast = self._failed_fast or outcome.task
            self._stop.cancel()

    async def _close_batch(self, batch: BatchSpec, result: BatchResult) -> None:
        """Let the batches that build on one start from its merged patches, and report conflicts."""
        self._context.bases.keep(batch.batch, result)
        self._conflicts += result.conflicts
        if result.conflicts:
            await self._context.recorder.call(Store.keep_conflicts, self._context.run.id, result.conflicts)
        for conflict in result.conflicts:
            self._context.listener.notify(ConflictFound(conflict=conflict))

    async def finish(self) -> RunFinished:
        """Give the remaining tasks their outcomes, and close the run.

        Raises:
            StoreError: It cannot be stored.
        """
        seconds = self._seconds()
        await self._settle_tasks()
        finished = self._result(seconds)
        await self._close(finished)
        return finished

    async def abort(self, error: PatchyardError) -> None:
        """Close a run that cannot continue, as far as the store permits, and notify the listener."""
        self._failure = error
        seconds = self._seconds()
        await self._settle_tasks()
        finished = self._result(seconds)
        with suppress(PatchyardError):
            await self._close(finished)
        if self._announced:
            self._context.listener.notify(finished)

    async def _settle_tasks(self) -> None:
        """Give each task without an outcome the earlier one, or one that says why it did not start."""
        status = Status.SKIPPED if self._failed_fast and not self._failure else Status.CANCELLED
        for spec in self._context.tasks:
            if spec.id in self._context.outcomes:
                continue
            if known := self._context.before.outcome(spec.id):
                self._context.outcomes[spec.id] = known
                continue
            outcome = outcome_without_run(spec, status, f"it did not start: {self._why_cancelled()}")
            self._context.outcomes[spec.id] = outcome
            if self._announced or not self._failure:
                with suppress(PatchyardError) if self._failure else nullcontext():
                    await conclude(self._context, spec, TaskResult(outcome))

    def _seconds(self) -> float:
        """Return the running time of the run in seconds, without pauses and interruptions."""
        here = perf_counter() - self._began - self._context.control.idle_seconds
        return self._context.before.seconds + max(here, 1e-6)

    def _result(self, seconds: float) -> RunFinished:
        outcomes = tuple(self._context.outcomes[spec.id] for spec in self._context.tasks)
        ran = [outcome for outcome in outcomes if outcome.worktree]
        speedup = (self._context.before.step_seconds + self._context.step_time.seconds) / seconds
        return RunFinished(
            run=self._context.run.id,
            status=self._status(),
            seconds=seconds,
            speedup=speedup,
            efficiency=min(1.0, speedup / min(len(self._context.pool), max(1, len(ran)))),
            outcomes=outcomes,
            usage=self._context.budget.total,
            groups=usage_of_groups(self._context.plan, outcomes),
            conflicts=tuple(self._conflicts),
            unpublished=tuple(outcome.task for outcome in outcomes if outcome.commit),
            left_out=tuple(spec.id for spec in self._context.tasks if spec.task.is_left_out),
        )

    async def _close(self, finished: RunFinished) -> None:
        paused = finished.status is RunStatus.INTERRUPTED and self._context.control.paused
        await self._context.recorder.call(
            Store.close_run,
            finished.run,
            finished.status,
            seconds=finished.seconds,
            speedup=finished.speedup,
            efficiency=finished.efficiency,
            request=Request.PAUSE if paused else None,
        )

    def _why_cancelled(self) -> str:
        if self._failed_fast:
            return f"--fail-fast ended the run when task {self._failed_fast} failed"
        if not self._stop.cancel_called:
            return "the run could not continue"
        # The same word as in `_status`.
        interrupted = self._context.control.request is Request.STOP
        return "the run was interrupted" if interrupted else "the run was cancelled"

    def _status(self) -> RunStatus:
        if self._failure:
            return RunStatus.FAILED
        if self._stop.cancel_called and not self._failed_fast:
            stopped = self._context.control.request is Request.STOP
            return RunStatus.INTERRUPTED if stopped else RunStatus.CANCELLED
        done = all(is_done(spec.task, self._context.outcomes[spec.id]) for spec in self._context.tasks)
        return RunStatus.SUCCEEDED if done and not self._conflicts else RunStatus.FAILED

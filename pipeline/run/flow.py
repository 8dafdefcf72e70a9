"""From a plan to outcomes: start each batch, run its tasks in worktrees, merge their patches."""

from contextlib import nullcontext, suppress
from dataclasses import replace
from time import perf_counter

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from containers.git.repository import GitError
from pipeline.events import BatchStarted, ConflictFound, Notice, RunFinished, RunStarted
from pipeline.run.attempt import Attempt
from pipeline.run.bases import Bases, StartPoint
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from pipeline.run.commits import commit_message, recreate_commit, signature
from pipeline.run.context import RunContext
from pipeline.run.outcomes import cached_outcome, commit_kept, outcome_without_run, release_kept
from pipeline.store.store import Store
from tasks.errors import PatchyardError, first_error
from tasks.model import Mode, Outcome, Request, RunStatus, Status
from tasks.schedule import is_done, obstacle, ready


async def run(context: RunContext, stop: CancelScope) -> RunFinished:
    """Run a plan, and return the result.

    Args:
        context: The resolved tasks, where they run, the store and the listener.
        stop: Cancelled by the caller to interrupt the run, which then ends with what it has.

    Raises:
        PatchyardError: The run cannot continue: the store, the pool or a runner as a whole failed.
    """
    flow = _Flow(context, stop)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(context.recorder.open)
            async with context.control.watch(context.recorder, stop):
                with stop:
                    async with context.pool:
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
        self._outcomes: dict[str, Outcome] = {}
        self._began = perf_counter()
        self._announced = False
        self._failed_fast: str | None = None  # the task whose failure ended the run
        self._failure: PatchyardError | None = None
        self._bases = Bases(
            repository=context.repository,
            plan=replace(context.plan, title=context.run.plan_title),
            base=context.run.base,
            run=context.run.id,
            branch=context.branches.name,
            keep_going=context.settings.keep_going,
            signature=signature(context.run, context.run.started_at),
        )

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
        start = await to_thread.run_sync(self._bases.batch_start, batch.batch)
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
        with context.span(f"batch {batch.number}: {batch.title}"):
            await self._run_tasks(batch, start)
        await self._close_batch(batch, start)

    async def _run_tasks(self, batch: BatchSpec, start: StartPoint) -> None:
        """Start each task as soon as those that it depends on have ended."""
        limiter = CapacityLimiter(1 if batch.mode is Mode.LOCAL else len(self._context.pool))
        specs = {spec.id: spec for spec in batch.tasks}
        started: set[str] = set()
        async with anyio.create_task_group() as group:

            def start_ready() -> None:
                for task in ready(batch.batch.tasks, self._outcomes, started):
                    started.add(task.id)
                    group.start_soon(run_one, specs[task.id])

            async def run_one(spec: TaskSpec) -> None:
                if known := self._context.before.tasks.get(spec.id):
                    outcome = await to_thread.run_sync(self._restore, spec, start, known.outcome)
                else:
                    async with limiter:
                        outcome = await self._run_task(batch, spec, start)
                    self._fail_fast(outcome)
                self._outcomes[spec.id] = outcome
                start_ready()

            start_ready()

    async def _run_task(self, batch: BatchSpec, spec: TaskSpec, start: StartPoint) -> Outcome:
        """Return the outcome of a task: without running it, from the cache, or from an attempt."""
        context = self._context
        await context.control.wait_while_paused()
        early = self._skip_or_refuse(batch, spec, start)
        if early is None and spec.task.dependencies:
            start = await to_thread.run_sync(self._bases.task_start, spec.task, start, self._outcomes)
            early = outcome_without_run(spec, Status.SKIPPED, start.obstacle) if start.obstacle else None
        if early is None and (kept := await commit_kept(context, spec, start)):
            return kept
        if early is None and (reason := self._why_not_kept(spec, start)):
            early = outcome_without_run(spec, Status.FAILED, reason)
        if early is not None:
            await release_kept(context, spec)
            await context.record_outcome(spec, early)
            return early
        if spec.id not in context.before.again and (known := await cached_outcome(context, spec, start)):
            return known
        with context.control.task_running():
            return await self._run_in_worktree(spec, start)

    def _restore(self, spec: TaskSpec, start: StartPoint, outcome: Outcome) -> Outcome:
        """Return the outcome that a task had before the run was resumed; recreate its commit if it is missing.

        The commit may be on another host, or have lost an object to `git gc --prune=now`.
        """
        repository, patch = self._context.repository, outcome.patch
        if outcome.commit and patch and not repository.is_whole(outcome.commit, patch.start):
            if spec.task.dependencies:
                self._bases.task_start(spec.task, start, self._outcomes)
            made = recreate_commit(repository, self._context.run, spec.task, outcome)
            if made != outcome.commit:
                raise PatchyardError(
                    f"the commit of task {spec.id}, {outcome.commit[:12]}, is not here, and its patch gives "
                    f"{made[:12]}; fetch it from where the run was, or run the task again (`patchyard retry`)"
                )
        return outcome

    async def _run_in_worktree(self, spec: TaskSpec, start: StartPoint) -> Outcome:
        began, pool = perf_counter(), self._context.pool
        try:
            worktree = await pool.acquire(start.commit)
        except GitError as error:
            failed = outcome_without_run(spec, Status.FAILED, f"it got no worktree: {error}")
            await self._context.record_outcome(spec, failed, start)
            return failed
        attempt = Attempt(self._context, spec, start, worktree, why_cancelled=self._why_cancelled, began=began)
        try:
            return await attempt.run()
        finally:
            if attempt.outcome is not None:
                self._outcomes[spec.id] = attempt.outcome
            with CancelScope(shield=True):
                await pool.release(worktree, in_quarantine=attempt.holds_work)

    def _skip_or_refuse(self, batch: BatchSpec, spec: TaskSpec, start: StartPoint) -> Outcome | None:
        """Return the outcome of a task that need not run, or must not."""
        task, plan, keep_going = spec.task, self._context.plan, self._context.settings.keep_going
        if task.completed:
            return outcome_without_run(spec, Status.SKIPPED, "the plan says that it is completed")
        reason = obstacle(plan, batch.batch, task, self._outcomes, keep_going=keep_going) or start.obstacle
        if reason:
            return outcome_without_run(spec, Status.SKIPPED, reason)
        for file in task.files:
            if file.outside:
                where = f"{plan.path}:{file.line}"
                reason = f"it declares {file.path} ({where}), which is outside of the repository"
                return outcome_without_run(spec, Status.FAILED, reason)
        return None

    def _why_not_kept(self, spec: TaskSpec, start: StartPoint) -> str | None:
        """Return why no result of the task could be kept, as far as that is known before it runs."""
        context = self._context
        for branch in (start.branch, context.branches.name(spec.id)):
            if branch and (reason := context.branches.refused.get(branch)):
                return reason
        message = commit_message(spec.task, context.run.id)
        if name := context.secrets.find(message.encode(errors="surrogateescape")):
            return f"its commit message holds the value of {name}, so it is withheld"
        return None

    def _fail_fast(self, outcome: Outcome) -> None:
        if self._context.settings.fail_fast and outcome.status in {Status.FAILED, Status.TIMED_OUT}:
            self._failed_fast = self._failed_fast or outcome.task
            self._stop.cancel()

    async def _close_batch(self, batch: BatchSpec, start: StartPoint) -> None:
        """Merge the patches of a batch for the batches that build on it, and report conflicts."""
        result = await to_thread.run_sync(self._bases.close, batch.batch, start, self._outcomes)
        for conflict in result.conflicts:
            await self._context.recorder.call(Store.keep_conflict, self._context.run.id, conflict)
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
            if spec.id in self._outcomes:
                continue
            if known := self._context.before.outcome(spec.id):
                self._outcomes[spec.id] = known
                continue
            outcome = outcome_without_run(spec, status, f"it did not start: {self._why_cancelled()}")
            self._outcomes[spec.id] = outcome
            if self._announced or not self._failure:
                with suppress(PatchyardError) if self._failure else nullcontext():
                    await self._context.record_outcome(spec, outcome)

    def _seconds(self) -> float:
        """Return the running time of the run in seconds, without pauses and interruptions."""
        here = perf_counter() - self._began - self._context.control.idle_seconds
        return self._context.before.seconds + max(here, 1e-6)

    def _result(self, seconds: float) -> RunFinished:
        outcomes = tuple(self._outcomes[spec.id] for spec in self._context.tasks)
        ran = [outcome for outcome in outcomes if outcome.worktree]
        speedup = sum(outcome.seconds for outcome in ran) / seconds
        return RunFinished(
            run=self._context.run.id,
            status=self._status(),
            seconds=seconds,
            speedup=speedup,
            efficiency=min(1.0, speedup / min(len(self._context.pool), max(1, len(ran)))),
            outcomes=outcomes,
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
        if self._context.control.request is Request.CANCEL:
            return "the run was cancelled"
        return "the run was interrupted"

    def _status(self) -> RunStatus:
        if self._failure:
            return RunStatus.FAILED
        if self._stop.cancel_called and not self._failed_fast:
            stopped = self._context.control.request is Request.STOP
            return RunStatus.INTERRUPTED if stopped else RunStatus.CANCELLED
        done = all(is_done(spec.task, self._outcomes[spec.id]) for spec in self._context.tasks)
        return RunStatus.SUCCEEDED if done else RunStatus.FAILED

"""From a plan to outcomes: read the plan, take a worktree, run the task in it, keep its patch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread

from containers.git.repository import GitError, Repository
from containers.runner import Runner
from containers.worktrees.pool import Pool
from pipeline.config.settings import Settings
from pipeline.events import BatchStarted, ConflictFound, Listener, RunFinished, RunStarted
from pipeline.run.attempt import Attempt, RunContext, cached_outcome
from pipeline.run.bases import Bases, StartPoint
from pipeline.run.branches import Branches
from pipeline.run.commits import commit_message, recreate_commit, signature
from pipeline.run.control import Control
from pipeline.run.recorder import Recorder
from pipeline.run.result_cache import ResultCache
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.errors import PatchyardError, first_error
from tasks.model import Batch, Mode, Outcome, Plan, Request, RunStatus, Status, Task
from tasks.schedule import is_done, obstacle, ready
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Parts:
    """What a door hands to the flow."""

    repository: Repository
    pool: Pool
    runners: Mapping[Mode, Runner]
    recorder: Recorder
    listener: Listener
    settings: Settings
    directory: Path  # the run's own, for logs
    secrets: Secrets = field(default_factory=Secrets)
    span: Callable[[str], AbstractContextManager[object]] = nullcontext  # shows by name what goes on
    before: Mapping[str, StoredTask] = field(default_factory=dict)  # what this run has done already, by task
    again: frozenset[str] = frozenset()  # tasks that are to run, also where their results are kept
    attempts: Mapping[str, int] = field(default_factory=dict)  # how often its tasks were begun already
    seconds: float = 0.0  # how long it was under way already
    control: Control = field(default_factory=Control)
    results: ResultCache | None = None  # of tasks that any run has done


async def run(plan: Plan, parts: Parts, stop: CancelScope) -> RunFinished:
    """Run a plan, and return how it went.

    Args:
        plan: What `select` returned: every batch says what it builds on.
        parts: The place to run it, the store, and whoever is told.
        stop: Cancelled by the door when the user interrupts; the run then ends with what it has.

    Raises:
        PatchyardError: The run cannot go on: the store, the pool or the runner as a whole failed.
    """
    flow = _Flow(plan, parts, stop)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(parts.recorder.open)
            async with parts.control.watch(parts.recorder, stop):
                with stop:
                    async with parts.pool:
                        await flow.prepare()
                        for batch in plan.batches:
                            await flow.run_batch(batch)
                with CancelScope(shield=True):
                    finished = await flow.finish()
    except BaseExceptionGroup as errors:
        error = first_error(errors)
        if isinstance(error, PatchyardError):
            with CancelScope(shield=True):
                await flow.give_up(error)
        raise error from errors
    return finished


class _Flow:
    """One run under way."""

    def __init__(self, plan: Plan, parts: Parts, stop: CancelScope) -> None:
        self._plan = plan
        self._parts = parts
        self._stop = stop
        self._run: Run = parts.recorder.run
        self._outcomes: dict[str, Outcome] = {}
        self._began = perf_counter()
        self._told = False  # that the run begins
        self._failed_fast: str | None = None
        self._failure: PatchyardError | None = None
        self._branches = Branches(parts.repository, parts.settings.branch, plan, self._run.id)
        self._bases = Bases(
            repository=parts.repository,
            plan=replace(plan, title=self._run.plan_title),
            base=self._run.base,
            run=self._run.id,
            branch=self._branches.name,
            keep_going=parts.settings.keep_going,
            signature=signature(self._run, self._run.started_at),
        )
        self._context = RunContext(
            plan=plan,
            repository=parts.repository,
            runners=parts.runners,
            recorder=parts.recorder,
            listener=parts.listener,
            settings=parts.settings,
            branches=self._branches,
            directory=parts.directory,
            secrets=parts.secrets,
            why_cancelled=self._why_cancelled,
            span=parts.span,
            pool=parts.pool,
            results=parts.results,
            attempts={task.id: parts.attempts.get(task.id, 0) + 1 for task in plan.tasks},
        )

    async def prepare(self) -> None:
        """Say that the run begins, and see which branches are not its own."""
        self._told = True
        self._parts.listener.notify(
            RunStarted(
                run=self._run.id,
                plan=self._run.plan_path,
                title=self._run.plan_title,
                base=self._run.base,
                pool_size=len(self._parts.pool),
                tasks=len(self._plan.tasks),
                worktrees=str(self._parts.pool.directory),
            ),
        )
        names = [task.id for task in self._plan.tasks]
        names += [f"{task}-base" for task in names] + [f"batch-{batch.number}" for batch in self._plan.batches]
        existing = await to_thread.run_sync(self._branches.load_existing, names)
        if existing:
            await self._parts.recorder.keep(self._branches.check_ownership)

    async def run_batch(self, batch: Batch) -> None:
        """Run the tasks of a batch side by side, as many at once as the pool has worktrees."""
        start = await to_thread.run_sync(self._bases.batch_start, batch)
        mode = self._parts.settings.mode_for(batch)
        if left := [task for task in batch.tasks if task.id not in self._parts.before]:
            self._parts.listener.notify(
                BatchStarted(
                    batch=batch.number,
                    title=self._parts.secrets.mask_text(batch.title),
                    mode=mode,
                    start=start.commit,
                    tasks=len(left),
                ),
            )
        limiter = CapacityLimiter(1 if mode is Mode.LOCAL else len(self._parts.pool))
        with self._parts.span(self._parts.secrets.mask_text(f"batch {batch.number}: {batch.title}")):
            await self._run_tasks(batch, start, limiter)
        await self._close_batch(batch, start)

    async def _run_tasks(self, batch: Batch, start: StartPoint, limiter: CapacityLimiter) -> None:
        started: set[str] = set()
        async with anyio.create_task_group() as group:

            def start_ready() -> None:
                for task in ready(batch.tasks, self._outcomes, started):
                    started.add(task.id)
                    group.start_soon(run_one, task)

            async def run_one(task: Task) -> None:
                if known := self._parts.before.get(task.id):
                    self._outcomes[task.id] = await to_thread.run_sync(
                        self._restore, task, start, known.outcome
                    )
                else:
                    self._outcomes[task.id] = await self._run_task(batch, task, start, limiter)
                    self._fail_fast(self._outcomes[task.id])
                start_ready()

            start_ready()

    async def _run_task(self, batch: Batch, task: Task, start: StartPoint, limiter: CapacityLimiter) -> Outcome:
        """Give a task its outcome: without running it where it may not, else in a worktree of its own."""
        async with limiter:
            await self._parts.control.go_on()
            early = self._without_running(batch, task, start)
            if early is None and task.dependencies:
                start = await to_thread.run_sync(self._bases.task_start, task, start, self._outcomes)
                early = self._ended(task, Status.SKIPPED, start.obstacle) if start.obstacle else None
            if early is None and (refused := self._refusal(task, start)):
                early = self._ended(task, Status.FAILED, refused)
            if early is not None:
                await self._context.keep(early)
                return early
            known = None if task.id in self._parts.again else await cached_outcome(self._context, task, start)
            if known is not None:
                return known
            with self._parts.control.at_work():
                return await self._run_in_worktree(task, start)

    def _restore(self, task: Task, start: StartPoint, outcome: Outcome) -> Outcome:
        """Return the outcome that a task had before the run was taken up; what its commit lacks is made again.

        The commit may be on another host, or have lost an object to `git gc --prune=now`.
        """
        repository, patch = self._parts.repository, outcome.patch
        if outcome.commit and patch and not repository.is_whole(outcome.commit, patch.start):
            if task.dependencies:
                self._bases.task_start(task, start, self._outcomes)
            made = recreate_commit(repository, self._run, task, outcome)
            if made != outcome.commit:
                raise PatchyardError(
                    f"the commit of task {task.id}, {outcome.commit[:12]}, is not here, and its patch gives "
                    f"{made[:12]}; fetch it from where the run was, or run the task again (`patchyard retry`)"
                )
        return outcome

    async def _run_in_worktree(self, task: Task, start: StartPoint) -> Outcome:
        began = perf_counter()
        try:
            worktree = await self._parts.pool.acquire(start.commit)
        except GitError as error:
            failed = self._ended(task, Status.FAILED, f"it got no worktree: {error}")
            await self._context.keep(failed, start)
            return failed
        attempt = Attempt(self._context, task, start, worktree, exclude=self._parts.pool.exclude, began=began)
        try:
            return await attempt.run()
        finally:
            if attempt.outcome is not None:
                self._outcomes[task.id] = attempt.outcome
            with CancelScope(shield=True):
                await self._parts.pool.release(worktree, in_quarantine=attempt.holds_work)

    def _without_running(self, batch: Batch, task: Task, start: StartPoint) -> Outcome | None:
        """Return the outcome of a task that is not to be run, or that must not."""
        if task.completed:
            return self._ended(task, Status.SKIPPED, "the plan says that it is completed")
        reason = obstacle(self._plan, batch, task, self._outcomes, keep_going=self._parts.settings.keep_going)
        if reason := reason or start.obstacle:
            return self._ended(task, Status.SKIPPED, reason)
        for file in task.files:
            if file.outside:
                where = f"{self._plan.path}:{file.line}"
                reason = f"it declares {file.path} ({where}), which is outside of the repository"
                return self._ended(task, Status.FAILED, reason)
        return None

    def _refusal(self, task: Task, start: StartPoint) -> str | None:
        """Return why nothing that the task makes could be kept, which is known before it runs."""
        for branch in (start.branch, self._branches.name(task.id)):
            if branch and (refused := self._branches.refused.get(branch)):
                return refused
        message = commit_message(task, self._run.id)
        if name := self._parts.secrets.find(message.encode(errors="surrogateescape")):
            return f"its commit message holds the value of {name}, so it is withheld"
        return None

    def _fail_fast(self, outcome: Outcome) -> None:
        if self._parts.settings.fail_fast and outcome.status in {Status.FAILED, Status.TIMED_OUT}:
            self._failed_fast = self._failed_fast or outcome.task
            self._stop.cancel()

    async def _close_batch(self, batch: Batch, start: StartPoint) -> None:
        """Put the patches of a batch together for what comes next, and say where they do not go together."""
        closing = await to_thread.run_sync(self._bases.close, batch, start, self._outcomes)
        for conflict in closing.conflicts:
            await self._parts.recorder.keep(Store.keep_conflict, self._run.id, conflict)
            self._parts.listener.notify(ConflictFound(conflict=conflict))

    async def finish(self) -> RunFinished:
        """Give the tasks that were not reached their outcomes, and close the run."""
        seconds = self._seconds()
        for task in self._plan.tasks:
            if task.id not in self._outcomes:
                self._outcomes[task.id] = self._known(task) or self._unreached(task)
                if task.id in self._parts.before:
                    continue
                await self._context.keep(self._outcomes[task.id])
        finished = self._result(seconds)
        await self._close(finished)
        return finished

    async def give_up(self, error: PatchyardError) -> None:
        """Tell of a run that cannot go on, and close it as far as that is possible."""
        self._failure = error
        seconds = self._seconds()
        for task in self._plan.tasks:
            if task.id not in self._outcomes:
                self._outcomes[task.id] = self._known(task) or self._unreached(task)
                if self._told and task.id not in self._parts.before:
                    with suppress(PatchyardError):
                        await self._context.keep(self._outcomes[task.id])
        finished = self._result(seconds)
        with suppress(PatchyardError):
            await self._close(finished)
        if self._told:
            self._parts.listener.notify(finished)

    def _seconds(self) -> float:
        """Return how long the run was under way; that it was paused, or interrupted, does not count."""
        here = perf_counter() - self._began - self._parts.control.stood_still
        return self._parts.seconds + max(here, 1e-6)

    def _result(self, seconds: float) -> RunFinished:
        outcomes = tuple(self._outcomes[task.id] for task in self._plan.tasks)
        ran = [outcome for outcome in outcomes if outcome.worktree]
        speedup = sum(outcome.seconds for outcome in ran) / seconds
        return RunFinished(
            run=self._run.id,
            status=self._status(),
            seconds=seconds,
            speedup=speedup,
            efficiency=min(1.0, speedup / min(len(self._parts.pool), max(1, len(ran)))),
            outcomes=outcomes,
        )

    async def _close(self, finished: RunFinished) -> None:
        paused = finished.status is RunStatus.INTERRUPTED and self._parts.control.paused
        await self._parts.recorder.keep(
            Store.close_run,
            finished.run,
            finished.status,
            seconds=finished.seconds,
            speedup=finished.speedup,
            efficiency=finished.efficiency,
            request=Request.PAUSE if paused else None,
        )

    def _known(self, task: Task) -> Outcome | None:
        known = self._parts.before.get(task.id)
        return known.outcome if known else None

    def _unreached(self, task: Task) -> Outcome:
        status = Status.SKIPPED if self._failed_fast and not self._failure else Status.CANCELLED
        return self._ended(task, status, f"it did not start: {self._why_cancelled()}")

    def _why_cancelled(self) -> str:
        if self._failed_fast:
            return f"--fail-fast ended the run when task {self._failed_fast} failed"
        if not self._stop.cancel_called:
            return "the run could not go on"
        return (
            "the run was cancelled"
            if self._parts.control.request is Request.CANCEL
            else "the run was interrupted"
        )

    def _status(self) -> RunStatus:
        if self._failure:
            return RunStatus.FAILED
        if self._stop.cancel_called and not self._failed_fast:
            stopped = self._parts.control.request is Request.STOP
            return RunStatus.INTERRUPTED if stopped else RunStatus.CANCELLED
        done = all(is_done(task, self._outcomes[task.id]) for task in self._plan.tasks)
        return RunStatus.SUCCEEDED if done else RunStatus.FAILED

    def _ended(self, task: Task, status: Status, error: str | None) -> Outcome:
        title = self._parts.secrets.mask_text(task.title)
        return Outcome(task=task.id, title=title, batch=task.batch, status=status, error=error)

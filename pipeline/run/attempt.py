"""One task in its worktree: run its steps, take its patch, commit it, store the outcome."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter

from anyio import CancelScope, get_cancelled_exc_class, to_thread

from containers.concurrency import short_work
from containers.git.repository import GitError
from containers.git.working_tree.errors import SecretFoundError, TooDeepError
from containers.git.working_tree.left_work import work_left
from containers.runner import Job
from containers.worktrees.worktree import AttemptRecord, RecordError, Worktree
from pipeline.events import Notice, TaskFinished, TaskStarted, now
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import Continuation, RunContext
from pipeline.run.outcomes import (
    TaskResult,
    conclude,
    keep_result,
    outcome_without_run,
    whole,
    with_failure,
)
from pipeline.run.results.bases import StartPoint
from pipeline.run.results.commits import signature
from pipeline.run.results.restore import applies
from pipeline.run.rounds import Rounds
from pipeline.run.steps import AttemptSteps
from pipeline.run.teardown import tear_down
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from tasks.errors import PatchyardError
from tasks.keys import TaskInputs, inputs_of
from tasks.outcome import FAILS_BEFORE, Outcome, Patch, Status, StepResult
from tasks.refusals import add_up

TAIL_LINES = 10
"""Lines of a failed step's output that its outcome shows."""
SIGNALS = 64
"""Number of signals on Linux: an exit code of 128 + n, with n up to this, is signal n."""
CONTINUED = "Work in progress\n"
"""Message of the commit that a continued attempt starts from; no branch has it."""
LEAST_TIME = 1.0
"""Seconds that an attempt has at least, which continues one that had used up its time."""


async def run_attempt(
    context: RunContext,
    spec: TaskSpec,
    start: StartPoint,
    why_cancelled: Callable[[], str],
    tree: str | None = None,
) -> Outcome:
    """Run a task in a worktree of the pool, and return its stored outcome.

    With `tree`, the worktree has that one at the beginning, in place of that of the start point.

    Raises:
        PatchyardError: The run as a whole cannot continue.
    """
    began, pool = perf_counter(), context.pool
    continued = context.continued(spec.id)
    try:
        commit = start.commit
        if tree is not None or (continued and continued.patch):
            commit, continued = await to_thread.run_sync(_place_to_continue, context, start, continued, tree)
        record = AttemptRecord(
            context.run.id, spec.id, context.attempt_number(spec.id), start.commit, pool.exclude
        )
        worktree = await pool.acquire(commit, record, is_whole=spec.is_contained)
    except (GitError, RecordError) as error:
        failed = outcome_without_run(spec, Status.FAILED, f"it got no worktree: {error}")
        return await conclude(context, spec, TaskResult(failed, start))
    attempt = Attempt(
        context,
        spec,
        start,
        worktree,
        commit=commit,
        why_cancelled=why_cancelled,
        began=began,
        continued=continued,
    )
    try:
        return await attempt.run()
    finally:
        with CancelScope(shield=True):
            await tear_down(context, spec, worktree, attempt.job, holds_work=attempt.holds_work)
            await pool.release(worktree, in_quarantine=attempt.holds_work)


def _place_to_continue(
    context: RunContext, start: StartPoint, continued: Continuation | None, tree: str | None
) -> tuple[str, Continuation | None]:
    """Return the commit that the worktree is reset to, and what is continued there. Blocking.

    A patch for another start point is of no use any more: the task is then tried again from this one.

    Raises:
        GitError: The commit cannot be created.
    """
    patch = continued.patch if continued else None
    if patch and applies(context.repository, patch, start.commit):
        tree = patch.tree
    elif continued and patch:
        continued = replace(continued, patch=None, rounds=0)
    if tree is None:
        return start.commit, continued
    signed = signature(context.run, context.run.started_at)
    return context.repository.commit(tree, [start.commit], CONTINUED, signed), continued


class Attempt:
    """Runs one task.

    Args:
        context: The run's.
        spec: The task.
        start: What it starts from.
        worktree: Where it runs.
        commit: What the worktree was reset to: the start point, or a commit on it that is continued.
        why_cancelled: Returns why the run ends early.
        began: When the task began, in seconds of `perf_counter`.
        continued: What it continues, if anything.
    """

    def __init__(  # noqa: PLR0913 - the parts of one attempt
        self,
        context: RunContext,
        spec: TaskSpec,
        start: StartPoint,
        worktree: Worktree,
        *,
        commit: str,
        why_cancelled: Callable[[], str],
        began: float,
        continued: Continuation | None = None,
    ) -> None:
        self._job: Job | None = None
        self._context = context
        self._spec = spec
        self._start = start
        self._worktree = worktree
        self._commit = commit
        self._why_cancelled = why_cancelled
        self._number = context.attempt_number(spec.id)
        before = context.base_checks.failures(spec.id)
        self._rounds = Rounds(spec, self._number, context.secrets, continued, before)
        self._steps = AttemptSteps(context, spec, start, worktree, self._rounds)
        self._warnings: list[str] = []
        self._inputs: TaskInputs | None = None
        self._is_taken: bool | None = None  # the patch, or whatever else there was
        self._started_at = now()
        self._began = began

    @property
    def holds_work(self) -> bool:
        """Whether the worktree may have a patch that is stored nowhere else."""
        return self._steps.has_begun if self._is_taken is None else not self._is_taken

    @property
    def job(self) -> Job | None:
        """The job that the runner was given, with the last round; `None` before."""
        return self._job and replace(self._job, first_round=self._rounds.number)

    async def run(self) -> Outcome:
        """Run the task's steps and store its outcome, also when it is cancelled.

        Raises:
            PatchyardError: The run as a whole cannot continue.
        """
        self._announce()
        try:
            if self._stored.cause:  # so that a rerun that is cut off is known as one
                await self._context.recorder.flush()
            async with self._prepared_job() as job:
                self._job = job
                with self._context.span(f"task {self._spec.id}: {self._spec.title}"):
                    ran = await self._context.runners[self._spec.mode].run(job, self._worktree, self._steps)
                self._steps.take_refused(ran)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._finish(cancelled=True)
            raise
        except (GitError, RecordError) as error:
            # Only this task is affected: its container has no start commit, or its worktree cannot be held.
            self._steps.results.append(StepResult(self._rounds.asked[0], None, 0.0, error=str(error)))
        except PatchyardError as error:
            with CancelScope(shield=True):
                await self._abort(error)
            raise
        with CancelScope(shield=True):
            outcome = await self._finish(cancelled=False)
        return outcome

    def _feedback(self) -> str | None:
        """Return what the user said of the attempt before, with secrets masked."""
        continued = self._rounds.continued
        said = continued.feedback if continued else None
        return said and self._context.secrets.mask_text(said)

    def _announce(self) -> None:
        """Record the attempt, and notify the listener that the task starts."""
        context, spec, worktree = self._context, self._spec, self._worktree
        attempt = StoredAttempt(
            task=spec.id,
            number=self._number,
            title=spec.title,
            batch=spec.task.batch,
            started_at=self._started_at,
            worktree=worktree.name,
            path=worktree.path,
            host=context.run.host,
            start=self._start.commit,
            log=context.log(spec.id),
            base_checks=context.base_checks.keys(spec.id),
            feedback=self._feedback(),
            cause=context.stacks[spec.id].causes[-1] if spec.id in context.stacks else None,
        )
        self._stored = attempt
        context.recorder.queue(Store.begin_attempt, context.run.id, attempt)
        started = TaskStarted(
            task=spec.id,
            title=spec.title,
            batch=spec.task.batch,
            worktree=worktree.name,
            attempt=self._number,
        )
        context.listener.notify(started)

    @asynccontextmanager
    async def _prepared_job(self) -> AsyncIterator[Job]:
        """Provide the job, with the time that is left."""
        context, spec, rounds = self._context, self._spec, self._rounds
        job = context.job(spec, self._commit, rounds.first_steps(), rounds.number)
        if job.timeout is not None and rounds.continued is not None:  # the limit is for all rounds together
            job = replace(job, timeout=max(LEAST_TIME, job.timeout - rounds.continued.seconds))
        async with context.startable(spec, job) as started:
            yield started

    async def _finish(self, *, cancelled: bool) -> Outcome:
        """Take the patch, commit it, and store the outcome and its result."""
        context = self._context
        version = None if cancelled else await context.agent_version(self._spec)
        outcome = await to_thread.run_sync(self._take_and_keep, cancelled, version, limiter=short_work())
        context.listener.notify(TaskFinished(outcome=outcome))
        for message in self._warnings:
            context.listener.notify(Notice(message=message, level="warning"))
        return outcome

    def _take_and_keep(self, cancelled: bool, version: str | None) -> Outcome:  # noqa: FBT001 - called by a thread
        """Do the work of `_finish` with git and the store, in one thread. Blocking."""
        context, spec = self._context, self._spec
        outcome, taken = self._with_patch(self._outcome_of_steps(cancelled=cancelled), version)
        inputs = self._inputs
        if cancelled and spec.id in context.earlier:
            kept = self._leave_outcome(outcome, context.earlier[spec.id])
        else:
            hashes = inputs_of(inputs) if inputs else None
            kept = keep_result(context, spec, TaskResult(outcome, self._start, hashes, began=self._began))
        if context.results and kept.succeeded and inputs and not cancelled:
            # With the patch that was taken: that of the store would be read again.
            context.results.keep(inputs, replace(kept, patch=outcome.patch))
        self._is_taken = taken
        if taken:
            context.pool.forget_attempt(self._worktree)
        return kept

    def _with_patch(self, outcome: Outcome, version: str | None) -> tuple[Outcome, bool]:
        """Return an outcome with the patch, and whether there is nothing else in the worktree. Blocking."""
        try:
            patch = self._take_patch(version)
            return replace(outcome, files=patch.files, patch=patch if patch.files else None), True
        except (SecretFoundError, TooDeepError) as error:
            return with_failure(outcome, str(error)), True
        except GitError as error:
            return self._without_patch(outcome, error), False

    def _take_patch(self, version: str | None) -> Patch:
        """Hash the inputs, take the patch, and warn of what is not part of it. Blocking."""
        self._inputs = self._context.inputs(self._spec, self._start, version, self._rounds.asked)
        patch = self._steps.patch()
        for left in work_left(self._worktree.path):
            verb = "is" if left.startswith("a ") else "are"
            self._warnings.append(f"task {self._spec.id} left {left}, which {verb} not part of its patch")
        return patch

    def _leave_outcome(self, outcome: Outcome, earlier: Outcome) -> Outcome:
        """Store the end of a rerun that was cut off, and return the outcome that its task had. Blocking."""
        context = self._context
        seconds = perf_counter() - self._began
        earlier = whole(context, earlier, seconds)
        ended = replace(
            self._stored,
            status=outcome.status,
            seconds=seconds,
            exit_code=outcome.exit_code,
            error=outcome.error,
            patch=outcome.patch,
        )
        context.recorder.write(Store.end_attempt, context.run.id, ended)
        context.outcomes[self._spec.id] = earlier
        return earlier

    def _without_patch(self, outcome: Outcome, error: GitError) -> Outcome:
        """Return a failure: git could not take the patch, which stays in the worktree."""
        path = self._worktree.path
        where = f", and what it changed stays in {path}" if path.is_dir() else ""
        failed = with_failure(outcome, f"its patch could not be taken{where}: {error}")
        # Without an exit code it has no result of its own: `resume` takes the patch then, or runs it again.
        return replace(failed, exit_code=None)

    async def _abort(self, error: PatchyardError) -> None:
        """Set the outcome of a task whose run cannot continue, unstored: its patch stays in the worktree."""
        self._is_taken = not (self.holds_work and await to_thread.run_sync(self._has_changed))
        where = f"; what it changed stays in {self._worktree.path}" if self.holds_work else ""
        outcome = with_failure(self._outcome_of_steps(cancelled=True), f"{error}{where}")
        self._context.outcomes[self._spec.id] = whole(self._context, outcome, perf_counter() - self._began)

    def _has_changed(self) -> bool:
        """Whether there is a patch in the worktree, also one that cannot be taken. Blocks.

        What a task changed in a container is not there yet when its engine goes.
        """
        try:
            return bool(self._steps.patch().files)
        except (GitError, SecretFoundError):
            return True

    def _outcome_of_steps(self, *, cancelled: bool) -> Outcome:
        """Return the outcome of the steps that have run, without a patch."""
        spec, results = self._spec, self._steps.results
        last = results[-1] if results else None
        status, error = Status.UNCHANGED, None
        if cancelled:
            status, error = Status.CANCELLED, self._why_cancelled()
        elif last and last.timed_out:
            # If its agent was at a limit then, it has not used up its time itself: `resume` runs it again.
            status = Status.FAILED if self._steps.why_stopped else Status.TIMED_OUT
            error = f"timed out after {spec.timeout:g} s in {self._describe(last)}"
        elif last and not last.ok:
            status, error = Status.FAILED, f"{self._describe(last)} {_describe_failure(last)}"
            error += f"; it {FAILS_BEFORE} too" if self._rounds.fails_before(last.step) else ""
        elif self._steps.why_stopped:  # its agent ended with 0 at a limit
            status, error = Status.FAILED, self._steps.why_stopped
        if error and last and not last.ok and last.tail:
            error += "\n" + "\n".join(last.tail.rstrip().splitlines()[-TAIL_LINES:])
        if error and self._steps.why_stopped and error != self._steps.why_stopped:
            error += f"\n{self._steps.why_stopped}"
        return Outcome(
            task=spec.id,
            title=spec.title,
            batch=spec.task.batch,
            status=status,
            worktree=self._worktree.name,
            started_at=self._started_at,
            start=self._start.commit,
            exit_code=self._exit_code(last, cancelled=cancelled),
            step=last.step.title if error and last else None,
            error=error,
            rounds=self._rounds.number,
            said=self._rounds.said,
            cached=bool(results) and all(result.cached for result in results),
            fails_before=tuple(failure.step for failure in self._rounds.before),
            refused=add_up(one for result in results for one in result.refused),
        )

    def _exit_code(self, last: StepResult | None, *, cancelled: bool) -> int | None:
        """Return the exit code of the outcome; without one, `resume` runs the task again."""
        if self._steps.why_stopped:
            return None
        return last.exit_code if last and not last.ok else None if cancelled else 0

    def _describe(self, result: StepResult) -> str:
        return f"{result.step.kind} step {len(self._steps.results)} `{result.step.title}`"


def _describe_failure(result: StepResult) -> str:
    if result.error:
        return f"could not run: {result.error}"
    if result.out_of_memory:
        return f"was killed: {result.out_of_memory}"
    if result.exit_code is not None and 128 < result.exit_code <= 128 + SIGNALS:  # noqa: PLR2004 - 128 + n is signal n
        return f"ended with exit code {result.exit_code} (signal {result.exit_code - 128})"
    return f"ended with exit code {result.exit_code}"

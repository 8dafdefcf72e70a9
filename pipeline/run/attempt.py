"""One task in its worktree: run its steps, take its patch, commit it, store the outcome."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from anyio import CancelScope, get_cancelled_exc_class, to_thread

from containers.agents.agent import with_patterns
from containers.concurrency import in_thread
from containers.git.repository import GitError, SecretFoundError
from containers.git.working_tree.staging import TooDeepError
from containers.raw_log import raw_log_path
from containers.runner import Job
from containers.worktrees.worktree import AttemptRecord, PoolError, Worktree
from pipeline.events import Notice, RepairStarted, StepFinished, StepStarted, TaskFinished, TaskStarted, now
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import Continuation, RunContext
from pipeline.run.outcomes import TaskResult, conclude, outcome_without_run, with_failure
from pipeline.run.results.bases import StartPoint
from pipeline.run.results.commits import signature
from pipeline.run.results.restore import applies
from pipeline.run.rounds import Rounds
from pipeline.run.teardown import tear_down
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from tasks.agent_report import AgentReport
from tasks.errors import PatchyardError
from tasks.keys import inputs_of
from tasks.model import Outcome, Patch, Status, Step, StepKind, StepResult

TAIL_LINES = 10
"""Lines of a failed step's output that its outcome shows."""
SIGNALS = 64
"""Number of signals on Linux: an exit code of 128 + n, with n up to this, is signal n."""
CONTINUED = "Work in progress\n"
"""Message of the commit that a continued attempt starts from; no branch has it."""
LEAST_TIME = 1.0
"""Seconds that an attempt has at least, which continues one that had used up its time."""
OUTPUT_BYTES = 1 << 20
"""Bytes at the end of an agent's output that its own patterns are searched in."""


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
        commit, continued = await to_thread.run_sync(_place_to_continue, context, start, continued, tree)
        began -= continued.seconds if continued else 0.0
        worktree = await pool.acquire(commit)
    except GitError as error:
        failed = outcome_without_run(spec, Status.FAILED, f"it got no worktree: {error}")
        return await conclude(context, spec, TaskResult(failed, start))
    attempt = Attempt(
        context, spec, start, worktree, why_cancelled=why_cancelled, began=began, continued=continued
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
    """Runs one task; also the watcher of its steps.

    `holds_work` is whether the worktree may have a patch that is stored nowhere else. `job` is the one that the
    runner was given, with the last round; `None` before.

    Args:
        context: The run's.
        spec: The task.
        start: What it starts from.
        worktree: Where it runs.
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
        why_cancelled: Callable[[], str],
        began: float,
        continued: Continuation | None = None,
    ) -> None:
        self.holds_work = False
        self.job: Job | None = None
        self._context = context
        self._spec = spec
        self._start = start
        self._worktree = worktree
        self._why_cancelled = why_cancelled
        self._number = context.attempt_number(spec.id)
        self._rounds = Rounds(spec, self._number, context.secrets, continued)
        self._log = context.log(spec.id)
        self._exclude = context.pool.exclude
        self._results: list[StepResult] = []
        self._log_size = 0  # in bytes, before the agent's output
        self._baseline: str | None = None  # the tree after set-up, which is not part of the patch
        self._why_not_repaired: str | None = None
        self._started_at = now()
        self._began = began

    async def run(self) -> Outcome:
        """Run the task's steps and store its outcome, also when it is cancelled.

        Raises:
            PatchyardError: The run as a whole cannot continue.
        """
        self._announce()
        try:
            if self._stored.cause:  # so that a rerun that is cut off is known as one
                await self._context.recorder.flush()
            await to_thread.run_sync(self._record_in_worktree)
            async with self._prepared_job() as job:
                self.job = job
                with self._context.span(f"task {self._spec.id}: {self._spec.title}"):
                    await self._context.runners[self._spec.mode].run(job, self._worktree, self)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._finish(cancelled=True)
            raise
        except (GitError, PoolError) as error:
            # Only this task is affected: its container has no start commit, or its worktree cannot be held.
            self._results.append(StepResult(self._rounds.asked[0], None, 0.0, error=str(error)))
        except PatchyardError as error:
            with CancelScope(shield=True):
                await self._abort(error)
            raise
        with CancelScope(shield=True):
            outcome = await self._finish(cancelled=False)
        return outcome

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
            log=self._log,
            cause=context.stacks[spec.id].causes[-1] if spec.id in context.stacks else None,
        )
        self._stored = attempt
        context.recorder.queue(Store.begin_attempt, context.run.id, attempt)
        started = TaskStarted(task=spec.id, title=spec.title, batch=spec.task.batch, worktree=worktree.name)
        context.listener.notify(started)

    def _record_in_worktree(self) -> None:
        """Note in the worktree which attempt uses it, so that its patch can be recovered. Blocking."""
        run, task, start = self._context.run.id, self._spec.id, self._start.commit
        record = AttemptRecord(run, task, self._number, start, self._exclude, self._baseline)
        self._context.pool.record_attempt(self._worktree, record)

    @asynccontextmanager
    async def _prepared_job(self) -> AsyncIterator[Job]:
        """Provide the job; for a container, with a start commit that is the same in every run.

        The commits of earlier tasks have another id in each run, so the engine would never have a cache hit.
        """
        context, spec = self._context, self._spec
        rounds, base = self._rounds, context.run.base
        job = context.job(spec, self._worktree.checkout.reset_to, rounds.asked, rounds.number)
        if job.timeout is not None and rounds.continued is not None:  # the limit is for all rounds together
            job = replace(job, timeout=max(LEAST_TIME, job.timeout - rounds.continued.seconds))
        if not spec.is_contained or job.start == base:
            yield job
            return
        held = context.repository.held.reproducible(job.start, base, context.run.id, spec.id)
        async with in_thread(held) as start:
            yield replace(job, start=start)

    async def step_started(self, number: int, step: Step) -> None:
        """Notify the listener that a step starts."""
        self.holds_work = True
        if step.kind is StepKind.AGENT:
            self._log_size = await to_thread.run_sync(self._size_of_log)
        self._context.listener.notify(
            StepStarted(
                task=self._spec.id,
                worktree=self._worktree.name,
                number=number,
                kind=step.kind,
                command=step.title,
            ),
        )

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Store the result of a step, then notify the listener."""
        self._results.append(result)
        cost = None
        if result.step.kind is StepKind.AGENT and not result.cached:
            cost = self._add_report(await to_thread.run_sync(self._read_report, result))
        await self._context.recorder.call(
            Store.keep_step, self._context.run.id, self._spec.id, number, result, self._number, cost=cost
        )
        if result.step.kind is StepKind.SETUP and number == len(self._context.settings.setup):
            checkout = self._worktree.checkout
            self._baseline = await to_thread.run_sync(lambda: checkout.snapshot(exclude=self._exclude))
            await to_thread.run_sync(self._record_in_worktree)
        self._context.listener.notify(
            StepFinished(
                task=self._spec.id,
                worktree=self._worktree.name,
                number=number,
                kind=result.step.kind,
                command=result.step.title,
                exit_code=result.exit_code,
                seconds=result.seconds,
            ),
        )

    async def next_round(self, last: StepResult) -> tuple[Step, ...]:
        """Store the round that ended, and return the steps of a repair; none if there is none to make."""
        context, rounds = self._context, self._rounds
        if not rounds.is_stored(last):
            return ()
        patch = await to_thread.run_sync(self._patch_so_far)
        is_repaired = rounds.may_repair(last)
        if is_repaired and self._spec.agent and (reason := context.budget.obstacle(rounds.cost)):
            is_repaired, self._why_not_repaired = False, reason
        ended = rounds.ended(last, patch)
        await context.recorder.call(Store.keep_round, context.run.id, ended)
        if not is_repaired or ended.failure is None:
            return ()
        changed = (
            await to_thread.run_sync(context.repository.history.stat, patch.start, patch.tree) if patch else ""
        )
        steps = rounds.next_steps(ended.failure, changed)
        self.job = self.job and replace(self.job, first_round=rounds.number)
        started = RepairStarted(
            task=self._spec.id,
            worktree=self._worktree.name,
            round=rounds.number,
            rounds=rounds.most,
            step=ended.failure.step,
            exit_code=ended.failure.exit_code,
        )
        context.listener.notify(started)
        return steps

    def _add_report(self, report: AgentReport) -> float | None:
        """Add what the agent says of a step; return its cost in US dollars."""
        context, agent = self._context, self._spec.agent
        if (
            agent
            and report.cost is None
            and report.tokens
            and (price := context.settings.prices.get(agent.name))
        ):
            report = replace(report, cost=price.cost_of(report.tokens))
        if agent and report.cost is None and context.budget.is_new_without_cost(agent.name):
            context.listener.notify(Notice(message=_without_cost(agent.name), level="warning"))
        self._rounds.add_report(report)
        context.budget.add(report.cost)
        return report.cost

    def _patch_so_far(self) -> Patch | None:
        """Return the patch in the middle of an attempt; `None` if it cannot be taken now. Blocking."""
        try:
            return self._patch()
        except (GitError, SecretFoundError):
            return None

    def _output_log(self) -> Path:
        """Return the file that has the agent's output as it was printed."""
        agent = self._spec.agent
        return raw_log_path(self._log) if agent and agent.format else self._log

    def _size_of_log(self) -> int:
        """Return the size of that file in bytes. Blocking."""
        path = self._output_log()
        return path.stat().st_size if path.exists() else 0

    def _read_report(self, result: StepResult) -> AgentReport:
        """Return what the agent says in its output, also by its own patterns. Blocking."""
        agent, report = self._spec.agent, result.report or AgentReport()
        if agent is None or (agent.cost is None and agent.limit is None):
            return report
        with suppress(OSError), self._output_log().open("rb") as log:
            log.seek(max(self._log_size, self._size_of_log() - OUTPUT_BYTES))
            return with_patterns(agent, report, log.read().decode(errors="replace"), now())
        return report

    async def _finish(self, *, cancelled: bool) -> Outcome:
        """Take the patch, commit it, and store the outcome and its result."""
        context, spec, start = self._context, self._spec, self._start
        outcome, inputs, taken = self._outcome_of_steps(cancelled=cancelled), None, True
        version = None if cancelled else await context.agent_version(spec)
        try:
            inputs = await to_thread.run_sync(context.inputs, spec, start, version, self._rounds.asked)
            patch = await to_thread.run_sync(self._patch)
            outcome = replace(outcome, files=patch.files, patch=patch if patch.files else None)
        except SecretFoundError as error:
            outcome = with_failure(outcome, str(error))
        except TooDeepError as error:
            outcome = with_failure(outcome, str(error))
        except GitError as error:
            outcome, taken = self._without_patch(outcome, error), False
        if cancelled and spec.id in context.earlier:
            outcome = await self._leave_outcome(outcome, context.earlier[spec.id])
        else:
            result = TaskResult(outcome, start, inputs_of(inputs) if inputs else None, began=self._began)
            outcome = await conclude(context, spec, result)
        if context.results and outcome.succeeded and inputs and not cancelled:
            await to_thread.run_sync(context.results.keep, inputs, outcome)
        self.holds_work = not taken
        return outcome

    async def _leave_outcome(self, outcome: Outcome, earlier: Outcome) -> Outcome:
        """Store the end of a rerun that was cut off, so that its task keeps the outcome that it had."""
        context = self._context
        ended = replace(
            self._stored,
            status=outcome.status,
            seconds=perf_counter() - self._began,
            exit_code=outcome.exit_code,
            error=outcome.error,
            patch=outcome.patch,
        )
        await context.recorder.call(Store.end_attempt, context.run.id, ended)
        context.outcomes[self._spec.id] = earlier
        context.listener.notify(TaskFinished(outcome=earlier))
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
        self.holds_work = self.holds_work and await to_thread.run_sync(self._has_changed)
        where = f"; what it changed stays in {self._worktree.path}" if self.holds_work else ""
        outcome = with_failure(self._outcome_of_steps(cancelled=True), f"{error}{where}")
        seconds = perf_counter() - self._began
        self._context.outcomes[self._spec.id] = replace(outcome, seconds=seconds)

    def _has_changed(self) -> bool:
        """Whether there is a patch in the worktree, also one that cannot be taken. Blocks.

        What a task changed in a container is not there yet when its engine goes.
        """
        try:
            return bool(self._patch().files)
        except (GitError, SecretFoundError):
            return True

    def _patch(self) -> Patch:
        """Take the patch. Blocks."""
        return self._worktree.checkout.patch(
            self._start.commit,
            baseline=self._baseline,
            exclude=self._exclude,
            secrets=self._context.secrets,
            limit=self._context.settings.max_patch,
        )

    def _outcome_of_steps(self, *, cancelled: bool) -> Outcome:
        """Return the outcome of the steps that have run, without a patch."""
        spec, results = self._spec, self._results
        last = results[-1] if results else None
        status, error = Status.UNCHANGED, None
        if cancelled:
            status, error = Status.CANCELLED, self._why_cancelled()
        elif last and last.timed_out:
            status, error = Status.TIMED_OUT, f"timed out after {spec.timeout:g} s in {self._describe(last)}"
        elif last and not last.ok:
            status, error = Status.FAILED, f"{self._describe(last)} {_describe_failure(last)}"
        if error and last and not last.ok and last.tail:
            error += "\n" + "\n".join(last.tail.rstrip().splitlines()[-TAIL_LINES:])
        if error and self._why_not_repaired:
            error += f"\nit was not repaired: {self._why_not_repaired}"
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
            cost=self._rounds.cost,
            rounds=self._rounds.number,
            tokens=self._rounds.tokens,
            said=self._rounds.said,
            cached=bool(results) and all(result.cached for result in results),
        )

    def _exit_code(self, last: StepResult | None, *, cancelled: bool) -> int | None:
        """Return the exit code of the outcome; without one, `resume` runs the task again."""
        if self._why_not_repaired:
            return None
        return last.exit_code if last and not last.ok else None if cancelled else 0

    def _describe(self, result: StepResult) -> str:
        return f"{result.step.kind} step {len(self._results)} `{result.step.title}`"


def _without_cost(agent: str) -> str:
    return (
        f"agent {agent} did not report what it cost, so the budget cannot be kept for it; set [prices.{agent}] "
        "if it reports tokens"
    )


def _describe_failure(result: StepResult) -> str:
    if result.error:
        return f"could not run: {result.error}"
    if result.exit_code is not None and 128 < result.exit_code <= 128 + SIGNALS:  # noqa: PLR2004 - 128 + n is signal n
        return f"ended with exit code {result.exit_code} (signal {result.exit_code - 128})"
    return f"ended with exit code {result.exit_code}"

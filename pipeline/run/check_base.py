"""Run the verification of tasks where they start, before they change anything: the setting `check_base`."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from time import perf_counter

from anyio import CancelScope, to_thread

from containers.git.repository import GitError
from containers.runner import Job, Round
from containers.worktrees.worktree import PoolError, Worktree
from pipeline.events import BaseCheckFinished, BaseCheckStarted, Notice
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import RunContext
from pipeline.run.paths import base_log_path
from pipeline.run.results.base_checks import check_key
from pipeline.run.results.bases import StartPoint
from pipeline.run.teardown import tear_down
from pipeline.store.records import BaseCheck
from pipeline.store.store import Store
from tasks.model import Step, StepKind
from tasks.outcome import StepResult


async def check_base(context: RunContext, spec: TaskSpec, start: StartPoint) -> None:
    """Find out which commands of a task's verification fail where it starts, if that is wanted.

    Each runs once, for all tasks that have it and start from the same commit in the same place. What it gives
    is stored, and noted in `context.base_checks` for the task's next attempt. It changes no result.

    Raises:
        PatchyardError: The run as a whole cannot continue.
    """
    checks = context.base_checks
    verification = [step for step in spec.steps if step.kind is StepKind.VERIFY]
    if not (context.settings.check_base and verification):
        return
    made_from = await to_thread.run_sync(context.inputs, spec, start, None)
    wanted = {check_key(start.commit, made_from, step): step for step in verification}
    if own := checks.claim(wanted):
        try:
            await _run(context, spec, start, own)
        finally:
            checks.release(own)
    await checks.wait(wanted)
    checks.assign(spec.id, wanted)


async def _run(context: RunContext, spec: TaskSpec, start: StartPoint, wanted: Mapping[str, Step]) -> None:
    """Run commands in a worktree of the pool, after the set-up, as the task will."""
    try:
        worktree = await context.pool.acquire(start.commit, is_whole=spec.is_contained)
    except GitError as error:
        _warn(context, spec, wanted.values(), f"it got no worktree: {error}")
        return
    commands = _Commands(context, spec, start, worktree, wanted)
    job: Job | None = None
    commands.announce()
    try:
        async with context.startable(spec, commands.job()) as job:
            await context.runners[spec.mode].run(job, worktree, commands)
    except (GitError, PoolError) as error:
        commands.problem = str(error)
    finally:
        with CancelScope(shield=True):
            commands.conclude()
            await tear_down(context, spec, worktree, job, holds_work=False)
            await context.pool.release(worktree)


def _warn(context: RunContext, spec: TaskSpec, missing: Iterable[Step], problem: str) -> None:
    commands = ", ".join(f"`{step.title}`" for step in missing)
    message = f"the verification of task {spec.id} was not checked where it starts ({commands}): {problem}"
    context.listener.notify(Notice(message=message, level="warning"))


class _Commands:
    """The watcher of the commands: one that fails does not keep the others from running.

    `problem` says why some have no result.
    """

    def __init__(
        self,
        context: RunContext,
        spec: TaskSpec,
        start: StartPoint,
        worktree: Worktree,
        wanted: Mapping[str, Step],
    ) -> None:
        self.problem: str | None = None
        self._context = context
        self._spec = spec
        self._start = start
        self._worktree = worktree
        self._left = dict(wanted)
        self._started = 0
        self._done: list[BaseCheck] = []
        self._log = base_log_path(context.directory, spec.id, context.attempt_number(spec.id))
        self._began = perf_counter()

    def job(self) -> Job:
        """Return the job: the set-up, then the commands, within the task's time limit."""
        setup = (step for step in self._spec.steps if step.kind is StepKind.SETUP)
        job = self._context.job(self._spec, self._start.commit, (*setup, *self._left.values()), 0)
        return replace(job, log=self._log, format=None, patch_limit=None, is_check=True)

    async def step_started(self, number: int, _step: Step) -> None:
        """Note that a step starts: one whose time was over before it did has no result."""
        self._started = number

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Store what a command gives."""
        if result.step.kind is StepKind.SETUP or result.cancelled or number != self._started:
            return
        key = next(iter(self._left))
        del self._left[key]
        check = BaseCheck(
            key=key,
            task=self._spec.id,
            start=self._start.commit,
            command=result.step.title,
            seconds=result.seconds,
            exit_code=result.exit_code,
            timed_out=result.timed_out,
            error=result.error or result.out_of_memory,
            output="" if result.ok else result.tail,
            host=self._context.run.host,
            log=self._log,
        )
        await self._context.recorder.call(Store.keep_base_check, self._context.run.id, check)
        self._context.base_checks.known[key] = check
        self._done.append(check)

    async def next_round(self, last: StepResult) -> Round | None:
        """Return the commands that did not run, after one that failed."""
        if last.timed_out and self._left:
            self.problem = f"the time limit of the task, {self._spec.timeout:g} s, had passed"
        elif not last.ok and last.step.kind is StepKind.SETUP:
            self.problem = f"the set-up command `{last.step.title}` failed; its output is in {self._log.name}"
        elif self._left:
            return Round(tuple(self._left.values()), 0)
        return None

    def announce(self) -> None:
        """Notify the listener that the commands start."""
        started = BaseCheckStarted(
            task=self._spec.id,
            worktree=self._worktree.name,
            start=self._start.commit,
            commands=[step.title for step in self._left.values()],
        )
        self._context.listener.notify(started)

    def conclude(self) -> None:
        """Notify the listener of what they gave."""
        finished = BaseCheckFinished(
            task=self._spec.id,
            worktree=self._worktree.name,
            start=self._start.commit,
            seconds=perf_counter() - self._began,
            failed=[check.command for check in self._done if check.failure],
            results=[
                {
                    "command": check.command,
                    "exit_code": check.exit_code,
                    "seconds": round(check.seconds, 3),
                    "timed_out": check.timed_out,
                    "error": check.error,
                }
                for check in self._done
            ],
            problem=self.problem,
        )
        self._context.listener.notify(finished)
        if self.problem:
            _warn(self._context, self._spec, self._left.values(), self.problem)

"""One task in its worktree: run its steps, take its patch, commit it, keep the outcome."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from anyio import CancelScope, get_cancelled_exc_class, to_thread

from containers.agents import agent_step, prompt, resolve
from containers.git import GitError, Repository, SecretFoundError
from containers.runner import Job, Runner
from containers.worktrees import Worktree
from pipeline.bases import Start
from pipeline.branches import RUN_TRAILER, TASK_TRAILER, Branches
from pipeline.config import Settings
from pipeline.events import Listener, StepFinished, StepStarted, TaskFinished, TaskStarted, now
from pipeline.recorder import Recorder
from pipeline.store import Store
from tasks.model import Outcome, Patch, Plan, Status, Step, StepKind, StepResult, Task
from tasks.secrets import Secrets

TAIL_LINES = 10


@dataclass(frozen=True, slots=True)
class Context:
    """What every attempt of a run needs. `directory` is the run's own, for logs."""

    plan: Plan
    repository: Repository
    runner: Runner
    recorder: Recorder
    listener: Listener
    settings: Settings
    branches: Branches
    directory: Path
    secrets: Secrets = field(default_factory=Secrets)

    @property
    def run(self) -> str:
        """The run's id."""
        return self.recorder.run.id

    def log(self, task: str) -> Path:
        """Return the file that a task's output goes to."""
        return self.directory / f"{task}.log"

    async def keep(self, outcome: Outcome, start: Start | None = None) -> None:
        """Store an outcome, then tell of it."""
        branches = {outcome.branch: outcome.commit} if outcome.branch and outcome.commit else {}
        if branches and start and start.branch:
            branches[start.branch] = start.commit
        position = next(i for i, task in enumerate(self.plan.tasks) if task.id == outcome.task)
        await self.recorder.keep(
            Store.keep_outcome,
            self.run,
            position,
            outcome,
            start_branch=start.branch if start else None,
            builds_on=start.builds_on if start else (),
            log=self.log(outcome.task) if outcome.worktree else None,
            branches=branches,
        )
        self.listener.notify(TaskFinished(outcome=outcome))


def commit_message(task: Task, run: str) -> str:
    """Return the message of a task's commit, with the trailers that name the task and the run."""
    text = (task.commit or task.title or f"Task {task.id}").strip()
    return f"{text}\n\n{TASK_TRAILER} {task.id}\n{RUN_TRAILER} {run}\n"


def steps_of(task: Task, plan: Plan, settings: Settings) -> tuple[Step, ...]:
    """Return all steps of a task: set-up, then the agent or the commands, then what verifies it."""
    setup = [Step(StepKind.SETUP, command, ("sh", "-e", "-c", command)) for command in settings.setup]
    work = list(task.run)
    if not work and (agent := settings.agent_for(task)):
        work = [agent_step(resolve(agent, settings.agents), prompt(task, plan))]
    return (*setup, *work, *(check.step for check in task.verification if check.step))


class Attempt:
    """Runs one task; also the watcher of its steps."""

    def __init__(
        self, context: Context, task: Task, start: Start, worktree: Worktree, exclude: tuple[str, ...]
    ) -> None:
        self._context = context
        self._task = task
        self._start = start
        self._worktree = worktree
        self._exclude = exclude
        self._steps = steps_of(task, context.plan, context.settings)
        self._results: list[StepResult] = []
        self._baseline: str | None = None
        self.outcome: Outcome | None = None
        self.holds_work = False  # whether the worktree has a patch that could not be taken
        self._started_at = now()
        self._began = perf_counter()

    async def run(self) -> Outcome:
        """Run the task's steps and keep its outcome, also when it is cancelled on the way."""
        context = self._context
        context.listener.notify(
            TaskStarted(
                task=self._task.id,
                title=self._task.title,
                batch=self._task.batch,
                worktree=self._worktree.name,
            ),
        )
        try:
            await context.runner.run(self._job(), self._worktree, self)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._finish(cancelled=True)
            raise
        with CancelScope(shield=True):
            outcome = await self._finish(cancelled=False)
        return outcome

    async def step_started(self, number: int, step: Step) -> None:
        """Tell that a step begins."""
        self._context.listener.notify(
            StepStarted(
                task=self._task.id,
                worktree=self._worktree.name,
                number=number,
                kind=step.kind,
                command=step.title,
            ),
        )

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Keep a step that has ended, then tell of it."""
        self._results.append(result)
        await self._context.recorder.keep(Store.keep_step, self._context.run, self._task.id, number, result)
        if result.step.kind is StepKind.SETUP and number == len(self._context.settings.setup):
            checkout = self._worktree.checkout
            self._baseline = await to_thread.run_sync(lambda: checkout.snapshot(exclude=self._exclude))
        self._context.listener.notify(
            StepFinished(
                task=self._task.id,
                worktree=self._worktree.name,
                number=number,
                kind=result.step.kind,
                command=result.step.title,
                exit_code=result.exit_code,
                seconds=result.seconds,
            ),
        )

    def _job(self) -> Job:
        context = self._context
        return Job(
            run=context.run,
            task=self._task.id,
            steps=self._steps,
            log=context.log(self._task.id),
            scratch=context.directory / f"{self._task.id}.scratch",
            environment=context.settings.environment,
            secrets=context.secrets,
            timeout=context.settings.timeout_for(self._task),
            grace=context.settings.grace,
            image=context.settings.image_for(
                self._task, next(b for b in context.plan.batches if b.number == self._task.batch)
            ),
        )

    async def _finish(self, *, cancelled: bool) -> Outcome:
        outcome = self._judge(cancelled=cancelled)
        try:
            outcome = await to_thread.run_sync(self._settle, outcome)
        except SecretFoundError as error:
            outcome = replace(outcome, status=Status.FAILED, error=str(error))
        except GitError as error:
            self.holds_work = True
            outcome = replace(outcome, status=Status.FAILED, error=f"its patch could not be taken: {error}")
        outcome = replace(outcome, seconds=perf_counter() - self._began)
        self.outcome = outcome
        await self._context.keep(outcome, self._start)
        return outcome

    def _judge(self, *, cancelled: bool) -> Outcome:
        """Say how the steps went."""
        task, results = self._task, self._results
        last = results[-1] if results else None
        status, error = Status.UNCHANGED, None
        if cancelled:
            status, error = Status.CANCELLED, "the run was interrupted"
        elif last and last.timed_out:
            status, error = Status.TIMED_OUT, f"timed out after {self._limit()} in {self._describe(last)}"
        elif last and not last.ok:
            status, error = Status.FAILED, f"{self._describe(last)} {_how(last)}"
        if error and last and not last.ok and last.tail:
            error += "\n" + "\n".join(last.tail.rstrip().splitlines()[-TAIL_LINES:])
        return Outcome(
            task=task.id,
            title=task.title,
            batch=task.batch,
            status=status,
            worktree=self._worktree.name,
            started_at=self._started_at,
            start=self._start.commit,
            exit_code=last.exit_code if last and not last.ok else None if cancelled else 0,
            step=last.step.title if error and last else None,
            error=error,
        )

    def _describe(self, result: StepResult) -> str:
        return f"{result.step.kind} step {len(self._results)} `{result.step.title}`"

    def _limit(self) -> str:
        return f"{self._context.settings.timeout_for(self._task):g} s"

    def _settle(self, outcome: Outcome) -> Outcome:
        """Take the patch; where the task succeeded, make its commit and its branch. Blocks."""
        context = self._context
        patch = self._worktree.checkout.patch(
            self._start.commit, baseline=self._baseline, exclude=self._exclude, secrets=context.secrets
        )
        outcome = replace(outcome, files=patch.files, patch=patch if patch.files else None)
        if not patch.files or not outcome.succeeded:
            return outcome
        commit = self._commit(patch)
        branch = context.branches.name(self._task.id)
        try:
            if self._start.branch:
                context.branches.set(self._start.branch, self._start.commit)
            context.branches.set(branch, commit)
        except GitError as error:
            return replace(outcome, status=Status.FAILED, error=str(error))
        return replace(outcome, status=Status.CHANGED, branch=branch, commit=commit)

    def _commit(self, patch: Patch) -> str:
        message = commit_message(self._task, self._context.run)
        return self._context.repository.commit(patch.tree, [patch.start], message)


def _how(result: StepResult) -> str:
    if result.error:
        return f"could not run: {result.error}"
    if result.exit_code is not None and result.exit_code > 128:  # noqa: PLR2004 - 128 + n is signal n
        return f"ended with exit code {result.exit_code} (signal {result.exit_code - 128})"
    return f"ended with exit code {result.exit_code}"

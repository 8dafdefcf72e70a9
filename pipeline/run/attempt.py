"""One task in its worktree: run its steps, take its patch, commit it, keep the outcome."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from anyio import CancelScope, get_cancelled_exc_class, to_thread

from containers.agents.agent import Versions, read_cost
from containers.agents.builtin import Agent
from containers.agents.prompt import agent_step, prompt
from containers.concurrency import in_thread
from containers.git.repository import BranchMovedError, GitError, Repository, SecretFoundError
from containers.runner import Job, Runner
from containers.worktrees.pool import Pool
from containers.worktrees.worktree import AttemptRecord, PoolError, Worktree
from pipeline.config.settings import Settings
from pipeline.events import Listener, StepFinished, StepStarted, TaskFinished, TaskStarted, now
from pipeline.run.bases import StartPoint
from pipeline.run.branches import Branches
from pipeline.run.commits import commit_message, signature
from pipeline.run.paths import log_path, scratch_path
from pipeline.run.recorder import Recorder
from pipeline.run.result_cache import ResultCache
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store
from tasks.errors import PatchyardError
from tasks.keys import AgentUse, InputHashes, TaskInputs, inputs_of
from tasks.model import Batch, Mode, Outcome, Patch, Plan, Status, Step, StepKind, StepResult, Task
from tasks.secrets import Secrets

TAIL_LINES = 10
SIGNALS = 64
"""How many signals there are on Linux: an exit code beyond 128 and that is a program's own."""
COST_BYTES = 1 << 20
"""How much of the end of an agent's output is looked at for its cost."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What every attempt of a run needs.

    `directory` is the run's own, for logs. `versions` are those of agents that were asked for so far, by name
    and image.
    """

    plan: Plan
    repository: Repository
    runners: Mapping[Mode, Runner]
    recorder: Recorder
    listener: Listener
    settings: Settings
    branches: Branches
    directory: Path
    secrets: Secrets = field(default_factory=Secrets)
    why_cancelled: Callable[[], str] = lambda: "the run was interrupted"
    span: Callable[[str], AbstractContextManager[object]] = nullcontext
    versions: dict[tuple[str, str | None], str | None] = field(default_factory=dict)
    pool: Pool | None = None
    results: ResultCache | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """The run's id."""
        return self.recorder.run.id

    def batch(self, task: Task) -> Batch:
        """Return the batch of a task."""
        return next(batch for batch in self.plan.batches if batch.number == task.batch)

    def mode(self, task: Task) -> Mode:
        """Return how a task is run."""
        return self.settings.mode_for(self.batch(task))

    def log(self, task: str) -> Path:
        """Return the file that a task's output goes to: each attempt's is its own."""
        return log_path(self.directory, task, self.attempt(task))

    def attempt(self, task: str) -> int:
        """Return the number of the attempt at a task that this run makes."""
        return self.attempts.get(task, 1)

    def steps(self, task: Task) -> tuple[Step, ...]:
        """Return all steps of a task, with titles that anybody may read."""
        steps = steps_of(task, self.plan, self.settings)
        return tuple(replace(step, title=self.secrets.mask_text(step.title)) for step in steps)

    def job(self, task: Task, start: StartPoint) -> Job:
        """Return a task made ready to run."""
        agent = self.settings.agent_for(task)
        return Job(
            run=self.run,
            task=task.id,
            steps=self.steps(task),
            log=self.log(task.id),
            scratch=scratch_path(self.directory, task.id),
            environment={**(agent.environment if agent else {}), **self.settings.environment},
            secrets=self.secrets.only((*self.settings.secrets, *(agent.secrets if agent else ()))),
            timeout=self.settings.timeout_for(task),
            grace=self.settings.grace,
            image=self.settings.image_for(task, self.batch(task)),
            layers=agent.setup if agent else (),
            start=start.commit,
        )

    def ingredients(self, task: Task, start: StartPoint, version: str | None) -> TaskInputs:
        """Return what a task is made from; `version` is its agent's. Blocks."""
        job, agent, mask = self.job(task, start), self.settings.agent_for(task), self.secrets.mask_text
        contained = self.mode(task) is Mode.DAGGER
        return TaskInputs(
            task=task,
            steps=job.steps,
            mode=self.mode(task),
            base_tree=self.repository.tree(self.recorder.run.base),
            start_tree=self.repository.tree(start.commit),
            agent=AgentUse(mask(agent.name), mask(agent.command), version) if agent else None,
            image=job.image if contained else None,
            layers=job.layers if contained else (),
            depth=self.settings.depth,
            environment=job.environment,
            secrets=tuple(job.secrets.values),
        )

    async def version(self, agent: Agent, mode: Mode, image: str | None) -> str | None:
        """Return an agent's version, where the place that it runs in can say so."""
        runner, key = self.runners[mode], (agent.name, image)
        if agent.version is None or not isinstance(runner, Versions):
            return None
        if key not in self.versions:
            self.versions[key] = await runner.version(agent, image)
        return self.versions[key]

    async def keep(
        self, outcome: Outcome, start: StartPoint | None = None, inputs: InputHashes | None = None
    ) -> None:
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
            inputs=inputs,
            attempt=self.attempt(outcome.task),
        )
        self.listener.notify(TaskFinished(outcome=outcome))


def steps_of(task: Task, plan: Plan, settings: Settings) -> tuple[Step, ...]:
    """Return all steps of a task: set-up, then the agent or the commands, then what verifies it."""
    setup = [Step(StepKind.SETUP, command, ("sh", "-e", "-c", command)) for command in settings.setup]
    work = list(task.run)
    if agent := settings.agent_for(task):
        title = None if agent.name == agent.command else agent.name
        work = [agent_step(agent.command, prompt(task, plan), title=title)]
    return (*setup, *work, *(check.step for check in task.verification if check.step))


class Attempt:
    """Runs one task; also the watcher of its steps."""

    def __init__(  # noqa: PLR0913 - the parts of one attempt
        self,
        context: RunContext,
        task: Task,
        start: StartPoint,
        worktree: Worktree,
        *,
        exclude: tuple[str, ...],
        began: float,
    ) -> None:
        self._context = context
        self._task = task
        self._start = start
        self._worktree = worktree
        self._exclude = exclude
        self._title = context.secrets.mask_text(task.title)
        self._steps = context.steps(task)
        self._results: list[StepResult] = []
        self._agent = context.settings.agent_for(task)
        self._version: str | None = None
        self._cost: float | None = None
        self._log_size = 0  # in bytes, before the agent's output
        self._inputs: InputHashes | None = None
        self._baseline: str | None = None
        self.outcome: Outcome | None = None
        self.holds_work = False  # whether the worktree may have a patch that is kept nowhere else
        self._started_at = now()
        self._began = began

    async def run(self) -> Outcome:
        """Run the task's steps and keep its outcome, also when it is cancelled on the way."""
        context = self._context
        begun = StoredAttempt(
            task=self._task.id,
            number=context.attempt(self._task.id),
            title=self._title,
            batch=self._task.batch,
            started_at=self._started_at,
            worktree=self._worktree.name,
            path=self._worktree.path,
            host=context.recorder.run.host,
            start=self._start.commit,
            log=context.log(self._task.id),
        )
        context.recorder.note(lambda store: store.begin_attempt(context.run, begun))
        context.listener.notify(
            TaskStarted(
                task=self._task.id,
                title=self._title,
                batch=self._task.batch,
                worktree=self._worktree.name,
            ),
        )
        try:
            await to_thread.run_sync(self._hold)
            async with self._ready() as job:
                with context.span(f"task {self._task.id}: {self._title}"):
                    await context.runners[context.mode(self._task)].run(job, self._worktree, self)
        except get_cancelled_exc_class():
            with CancelScope(shield=True):
                await self._finish(cancelled=True)
            raise
        except (GitError, PoolError) as error:
            # It concerns this task alone: no start for its container, or no room for the note of its worktree.
            self._results.append(StepResult(self._steps[0], None, 0.0, error=str(error)))
        except PatchyardError as error:
            with CancelScope(shield=True):
                await self._break_off(error)
            raise
        with CancelScope(shield=True):
            outcome = await self._finish(cancelled=False)
        return outcome

    def _hold(self) -> None:
        """Note what the worktree is held for. Blocks."""
        if pool := self._context.pool:
            number = self._context.attempt(self._task.id)
            record = AttemptRecord(
                self._context.run, self._task.id, number, self._start.commit, self._exclude, self._baseline
            )
            pool.record_attempt(self._worktree, record)

    @asynccontextmanager
    async def _ready(self) -> AsyncIterator[Job]:
        """Give the job; for a container, with a start that the engine knows again.

        What earlier tasks left is another commit in every run: the engine would never find its result.
        """
        job, context = self._job(), self._context
        base = context.recorder.run.base
        if context.mode(self._task) is not Mode.DAGGER or job.start == base:
            yield job
            return
        held = context.repository.reproducible_commit(job.start, base, f"{context.run}/{self._task.id}")
        async with in_thread(held) as start:
            yield replace(job, start=start)

    async def step_started(self, number: int, step: Step) -> None:
        """Tell that a step begins."""
        self.holds_work = True
        if step.kind is StepKind.AGENT:
            self._log_size = await to_thread.run_sync(self._size)
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
        if result.step.kind is StepKind.AGENT and not result.cached:
            self._cost = await to_thread.run_sync(self._spent)
        attempt = self._context.attempt(self._task.id)
        await self._context.recorder.keep(
            Store.keep_step, self._context.run, self._task.id, number, result, attempt
        )
        if result.step.kind is StepKind.SETUP and number == len(self._context.settings.setup):
            checkout = self._worktree.checkout
            self._baseline = await to_thread.run_sync(lambda: checkout.snapshot(exclude=self._exclude))
            await to_thread.run_sync(self._hold)
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

    def _size(self) -> int:
        """Return the size of the log. Blocks."""
        log = self._context.log(self._task.id)
        return log.stat().st_size if log.exists() else 0

    def _spent(self) -> float | None:
        """Return what the agent says in the log that it cost. Blocks."""
        if self._agent is None or self._agent.cost is None:
            return None
        with suppress(OSError), self._context.log(self._task.id).open("rb") as log:
            log.seek(max(self._log_size, self._size() - COST_BYTES))
            return read_cost(self._agent, log.read().decode(errors="replace"))
        return None

    def _job(self) -> Job:
        return self._context.job(self._task, self._start)

    async def _finish(self, *, cancelled: bool) -> Outcome:
        outcome = replace(
            self._judge(cancelled=cancelled),
            cost=self._cost,
            cached=bool(self._results) and all(result.cached for result in self._results),
        )
        if self._agent and not cancelled:
            mode, image = self._context.mode(self._task), self._job().image
            self._version = await self._context.version(self._agent, mode, image)
        taken = True
        try:
            outcome = await to_thread.run_sync(self._take, outcome)
        except SecretFoundError as error:
            outcome = _spoilt(outcome, str(error))
        except GitError as error:
            taken = False
            where = f"what it changed stays in {self._worktree.path}"
            gone = not self._worktree.path.is_dir()
            where = "" if gone else f", and {where}"
            outcome = _spoilt(outcome, f"its patch could not be taken{where}: {error}")
            outcome = replace(outcome, exit_code=None)  # it has no result of its own: `resume` runs it again
        outcome = await commit_outcome(self._context, self._task, self._start, outcome)
        outcome = replace(outcome, seconds=perf_counter() - self._began)
        self.outcome = outcome
        await self._context.keep(outcome, self._start, self._inputs)
        if (results := self._context.results) and outcome.succeeded and self._inputs:
            made_from = self._context.ingredients
            await to_thread.run_sync(
                lambda: results.keep(made_from(self._task, self._start, self._version), outcome)
            )
        self.holds_work = not taken
        return outcome

    async def _break_off(self, error: PatchyardError) -> None:
        """Say how the task ended when the run cannot go on, which leaves nothing to keep its patch with."""
        self.holds_work = self.holds_work and await to_thread.run_sync(self._has_changed)
        where = f"; what it changed stays in {self._worktree.path}" if self.holds_work else ""
        outcome = _spoilt(self._judge(cancelled=True), f"{error}{where}")
        self.outcome = replace(outcome, seconds=perf_counter() - self._began)

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
            self._start.commit, baseline=self._baseline, exclude=self._exclude, secrets=self._context.secrets
        )

    def _judge(self, *, cancelled: bool) -> Outcome:
        """Say how the steps went."""
        task, results = self._task, self._results
        last = results[-1] if results else None
        status, error = Status.UNCHANGED, None
        if cancelled:
            status, error = Status.CANCELLED, self._context.why_cancelled()
        elif last and last.timed_out:
            status, error = Status.TIMED_OUT, f"timed out after {self._limit()} in {self._describe(last)}"
        elif last and not last.ok:
            status, error = Status.FAILED, f"{self._describe(last)} {_how(last)}"
        if error and last and not last.ok and last.tail:
            error += "\n" + "\n".join(last.tail.rstrip().splitlines()[-TAIL_LINES:])
        return Outcome(
            task=task.id,
            title=self._title,
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

    def _take(self, outcome: Outcome) -> Outcome:
        """Take the patch, and note what the task was made from. Blocks."""
        self._inputs = inputs_of(self._context.ingredients(self._task, self._start, self._version))
        patch = self._patch()
        return replace(outcome, files=patch.files, patch=patch if patch.files else None)


async def commit_outcome(context: RunContext, task: Task, start: StartPoint, outcome: Outcome) -> Outcome:
    """Make the commit of a task that changed something, and let its branch stand there."""
    patch, branch = outcome.patch, context.branches.name(task.id)
    if patch is None or not outcome.succeeded:
        return outcome
    signed = signature(context.recorder.run, outcome.started_at or now())
    message = commit_message(task, context.run)
    try:
        commit = await to_thread.run_sync(context.repository.commit, patch.tree, [patch.start], message, signed)
        if start.branch:
            await _set(context, start.branch, start.commit)
        await _set(context, branch, commit)
    except GitError as error:
        return _spoilt(outcome, str(error))
    return replace(outcome, status=Status.CHANGED, branch=branch, commit=commit)


async def _set(context: RunContext, branch: str, commit: str) -> None:
    branches = context.branches
    try:
        await to_thread.run_sync(branches.set, branch, commit)
    except BranchMovedError:
        await context.recorder.keep(lambda store: branches.refresh(store, branch))
        await to_thread.run_sync(branches.set, branch, commit)


async def cached_outcome(context: RunContext, task: Task, start: StartPoint) -> Outcome | None:
    """Give a task the result that any run kept of the same work; `None` where there is none."""
    results, agent = context.results, context.settings.agent_for(task)
    if results is None:
        return None
    began, moment = perf_counter(), now()
    version = (
        await context.version(agent, context.mode(task), context.job(task, start).image) if agent else None
    )
    made_from = await to_thread.run_sync(context.ingredients, task, start, version)
    found = await to_thread.run_sync(results.find, made_from, start.commit)
    if found is None:
        return None
    outcome = Outcome(
        task=task.id,
        title=context.secrets.mask_text(task.title),
        batch=task.batch,
        status=Status.UNCHANGED,
        started_at=moment,
        start=start.commit,
        exit_code=0,
        files=found.files,
        patch=found if found.files else None,
        cached=True,
    )
    with CancelScope(shield=True):
        outcome = replace(await commit_outcome(context, task, start, outcome), seconds=perf_counter() - began)
        await context.keep(outcome, start, inputs_of(made_from))
    return outcome


def _spoilt(outcome: Outcome, reason: str) -> Outcome:
    """Return the outcome of a task whose patch cannot be kept, whatever else is to say of it."""
    if outcome.succeeded:
        return replace(outcome, status=Status.FAILED, exit_code=None, error=reason)
    first, line, rest = (outcome.error or "").partition("\n")
    return replace(outcome, error=f"{first}; {reason}{line}{rest}")


def _how(result: StepResult) -> str:
    if result.error:
        return f"could not run: {result.error}"
    if result.exit_code is not None and 128 < result.exit_code <= 128 + SIGNALS:  # noqa: PLR2004 - 128 + n is signal n
        return f"ended with exit code {result.exit_code} (signal {result.exit_code - 128})"
    return f"ended with exit code {result.exit_code}"

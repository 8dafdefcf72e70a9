"""What the flow and the attempts of one run share."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from containers.agents.agent import Versions
from containers.concurrency import in_thread
from containers.git.repository import Repository
from containers.runner import Haste, Job, Runner
from containers.temporary import temporary_path
from containers.worktrees.pool import Pool
from pipeline.broadcast import Listener
from pipeline.config.settings import Settings
from pipeline.run.agent_limits import AgentLimits
from pipeline.run.budget import Budget
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from pipeline.run.control import Control
from pipeline.run.paths import log_path
from pipeline.run.recording.recorder import Recorder
from pipeline.run.results.base_checks import BaseChecks
from pipeline.run.results.bases import Bases, StartPoint
from pipeline.run.results.branches import Branches
from pipeline.run.results.result_cache import ResultCache
from pipeline.store.records import BaseCheck, Run, StoredRound, StoredTask
from tasks.conflicts import Cause
from tasks.keys import AgentUse, TaskInputs
from tasks.lazy.dataclasses import dataclass
from tasks.model import Mode, Plan, Step
from tasks.outcome import Failure, Outcome, Patch
from tasks.schedule import Obstacles
from tasks.secrets import Secrets
from tasks.usage import Work


@dataclass(frozen=True, slots=True)
class Continuation:
    """What an attempt continues: the failure of an earlier one, and feedback, for its agent.

    `rounds` is how many rounds of an attempt that was interrupted are done; 0 for a new try, and `seconds` how
    long they took. `feedback` is what the user said of it; without a failure, of one that succeeded. `patch` is
    what they changed, from which it continues; without one it starts from the start point. `ended` is the round
    after them, if it succeeded: then only the outcome is missing.
    """

    failure: Failure | None
    rounds: int = 0
    patch: Patch | None = None
    ended: StoredRound | None = None
    seconds: float = 0.0
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Stack:
    """Why a task with a result runs again on top of others.

    `causes` are those of all its reruns, the oldest first. `patch` is the one that it had before the last.
    """

    causes: tuple[Cause, ...] = ()
    patch: Patch | None = None

    @property
    def conflicts(self) -> tuple[Cause, ...]:
        """Those of its reruns that followed a conflict."""
        return tuple(cause for cause in self.causes if cause.is_conflict)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it conflicted with, so that it starts from them."""
        return tuple(dict.fromkeys(task for cause in self.conflicts for task in cause.tasks))


@dataclass(frozen=True, slots=True)
class ResumeState:
    """What a run has done before it is resumed; empty for a new run.

    `tasks` are those with a result, by id. `kept` are outcomes whose patch is stored and only has to be
    committed, because the task's branch could not be set. `again` are tasks to run again, without the result
    cache. `attempts` are the numbers of the last attempts by task, `continued` what the next ones continue.
    `seconds` is how long the run was running, `step_seconds` how long the steps of its tasks took together,
    `work` what was done on its tasks. `stacks` are of the
    tasks that were run again. `waits` are until when tasks waited for the providers of their agents.
    `base_checks` are, by key, what verification gave at start points.
    """

    tasks: Mapping[str, StoredTask] = field(default_factory=dict)
    kept: Mapping[str, Outcome] = field(default_factory=dict)
    again: frozenset[str] = frozenset()
    attempts: Mapping[str, int] = field(default_factory=dict)
    continued: Mapping[str, Continuation] = field(default_factory=dict)
    seconds: float = 0.0
    step_seconds: float = 0.0
    work: Mapping[str, Work] = field(default_factory=dict)
    stacks: Mapping[str, Stack] = field(default_factory=dict)
    waits: Mapping[str, datetime] = field(default_factory=dict)
    base_checks: Mapping[str, BaseCheck] = field(default_factory=dict)

    def outcome(self, task: str) -> Outcome | None:
        """Return the outcome that a task had, if there is one to keep."""
        stored = self.tasks.get(task)
        return stored.outcome if stored else self.kept.get(task)


@dataclass(slots=True)
class StepTime:
    """The seconds that the steps of tasks took, in this process."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the flow and the attempts of one run share.

    `plan` is the part of the plan to run, and `batches` are its resolved tasks. `directory` is the run's own,
    for logs. `outcomes` are those of the tasks that have ended, by id. `span` opens a named span where the
    runners can show one. `versions` caches those of agents, by name and image. `notices` are for the user, at
    the start of the run. `stacks` are of the tasks that were run again, or are about to be; `earlier` are the
    outcomes of those that run again now, which they keep until they have another; `repeats` is how often this
    process has run tasks again that it had run. `in_sandbox` says whether the tasks of this machine run in it,
    `kinds_of_limits` by what each of their limits holds, by its name.
    """

    plan: Plan
    batches: tuple[BatchSpec, ...]
    settings: Settings
    secrets: Secrets
    repository: Repository
    branches: Branches
    pool: Pool
    runners: Mapping[Mode, Runner]
    recorder: Recorder
    listener: Listener
    control: Control
    directory: Path
    bases: Bases
    obstacles: Obstacles
    before: ResumeState = field(default_factory=ResumeState)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    results: ResultCache | None = None
    span: Callable[[str], AbstractContextManager[object]] = nullcontext
    versions: dict[tuple[str, str | None], str | None] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    budget: Budget = field(default_factory=Budget)
    step_time: StepTime = field(default_factory=StepTime)
    in_sandbox: bool = False
    kinds_of_limits: Mapping[str, str] = field(default_factory=dict)
    stacks: dict[str, Stack] = field(default_factory=dict)
    earlier: dict[str, Outcome] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    limits: AgentLimits = field(default_factory=lambda: AgentLimits(0.0))
    haste: Haste = field(default_factory=Haste)
    base_checks: BaseChecks = field(default_factory=BaseChecks)

    @property
    def run(self) -> Run:
        """The run as it is stored."""
        return self.recorder.run

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """All tasks, in the plan's order."""
        return tuple(spec for batch in self.batches for spec in batch.tasks)

    def attempt_number(self, task: str) -> int:
        """Return the number of the attempt at a task that this run makes now; counts from 1."""
        return self.before.attempts.get(task, 0) + 1 + self.repeats.get(task, 0)

    def continued(self, task: str) -> Continuation | None:
        """Return what the next attempt at a task continues: only the first one of this process does."""
        return None if task in self.repeats else self.before.continued.get(task)

    def why_no_call(self, spec: TaskSpec) -> str | None:
        """Return why the agent of a task must not be called any more; `None` if it may, or there is none."""
        if spec.agent is None:
            return None
        name = spec.agent.name
        return (
            self.limits.refused.get(name) or self.limits.why_not_waited(name) or self.budget.obstacle(spec.id)
        )

    def log(self, task: str, attempt: int | None = None) -> Path:
        """Return the log file of an attempt at a task, by default of this run's."""
        return log_path(self.directory, task, attempt or self.attempt_number(task))

    def job(self, spec: TaskSpec, start: str, steps: tuple[Step, ...], first_round: int = 1) -> Job:
        """Return what a runner needs to run the first steps of a task from a commit."""
        return Job(
            run=self.run.id,
            task=spec.id,
            steps=steps,
            first_round=first_round,
            log=self.log(spec.id),
            scratch=temporary_path(self.repository.scratch, spec.id),
            environment=spec.environment,
            secrets=self.secrets.only(spec.secrets),
            timeout=spec.timeout,
            grace=self.settings.grace,
            log_limit=self.settings.max_log,
            patch_limit=self.settings.max_patch,
            image=spec.image,
            layers=spec.layers,
            start=start,
            agent=spec.agent.name if spec.agent else None,
            format=spec.agent.format if spec.agent else None,
            attempt=self.attempt_number(spec.id),
            haste=self.haste,
        )

    @asynccontextmanager
    async def startable(self, spec: TaskSpec, job: Job) -> AsyncIterator[Job]:
        """Provide a job; for a container, with a start commit that is the same in every run.

        The commits of earlier tasks have another id in each run, so the engine would never have a cache hit.

        Raises:
            GitError: The commit cannot be made.
        """
        base = self.run.base
        if not spec.is_contained or job.start == base:
            yield job
            return
        held = self.repository.held.reproducible(job.start, base, self.run.id, spec.id)
        async with in_thread(held) as start:
            yield replace(job, start=start)

    def inputs(
        self, spec: TaskSpec, start: StartPoint, version: str | None, steps: tuple[Step, ...] = ()
    ) -> TaskInputs:
        """Return what the result of a task depends on. Blocking.

        Args:
            spec: The task.
            start: What it starts from.
            version: The version of its agent, if it is known.
            steps: All steps of its rounds; without them those of a first try.
        """
        agent, mask = spec.agent, self.secrets.mask_text
        sparse = None if spec.is_contained else self.pool.sparse_checkout()
        return TaskInputs(
            task=spec.task,
            steps=steps or spec.steps,
            mode=spec.mode,
            base_tree=self.repository.tree(self.run.base),
            start_tree=self.repository.tree(start.commit),
            agent=AgentUse(mask(agent.name), mask(agent.command), version) if agent else None,
            image=spec.image if spec.is_contained else None,
            layers=spec.layers if spec.is_contained else (),
            depth=self.settings.depth,
            environment=spec.environment,
            secrets=tuple(self.secrets.only(spec.secrets).values),
            sparse=sparse.digest if sparse else None,
        )

    async def agent_version(self, spec: TaskSpec) -> str | None:
        """Return the version of a task's agent; `None` without an agent, or where it cannot be found out."""
        agent, runner = spec.agent, self.runners[spec.mode]
        if agent is None or agent.version is None or not isinstance(runner, Versions):
            return None
        key = (agent.name, spec.image)
        if key not in self.versions:
            self.versions[key] = await runner.version(agent, spec.image)
        return self.versions[key]

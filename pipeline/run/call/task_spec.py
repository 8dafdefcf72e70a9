"""Resolve the tasks of a plan with the settings: once, before the run."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from containers.agents.builtin import Agent
from containers.agents.prompt import agent_step, prompt
from pipeline.config.settings import Settings
from pipeline.run.results.commits import commit_text
from tasks.lazy.dataclasses import dataclass
from tasks.model import Batch, Mode, Plan, Step, StepKind, Task
from tasks.plan.commands import run_step
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task with everything that the plan, its batch and the settings decide.

    `title` and the titles of `steps` have secrets masked. `timeout` is in seconds, for all steps together;
    `None` means no limit. `repairs` is how often it may be tried again. `environment` and `secrets` (names of
    variables) are the agent's and the run's. `position` is the 0-based place in the plan. `refusal` says why
    the task must not run, as far as the plan and the settings decide that.
    """

    task: Task
    position: int
    title: str
    mode: Mode
    agent: Agent | None
    image: str
    timeout: float | None
    repairs: int
    steps: tuple[Step, ...]
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    refusal: str | None = None

    @property
    def id(self) -> str:
        """The task's id, such as `1.1`."""
        return self.task.id

    @property
    def is_contained(self) -> bool:
        """Whether the task runs in a container of its own image."""
        return self.mode is Mode.DAGGER

    @property
    def layers(self) -> tuple[str, ...]:
        """The commands that prepare the container of the task's agent."""
        return self.agent.setup if self.agent else ()


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """A batch with its resolved tasks; `title` has secrets masked."""

    batch: Batch
    title: str
    mode: Mode
    tasks: tuple[TaskSpec, ...]

    @property
    def number(self) -> int:
        """The batch's number in the plan."""
        return self.batch.number


def resolve_batches(plan: Plan, settings: Settings) -> tuple[BatchSpec, ...]:
    """Resolve every task of a plan; secrets are not looked for yet, see `apply_secrets`."""
    positions = {task.id: position for position, task in enumerate(plan.tasks)}
    return tuple(
        BatchSpec(
            batch=batch,
            title=batch.title,
            mode=settings.mode_for(batch),
            tasks=tuple(_resolve_task(task, batch, plan, settings, positions[task.id]) for task in batch.tasks),
        )
        for batch in plan.batches
    )


def _resolve_task(task: Task, batch: Batch, plan: Plan, settings: Settings, position: int) -> TaskSpec:
    agent = settings.agent_for(task)
    return TaskSpec(
        task=task,
        position=position,
        title=task.title,
        mode=settings.mode_for(batch),
        agent=agent,
        image=settings.image_for(task, batch),
        timeout=settings.timeout_for(task),
        repairs=settings.repairs_for(task),
        steps=_steps(task, plan, settings.setup, agent),
        environment={**(agent.environment if agent else {}), **settings.environment},
        secrets=(*settings.secrets, *(agent.secrets if agent else ())),
        refusal=_file_outside(task, plan),
    )


def _file_outside(task: Task, plan: Plan) -> str | None:
    """Return why a task with a declared file outside of the repository must not run."""
    for file in task.files:
        if file.outside:
            where = f"{plan.path}:{file.line}"
            return f"it declares {file.path} ({where}), which is outside of the repository"
    return None


def _steps(task: Task, plan: Plan, setup: Iterable[str], agent: Agent | None) -> tuple[Step, ...]:
    """Return the steps of a task: set-up, then its agent or its commands, then its verification."""
    work = task.run
    if agent:
        title = None if agent.name == agent.command else agent.name
        work = (agent_step(agent.command, prompt(task, plan), title=title),)
    return (
        *(run_step(StepKind.SETUP, command) for command in setup),
        *work,
        *(check.step for check in task.verification if check.step),
    )


def apply_secrets(batches: Iterable[BatchSpec], secrets: Secrets) -> tuple[BatchSpec, ...]:
    """Mask secrets in every title that is shown, stored or logged; refuse tasks that would commit one."""
    mask = secrets.mask_text

    def masked(spec: TaskSpec) -> TaskSpec:
        steps = tuple(replace(step, title=mask(step.title)) for step in spec.steps)
        refusal = spec.refusal
        if name := secrets.find(commit_text(spec.task).encode(errors="surrogateescape")):
            refusal = refusal or f"its commit message holds the value of {name}, so it is withheld"
        return replace(spec, title=mask(spec.title), steps=steps, refusal=refusal)

    return tuple(
        replace(batch, title=mask(batch.title), tasks=tuple(masked(spec) for spec in batch.tasks))
        for batch in batches
    )


def pin_images(batches: Iterable[BatchSpec], digests: Mapping[str, str]) -> tuple[BatchSpec, ...]:
    """Add the known digests to the names of images."""
    from containers.dagger_engine.digests import pinned  # noqa: PLC0415 - start-up stays quick

    return tuple(
        replace(batch, tasks=tuple(replace(spec, image=pinned(spec.image, digests)) for spec in batch.tasks))
        for batch in batches
    )


def images_of(batches: Iterable[BatchSpec], modes: Iterable[Mode] = tuple(Mode)) -> tuple[str, ...]:
    """Return the images of tasks in these modes, each once, in the plan's order; without completed tasks."""
    wanted = set(modes)
    specs = (spec for batch in batches for spec in batch.tasks)
    images = (spec.image for spec in specs if spec.mode in wanted and not spec.task.is_left_out)
    return tuple(dict.fromkeys(images))

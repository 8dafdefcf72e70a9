"""The Runner protocol, and the job, watcher and deadline that every runner uses."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from containers.agents.prompt import PROMPT_FILE
from containers.worktrees.worktree import Worktree
from tasks.model import Step, StepResult
from tasks.secrets import Secrets


@dataclass(frozen=True, slots=True)
class Job:
    """A task made ready to run.

    `environment` is the plan's and the program's own, on top of what the place itself gives. `timeout` is in
    seconds for all steps together, `None` for no limit. `grace` is how long, in seconds, a process may take
    to end after TERM before it is killed. `log` is the file that the output goes to. `scratch` is a directory
    of the task's own, outside of the worktree, for prompt files and the like; the runner makes it. `start` is
    the commit that the worktree stands at. `image` and `layers` are for containers: what they are made from,
    and the commands that every container of the same agent shares.
    """

    run: str
    task: str
    steps: tuple[Step, ...]
    log: Path
    scratch: Path
    start: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    timeout: float | None = None
    grace: float = 5.0
    image: str | None = None
    layers: tuple[str, ...] = ()


class Watcher(Protocol):
    """Is told of each step; `number` counts from 1. A runner awaits it before it goes on."""

    async def step_started(self, number: int, step: Step) -> None:
        """Step `number` is about to begin."""

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Step `number` has ended, however it ended; what this stores is durable when it returns."""


class Runner(Protocol):
    """A place to run tasks."""

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in order over the worktree until one is not `ok`, and return their results.

        What the steps changed stands in the worktree's directory afterwards. A step that fails or times out
        is a result, not an exception. When the caller is cancelled, whatever still runs is ended first, the
        watcher is told (`cancelled=True`), and the cancellation goes on.

        Raises:
            PatchyardError: The place itself cannot run anything (and so no other task either).
        """
        ...


def task_variables(job: Job) -> dict[str, str]:
    """Return the variables that a task gets on top of what its place gives; the later ones win."""
    own = {"PATCHYARD_TASK": job.task, "PATCHYARD_RUN": job.run}
    return {**job.environment, **job.secrets.values, **own}


def with_prompt_file(argv: Sequence[str], path: str) -> tuple[str, ...]:
    """Return an argument vector, which a shell reads, with the prompt's file where it is named.

    `{prompt_file}` may stand in quotes or not.
    """
    name = shlex.quote(path)
    forms = (f'"{PROMPT_FILE}"', f"'{PROMPT_FILE}'", PROMPT_FILE)
    named = list(argv)
    for form in forms:
        named = [argument.replace(form, name) for argument in named]
    return tuple(named)


class Deadline:
    """When the time of a task is over; counted from its making."""

    def __init__(self, timeout: float | None) -> None:
        self._at = math.inf if timeout is None else monotonic() + timeout

    @property
    def passed(self) -> bool:
        """Whether nothing more may begin, and what runs has to end."""
        return self.remaining <= 0

    @property
    def remaining(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return self._at - monotonic()

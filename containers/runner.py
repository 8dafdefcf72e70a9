"""The Runner protocol, and the job, watcher and deadline that every runner uses."""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from time import monotonic
from typing import Protocol

from containers.agents.prompt import PROMPT_FILE
from containers.worktrees.worktree import Worktree
from tasks.lazy.dataclasses import dataclass
from tasks.model import Step
from tasks.outcome import StepResult
from tasks.secrets import Secrets

ROUND_VARIABLE = "PATCHYARD_ROUND"
"""Variable with the number of a step's round, from 1; 0 where the task has not begun."""


class Haste:
    """Whether what runs has to end at once, without its grace period. Begins on the event loop."""

    def __init__(self) -> None:
        self.begun = False
        self._calls: list[Callable[[], None]] = []

    def begin(self) -> None:
        """Let everything end at once from now on."""
        self.begun = True
        for call in [*self._calls]:
            call()

    @contextmanager
    def calling(self, call: Callable[[], None]) -> Iterator[None]:
        """Call a function when haste begins, while the context is open; it must not block."""
        self._calls.append(call)
        try:
            yield
        finally:
            self._calls.remove(call)


@dataclass(frozen=True, slots=True)
class Job:
    """A task that is ready to run.

    `environment` are variables of the plan and of patchyard, added to those of the runner. `timeout` is in
    seconds for all steps together, `None` for no limit. `grace` is how long, in seconds, a process may take to
    exit after SIGTERM before it is killed. `log` is the file for the output, and `log_limit` how many bytes of
    it are kept, `None` for all. `patch_limit` is how large the patch may be, in bytes, `None` for no limit.
    `first_round` is the number of the first round, 1-based as `attempt` is: an attempt may continue an
    interrupted one. `scratch` is a directory outside of the worktree for the task's prompt files; the runner
    creates it. `start` is the id of the commit that the worktree is at. `image` and `layers` are for
    containers: their base image, and the set-up commands that all containers of the same agent share.
    `is_teardown` says that the steps run after those of the same task, where these ended, that they are all of
    one round, and that their changes do not leave a container. `is_check` says this of steps that only look.
    `agent` is the name of its agent, `format` that of the agent's output. `haste` says when it has to end
    without its grace period.
    """

    run: str
    task: str
    steps: tuple[Step, ...]
    log: Path
    scratch: Path
    start: str = ""
    first_round: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    timeout: float | None = None
    grace: float = 5.0
    log_limit: int | None = None
    patch_limit: int | None = None
    image: str | None = None
    layers: tuple[str, ...] = ()
    attempt: int = 1
    is_teardown: bool = False
    is_check: bool = False
    agent: str | None = None
    format: str | None = None
    haste: Haste = field(default_factory=Haste, compare=False)


@dataclass(frozen=True, slots=True)
class Round:
    """Steps over what others left; `number` is the value of `ROUND_VARIABLE`."""

    steps: tuple[Step, ...]
    number: int


class Watcher(Protocol):
    """Receives the start and end of each step; `number` counts from 1. A runner awaits each call."""

    async def step_started(self, number: int, step: Step) -> None:
        """Handle the start of step `number`."""

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Handle the end of step `number`, in any way; what this stores is durable when it returns."""

    async def next_round(self, last: StepResult) -> Round | None:
        """Return another round, over what the last one left; `None` to end the task. May take long.

        Called when the steps of a round have ended, and their changes are in the worktree's directory, with the
        result of the last of them.
        """
        ...


class Runner(Protocol):
    """Runs tasks."""

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in order over the worktree until one is not `ok`, and return their results.

        Then the watcher's steps of another round run in the same place, and so on until it has none. The time
        limit is for all rounds together.

        Afterwards the worktree's directory has the changes of the steps. A step that fails or times out is a
        result, not an exception. When the caller is cancelled, running processes are terminated, the watcher
        gets a result with `cancelled=True`, and the cancellation is raised.

        Raises:
            PatchyardError: The runner cannot run any task.
        """
        ...


def task_variables(job: Job) -> dict[str, str]:
    """Return the variables that a task gets in addition to those of its runner, but `ROUND_VARIABLE`."""
    own = {"PATCHYARD_TASK": job.task, "PATCHYARD_RUN": job.run}
    return {**job.environment, **job.secrets.values, **own}


def slot_variables(job: Job, worktree: Worktree) -> dict[str, str]:
    """Return the variables that say which worktree and attempt this is: they differ from run to run."""
    port = {} if worktree.port is None else {"PATCHYARD_PORT": str(worktree.port)}
    return {"PATCHYARD_SLOT": str(worktree.slot), "PATCHYARD_ATTEMPT": str(job.attempt), **port}


def with_prompt_file(argv: Sequence[str], path: str) -> tuple[str, ...]:
    """Return the argument vector of a shell with the path of the prompt file in place of `{prompt_file}`.

    The placeholder may be quoted or not.
    """
    name = shlex.quote(path)
    forms = (f'"{PROMPT_FILE}"', f"'{PROMPT_FILE}'", PROMPT_FILE)
    named = list(argv)
    for form in forms:
        named = [argument.replace(form, name) for argument in named]
    return tuple(named)


class Deadline:
    """Deadline of a task: `timeout` seconds after its creation; `None` for no limit."""

    def __init__(self, timeout: float | None) -> None:
        self._at = math.inf if timeout is None else monotonic() + timeout

    @property
    def passed(self) -> bool:
        """Whether the time limit has passed."""
        return self.remaining <= 0

    def extend(self, seconds: float) -> None:
        """Move the deadline: the task did not run for some seconds."""
        self._at += seconds

    @property
    def remaining(self) -> float:
        """Remaining seconds; infinity without a limit."""
        return self._at - monotonic()

"""The commands of `[worktree] teardown`: they run after each task, however it ended, and change no result."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from containers.runner import Job, Round
from containers.worktrees.worktree import Worktree
from pipeline.events import Notice
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import RunContext
from tasks.errors import PatchyardError
from tasks.model import Step, StepKind
from tasks.outcome import StepResult


async def tear_down(
    context: RunContext, spec: TaskSpec, worktree: Worktree, job: Job | None, *, holds_work: bool
) -> None:
    """Run the teardown of a task whose outcome is stored; what fails is a notice.

    Args:
        context: The run's.
        spec: The task.
        worktree: Where it ran.
        job: What ran there; `None` if nothing did.
        holds_work: Whether the worktree has a patch that is stored nowhere else, which a command might change.
    """
    commands = context.settings.teardown
    if not commands or job is None:
        return

    def warn(message: str) -> None:
        context.listener.notify(Notice(message=f"teardown of task {spec.id}: {message}", level="warning"))

    if job.haste.begun:
        warn("its commands did not run, since the run was ended at once")
        return
    if holds_work:
        warn(f"its commands did not run, since what the task changed stays in {worktree.path}")
        return
    steps = (teardown_step(command, context.secrets.mask_text(command)) for command in commands)
    limit = context.settings.teardown_seconds
    watcher = _Commands(steps, warn, limit, job.first_round)
    ended = replace(job, steps=watcher.take_next(), timeout=limit, is_teardown=True, format=None)
    try:
        await context.runners[spec.mode].run(ended, worktree, watcher)
    except PatchyardError as error:
        warn(str(error))


def teardown_step(command: str, title: str) -> Step:
    """Return the step that runs a command of the teardown."""
    return Step(StepKind.TEARDOWN, title, ("sh", "-e", "-c", command))


class _Commands:
    """The watcher of the commands: each is a round of its own, so that it runs also after one that failed."""

    def __init__(
        self, steps: Iterable[Step], warn: Callable[[str], None], limit: float | None, number: int
    ) -> None:
        self._round = number  # that of the task
        self._steps: Iterator[Step] = iter(steps)
        self._warn = warn
        self._limit = limit

    def take_next(self) -> tuple[Step, ...]:
        """Return the next command, if there is one."""
        return tuple(islice(self._steps, 1))

    async def step_started(self, number: int, step: Step) -> None:
        """Do nothing: the log has the command."""

    async def step_finished(self, _number: int, result: StepResult) -> None:
        """Report a failure."""
        if not result.ok:
            self._warn(f"`{result.step.title}` {self._reason(result)}; its output is in the task's log")

    async def next_round(self, last: StepResult) -> Round | None:
        """Return the next command, unless the time is over."""
        steps = () if last.timed_out else self.take_next()
        return Round(steps, self._round) if steps else None

    def _reason(self, result: StepResult) -> str:
        if result.timed_out:
            return f"did not end within {self._limit:g} s (teardown_timeout), and was ended"
        if result.cancelled:
            return "was ended at once, with the run"
        if result.error is not None:
            return f"could not run: {result.error}"
        return f"ended with exit code {result.exit_code}"

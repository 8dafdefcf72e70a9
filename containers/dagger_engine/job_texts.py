"""The texts of a job that an engine gets, which accepts only UTF-8, each with a description without secrets."""

from collections.abc import Iterator, Sequence

from containers.runner import Job
from containers.worktrees.worktree import Worktree
from tasks.model import Step


def texts_of_job(job: Job, worktree: Worktree) -> Iterator[tuple[str, str]]:
    """Yield descriptions with the texts of a job."""
    yield f"the path of its worktree, {worktree.path},", str(worktree.path)
    yield f"its image, {job.image},", job.image or ""
    for name, value in (*job.secrets.values.items(), *job.environment.items()):
        yield f"the value of {name}", f"{name}{value}"
    yield "a command that sets up its agent", "".join(job.layers)
    yield from texts_of_steps(job.steps)


def texts_of_steps(steps: Sequence[Step]) -> Iterator[tuple[str, str]]:
    """Yield descriptions with the texts of steps."""
    for number, step in enumerate(steps, 1):
        yield f"step {number}, `{step.title}`,", f"{''.join(step.argv)}{step.stdin or ''}"

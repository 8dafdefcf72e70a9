"""Author, date and message of a run's commits: the same on every host that resumes the run."""

from datetime import datetime

from containers.git.repository import Identity, Repository, Signature
from pipeline.run.results.branches import RUN_TRAILER, TASK_TRAILER
from pipeline.store.records import Run
from pipeline.store.run_options import Committer
from tasks.model import Task
from tasks.outcome import Outcome


def committer_of(repository: Repository, moment: datetime) -> Committer:
    """Return who makes the commits of a run that starts at a moment."""
    identity = repository.identity()
    return Committer(identity.name, identity.email, f"{moment.astimezone():%z}")


def signature(run: Run, moment: datetime) -> Signature:
    """Return the author and date of a commit of a run; git dates have whole seconds."""
    committer = run.call.committer
    date = f"@{int(moment.timestamp())} {committer.offset}"
    return Signature(Identity(committer.name, committer.email), date)


def commit_text(task: Task) -> str:
    """Return what the plan gives as the message of a task's commit."""
    return (task.commit or task.title or f"Task {task.id}").strip()


def commit_message(task: Task, run: str) -> str:
    """Return the message of a task's commit, with the trailers that name the task and the run."""
    return f"{commit_text(task)}\n\n{TASK_TRAILER} {task.id}\n{RUN_TRAILER} {run}\n"


def merge_message(plan: str, what: str, run: str) -> str:
    """Return the message of a commit that merges others of a run, with the trailer that names the run."""
    return f"patchyard: {plan}: {what}\n\n{RUN_TRAILER} {run}\n"


def recreate_commit(repository: Repository, run: Run, task: Task, outcome: Outcome) -> str:
    """Recreate the commit of a stored outcome from its patch, and return its id. Blocking.

    Raises:
        GitError: The start commit is missing, or the patch does not apply.
    """
    if outcome.patch is None or outcome.started_at is None:
        return ""
    tree = repository.history.apply(outcome.patch.start, outcome.patch.diff)
    signed = signature(run, outcome.started_at)
    return repository.commit(tree, [outcome.patch.start], commit_message(task, run.id), signed)

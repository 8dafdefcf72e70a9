"""Make the commits of a stored run again from its patches, where they are not whole. Blocking.

They are on another host, or lost objects: to `git gc --prune=now`, or to a loss of power, which leaves empty
files. The ids come out the same, since everything in a commit is stored (see `commits`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from containers.git.loose_objects import set_aside_ref
from containers.git.repository import GitError, Repository
from pipeline.run.results.bases import PASSES, Bases
from pipeline.run.results.commits import recreate_commit, signature
from pipeline.store.records import Run
from tasks.errors import PatchyardError
from tasks.model import Plan, Task
from tasks.order import Line
from tasks.outcome import Outcome, Patch


def make_bases(  # noqa: PLR0913 - the parts of one value
    repository: Repository,
    run: Run,
    plan: Plan,
    *,
    keep_going: bool,
    branch: Callable[[str], str] = str,
    repair: bool = False,
    stacked: Mapping[str, tuple[str, ...]] | None = None,
) -> Bases:
    """Return the start points of a run.

    Args:
        repository: The repository.
        run: The run.
        plan: The selected part of its plan.
        keep_going: Whether a batch builds on the patches that merge.
        branch: Returns the branch name for the id of a task or of a batch.
        repair: Whether a merge that is there already may be damaged.
        stacked: Tasks that were run again, each with those on top of which.
    """
    return Bases(
        repository=repository,
        plan=replace(plan, title=run.plan_title),
        base=run.base,
        run=run.id,
        branch=branch,
        keep_going=keep_going,
        signature=signature(run, run.started_at),
        repair=repair,
        stacked=stacked,
    )


def restore_commit(repository: Repository, run: Run, task: Task, outcome: Outcome) -> bool:
    """Make the commit of a task again if it is not whole; return whether that was so.

    Raises:
        GitError: Its start point is missing, or its patch does not apply.
        PatchyardError: Its patch gives another commit.
    """
    patch = outcome.patch
    if not outcome.commit or patch is None:
        return False
    for count in range(PASSES):
        if repository.history.is_whole([outcome.commit], patch.start):
            repository.note_commit(outcome.commit, [patch.start], patch.tree)
            return count > 0
        made = repository.history.without_damage(lambda: recreate_commit(repository, run, task, outcome))
        if made != outcome.commit:
            raise PatchyardError(
                f"the commit of task {task.id}, {outcome.commit[:12]}, is not here, and its patch gives "
                f"{made[:12]}; fetch it from where the run was, or run the task again (`patchyard retry`)"
            )
    raise GitError(
        f"the commit of task {task.id}, {outcome.commit[:12]}, cannot be made again: objects that it builds on "
        "are missing or damaged; `git fsck` names them"
    )


def applies(repository: Repository, patch: Patch, start: str) -> bool:
    """Whether a stored patch is for a start commit. Makes its tree again: the run may be from another host."""
    if patch.start != start:
        return False
    try:
        return repository.history.apply(start, patch.diff) == patch.tree
    except GitError:
        return False


def restore_damaged_branch(repository: Repository, name: str | None, commit: str | None) -> None:
    """Set a branch of a run again if its file is damaged; one that was removed stays so.

    Raises:
        GitError: It cannot be set.
    """
    if name and commit and set_aside_ref(repository.common, f"refs/heads/{name}"):
        repository.set_branch(name, commit, None)


def restore_run(
    repository: Repository, run: Run, bases: Bases, plan: Plan, outcomes: Mapping[str, Outcome]
) -> None:
    """Make all commits of a run again that are not whole, and the merges that they start from.

    Args:
        repository: The repository.
        run: The run.
        bases: Its start points, which check the merges.
        plan: The selected part of its plan.
        outcomes: The stored outcomes by task.

    Raises:
        GitError: A commit cannot be made again.
        PatchyardError: A patch gives another commit.
    """
    for batch in plan.batches:
        start, line = bases.batch_start(batch), Line(bases.in_line(batch))
        while tasks := line.ready():
            for task in tasks:
                if (outcome := outcomes.get(task.id)) and outcome.commit:
                    bases.task_start(task, start, outcomes)
                    restore_commit(repository, run, task, outcome)
                line.finish(task.id)
        bases.close(batch, start, outcomes)

"""What each task starts from, and what each batch leaves: commits, merged without a checkout.

Blocks: the flow calls it in a thread.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from containers.git.repository import Merge, Repository, Signature
from tasks.model import Batch, Conflict, Outcome, Plan, Task
from tasks.schedule import foundations


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A commit to start from.

    `branch` is the branch that will hold it, `None` for the run's base. `builds_on` are the tasks whose
    changes are in it. `obstacle` says why there is no such commit.
    """

    commit: str
    branch: str | None = None
    builds_on: tuple[str, ...] = ()
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch leaves: the commit that holds all of it, and what could not be put together."""

    start: StartPoint
    conflicts: tuple[Conflict, ...] = ()


class Bases:
    """Keeps the commits that the tasks of one run build on each other.

    Args:
        repository: Where the commits are made.
        plan: What was selected; its batches name what they build on.
        base: The run's base, a commit id.
        run: The run's id, for the commit messages.
        branch: Gives the branch's name for a task's id or a batch's (`batch-1`).
        keep_going: Whether a batch goes on from what does go together, where two patches do not.
        signature: Who makes the merges, and when: the same whenever the run is taken up.
    """

    def __init__(  # noqa: PLR0913 - the parts of one value, named by every caller
        self,
        *,
        repository: Repository,
        plan: Plan,
        base: str,
        run: str,
        branch: Callable[[str], str],
        keep_going: bool,
        signature: Signature | None = None,
    ) -> None:
        self._signature = signature
        self._repository = repository
        self._plan = plan
        self._base = StartPoint(base)
        self._run = run
        self._branch = branch
        self._keep_going = keep_going
        self._closings: dict[int, BatchResult] = {}

    def batch_start(self, batch: Batch) -> StartPoint:
        """Return what the tasks of a batch start from: all that the batch builds on."""
        below = foundations(self._plan, batch.number)
        if not self._keep_going:
            for number in below:
                for conflict in self._closings[number].conflicts:
                    return StartPoint(
                        self._base.commit, obstacle=f"it builds on batch {number}, whose {conflict}"
                    )
        covered = {lower for number in below for lower in foundations(self._plan, number)}
        tops = [number for number in below if number not in covered]
        starts = [self._closings[number].start for number in tops]
        return self._join(starts, "batch-" + "-".join(map(str, tops)))

    def task_start(self, task: Task, start: StartPoint, outcomes: Mapping[str, Outcome]) -> StartPoint:
        """Return what a task starts from: what its batch does, and the tasks that it names."""
        named = []
        for name in task.dependencies:
            outcome = outcomes[name]
            if outcome.commit and name not in start.builds_on:
                if conflict := self._left_out(name):
                    return StartPoint(start.commit, obstacle=f"it depends on task {name}, but {conflict}")
                named.append(outcome)
        lineage = [StartPoint(o.commit or "", o.branch, (*start.builds_on, o.task)) for o in named]
        return self._join([start, *lineage], f"{task.id}-base")

    def close(self, batch: Batch, start: StartPoint, outcomes: Mapping[str, Outcome]) -> BatchResult:
        """Put the patches of a batch together; what comes first in the plan wins its place."""
        changed = [o for task in batch.tasks if (o := outcomes.get(task.id)) and o.commit]
        if not self._is_built_on(batch) and _surely_go_together(changed):
            # Nobody asks for what they are together: three git calls a task less.
            return self._closings.setdefault(batch.number, BatchResult(start))
        commit, merged, conflicts = start.commit, list[Outcome](), list[Conflict]()
        for outcome in changed:
            merge = self._merge(commit, outcome.commit or "", f"batch {batch.number}")
            if merge.commit is None:
                conflicts.append(self._blame(batch, outcome, merged, merge.conflicts))
            else:
                commit = merge.commit
                merged.append(outcome)
        branch = start.branch if commit == start.commit else self._branch(f"batch-{batch.number}")
        closing = BatchResult(
            StartPoint(commit, branch, (*start.builds_on, *(outcome.task for outcome in merged))),
            tuple(conflicts),
        )
        self._closings[batch.number] = closing
        return closing

    def _is_built_on(self, batch: Batch) -> bool:
        return any(batch.number in foundations(self._plan, other.number) for other in self._plan.batches)

    def skip(self, batch: Batch) -> None:
        """Note that a batch leaves nothing."""
        self._closings[batch.number] = BatchResult(self._base)

    def _left_out(self, task: str) -> Conflict | None:
        """Return the conflict for which a task is not in what its batch left."""
        every = (conflict for closing in self._closings.values() for conflict in closing.conflicts)
        return next((conflict for conflict in every if conflict.tasks[-1] == task), None)

    def _blame(
        self, batch: Batch, late: Outcome, merged: Iterable[Outcome], files: tuple[str, ...]
    ) -> Conflict:
        """Name the tasks that a patch does not go together with."""
        names, found = find_conflicting_tasks(
            late, merged, files, lambda ours, theirs: self._merge(ours, theirs, "a trial")
        )
        return Conflict(batch.number, (*names, late.task), found)

    def _join(self, starts: list[StartPoint], name: str) -> StartPoint:
        """Return one start that holds all of those given."""
        if not starts:
            return self._base
        joined = starts[0]
        for start in starts[1:]:
            merge = self._merge(joined.commit, start.commit, name)
            builds_on = tuple(dict.fromkeys((*joined.builds_on, *start.builds_on)))
            if merge.commit is None:
                told = ", ".join(merge.conflicts)
                return StartPoint(joined.commit, obstacle=f"tasks {' and '.join(builds_on)} conflict in {told}")
            branch = {joined.commit: joined.branch, start.commit: start.branch}.get(
                merge.commit, self._branch(name)
            )
            joined = StartPoint(merge.commit, branch, builds_on)
        return joined

    def _merge(self, ours: str, theirs: str, what: str) -> Merge:
        message = f"patchyard: {self._plan.title or self._plan.name}: {what}\n\nPatchyard-Run: {self._run}\n"
        return self._repository.merge(ours, theirs, message, self._signature)


def find_conflicting_tasks(
    late: Outcome, merged: Iterable[Outcome], files: tuple[str, ...], merge: Callable[[str, str], Merge]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tasks that a patch does not go together with, and the files in which.

    Args:
        late: The task of the patch.
        merged: Those whose patches were put together before it.
        files: Where it conflicts with all of them.
        merge: Merges two commits.
    """
    merged = list(merged)
    trials = {early.task: merge(early.commit or "", late.commit or "") for early in merged}
    conflicts = {task: trial.conflicts for task, trial in trials.items() if trial.commit is None}
    if not conflicts:  # it takes several of them
        return tuple(trials), files
    return tuple(conflicts), tuple(sorted(set().union(*conflicts.values())))


def _surely_go_together(outcomes: Iterable[Outcome]) -> bool:
    """Whether no two of the patches can conflict, which can be told without a merge.

    No path of one is, or is above, a path of another; and none removes a file, since a merge follows a
    directory that was renamed.
    """
    taken: set[str] = set()
    above: set[str] = set()
    for outcome in outcomes:
        if outcome.patch is None or b"\ndeleted file mode " in outcome.patch.diff:
            return False
        parents = {str(parent) for path in outcome.files for parent in PurePosixPath(path).parents}
        paths = set(outcome.files)
        if paths & taken or paths & above or parents & taken:
            return False
        taken |= paths
        above |= parents
    return True

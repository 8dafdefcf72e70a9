"""Start points of tasks and results of batches: commits that are merged without a checkout. Blocking."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from containers.git.repository import Merge, Repository, Signature
from pipeline.run.results.commits import merge_message
from tasks.model import Batch, Conflict, Outcome, Plan, Task
from tasks.schedule import foundations, needed_tasks

PASSES = 500
"""How often a damaged commit is made again: git names one damaged object at a time."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A commit that a task or batch starts from.

    `branch` is the branch that will hold it, `None` for the run's base. `builds_on` are the tasks whose
    changes are in it. If there is no such commit, `obstacle` says why.
    """

    commit: str
    branch: str | None = None
    builds_on: tuple[str, ...] = ()
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The merged patches of a batch, and the conflicts between them."""

    start: StartPoint
    conflicts: tuple[Conflict, ...] = ()


class Bases:
    """Computes the start points of one run.

    Args:
        repository: Holds the commits.
        plan: The selected part of the plan; its batches name what they build on.
        base: The run's base, a commit id.
        run: The run's id, for the commit messages.
        branch: Returns the branch name for the id of a task or of a batch (`batch-1`).
        keep_going: Whether a batch builds on the patches that merge, if two others conflict.
        signature: Author and date of the merges, the same each time that the run is resumed.
        repair: Whether a merge that is there already may be damaged; it is then made again.
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
        repair: bool = False,
    ) -> None:
        self._repair = repair
        self._signature = signature
        self._repository = repository
        self._plan = plan
        self._base = StartPoint(base)
        self._run = run
        self._branch = branch
        self._keep_going = keep_going
        self._results: dict[int, BatchResult] = {}

    def batch_start(self, batch: Batch) -> StartPoint:
        """Return the start point of a batch: the merged results of the batches that it builds on."""
        below = foundations(self._plan, batch.number)
        if not self._keep_going:
            for number in below:
                for conflict in self._results[number].conflicts:
                    return StartPoint(
                        self._base.commit, obstacle=f"it builds on batch {number}, whose {conflict}"
                    )
        covered = {lower for number in below for lower in foundations(self._plan, number)}
        tops = [number for number in below if number not in covered]
        starts = [self._results[number].start for number in tops]
        return self._join(starts, "batch-" + "-".join(map(str, tops)))

    def task_start(self, task: Task, start: StartPoint, outcomes: Mapping[str, Outcome]) -> StartPoint:
        """Return the start point of a task: that of its batch, merged with the tasks that it names."""
        named = []
        for name in (needed.id for needed in needed_tasks(self._plan, task)):
            outcome = outcomes[name]
            if outcome.commit and name not in start.builds_on:
                if conflict := self._left_out(name):
                    return StartPoint(start.commit, obstacle=f"it depends on task {name}, but {conflict}")
                named.append(outcome)
        lineage = [StartPoint(o.commit or "", o.branch, (*start.builds_on, o.task)) for o in named]
        return self._join([start, *lineage], f"{task.id}-base")

    def close(self, batch: Batch, start: StartPoint, outcomes: Mapping[str, Outcome]) -> BatchResult:
        """Merge the patches of a batch in the plan's order, without those that conflict with earlier ones."""
        changed = [o for task in batch.tasks if (o := outcomes.get(task.id)) and o.commit]
        if not self._is_built_on(batch) and _cannot_conflict(changed):
            # No batch needs the merged commit; this saves three git calls per task.
            return self._results.setdefault(batch.number, BatchResult(start))
        commit, merged, conflicts = start.commit, list[Outcome](), list[Conflict]()
        for outcome in changed:
            merge = self._merge(commit, outcome.commit or "", f"batch {batch.number}")
            if merge.commit is None:
                conflicts.append(self._conflict_of(batch, outcome, merged, merge.conflicts))
            else:
                commit = merge.commit
                merged.append(outcome)
        branch = start.branch if commit == start.commit else self._branch(f"batch-{batch.number}")
        result = BatchResult(
            StartPoint(commit, branch, (*start.builds_on, *(outcome.task for outcome in merged))),
            tuple(conflicts),
        )
        self._results[batch.number] = result
        return result

    def _is_built_on(self, batch: Batch) -> bool:
        return any(batch.number in foundations(self._plan, other.number) for other in self._plan.batches)

    def _left_out(self, task: str) -> Conflict | None:
        """Return the conflict because of which a task is not part of its batch's result."""
        every = (conflict for result in self._results.values() for conflict in result.conflicts)
        return next((conflict for conflict in every if conflict.tasks[-1] == task), None)

    def _conflict_of(
        self, batch: Batch, late: Outcome, merged: Iterable[Outcome], files: tuple[str, ...]
    ) -> Conflict:
        """Return the conflict of a patch with the merged ones."""
        names, found = find_conflicting_tasks(
            late, merged, files, lambda ours, theirs: self._merge(ours, theirs, "a trial")
        )
        return Conflict(batch.number, (*names, late.task), found)

    def _join(self, starts: list[StartPoint], name: str) -> StartPoint:
        """Return one start point that holds all of those given."""
        if not starts:
            return self._base
        joined = starts[0]
        for start in starts[1:]:
            merge = self._merge(joined.commit, start.commit, name)
            builds_on = tuple(dict.fromkeys((*joined.builds_on, *start.builds_on)))
            if merge.commit is None:
                files = ", ".join(merge.conflicts)
                return StartPoint(
                    joined.commit, obstacle=f"tasks {' and '.join(builds_on)} conflict in {files}"
                )
            branch = {joined.commit: joined.branch, start.commit: start.branch}.get(
                merge.commit, self._branch(name)
            )
            joined = StartPoint(merge.commit, branch, builds_on)
        return joined

    def _merge(self, ours: str, theirs: str, what: str) -> Merge:
        message = merge_message(self._plan.title or self._plan.name, what, self._run)
        history = self._repository.history

        def once() -> Merge:
            return self._repository.merge(ours, theirs, message, self._signature)

        merge = history.without_damage(once) if self._repair else once()
        if not self._repair or merge.commit in {None, ours, theirs}:
            return merge
        for _ in range(PASSES):
            if history.is_whole([merge.commit or ""], ours):
                break
            merge = history.without_damage(once)
        return merge


def find_conflicting_tasks(
    late: Outcome, merged: Iterable[Outcome], files: tuple[str, ...], merge: Callable[[str, str], Merge]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tasks that a patch conflicts with, and the files in which.

    Args:
        late: The outcome with the patch.
        merged: The outcomes whose patches were merged before it.
        files: The files in which it conflicts with the merge of all of them.
        merge: Merges two commits.
    """
    merged = list(merged)
    trials = {early.task: merge(early.commit or "", late.commit or "") for early in merged}
    conflicts = {task: trial.conflicts for task, trial in trials.items() if trial.commit is None}
    if not conflicts:  # with each one alone it merges: the conflict is with several together
        return tuple(trials), files
    return tuple(conflicts), tuple(sorted(set().union(*conflicts.values())))


def _cannot_conflict(outcomes: Iterable[Outcome]) -> bool:
    """Whether it is known without a merge that no two of the patches conflict.

    No path of one is, or contains, a path of another. No patch removes a file either: `git merge` follows
    directory renames, see https://git-scm.com/docs/directory-rename-detection.
    """
    taken: set[str] = set()
    above: set[str] = set()
    for outcome in outcomes:
        if outcome.patch is None or outcome.patch.diff.contains(b"\ndeleted file mode "):
            return False
        parents = {str(parent) for path in outcome.files for parent in PurePosixPath(path).parents}
        paths = set(outcome.files)
        if paths & taken or paths & above or parents & taken:
            return False
        taken |= paths
        above |= parents
    return True

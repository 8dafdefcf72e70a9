"""Start points of tasks and results of batches: commits that are merged without a checkout. Blocking.

Where many are merged, a task that waits for that in a worker thread can be cancelled.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from containers.concurrency import stop_if_cancelled
from containers.git.changes import directories_above
from containers.git.repository import Merge, Repository, Signature
from pipeline.run.results.commits import merge_message
from tasks.lazy.dataclasses import dataclass
from tasks.lineage import NO_TASKS, Lineage
from tasks.model import Batch, Plan, Task
from tasks.order import Order
from tasks.outcome import Conflict, Outcome
from tasks.patch_data import PatchData

PASSES = 500
"""How often a damaged commit is made again: git names one damaged object at a time."""


@dataclass(frozen=True, slots=True)
class StartPoint:
    """A commit that a task or batch starts from.

    `branch` is the branch that will hold it, `None` for the run's base. `builds_on` are the tasks whose
    changes are in it. If there is no such commit, `obstacle` says why; `has_conflict` is whether that is a
    conflict of patches that were to be merged.
    """

    commit: str
    branch: str | None = None
    builds_on: Lineage = NO_TASKS
    obstacle: str | None = None
    has_conflict: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The merged patches of a batch, and the conflicts between them; `undecided` tasks were not looked at."""

    start: StartPoint
    conflicts: tuple[Conflict, ...] = ()
    undecided: tuple[str, ...] = ()


class Bases:
    """Computes the start points of one run.

    `order` is that of its tasks and batches.

    Args:
        repository: Holds the commits.
        plan: The selected part of the plan; its batches name what they build on.
        base: The run's base, a commit id.
        run: The run's id, for the commit messages.
        branch: Returns the branch name for the id of a task or of a batch (`batch-1`).
        keep_going: Whether a batch builds on the patches that merge, if two others conflict.
        signature: Author and date of the merges, the same each time that the run is resumed.
        repair: Whether a merge that is there already may be damaged; it is then made again.
        stacked: Tasks that were run again, each with those on top of which; see `stack`.
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
        stacked: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        self._repair = repair
        self._stacked = dict(stacked or {})
        self._signature = signature
        self._repository = repository
        self._plan = plan
        self.order = Order(plan)
        self._base = StartPoint(base)
        self._run = run
        self._branch = branch
        self._keep_going = keep_going
        self._results: dict[int, BatchResult] = {}
        self._in_conflict: set[int] = set()  # batches
        self._late: dict[str, Conflict] = {}  # by the task that is not part of its batch's result
        self._merges: dict[tuple[str, str, str], Merge] = {}
        self._removing: dict[str, bool] = {}  # whether a patch removes a file, by its checksum

    def batch_start(self, batch: Batch) -> StartPoint:
        """Return the start point of a batch: the merged results of the batches that it builds on."""
        if not self._keep_going:
            for conflict in self.left_behind(batch)[:1]:
                why = f"it builds on batch {conflict.batch}, whose {conflict}"
                return StartPoint(self._base.commit, obstacle=why)
        tops = self.order.tops(batch.number)
        starts = [self._results[number].start for number in tops]
        return self._join(starts, "batch-" + "-".join(map(str, tops)))

    def left_behind(self, batch: Batch) -> tuple[Conflict, ...]:
        """Return the conflicts because of which patches are not in what a batch starts from."""
        below = self.order.among_foundations(batch.number, self._in_conflict)
        return tuple(conflict for number in below for conflict in self._results[number].conflicts)

    def stack(self, task: str, others: Iterable[str] = ()) -> None:
        """Let a task start from other tasks of its batch too, as if it named them; it is run again."""
        self._stacked[task] = tuple(dict.fromkeys((*self._stacked.get(task, ()), *others)))

    def removes_file(self, diff: PatchData) -> bool:
        """Return whether a patch removes a file; it is read once. Blocking."""
        if diff.sha256 not in self._removing:
            self._removing[diff.sha256] = removes_file(diff)
        return self._removing[diff.sha256]

    def was_rerun(self, task: str) -> bool:
        """Whether a task was run again after it had a result."""
        return task in self._stacked

    def below(self, task: Task) -> tuple[str, ...]:
        """Return the tasks that a task starts from: those that it needs, and those that it is stacked on."""
        on = self._stacked.get(task.id, ())
        if not task.dependencies:
            return on
        return tuple(dict.fromkeys((*(one.id for one in self.order.needed(task)), *on)))

    def in_line(self, batch: Batch) -> list[Task]:
        """Return the tasks of a batch as if each named those that it is stacked on, to select those `ready`."""
        return [
            replace(task, dependencies=(*task.dependencies, *on))
            if (on := self._stacked.get(task.id))
            else task
            for task in batch.tasks
        ]

    def task_start(
        self, task: Task, start: StartPoint, outcomes: Mapping[str, Outcome], on: Iterable[str] = ()
    ) -> StartPoint:
        """Return the start point of a task: that of its batch, merged with the tasks that it starts from.

        Args:
            task: The task.
            start: The start point of its batch.
            outcomes: The outcomes of the tasks that have ended, by id.
            on: Tasks that it would be stacked on too.
        """
        named = []
        for name in dict.fromkeys((*self.below(task), *on)):
            outcome = outcomes.get(name)
            if outcome and outcome.commit and name not in start.builds_on:
                if conflict := self._late.get(name):
                    return StartPoint(start.commit, obstacle=f"it depends on task {name}, but {conflict}")
                named.append(outcome)
        lineage = [StartPoint(o.commit or "", o.branch, start.builds_on.with_names([o.task])) for o in named]
        return self._join([start, *lineage], f"{task.id}-base")

    def close(self, batch: Batch, start: StartPoint, outcomes: Mapping[str, Outcome]) -> BatchResult:
        """Merge the patches of a batch for those that build on it, and return the result."""
        result = self.merged(batch, start, outcomes)
        self.keep(batch, result)
        return result

    def keep(self, batch: Batch, result: BatchResult) -> None:
        """Let the batches that build on one start from its result."""
        self._results[batch.number] = result
        if result.conflicts:
            self._in_conflict.add(batch.number)
        for conflict in result.conflicts:
            self._late.setdefault(conflict.tasks[-1], conflict)

    def merged(
        self, batch: Batch, start: StartPoint, outcomes: Mapping[str, Outcome], *, is_hasty: bool = False
    ) -> BatchResult:
        """Merge the patches of a batch in the plan's order, without those that conflict with earlier ones.

        If it `is_hasty`, patches that share a file with one that conflicts are left undecided: when that task
        runs again, they have to be merged again.
        """
        changed = [o for task in batch.tasks if (o := outcomes.get(task.id)) and o.commit]
        if not self.order.is_built_on(batch.number) and _cannot_conflict(changed, self.removes_file):
            # No batch needs the merged commit; this saves three git calls per task.
            return BatchResult(start)
        commit, merged, conflicts = start.commit, list[Outcome](), list[Conflict]()
        in_conflict, undecided = set[str](), list[str]()
        for outcome in changed:
            if is_hasty and in_conflict & set(outcome.files):
                undecided.append(outcome.task)
                continue
            merge = self._merge(commit, outcome.commit or "", f"batch {batch.number}")
            if merge.commit is None:
                conflicts.append(self._conflict_of(batch, outcome, merged, merge.conflicts))
                in_conflict |= set(outcome.files)
            else:
                commit = merge.commit
                merged.append(outcome)
        branch = start.branch if commit == start.commit else self._branch(f"batch-{batch.number}")
        return BatchResult(
            StartPoint(commit, branch, start.builds_on.with_names(outcome.task for outcome in merged)),
            tuple(conflicts),
            tuple(undecided),
        )

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
            builds_on = joined.builds_on.with_all([start.builds_on])
            if merge.commit is None:
                files = ", ".join(merge.conflicts)
                return StartPoint(
                    joined.commit,
                    obstacle=f"tasks {' and '.join(builds_on)} conflict in {files}",
                    has_conflict=True,
                )
            branch = {joined.commit: joined.branch, start.commit: start.branch}.get(
                merge.commit, self._branch(name)
            )
            joined = StartPoint(merge.commit, branch, builds_on)
        return joined

    def _merge(self, ours: str, theirs: str, what: str) -> Merge:
        """Merge two commits: once, however often a batch is merged since some of its tasks ran again."""
        key = (ours, theirs, what)
        if key not in self._merges:
            self._merges[key] = self._merge_now(ours, theirs, what)
        return self._merges[key]

    def _merge_now(self, ours: str, theirs: str, what: str) -> Merge:
        stop_if_cancelled()
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
    wanted = set(files)
    near = [early for early in merged if not wanted.isdisjoint(early.files)]
    for some in (near, merged):  # all, where none of those with the files does: git follows renamed directories
        trials = {early.task: merge(early.commit or "", late.commit or "") for early in some}
        conflicts = {task: trial.conflicts for task, trial in trials.items() if trial.commit is None}
        if conflicts:
            return tuple(conflicts), tuple(sorted(set().union(*conflicts.values())))
    return tuple(early.task for early in merged), files  # the conflict is with several together


def removes_file(diff: PatchData) -> bool:
    """Whether a patch removes a file. Blocking."""
    return diff.contains(b"\ndeleted file mode ")


def _cannot_conflict(outcomes: Iterable[Outcome], removes: Callable[[PatchData], bool] = removes_file) -> bool:
    """Whether it is known without a merge that no two of the patches conflict.

    No path of one is, or contains, a path of another. No patch removes a file either: `git merge` follows
    directory renames, see https://git-scm.com/docs/directory-rename-detection.
    """
    taken: set[str] = set()
    above: set[str] = set()
    for outcome in outcomes:
        if outcome.patch is None or removes(outcome.patch.diff):
            return False
        parents = {parent for path in outcome.files for parent in directories_above(path)}
        paths = set(outcome.files)
        if paths & taken or paths & above or parents & taken:
            return False
        taken |= paths
        above |= parents
    return True

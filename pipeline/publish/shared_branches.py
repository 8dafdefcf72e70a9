"""Make the branches that several tasks share: their commits, one after another. Blocking; no checkout."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from functools import cached_property

from containers.git.commits import Commit
from containers.git.picking import pick
from containers.git.repository import Merge, Repository
from pipeline.publish.parts import Part, in_order, reach
from pipeline.run.results.bases import find_conflicting_tasks
from pipeline.run.results.commits import merge_message, signature
from pipeline.store.records import Run, SharedBranch, StoredTask
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Conflict


@dataclass(slots=True)
class Composed:
    """The branch of a part: where it starts, the tasks in it, and why others are not.

    `below` are the names of all parts that are in its start, and `contained` the tasks whose changes are in it.
    Those of `alone` are left out because of a conflict, so that they can be published each on its own.
    """

    part: Part
    branch: str
    start: str
    start_branch: str | None = None
    below: tuple[str, ...] = ()
    tip: str = ""
    tasks: list[str] = field(default_factory=list)
    contained: set[str] = field(default_factory=set)
    left_out: dict[str, str] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)

    def record(self, items: Mapping[str, StoredTask]) -> SharedBranch:
        """Return what the store keeps of it."""
        return SharedBranch(
            part=self.part.name,
            branch=self.branch,
            start=self.start,
            start_branch=self.start_branch,
            tasks=tuple(self.tasks),
            commits=tuple(items[task].outcome.commit or "" for task in self.tasks),
            tip=self.tip if self.tasks else None,
            left_out=tuple(items[task].outcome.commit or "" for task in self.left_out),
        )


class Composer:
    """Makes the shared branches of one run. The same tasks give the same commits each time.

    Args:
        repository: Has the commits of the tasks.
        run: The run.
        items: Its tasks by id, in the plan's order.
        refused: Tasks that must not be published, with the reasons.
        known: The branches as they were made last, by part.
        branch: Returns the branch for a part of its name.
        chosen: The tasks to put on branches, besides those that are on them already; `None` for all.
    """

    def __init__(  # noqa: PLR0913 - the parts of one value, all named
        self,
        repository: Repository,
        run: Run,
        items: Mapping[str, StoredTask],
        *,
        refused: Mapping[str, str],
        known: Mapping[str, SharedBranch],
        branch: Callable[[str], str],
        chosen: Collection[str] | None = None,
    ) -> None:
        self._chosen = chosen
        self._repository = repository
        self._run = run
        self._items = {task: item for task, item in items.items() if item.outcome.commit}
        self._builds_on = {task: item.builds_on for task, item in self._items.items()}
        self._refused = refused
        self._known = known
        self._branch = branch
        self._made: dict[str, Composed] = {}

    def compose(self, parts: Sequence[Part]) -> tuple[Composed, ...]:
        """Return the branches of parts, of which none builds on a later one.

        Raises:
            GitError: A commit is not in the repository.
        """
        for part in parts:
            wanted = [task for task in part.tasks if task in self._items and self._is_wanted(part, task)]
            members = in_order(wanted, self._builds_on)
            made = self._start(part, members)
            self._fill(made, members)
            self._made[part.name] = made
        return tuple(self._made.values())

    def _is_wanted(self, part: Part, task: str) -> bool:
        known = self._known.get(part.name)
        return self._chosen is None or task in self._chosen or (known is not None and task in known.tasks)

    def _start(self, part: Part, members: Sequence[str]) -> Composed:
        """Return a branch with nothing but what its tasks build on in other parts."""
        needed = {name for task in members if task not in self._refused for name in self._builds_on[task]}
        below = [made for made in self._made.values() if needed.intersection(made.tasks)]
        covered = {name for one in below for name in one.below}
        made = Composed(part, self._branch(part.name), self._run.base)
        for one in (one for one in below if one.part.name not in covered):
            if made.start_branch is None:
                made.start, made.start_branch = one.tip, one.branch
            else:
                text = merge_message(self._run.plan_title, f"{part.name}-base", self._run.id)
                signed = signature(self._run, self._run.started_at)
                merge = self._repository.merge(made.start, one.tip, text, signed)
                if merge.commit is None:
                    continue  # what builds on it is left out
                made.start, made.start_branch = merge.commit, self._branch(f"{part.name}-base")
            made.below = tuple(dict.fromkeys((*made.below, *one.below, one.part.name)))
            made.contained |= one.contained
        made.tip = made.start
        return made

    def _fill(self, made: Composed, members: Sequence[str]) -> None:
        """Put the commits of tasks on a branch: those that it had before, then the others."""
        before = self._still_valid(made, members)
        if before and self._is_whole(before):
            made.tip = before.tip or ""
            made.tasks += before.tasks
            made.contained.update(before.tasks)
        first = before.tasks if before else ()
        for task in dict.fromkeys((*first, *members)):
            if task not in made.contained:
                self._add(made, task)

    def _still_valid(self, made: Composed, members: Sequence[str]) -> SharedBranch | None:
        """Return the branch as it was made before, if it can be continued: no push has to replace it."""
        known = self._known.get(made.part.name)
        if known is None or (known.branch, known.start) != (made.branch, made.start):
            return None
        usable = {task for task in members if task not in self._refused}
        same = all(
            task in usable and self._items[task].outcome.commit == commit
            for task, commit in zip(known.tasks, known.commits, strict=False)
        )
        return known if same and len(known.tasks) == len(known.commits) else None

    def _is_whole(self, known: SharedBranch) -> bool:
        history = self._repository.history
        return known.tip is not None and history.is_whole([known.tip], self._run.base)

    def _add(self, made: Composed, task: str) -> None:
        """Put the commit of a task on a branch, or note why it cannot be."""
        outcome = self._items[task].outcome
        missing = next((name for name in self._builds_on[task] if name not in made.contained), None)
        if reason := self._refused.get(task):
            made.left_out[task] = reason
        elif missing is not None:
            made.left_out[task] = f"it builds on task {missing}, {self._why_missing(made, missing)}"
            if self._can_be_alone(made, missing):
                made.alone.add(task)
        else:
            merge = pick(self._repository, self._commits[outcome.commit or ""], made.tip)
            if merge.commit is None:
                made.left_out[task] = self._conflict(made, task, merge.conflicts)
                made.alone.add(task)
                return
            made.tip = merge.commit
            made.tasks.append(task)
            made.contained.add(task)

    def _why_missing(self, made: Composed, task: str) -> str:
        others = [one for one in self._made.values() if task in one.tasks]
        if others and task not in made.left_out:
            return "whose group conflicts with others that it builds on"
        return "which is left out"

    def _can_be_alone(self, made: Composed, task: str) -> bool:
        """Whether a task that is not on a branch has one of its own."""
        return any(task in one.alone or task in one.tasks for one in (*self._made.values(), made))

    def _conflict(self, made: Composed, task: str, files: tuple[str, ...]) -> str:
        """Return a sentence about the conflict of a task with those before it."""
        others = made.contained - reach([task], self._builds_on)
        before = [item.outcome for name, item in self._items.items() if name in others]
        late = self._items[task].outcome
        names, found = find_conflicting_tasks(late, before, files, self._trial)
        return str(Conflict(late.batch, (*names, task), found))

    def _trial(self, ours: str, theirs: str) -> Merge:
        _, conflicts = self._repository.history.merge_tree(ours, theirs)
        return Merge(ours) if conflicts is None else Merge(None, conflicts)

    @cached_property
    def _commits(self) -> Mapping[str, Commit]:
        """The commits of the tasks by id, read at once."""
        tips = [item.outcome.commit or "" for item in self._items.values()]
        return {commit.id: commit for commit in self._repository.history.since(self._run.base, tips)}

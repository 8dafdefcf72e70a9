"""Put the patches of tasks together on top of a commit, for the user's checkout. Blocking; no ref moves."""

from collections.abc import Iterator, Sequence

from containers.git.changes import Change
from containers.git.overlay import Fit, Overlay
from containers.git.repository import GitError, Repository, Signature
from containers.git.signatures import PATCHYARD_IDENTITY
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Patch

TRIAL = "patchyard: a trial\n"
"""Message of commits that only a merge needs; no branch has them."""
_SIGNATURE = Signature(PATCHYARD_IDENTITY, "@0 +0000")


@dataclass(frozen=True, slots=True)
class Combined:
    """Patches on top of a commit: the tree with all of them, unless one conflicts.

    `already` are the tasks whose changes the commit has. `conflict` is the first task that conflicts, and
    `files` those in which it does.
    """

    tree: str
    applied: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    conflict: str | None = None
    files: tuple[str, ...] = ()


def combine(
    repository: Repository, head: str, patches: Sequence[tuple[str, Patch]], base: str | None = None
) -> Combined:
    """Put patches on top of a commit, one after another, each merged with what there is.

    Args:
        repository: The repository.
        head: The commit.
        patches: The patches with their tasks, in the order in which they are applied.
        base: The base of the run. With it, the first tasks are found to be there already also where later ones
            have changed the same lines.

    Raises:
        GitError: The start of a patch is not in the repository, or it does not apply there.
    """
    found = _one_by_one(repository, head, patches)
    if found.conflict is None or base is None or not repository.has(f"{base}^{{commit}}"):
        return found
    count = _already_there(repository, head, patches, base)
    rest = _one_by_one(repository, head, patches[count:])
    already = (*(task for task, _ in patches[:count]), *rest.already)
    return Combined(rest.tree, rest.applied, already, rest.conflict, rest.files)


def _one_by_one(repository: Repository, head: str, patches: Sequence[tuple[str, Patch]]) -> Combined:
    tree, trees = repository.tree(head), _Trees(repository, patches)
    applied: list[str] = []
    already: list[str] = []
    overlay: Overlay | None = None
    for (task, patch), changes in zip(patches, trees.changes(), strict=True):
        start = trees.start(task, patch)
        if overlay is None or overlay.start != start:
            tree = overlay.write() if overlay else tree
            overlay = repository.history.overlay(tree, start)
        fit = overlay.add(trees.changes_of(task, patch) if changes is None else changes)
        if fit is Fit.UNKNOWN:
            tree, overlay = overlay.write(), None
            merged, files = _merged(repository, tree, trees.tree(task, patch), patch.start)
            if files is not None:
                return Combined(tree, tuple(applied), tuple(already), task, files)
            fit = Fit.ALREADY if merged == tree else Fit.ADDED
            tree = merged
        (already if fit is Fit.ALREADY else applied).append(task)
    return Combined(overlay.write() if overlay else tree, tuple(applied), tuple(already))


class _Trees:
    """The trees of patches and of their start points: what there is of them is asked of git once. Blocking."""

    def __init__(self, repository: Repository, patches: Sequence[tuple[str, Patch]]) -> None:
        self._repository = repository
        self._patches = patches
        commits = {patch.start: f"{patch.start}^{{commit}}" for _, patch in patches}
        known = set(repository.history.present([*commits.values(), *(patch.tree for _, patch in patches)]))
        self._starts = {start: repository.tree(start) for start, name in commits.items() if name in known}
        self._known = {patch.tree for _, patch in patches if patch.tree in known}

    def start(self, task: str, patch: Patch) -> str:
        """Return the tree of a patch's start point.

        Raises:
            GitError: It is not in the repository.
        """
        if (tree := self._starts.get(patch.start)) is None:
            raise GitError(
                f"task {task} starts from commit {patch.start[:12]}, which is not in this clone; fetch it, or "
                "apply the patch where the run was"
            )
        return tree

    def tree(self, task: str, patch: Patch) -> str:
        """Return the tree that a patch makes of its start; it is made again where it is not here.

        Raises:
            GitError: The start is not in the repository, or the patch does not apply there.
        """
        self.start(task, patch)
        if patch.tree in self._known:
            return patch.tree
        return self._repository.history.apply(patch.start, patch.diff)

    def changes(self) -> Iterator[tuple[Change, ...] | None]:
        """Yield what each patch changes, in order; `None` where its tree is not here."""
        here = [patch.tree in self._known and patch.start in self._starts for _, patch in self._patches]
        pairs = [
            (self._starts[patch.start], patch.tree)
            for (_, patch), is_here in zip(self._patches, here, strict=True)
            if is_here
        ]
        known = self._repository.history.changes_of_each(pairs)
        for is_here in here:
            yield next(known) if is_here else None

    def changes_of(self, task: str, patch: Patch) -> tuple[Change, ...]:
        """Return what a patch changes whose tree is not here.

        Raises:
            GitError: As for `tree`.
        """
        return self._repository.history.changes(self.start(task, patch), self.tree(task, patch))


def _already_there(repository: Repository, head: str, patches: Sequence[tuple[str, Patch]], base: str) -> int:
    """Return how many of the first patches a commit has, taken together."""
    trees, here, known = [repository.tree(base)], repository.tree(head), _Trees(repository, patches)
    for task, patch in patches:
        tree, files = _merged(repository, trees[-1], known.tree(task, patch), patch.start)
        if files is not None:
            break
        trees.append(tree)
    for count in range(len(trees) - 1, 0, -1):
        tree, files = _merged(repository, here, trees[count], base)
        if files is None and tree == here:
            return count
    return 0


def _merged(repository: Repository, ours: str, theirs: str, start: str) -> tuple[str, tuple[str, ...] | None]:
    """Merge two trees, both made of the one of a commit; return the tree, and the files that conflict."""
    commits = [_trial(repository, tree, start) for tree in (ours, theirs)]
    return repository.history.merge_tree(*commits)


def _trial(repository: Repository, tree: str, start: str) -> str:
    return repository.commit(tree, [start], TRIAL, _SIGNATURE)

"""Put the patches of tasks together on top of a commit, for the user's checkout. Blocking; no ref moves."""

from collections.abc import Sequence

from containers.git.commits import PATCHYARD_IDENTITY
from containers.git.repository import GitError, Repository, Signature
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
    tree = repository.tree(head)
    applied: list[str] = []
    already: list[str] = []
    for task, patch in patches:
        merged, files = _merged(repository, tree, _tree_of(repository, task, patch), patch.start)
        if files is not None:
            return Combined(tree, tuple(applied), tuple(already), task, files)
        (already if merged == tree else applied).append(task)
        tree = merged
    return Combined(tree, tuple(applied), tuple(already))


def _already_there(repository: Repository, head: str, patches: Sequence[tuple[str, Patch]], base: str) -> int:
    """Return how many of the first patches a commit has, taken together."""
    trees, here = [repository.tree(base)], repository.tree(head)
    for task, patch in patches:
        tree, files = _merged(repository, trees[-1], _tree_of(repository, task, patch), patch.start)
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


def _tree_of(repository: Repository, task: str, patch: Patch) -> str:
    """Return the tree that a patch makes of its start; it is made again where it is not here."""
    if not repository.has(f"{patch.start}^{{commit}}"):
        raise GitError(
            f"task {task} starts from commit {patch.start[:12]}, which is not in this clone; fetch it, or "
            "apply the patch where the run was"
        )
    return patch.tree if repository.has(patch.tree) else repository.history.apply(patch.start, patch.diff)

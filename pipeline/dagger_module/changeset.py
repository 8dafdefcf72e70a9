"""All that a run changed, put together on the disk of the module's runtime. Blocks."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from containers.dagger_engine.encoding import as_utf8, is_utf8
from containers.filesystem import is_directory
from containers.git.repository import Repository
from pipeline.run.bases import find_conflicting_tasks
from tasks.errors import PatchyardError
from tasks.model import Outcome

MESSAGE = "patchyard: all changes"


class MergeConflictError(PatchyardError):
    """What the tasks changed cannot be put together."""


@dataclass(frozen=True, slots=True)
class MergedOutcomes:
    """The changes of all tasks as two directories: what changed as it was in the base, and as it is now.

    No other file is in them, so whoever applies the changes can write or remove no other. Of two whole trees an
    engine may take every file for another, though it is the same.
    """

    before: Path
    after: Path


def merge_outcomes(repository: Repository, base: str, outcomes: Iterable[Outcome]) -> str:
    """Return the commit that holds what all tasks changed.

    Raises:
        ApartError: Two of them conflict; it names them.
    """
    united = base
    merged: list[Outcome] = []
    for outcome in outcomes:
        if outcome.commit is None:
            continue
        merge = repository.merge(united, outcome.commit, MESSAGE)
        if merge.commit is None:
            names, files = find_conflicting_tasks(
                outcome, merged, merge.conflicts, partial(repository.merge, message=MESSAGE)
            )
            raise MergeConflictError(
                f"task {outcome.task} conflicts with {' and '.join(names)} in {', '.join(files)}"
            )
        united = merge.commit
        merged.append(outcome)
    return united


def write_changeset(repository: Repository, base: str, united: str, directory: Path) -> MergedOutcomes:
    """Lay the changes between two commits out below a directory.

    Directories stay where their last file is removed, and submodules are left alone: the caller may have more
    in them than git knows of.

    Raises:
        ApartError: The engine cannot have the name of a file.
    """
    changes = repository.history.changes(base, united)
    for change in changes:
        _check(change.path)
    old, new, before, after = (directory / name for name in ("old", "new", "before", "after"))
    for path, commit in ((old, base), (new, united)):
        repository.add_worktree(path, commit).reset(commit)
    before.mkdir()
    after.mkdir()
    for change in changes:
        if change.had_file:
            _move(change.path, old, before)
        if change.has_file:
            _move(change.path, new, after)
    for parent in sorted({parent for change in changes for parent in Path(change.path).parents}):
        if is_directory(old / parent):
            (before / parent).mkdir(exist_ok=True)
        if not os.path.lexists(after / parent) and is_directory((after / parent).parent):
            (after / parent).mkdir()
    return MergedOutcomes(before, after)


def _move(name: str, source: Path, target: Path) -> None:
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).rename(target / name)


def _check(path: str) -> None:
    """Check that the engine can write a file of that name, or remove it.

    Raises:
        ApartError: It cannot.
    """
    if not is_utf8(path) or "\\" in path:
        raise MergeConflictError(
            f"{as_utf8(path)} cannot be among the changes, since its name has a backslash or is not UTF-8; "
            "take `patches` in place of `changes`"
        )

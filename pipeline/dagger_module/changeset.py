"""Merge the changes of a run's tasks into one changeset."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from containers.dagger_engine.encoding import as_utf8, is_utf8
from containers.filesystem import is_directory
from containers.git.repository import Repository
from pipeline.run.results.bases import find_conflicting_tasks
from tasks.errors import PatchyardError
from tasks.outcome import Outcome

MESSAGE = "patchyard: all changes"


class MergeConflictError(PatchyardError):
    """The changes of the tasks cannot be merged."""


@dataclass(frozen=True, slots=True)
class MergedOutcomes:
    """The changed files of all tasks in two directories: as in the base, and as after the run.

    They hold no other file, so applying the changeset cannot write or remove another one. Given two whole
    trees, an engine may report every file as changed.
    """

    before: Path
    after: Path


def merge_outcomes(repository: Repository, base: str, outcomes: Iterable[Outcome]) -> str:
    """Return the commit with the changes of all tasks. Blocking.

    Raises:
        MergeConflictError: Two tasks conflict; the message names them.
    """
    merged_commit = base
    merged: list[Outcome] = []
    for outcome in outcomes:
        if outcome.commit is None:
            continue
        merge = repository.merge(merged_commit, outcome.commit, MESSAGE)
        if merge.commit is None:
            names, files = find_conflicting_tasks(
                outcome, merged, merge.conflicts, partial(repository.merge, message=MESSAGE)
            )
            raise MergeConflictError(
                f"task {outcome.task} conflicts with {' and '.join(names)} in {', '.join(files)}"
            )
        merged_commit = merge.commit
        merged.append(outcome)
    return merged_commit


def write_changeset(repository: Repository, base: str, merged_commit: str, directory: Path) -> MergedOutcomes:
    """Write the changes between two commits into directories below `directory`. Blocking.

    A directory is kept when its last file is removed, and submodules are not touched: the caller may have
    files in them that are not in git.

    Raises:
        MergeConflictError: The engine cannot handle the name of a file.
    """
    changes = repository.history.changes(base, merged_commit)
    for change in changes:
        _check(change.path)
    old, new, before, after = (directory / name for name in ("old", "new", "before", "after"))
    for path, commit in ((old, base), (new, merged_commit)):
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
        MergeConflictError: It cannot.
    """
    if not is_utf8(path) or "\\" in path:
        raise MergeConflictError(
            f"{as_utf8(path)} cannot be among the changes, since its name has a backslash or is not UTF-8; "
            "use `patches` instead of `changes`"
        )

"""All that a run changed, put together on the disk of the module's runtime. Blocks."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from containers.git import Repository
from pipeline.bases import clash
from tasks.errors import PatchyardError
from tasks.model import Outcome

if TYPE_CHECKING:
    from dagger import Changeset, Directory


MESSAGE = "patchyard: all changes"


class ApartError(PatchyardError):
    """What the tasks changed cannot be put together."""


@dataclass(frozen=True, slots=True)
class Together:
    """The changes of all tasks, laid out as two directories.

    `before` has the files of the base. `changed` has those that were added or changed, and no other. `removed`
    are the paths of those that make way: their own files are gone, or are of another kind now.
    """

    before: Path
    changed: Path
    removed: tuple[str, ...]

    def changeset(self, before: "Directory", changed: "Directory") -> "Changeset":
        """Return the changes, of the two directories as the engine has them.

        What comes after is made of what was before: of two directories that the engine got each for itself,
        every file is another, and whoever applies that writes all of them.
        """
        removed = [_literal(path) for path in self.removed]
        return before.without_files(removed).with_directory("/", changed).changes(before)


def unite(repository: Repository, base: str, outcomes: Iterable[Outcome]) -> str:
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
            names, files = clash(outcome, merged, merge.conflicts, partial(repository.merge, message=MESSAGE))
            raise ApartError(f"task {outcome.task} conflicts with {' and '.join(names)} in {', '.join(files)}")
        united = merge.commit
        merged.append(outcome)
    return united


def lay_out(repository: Repository, base: str, united: str, directory: Path) -> Together:
    """Lay the changes between two commits out below a directory.

    Directories are left where their last file is removed, and so are submodules: the caller may have more in
    them than git knows of.

    Raises:
        ApartError: The engine cannot have the name of a file.
    """
    changes = repository.history.changes(base, united)
    for change in changes:
        _check(change.path)
    before, after, changed = (directory / name for name in ("before", "after", "changed"))
    for path, commit in ((before, base), (after, united)):
        repository.add_worktree(path, commit).reset(commit)
    changed.mkdir()
    removed = []
    for change in changes:
        if change.makes_way:
            removed.append(change.path)
        if change.stays:
            place = changed / change.path
            place.parent.mkdir(parents=True, exist_ok=True)
            (after / change.path).rename(place)
    return Together(before, changed, tuple(removed))


def _check(path: str) -> None:
    """Check that the engine can write a file of that name, or remove it.

    Raises:
        ApartError: It cannot.
    """
    name = os.fsencode(path).decode(errors="replace")
    if name != path or "\\" in path:
        raise ApartError(
            f"{name} cannot be among the changes, since its name has a backslash or is not UTF-8; take "
            "`patches` in place of `changes`"
        )


def _literal(path: str) -> str:
    """Return a path as the engine reads it where it removes files: a star makes a pattern of it."""
    return re.sub(r"[*?[]", r"[\g<0>]", path) if "*" in path else path

"""Changes that are put on top of a tree without a merge, as long as none could conflict. Blocking."""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from containers.git.changes import ABSENT, Change, directories_above, read_changes
from containers.git.command import Git
from containers.git.index import put_entries
from containers.temporary import temporary_directory


class Fit(Enum):
    """How changes fit on top of a tree."""

    ADDED = "added"
    ALREADY = "already"  # the tree has all of them
    UNKNOWN = "unknown"  # only a merge can say it


class Overlay:
    """A tree, and changes of others that were made of the same tree as it, on top of it.

    Changes of a path that the tree has as it was in `start`, and that is not within or around another one that
    was changed, merge cleanly: git looks at their contents only where both sides changed a path, or where
    removed files make it look for renames (https://git-scm.com/docs/merge-strategies#_merge_strategies).

    Args:
        git: A git that writes into the repository.
        tree: Id of the tree.
        start: Id of the tree or commit that it, and the changes to add, were made of.
        scratch: A directory for a temporary index.

    Raises:
        GitError: One of the trees is not in the repository.
    """

    def __init__(self, git: Git, tree: str, start: str, scratch: Path) -> None:
        self.start = start
        self._git = git
        self._tree = tree
        self._scratch = scratch
        self._entries: dict[str, tuple[str, str]] = {}  # mode and object of each path that was changed
        self._above: set[str] = set()  # the directories of these paths
        self._added: dict[str, tuple[str, str]] = {}  # those of the paths that are not in the tree yet
        self._is_known = True
        changes = read_changes(git, start, tree)
        if any(change.new_mode == ABSENT for change in changes):
            self._is_known = False
        else:
            self._note(changes)

    def add(self, changes: Iterable[Change]) -> Fit:
        """Put changes on top of the tree, all of them or none, and return whether they fit."""
        new = []
        for change in changes:
            known = self._entries.get(change.path)
            if not self._is_known or change.new_mode == ABSENT:
                return Fit.UNKNOWN
            if known is None:
                around = directories_above(change.path)
                if change.path in self._above or any(one in self._entries for one in around):
                    return Fit.UNKNOWN
                new.append(change)
            elif known != (change.new_mode, change.new):
                return Fit.UNKNOWN
        self._note(new)
        self._added |= {change.path: self._entries[change.path] for change in new}
        return Fit.ADDED if new else Fit.ALREADY

    def _note(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._entries[change.path] = (change.new_mode, change.new)
            self._above.update(directories_above(change.path))

    def write(self) -> str:
        """Return the id of the tree with the changes.

        Raises:
            GitError: It cannot be written.
        """
        if self._added:
            with temporary_directory(self._scratch, "overlay") as directory:
                git = self._git.at(environ={"GIT_INDEX_FILE": str(directory / "index")})
                git.run("read-tree", self._tree)
                put_entries(git, self._added)
                self._tree = git.run("write-tree").text
            self._added = {}
        return self._tree

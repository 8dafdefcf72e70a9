"""What the program knows of commits, read from git once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import TypeVar

from containers.git.changes import GITLINK
from containers.git.command import Git, GitError
from tasks.lazy.dataclasses import dataclass

T = TypeVar("T")
FAR = 32
"""Commits between two from which on git takes longer to walk them than to write another commit."""
_CACHED = 64
"""How many layouts and trees a `CommitCache` holds."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of a commit, parents first, and its submodules with their commits."""

    directories: tuple[str, ...]
    gitlink_commits: Mapping[str, str]

    @property
    def gitlinks(self) -> frozenset[str]:
        """The paths of the submodules."""
        return frozenset(self.gitlink_commits)


def layout_call(commit: str) -> tuple[str, ...]:
    """Return the call of git that lists the directories and submodules of a commit."""
    return "ls-tree", "-r", "-d", "-z", "--full-tree", commit


class CommitCache:
    """Layouts, trees and parents of commits, each read from git once. Safe for several threads. Blocking.

    Args:
        git: Any git of the repository.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = Lock()
        self._layouts: dict[str, Layout] = {}
        self._trees: dict[str, str] = {}
        self._directories: dict[str, bytes | None] = {}
        self._parents: dict[str, tuple[str, ...]] = {}
        self._depths: dict[str, int] = {}  # the length of the longest chain of recorded commits below one
        self._roots: dict[str, frozenset[str]] = {}  # the commits below one that are not recorded
        self._older: set[str] = set()  # recorded, but created before
        self._named: set[str] = set()  # as a parent
        self._parents_first = True

    def record(self, commit: str, parents: Sequence[str], tree: str, *, is_new: bool = True) -> None:
        """Record the parents and the tree of a commit that is whole.

        Args:
            commit: Its id.
            parents: The ids of its parents.
            tree: The id of its tree.
            is_new: Whether it was just created: then there are no commits on it that this process did not make.
        """
        with self._lock:
            if not is_new and commit not in self._parents:
                self._older.add(commit)
            _keep(self._trees, commit, tree)
            if commit in self._parents:
                return
            self._parents_first = self._parents_first and commit not in self._named
            self._named.update(parents)
            self._parents[commit] = tuple(parents)
            self._depths[commit] = 1 + max((self._depths.get(parent, 0) for parent in parents), default=0)
            self._roots[commit] = self._roots_below(parents)

    def _roots_of(self, commit: str) -> frozenset[str]:
        return self._roots.get(commit, frozenset({commit}))

    def _roots_below(self, parents: Sequence[str]) -> frozenset[str]:
        roots = [*map(self._roots_of, parents)]
        first = roots[0] if roots else frozenset()
        return first if all(one is first or one <= first for one in roots) else frozenset().union(*roots)

    def far_parent(self, commit: str, other: str) -> str | None:
        """Return the only parent of a commit, if another one contains it many recorded commits further up."""
        parents = self._parents.get(commit, ())
        if len(parents) != 1 or self._depths.get(other, 0) - self._depths.get(parents[0], 0) <= FAR:
            return None
        return parents[0] if self.contains(other, parents[0]) else None

    def is_recorded(self, commit: str) -> bool:
        """Whether a commit was created by this process, or found whole by it."""
        return commit in self._parents

    def contains(self, new: str, old: str) -> bool | None:
        """Return whether `old` is `new` or an ancestor of it; `None` if only git can know.

        All descendants of a new commit are recorded too: nobody else knows its id. An older one may be in a
        commit that is not recorded, unless that is below it itself.
        """
        seen, ahead = set[str](), [new]
        depth = self._depths.get(old, 0) if self._parents_first else -1
        while ahead:
            commit = ahead.pop()
            if commit == old:
                return True
            if commit not in seen and self._depths.get(commit, 0) > depth:
                seen.add(commit)
                ahead += self._parents.get(commit, ())
        if old not in self._parents:
            return None
        is_apart = self._parents_first and self._roots_of(new) <= self._roots[old]
        return False if is_apart or old not in self._older else None

    def layout(self, commit: str) -> Layout:
        """Return the directories and submodules of a commit.

        Raises:
            GitError: The commit is not in the repository.
        """
        with self._lock:
            if commit not in self._layouts:
                _keep(self._layouts, commit, self._read_layout(commit))
            return self._layouts[commit]

    def _read_layout(self, commit: str) -> Layout:
        directories, gitlinks = list[str](), dict[str, str]()
        for entry in self._git.run(*layout_call(commit)).fields:
            about, path = entry.split("\t", 1)
            if about.startswith(GITLINK):
                gitlinks[path] = about.split(" ")[2]
            else:
                directories.append(path)
        return Layout(tuple(directories), gitlinks)

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree.

        Raises:
            GitError: The commit is not in the repository.
        """
        with self._lock:
            if commit not in self._trees:
                tree = self._git.run("rev-parse", "--verify", f"{commit}^{{tree}}").text
                _keep(self._trees, commit, tree)
            return self._trees[commit]

    def learn_tree(self, commit: str, tree: str) -> None:
        """Take the tree of a commit that git has named already."""
        with self._lock:
            _keep(self._trees, commit, tree)

    def directories(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """Return the tree objects of those paths at which a commit has a directory; "" is its root.

        Args:
            commit: Id of the commit.
            paths: At which it has directories, or nothing.

        Raises:
            GitError: The commit is not in the repository, or has something else there.
        """
        with self._lock:
            names = {path: f"{commit}:{path}" for path in paths}
            unknown = [name for name in names.values() if name not in self._directories]
            if unknown:
                listed = b"".join(os.fsencode(name) + b"\0" for name in unknown)
                output = self._git.run("cat-file", "--batch", "-z", stdin=listed).stdout
                for name, content in zip(unknown, _read_trees(output, unknown), strict=True):
                    _keep(self._directories, name, content)
            found = ((path, self._directories[name]) for path, name in names.items())
            return {path: content for path, content in found if content is not None}


def _read_trees(output: bytes, names: Sequence[str]) -> Iterator[bytes | None]:
    """Yield the trees of `cat-file --batch`; `None` for a name that there is not (https://git-scm.com/docs/git-cat-file).

    Raises:
        GitError: Something is not a tree.
    """
    position = 0
    for name in names:
        missing = os.fsencode(name) + b" missing\n"
        if output.startswith(missing, position):
            position += len(missing)
            yield None
            continue
        head, _, _ = output[position : position + 200].partition(b"\n")
        fields = head.split(b" ")
        if len(fields) != 3 or fields[1] != b"tree":  # noqa: PLR2004 - id, type and size
            raise GitError(f"{name} is not a directory")
        begin = position + len(head) + 1
        position = begin + int(fields[2]) + 1
        yield output[begin : position - 1]


def _keep(cache: dict[str, T], name: str, value: T) -> None:
    """Put a value into a cache, in place of the oldest one if it is full."""
    if len(cache) >= _CACHED:
        del cache[next(iter(cache))]
    cache[name] = value

"""From a worktree's directory to a tree and a patch, with an index that no task has touched."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from containers.filesystem import is_directory, make_accessible, nested_repositories
from containers.git.command import Git, GitError
from containers.git.commits import (
    ABSENT,
    GITLINK,
    PATCHYARD_IDENTITY,
    Change,
    Signature,
    create_commit,
    read_changes,
    read_diff,
)

_COMMITLESS = "does not have a commit checked out"
_DENIED = "Permission denied"
_BROKEN_INDEX = re.compile(
    r"index file (corrupt|smaller)|bad (index|signature)|unable to map index|unordered stage"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A tree, and how it differs from the commit that the worktree started from."""

    tree: str
    changes: tuple[Change, ...]
    diff: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Staging:
    """Takes what stands in a worktree's directory.

    `git` runs in `root` and its environment names the repository, the directory and `index`. `options` come
    before every subcommand that looks at files. `excludes` is a file of patterns that stay out whatever the
    tree's own ignore files say. `scratch` is a directory for what has to be set aside for a moment.
    """

    git: Git
    root: Path
    index: Path
    scratch: Path
    start: str
    gitlinks: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()
    excludes: Path | None = None

    def take(self) -> Taken:
        """Return the tree of what stands in the directory, without ignored files.

        Repositories that a task made inside become ordinary files; submodules stay what they are.

        Raises:
            GitError: Something in it cannot be read, or is nothing that git can hold.
        """
        self.index.with_name(self.index.name + ".lock").unlink(missing_ok=True)
        with ExitStack() as stack:
            self._forget(list(self._replaced_submodules()))
            try:
                self._add()
            except GitError as error:
                if _COMMITLESS not in error.stderr:
                    raise
                stack.enter_context(self._nested_aside())
                self._add()
            taken = self.compare(self._write_tree())
            if embedded := self._embedded(taken.changes):
                stack.enter_context(self._nested_aside())
                self._forget(embedded)
                self._add()
                taken = self.compare(self._write_tree())
        return self._without_excluded(taken)

    def compare(self, tree: str) -> Taken:
        """Return how a tree differs from the start."""
        return Taken(tree, *read_diff(self.git, self.start, tree))

    def _add(self) -> None:
        """Bring the index up to what stands in the directory, with a remedy for what a task may have left."""
        if not self.index.exists():
            self._rebuild_index()
        try:
            output = self._add_once()
        except GitError as error:
            if _BROKEN_INDEX.search(error.stderr):
                self.index.unlink()
                self._rebuild_index()
            elif _DENIED not in error.stderr or not make_accessible(self.root, files=True):
                raise
            self._add_once()
        else:
            if _DENIED in output and make_accessible(self.root, files=True):
                self._add_once()

    def _add_once(self) -> str:
        return self.git.run(*self.options, "add", "-A", "--", ".").stderr

    def _rebuild_index(self) -> None:
        self.git.run("read-tree", self.start)

    def _write_tree(self) -> str:
        return self.git.run("write-tree").text

    def _forget(self, paths: Sequence[str]) -> None:
        """Take paths out of the index; their files stay."""
        if paths:
            names = b"".join(os.fsencode(path) + b"\0" for path in paths)
            self.git.run("update-index", "--force-remove", "-z", "--stdin", stdin=names)

    def _replaced_submodules(self) -> Iterator[str]:
        """Yield the submodules that a task took away and put ordinary files in place of."""
        filled = []
        for path in self.gitlinks:
            directory = self.root / path
            if is_directory(directory) and any(directory.iterdir()) and not (directory / ".git").exists():
                filled.append(path)
        if filled:
            declared = self._declared_submodules()
            yield from (path for path in filled if path not in declared)

    def _declared_submodules(self) -> frozenset[str]:
        """Return the paths that the worktree's `.gitmodules` names; none if it is not readable."""
        if not (self.root / ".gitmodules").is_file():
            return frozenset()
        try:
            listed = self.git.run(
                "config", "-z", "-f", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$", ok=(0, 1)
            )
        except GitError:
            return frozenset()
        return frozenset(entry.partition("\n")[2] for entry in listed.fields)

    def _embedded(self, changes: Sequence[Change]) -> list[str]:
        """Return the repositories that git took for submodules, but that are none."""
        found = [c.path for c in changes if c.new_mode == GITLINK and c.path not in self.gitlinks]
        if found:
            declared = self._declared_submodules()
            return [path for path in found if path not in declared]
        return []

    @contextmanager
    def _nested_aside(self) -> Iterator[None]:
        """Move the `.git` of nested repositories out of the way, and back again afterwards."""
        skip = {self.root / path for path in self.gitlinks | self._declared_submodules()}
        moved: list[tuple[Path, Path]] = []
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="nested-") as aside:
            try:
                for number, directory in enumerate(nested_repositories(self.root, skip)):
                    moved.append((directory / ".git", Path(aside, str(number))))
                    shutil.move(*moved[-1])
                yield
            finally:
                for place, kept in reversed(moved):
                    if kept.exists() or kept.is_symlink():
                        shutil.move(kept, place)

    def _without_excluded(self, taken: Taken) -> Taken:
        """Take out what the excludes name and the tree's own ignore files let in."""
        added = {change.path for change in taken.changes if change.old_mode == ABSENT}
        if self.excludes is None or not added:
            return taken
        listed = self.git.run("ls-files", "-c", "-i", "-z", "-X", str(self.excludes)).fields
        excluded = [path for path in listed if path in added]
        if not excluded:
            return taken
        self._forget(excluded)
        return self.compare(self._write_tree())


def transplant(staging: Staging, baseline: str, after: str, start_tree: str) -> str:
    """Return the start's tree with what changed from `baseline` to `after`.

    A path that changed before the baseline too is merged; where that conflicts, what `after` has wins.
    """
    git = staging.git
    before = {change.path for change in read_changes(git, start_tree, baseline)}
    changed = {change.path: change for change in read_changes(git, baseline, after)}
    entries = {path: (change.new_mode, change.new) for path, change in changed.items()}
    if both := sorted(before & changed.keys()):
        outside = git.at(staging.scratch)  # where no .gitattributes of the task's says how to merge
        merged, conflicts = _merge(outside, baseline, after, start_tree)
        wanted = [path for path in both if path not in conflicts]
        there = _entries(git, merged, wanted)
        entries |= {path: there.get(path, (ABSENT, _zeros(after))) for path in wanted}
    index = staging.index.with_name(staging.index.name + ".transplant")
    temporary = git.at(environ={"GIT_INDEX_FILE": str(index)})
    try:
        temporary.run("read-tree", start_tree)
        lines = b"".join(
            f"{mode} {name}\t".encode() + os.fsencode(path) + b"\0"
            for path, (mode, name) in sorted(entries.items(), key=lambda item: item[1][0] != ABSENT)
        )
        temporary.run("update-index", "--replace", "-z", "--index-info", stdin=lines)
        return temporary.run("write-tree").text
    finally:
        index.unlink(missing_ok=True)


def _zeros(like: str) -> str:
    return "0" * len(like)


def _entries(git: Git, tree: str, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    wanted = set(paths)
    found = {}
    for entry in git.run("ls-tree", "-r", "-z", "--full-tree", tree).fields:
        about, path = entry.split("\t", 1)
        if path in wanted:
            mode, _, name = about.split(" ")
            found[path] = (mode, name)
    return found


def _merge(git: Git, baseline: str, after: str, start: str) -> tuple[str, frozenset[str]]:
    """Merge two trees that come from a third; returns the merged tree and the paths that conflict."""
    signature = Signature(PATCHYARD_IDENTITY)
    root = create_commit(git, baseline, [], b"temporary\n", signature)
    ours, theirs = (create_commit(git, tree, [root], b"temporary\n", signature) for tree in (after, start))
    output = git.run(
        "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z",
        ours, theirs, ok=(0, 1),
    )  # fmt: skip
    tree, *conflicts = output.fields
    return tree, frozenset(conflicts)

"""Create a tree and a patch of a directory, with an index that no task has changed."""

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
class StagedTree:
    """A tree, and its difference from the commit that the worktree started from."""

    tree: str
    changes: tuple[Change, ...]
    diff: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Staging:
    """Stages the files of a directory.

    Args:
        git: Runs in `root`; its environment names the repository, the directory and `index`.
        root: The directory.
        index: The index file.
        scratch: A directory for files that are moved away for a moment.
        start: Id of the commit to compare with.
        gitlinks: Paths of the submodules of `start`.
        options: Options for every git command that reads files.
        excludes: A file of patterns to leave out regardless of the tree's own ignore files.
    """

    git: Git
    root: Path
    index: Path
    scratch: Path
    start: str
    gitlinks: frozenset[str] = frozenset()
    options: tuple[str, ...] = ()
    excludes: Path | None = None

    def stage(self) -> StagedTree:
        """Return the tree of the files in the directory, without ignored ones. Blocking.

        Nested repositories that a task created become ordinary files, because a gitlink would lose their
        content. Submodules are unchanged.

        Raises:
            GitError: A file cannot be read, or is of a kind that git does not store.
        """
        self.index.with_name(self.index.name + ".lock").unlink(missing_ok=True)
        with ExitStack() as stack:
            self._unstage(list(self._replaced_submodules()))
            try:
                self._add()
            except GitError as error:
                if _COMMITLESS not in error.stderr:
                    raise
                stack.enter_context(self._without_nested_git())
                self._add()
            staged = self.compare(self._write_tree())
            if embedded := self._embedded(staged.changes):
                stack.enter_context(self._without_nested_git())
                self._unstage(embedded)
                self._add()
                staged = self.compare(self._write_tree())
        return self._without_excluded(staged)

    def compare(self, tree: str) -> StagedTree:
        """Return a tree with its difference from the start. Blocking."""
        return StagedTree(tree, *read_diff(self.git, self.start, tree))

    def _add(self) -> None:
        """Update the index from the directory; repair permissions or a broken index if that fails."""
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

    def _unstage(self, paths: Sequence[str]) -> None:
        """Remove paths from the index; their files are not changed."""
        if paths:
            names = b"".join(os.fsencode(path) + b"\0" for path in paths)
            self.git.run("update-index", "--force-remove", "-z", "--stdin", stdin=names)

    def _replaced_submodules(self) -> Iterator[str]:
        """Yield the submodules that a task replaced by ordinary files."""
        filled = []
        for path in self.gitlinks:
            directory = self.root / path
            if is_directory(directory) and any(directory.iterdir()) and not (directory / ".git").exists():
                filled.append(path)
        if filled:
            declared = self._declared_submodules()
            yield from (path for path in filled if path not in declared)

    def _declared_submodules(self) -> frozenset[str]:
        """Return the paths in the worktree's `.gitmodules`; none if it is not readable."""
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
        """Return the nested repositories that git staged as submodules although they are not declared."""
        found = [c.path for c in changes if c.new_mode == GITLINK and c.path not in self.gitlinks]
        if found:
            declared = self._declared_submodules()
            return [path for path in found if path not in declared]
        return []

    @contextmanager
    def _without_nested_git(self) -> Iterator[None]:
        """Move the `.git` of nested repositories away while in the context."""
        skip = {self.root / path for path in self.gitlinks | self._declared_submodules()}
        moved: list[tuple[Path, Path]] = []
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="nested-") as aside:
            try:
                for number, directory in enumerate(nested_repositories(self.root, skip)):
                    moved.append((directory / ".git", Path(aside, str(number))))
                    shutil.move(*moved[-1])
                yield
            finally:
                for original, temporary in reversed(moved):
                    if temporary.exists() or temporary.is_symlink():
                        shutil.move(temporary, original)

    def _without_excluded(self, staged: StagedTree) -> StagedTree:
        """Remove added files that match the excludes, even if the tree's own ignore files un-ignore them."""
        added = {change.path for change in staged.changes if change.old_mode == ABSENT}
        if self.excludes is None or not added:
            return staged
        listed = self.git.run("ls-files", "-c", "-i", "-z", "-X", str(self.excludes)).fields
        excluded = [path for path in listed if path in added]
        if not excluded:
            return staged
        self._unstage(excluded)
        return self.compare(self._write_tree())


def transplant(staging: Staging, baseline: str, after: str, start_tree: str) -> str:
    """Return the tree of the start with the changes from `baseline` to `after`. Blocking.

    A path that also changed before the baseline is merged; if that conflicts, the version in `after` is used.
    """
    git = staging.git
    before = {change.path for change in read_changes(git, start_tree, baseline)}
    changed = {change.path: change for change in read_changes(git, baseline, after)}
    entries = {path: (change.new_mode, change.new) for path, change in changed.items()}
    if both := sorted(before & changed.keys()):
        outside = git.at(staging.scratch)  # where no .gitattributes of a task sets the merge driver
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
    """Merge two trees with a common base; return the merged tree and the conflicting paths."""
    signature = Signature(PATCHYARD_IDENTITY)
    root = create_commit(git, baseline, [], b"temporary\n", signature)
    ours, theirs = (create_commit(git, tree, [root], b"temporary\n", signature) for tree in (after, start))
    output = git.run(
        "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z",
        ours, theirs, ok=(0, 1),
    )  # fmt: skip
    tree, *conflicts = output.fields
    return tree, frozenset(conflicts)

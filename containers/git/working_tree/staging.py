"""Create a tree and a patch of a directory, with an index that no task has changed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from containers.filesystem import is_directory, make_accessible
from containers.git.changes import ABSENT, GITLINK, Change, read_changes, read_diff, read_index_diff
from containers.git.command import Git, GitError, GitTimeoutError, Output
from containers.git.commit_cache import Layout
from containers.git.index import put_entries, remove_entries
from containers.git.object_writer import TreeWriter
from containers.git.signatures import PATCHYARD_IDENTITY, Signature, create_commit
from containers.git.working_tree.conversions import unchanged_content
from containers.git.working_tree.errors import TooDeepError
from containers.git.working_tree.patch_size import (
    may_be_large,
    may_have_large_files,
    refuse_large_changes,
    refuse_large_files,
)
from containers.git.working_tree.sparse import adopt_marks, leave_out
from containers.git.working_tree.submodules import (
    SubmoduleReader,
    SubmoduleWorkError,
    declared_submodules,
    excluding,
)
from containers.git.working_tree.task_files import remove_special, scan, without_git_files
from containers.git.working_tree.worktree_paths import WorktreePaths
from containers.temporary import temporary_directory
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.patch_data import PatchData

_UNCHECKED_TIME = 10.0
"""Seconds that git may add files whose sizes were not compared with the limit yet."""
_DENIED = "Permission denied"
_TOO_LONG = "File name too long"
_UNREAD = regex(r"^warning: could not open directory '(.*?)(?:': (.*))?$", re.MULTILINE)
"""Git cuts a message that is longer than its buffer, so that the reason is missing (git: `usage.c`)."""
_BROKEN_INDEX = regex(r"index file (corrupt|smaller)|bad (index|signature)|unable to map index|unordered stage")


@dataclass(frozen=True, slots=True)
class StagedTree:
    """A tree, and its difference from the commit that the worktree started from."""

    tree: str
    changes: tuple[Change, ...]
    diff: PatchData | None = field(repr=False)
    """The patch; `None` if its size has to be checked first."""


@dataclass(frozen=True, slots=True)
class Staging:
    """Stages the files of a directory.

    Args:
        git: Runs in `root`; its environment names the repository, the directory and `index`.
        root: The directory.
        index: The index file.
        aside: A path beside the directory for what is moved away for a moment.
        scratch: A directory for temporary repositories.
        start: Id of the commit to compare with.
        layout: The directories and submodules of `start`.
        since: When the directory was reset, in nanoseconds; `None` if that is not known.
        known: The inodes that its directories had then.
        options: Options for every git command that reads files.
        limit: How large a patch may be, in bytes; `None` for no limit.
        free_before: The free space of the file system after the reset, in bytes; `None` if it is not known.
        excludes: A file of patterns to leave out regardless of the tree's own ignore files.
        converts: Whether attributes of the start may convert files.
        trees: Writes trees without git; `None` if git has to, as where objects are thrown away.
        is_used: Whether the index may have changes already, of set-up or of a patch that was not finished.
        worktree: The directories of the worktree, whose sparse checkout the index follows; `None` without one.
    """

    git: Git
    root: Path
    index: Path
    aside: Path
    scratch: Path
    start: str
    layout: Layout
    since: int | None = None
    known: Mapping[str, int] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    excludes: Path | None = None
    converts: bool = False
    limit: int | None = None
    free_before: int | None = None
    is_used: bool = False
    trees: TreeWriter | None = None
    worktree: WorktreePaths | None = None

    def stage(self, *, with_diff: bool = True) -> StagedTree:
        """Return the tree of the files in the directory, without ignored ones. Blocking.

        Nested repositories that a task created become ordinary files, because a gitlink would lose their
        content; so do those that `.gitmodules` declares, unless they are clones.

        Args:
            with_diff: Whether a patch is needed, which may be large.

        Raises:
            SubmoduleWorkError: The task worked inside a submodule.
            GitError: A file cannot be read, or is of a kind that git does not store.
        """
        self._remove_lock()
        found = scan(self.root, self.layout, self.since, self.known)
        self._refuse_special(found.special)
        try:
            remove_special(found)
        except OSError as error:
            raise GitError(f"cannot remove {error.filename}: {error.strerror}") from None
        with without_git_files(found, self.aside) as moved:
            submodules = self._submodules(moved)
            remove_entries(self.git, sorted(self.layout.gitlinks | submodules.keys()))
            listed = self._add_within_limit(submodules)
            put_entries(self.git, {path: (GITLINK, commit) for path, commit in submodules.items()})
            checked = self.limit is not None and (self.is_used or may_be_large(self.root, listed, self.limit))
            staged = self._compare_index(with_diff=with_diff and not checked)
        if any(c.new_mode == GITLINK and submodules.get(c.path) != c.new for c in staged.changes):
            raise GitError(f"a process keeps creating repositories in {self.root}; end it")
        return self._without_conversions(self._without_excluded(staged))

    def _refuse_special(self, special: Sequence[Path]) -> None:
        """Raise an error if a pipe, a socket or a device is in place of a file of the start."""
        if not special:
            return
        paths = [path.relative_to(self.root).as_posix() for path in special]
        in_start = self.git.run("--literal-pathspecs", "ls-tree", "-z", "--name-only", self.start, "--", *paths)
        if in_start.fields:
            raise GitError(f"{in_start.fields[0]} is a pipe, a socket or a device now, which git cannot store")

    def _submodules(self, moved: Mapping[Path, Path]) -> Mapping[str, str]:
        """Return the paths that are submodules, with their commits."""
        old = self.layout.gitlink_commits
        if not (old or (self.root / ".gitmodules").is_file()):
            return {}
        declared = declared_submodules(self.git, self.root)
        reader = SubmoduleReader(self.git, self.root, moved, self.scratch, self.options)
        found = {}
        for path in sorted(old.keys() | declared):
            directory = self.root / path
            if not is_directory(directory) or directory.resolve() != self.root.resolve() / path:
                continue  # removed, or replaced by something else
            if reader.has_repository(path):
                if commit := reader.commit(path, old.get(path)):
                    found[path] = commit
            elif path in old and not any(directory.iterdir()):
                found[path] = old[path]
            elif path in old and path in declared:
                raise SubmoduleWorkError(
                    f"it created files in the submodule {path}, which cannot be part of the patch"
                )
        return found

    def compare(self, tree: str, *, with_diff: bool = True) -> StagedTree:
        """Return a tree with its difference from the start. Blocking."""
        if with_diff:
            return StagedTree(tree, *read_diff(self.git, self.start, tree, self.scratch))
        return StagedTree(tree, read_changes(self.git, self.start, tree), None)

    def _compare_index(self, *, with_diff: bool) -> StagedTree:
        """Return the tree of the index with its difference from the start."""
        if not with_diff:
            return self.compare(self._write_tree(), with_diff=False)
        changes, diff = read_index_diff(self.git, self.start, self.scratch)
        if self.trees and (written := self.trees.write(self.start, changes)):
            return StagedTree(written, changes, diff)
        tree = self._write_tree()
        # Git takes a damaged tree for written, and finds that out when it reads it.
        return StagedTree(tree, read_changes(self.git, self.start, tree), diff)

    def with_diff(self, staged: StagedTree) -> StagedTree:
        """Return a tree with its patch. Blocking.

        Raises:
            PatchTooLargeError: The patch would be larger than the limit.
        """
        if staged.diff is not None:
            return staged
        if self.limit is not None:
            refuse_large_changes(self.git, staged.changes, self.limit)
        return self.compare(staged.tree)

    def _remove_lock(self) -> None:
        self.index.with_name(self.index.name + ".lock").unlink(missing_ok=True)

    def _add_within_limit(self, submodules: Mapping[str, str]) -> bytes:
        """Update the index as `_add` does, and compare sizes with the limit first where files may be large."""
        if self.limit is None:
            return self._add(submodules)
        if not may_have_large_files(self.root, self.free_before, self.limit):
            try:
                return self._add(submodules, _UNCHECKED_TIME)
            except GitTimeoutError:  # a file with holes may be of any size
                self._remove_lock()
        refuse_large_files(self.git, self.root, self.options, (".", *excluding(submodules)), self.limit)
        return self._add(submodules)

    def _add(self, submodules: Mapping[str, str], timeout: float | None = None) -> bytes:
        """Update the index from the directory; repair permissions or a broken index if that fails.

        Returns git's list of the paths that were updated, one per line.
        """
        if not self.index.exists():
            self._rebuild_index(submodules)
        try:
            output = self._add_once(submodules, timeout)
        except GitError as error:
            if _BROKEN_INDEX.search(error.stderr):
                self.index.unlink()
                self._rebuild_index(submodules)
            elif _DENIED not in error.stderr or not make_accessible(self.root, files=True):
                raise
            output = self._add_once(submodules, timeout)
        else:
            if _DENIED in output.stderr and make_accessible(self.root, files=True):
                output = self._add_once(submodules, timeout)
        # Git only warns about a directory that it cannot read, and leaves it out.
        if output.stderr and (missed := _UNREAD.search(output.stderr)):
            path, reason = missed.groups()
            if reason in {None, _TOO_LONG}:
                raise TooDeepError("it made directories deeper than a path may be long, which git cannot store")
            raise GitError(f"{path} could not be read: {reason}", stderr=output.stderr)
        return output.stdout

    def _add_once(self, submodules: Mapping[str, str], timeout: float | None) -> Output:
        if self.worktree:
            adopt_marks(self.git, self.worktree)
        # Larger files are stored without being held in memory.
        streamed = ("-c", "core.bigFileThreshold=32m")
        return self.git.run(
            *self.options,
            *streamed,
            "add",
            "--sparse",
            "-Av",
            "--",
            ".",
            *excluding(submodules),
            timeout=timeout,
        )

    def _rebuild_index(self, submodules: Mapping[str, str]) -> None:
        self.git.run("read-tree", self.start)
        if self.worktree:
            leave_out(self.git, self.worktree)
        remove_entries(self.git, sorted(self.layout.gitlinks | submodules.keys()))

    def _write_tree(self) -> str:
        return self.git.run("write-tree").text

    def _without_excluded(self, staged: StagedTree) -> StagedTree:
        """Remove added files that match the excludes, even if the tree's own ignore files un-ignore them."""
        added = {change.path for change in staged.changes if change.old_mode == ABSENT}
        if self.excludes is None or not added:
            return staged
        listed = self.git.run("ls-files", "-c", "-i", "-z", "-X", str(self.excludes)).fields
        excluded = [path for path in listed if path in added]
        if not excluded:
            return staged
        remove_entries(self.git, excluded)
        return self.compare(self._write_tree(), with_diff=staged.diff is not None)

    def _without_conversions(self, staged: StagedTree) -> StagedTree:
        """Put back files that only git's conversions changed; see `conversions.py`."""
        if not (self.converts or any(one.path.endswith(".gitattributes") for one in staged.changes)):
            return staged
        same = unchanged_content(self.git, self.start, staged.changes, self.root, self.scratch)
        if not same:
            return staged
        put_entries(self.git, {one.path: (one.new_mode, one.old) for one in same})
        return self.compare(self._write_tree(), with_diff=staged.diff is not None)


def stage_patch(staging: Staging, baseline: str | None, tree_of: Callable[[str], str]) -> StagedTree:
    """Return the tree of the directory with its patch, which has only changes since a baseline. Blocking.

    Args:
        staging: The staging.
        baseline: A tree; `None` for that of the start.
        tree_of: Returns the tree that the directory had before the baseline was taken, for the start.

    Raises:
        PatchTooLargeError: The patch would be larger than the limit.
    """
    staged = staging.stage()
    if not (baseline is None or baseline == (tree := tree_of(staging.start))):
        own = transplant(staging, baseline, staged.tree, tree)
        staged = staging.compare(own, with_diff=staged.diff is not None)
    return staging.with_diff(staged)


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
    with temporary_directory(staging.scratch, "transplant") as directory:
        temporary = git.at(environ={"GIT_INDEX_FILE": str(directory / "index")})
        temporary.run("read-tree", start_tree)
        removed_first = dict(sorted(entries.items(), key=lambda item: item[1][0] != ABSENT))
        put_entries(temporary, removed_first, "--replace")
        return temporary.run("write-tree").text


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

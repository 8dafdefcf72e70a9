"""From a worktree's directory to a tree and a patch, with an index that no task has touched."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from containers.filesystem import is_directory, make_accessible, nested_repositories
from containers.git.command import Git, GitError

GITLINK = "160000"
ABSENT = "000000"
_RAW = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-relative", "--ignore-submodules=none")
_PATCH = ("-p", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color")
_PREFIXES = ("--src-prefix=a/", "--dst-prefix=b/")
_COMMITLESS = "does not have a commit checked out"
_DENIED = "Permission denied"
_BROKEN_INDEX = re.compile(
    r"index file (corrupt|smaller)|bad (index|signature)|unable to map index|unordered stage"
)
_CACHED = 64


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees; a mode of zeros is that of no file."""

    old_mode: str
    new_mode: str
    old: str
    new: str
    path: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A tree, and how it differs from the commit that the worktree started from."""

    tree: str
    changes: tuple[Change, ...]
    diff: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Layout:
    """The directories of a commit, parents first, and the paths of its submodules."""

    directories: tuple[str, ...]
    gitlinks: frozenset[str]


class Commits:
    """What commits hold; git is asked once for each. May be used by several threads."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = Lock()
        self._layouts: dict[str, Layout] = {}
        self._trees: dict[str, str] = {}
        self._parents: dict[str, tuple[str, ...]] = {}

    def record(self, commit: str, parents: Sequence[str]) -> None:
        """Note the parents of a commit that was made just now."""
        self._parents[commit] = tuple(parents)

    def holds(self, new: str, old: str) -> bool | None:
        """Whether `old` is an ancestor of `new`, or the same; `None` if git has to be asked.

        A commit that was made here has no descendants but those that were made here after it.
        """
        seen, ahead = set[str](), [new]
        while ahead:
            commit = ahead.pop()
            if commit == old:
                return True
            if commit not in seen:
                seen.add(commit)
                ahead += self._parents.get(commit, ())
        return False if old in self._parents else None

    def layout(self, commit: str) -> Layout:
        """Return the directories and submodules of a commit."""
        with self._lock:
            if commit not in self._layouts:
                _forget_oldest(self._layouts)
                self._layouts[commit] = self._list(commit)
            return self._layouts[commit]

    def _list(self, commit: str) -> Layout:
        directories, gitlinks = list[str](), list[str]()
        for entry in self._git.run("ls-tree", "-r", "-d", "-z", "--full-tree", commit).fields:
            about, path = entry.split("\t", 1)
            (gitlinks if about.startswith(GITLINK) else directories).append(path)
        return Layout(tuple(directories), frozenset(gitlinks))

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree."""
        with self._lock:
            if commit not in self._trees:
                _forget_oldest(self._trees)
                self._trees[commit] = self._git.run("rev-parse", "--verify", f"{commit}^{{tree}}").text
            return self._trees[commit]


def _forget_oldest(cache: dict[str, Layout] | dict[str, str]) -> None:
    if len(cache) >= _CACHED:
        del cache[next(iter(cache))]


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
        data = self.git.run(*_RAW, *_PATCH, *_PREFIXES, self.start, tree).stdout
        changes = []
        at = 0
        while data[at : at + 1] == b":":
            end = data.index(b"\0", at)
            old_mode, new_mode, old, new, _ = data[at + 1 : end].decode("ascii").split(" ")
            at = data.index(b"\0", end + 1) + 1
            changes.append(Change(old_mode, new_mode, old, new, os.fsdecode(data[end + 1 : at - 1])))
        return Taken(tree, tuple(changes), data[at + 1 :])

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
    before = _paths(git, start_tree, baseline)
    changed = _paths(git, baseline, after)
    entries = {path: (change.new_mode, change.new) for path, change in changed.items()}
    if both := sorted(before.keys() & changed.keys()):
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


def _paths(git: Git, old: str, new: str) -> dict[str, Change]:
    fields = iter(git.run(*_RAW, old, new).fields)
    found = {}
    for about, path in zip(fields, fields, strict=True):
        old_mode, new_mode, before, after, _ = about[1:].split(" ")
        found[path] = Change(old_mode, new_mode, before, after, path)
    return found


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
    root = commit_tree(git, baseline)
    ours, theirs = (commit_tree(git, tree, root) for tree in (after, start))
    output = git.run(
        "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z",
        ours, theirs, ok=(0, 1),
    )  # fmt: skip
    tree, *conflicts = output.fields
    return tree, frozenset(conflicts)


def commit_tree(git: Git, tree: str, *parents: str) -> str:
    """Make a commit that nobody will see."""
    nobody = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "patchyard"), ("EMAIL", "patchyard@localhost"))
    }
    arguments = [argument for parent in parents for argument in ("-p", parent)]
    return git.at(environ=nobody).run("commit-tree", tree, *arguments, stdin=b"temporary\n").text

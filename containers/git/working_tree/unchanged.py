"""Find what a task added or changed in a worktree, and put that back to the commit that it had. Blocking.

A file counts as unchanged by what git itself compares (https://git-scm.com/docs/racy-git). In a small worktree
every directory is listed, and no git runs unless a file was changed. In a large one git compares the files, and
only directories that were changed since the last reset are listed. `git clean` and `git reset` take twice as
long: one lists all directories, the other writes the index again.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from pathlib import Path

from containers.filesystem import remove
from containers.git.command import Git, GitError, Output
from containers.git.commit_cache import Layout
from containers.git.index import LEFT_OUT, listed, read_tags
from containers.git.working_tree.index_file import (
    SECOND,
    UNCERTAIN,
    Entries,
    IndexFile,
    is_whole,
    read_index,
    state_of,
)
from containers.git.working_tree.patch_size import free_space
from containers.git.working_tree.task_files import GIT, FoundFiles, clean, directory_inodes
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_MOST_DIRECTORIES = 50
"""Directories up to which git compares each path of the index with all of them more quickly than it cleans."""
_GLOB = regex(r"[*?\[\\]")
_ESCAPE = r"\\\g<0>"


@dataclass(slots=True)
class LastReset:
    """What is known of the last reset of a worktree.

    Args:
        at: When it was, in nanoseconds, by the clock of the worktree's file system; `None` if it is not known.
        free: The free space of that file system then, in bytes; `None` if it is not known.
        layout: The directories of the files that it has; `None` if that is not known.
        inodes: The inodes of its tracked directories, by their paths.
        is_racy: Whether files may be of the second in which git wrote the index, so that it reads them at each
            look (https://git-scm.com/docs/racy-git).
    """

    at: int | None = None
    free: int | None = None
    layout: Layout | None = None
    inodes: dict[str, int] = field(default_factory=dict)
    is_racy: bool = True
    _newest: int = 0
    """The second of the last checkout of all files."""
    _index: IndexFile | None = None

    def record_checkout(self, root: Path, layout: Layout, index: Path, *, is_new: bool) -> None:
        """Record that git has checked a commit out, and written the index.

        Args:
            root: The worktree.
            layout: The directories of the files that the worktree has of the commit.
            index: The index.
            is_new: Whether all files are new.

        Raises:
            OSError: There is no index.
        """
        self.layout = layout
        self.inodes = directory_inodes(root, layout)
        second = int(index.stat().st_mtime)
        self._newest = second if is_new else self._newest
        self.is_racy = second <= self._newest

    def read_index(self, index: Path, commit: str) -> IndexFile | None:
        """Return what the index has; `None` if it is large or damaged, or has other than plain files.

        Args:
            index: The index, as git wrote it when the worktree had exactly its files.
            commit: Id of the commit that has these files.

        Raises:
            OSError: There is no index.
        """
        self._index = read_index(index, commit, self.at, self._index)
        return self._index

    def record_time(self, root: Path, *, is_known: bool) -> None:
        """Record the time of the reset. A directory that a task changes afterwards has this one or a later one.

        Args:
            root: The worktree.
            is_known: Whether every change that a task makes shows in the time of a tracked directory.
        """
        os.utime(root / ".git")
        self.at = os.lstat(root / ".git").st_ctime_ns if is_known else None
        self.free = free_space(root)


@dataclass(slots=True)
class Differences:
    """How a worktree differs from an index: what is to be removed from it, and the files to restore.

    Also the inodes of the directories that both have.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    inodes: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether it differs."""
        return bool(self.added or self.changed)


def is_unchanged(root: Path, index: Path, commit: str, last: LastReset) -> bool:
    """Whether a worktree has the files of a commit and no others; false where only git can tell. Blocking.

    Args:
        root: The worktree.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        last: What is known of the reset.
    """
    try:
        if last.at is None or (file := last.read_index(index, commit)) is None:
            return False
        return not _differences(root, file.entries, is_first_enough=True)
    except OSError:
        return False


def put_back(  # noqa: PLR0913 - what a reset knows, by name
    git: Git,
    options: Sequence[str],
    index: Path,
    commit: str,
    last: LastReset,
    *,
    look: Callable[[], FoundFiles] | None,
) -> None:
    """Put a worktree back to the commit that it had.

    Args:
        git: Runs in the worktree, with the index.
        options: Options for every git command that reads files.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        last: What is known of the reset before.
        look: Scans the directories that were changed since then; called for a large worktree. `None` if git has
            to write the index again, for which it looks at all files.

    Raises:
        OSError: Something cannot be listed or removed.
        GitError: All files have to be checked out again.
    """
    changed = _remove_added(git.cwd, index, commit, last)
    if changed is None:
        if look is None or not is_whole(index.read_bytes(), commit):
            raise GitError(f"{index} is of no use")  # git itself does not always notice that one is damaged
        _remove_untracked(git, look())
        changed = _remove_changed(git, options)
    _restore(git, options, changed)


def _remove_added(root: Path, index: Path, commit: str, last: LastReset) -> list[str] | None:
    """Remove what a worktree has beside its `.git` and the unchanged files of an index.

    Args:
        root: The worktree.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        last: What is known of the reset before.

    Returns:
        The files to restore, with those that may have changed without a trace; `None` if the index is large, or
        has entries of other kinds.

    Raises:
        OSError: Something cannot be listed or removed.
    """
    began = _time_of(root) if last.at is None else last.at
    file = last.read_index(index, commit)
    if file is None:
        return None
    found = _differences(root, file.entries)
    for path in found.added:
        remove(Path(path))
    last.inodes = found.inodes
    if not found.changed:
        _set_later_time(index, file, began, is_exact=last.at is not None)
    return found.changed


def _time_of(root: Path) -> int:
    """Return the time in nanoseconds by the clock of a worktree's file system."""
    os.utime(root)
    return os.lstat(root).st_ctime_ns


def _set_later_time(index: Path, file: IndexFile, seen: int, *, is_exact: bool) -> None:
    """Give an index the time of the second after its files, all of which were seen unchanged since.

    Git writes it in the same second as the last files, and then reads all files of that second at each look,
    since it compares whole seconds only (https://git-scm.com/docs/racy-git).

    Args:
        index: The index.
        file: What it has.
        seen: When the look at the files began, in nanoseconds, by the clock of their file system.
        is_exact: Whether a file that changed in the moment of the reset would have been seen. Else its file
            system may know whole seconds only, so that it may have changed after git wrote the index.
    """
    second, part = divmod(file.newest, SECOND)
    time = (second + 1) * SECOND
    if file.identity[-1] < time <= seen and (part or is_exact):
        os.utime(index, ns=(time, time))


def _differences(root: Path, expected: Entries, *, is_first_enough: bool = False) -> Differences:
    """Return how a worktree differs from the entries of an index.

    Where the first is enough, it stops after the first directory that differs.
    """
    found = Differences()
    pending = [("", str(root))]
    while pending and not (is_first_enough and found):
        directory, path = pending.pop()
        missing = dict(expected[directory])
        with os.scandir(path) as entries:
            for entry in entries:
                if not directory and entry.name == GIT:
                    continue
                state, status = missing.get(entry.name, ()), entry.stat(follow_symlinks=False)
                if state is None and stat.S_ISDIR(status.st_mode):
                    relative = _join(directory, entry.name)
                    pending.append((relative, entry.path))
                    found.inodes[relative] = status.st_ino
                elif not state or stat.S_ISDIR(status.st_mode):
                    found.added.append(entry.path)
                    continue
                elif state != state_of(status):
                    found.changed.append(_join(directory, entry.name))
                    if state is not UNCERTAIN:
                        found.added.append(entry.path)
                del missing[entry.name]
        found.changed += _files(expected, {directory: missing})
    return found


def _remove_untracked(git: Git, found: FoundFiles) -> None:
    """Remove what a task added to the directories that it changed."""
    for path in found.untracked:
        remove(path)
    directories = {directory: names for directory, names in found.names.items() if names}
    if len(directories) > _MOST_DIRECTORIES:
        clean(git)
    elif directories:
        patterns = (f":(glob){_GLOB.sub(_ESCAPE, _join(directory, ''))}*" for directory in directories)
        tracked = {path for path, tag in read_tags(git, *patterns).items() if tag != LEFT_OUT}
        present = {_join(directory, name) for directory, names in directories.items() for name in names}
        for name in present - tracked:
            remove(git.cwd / name)


def _remove_changed(git: Git, options: Sequence[str]) -> list[str]:
    """Remove files that are not as the last reset left them, by times and size; return those to restore."""
    arguments = ("diff-files", "--name-only", "-z", "--no-relative", "--ignore-submodules=none")
    changed, root = _refuse_messages(git.run(*options, *arguments)).fields, git.cwd.resolve()
    for directory in {path.rpartition("/")[0] for path in changed}:
        if (root / directory).resolve() != root / directory:
            raise GitError(f"{directory} is below a link")
    for path in changed:
        remove(root / path)
    return changed


def _restore(git: Git, options: Sequence[str], paths: Sequence[str]) -> None:
    """Check files out again from the index, as `git reset --hard` does, but no others.

    Changed ones are removed before: git takes a file for unchanged that has times of the same second.
    """
    if any(path.lower().endswith(".gitattributes") for path in paths):
        raise GitError("the attributes in the worktree are not those of the commit")
    if paths:
        _refuse_messages(git.run(*options, "checkout-index", "-f", "-u", "-z", "--stdin", stdin=listed(paths)))


def _refuse_messages(output: Output) -> Output:
    """Return the output of a git that had nothing to say: it exits with 0 where it cannot read something."""
    if output.stderr.strip():
        raise GitError(output.stderr.strip(), stderr=output.stderr)
    return output


def _files(expected: Entries, missing: Entries) -> Iterator[str]:
    """Yield the files of directories of an index that are not in the worktree."""
    pending = list(missing.items())
    while pending:
        directory, entries = pending.pop()
        for name, state in entries.items():
            path = _join(directory, name)
            if state is None:
                pending.append((path, expected[path]))
            else:
                yield path


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name

"""Find what a task added or changed in a worktree, and put that back to the commit that it had. Blocking.

A file counts as unchanged by what git itself compares (https://git-scm.com/docs/racy-git). In a small worktree
every directory is listed, and no git runs unless a file was changed. In a large one git compares the files, and
only directories that were changed since the last reset are listed. `git clean` and `git reset` take twice as
long: one lists all directories, the other writes the index again.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from struct import Struct

from containers.filesystem import read_regular, remove
from containers.git.command import Git, GitError, Output
from containers.git.commit_cache import Layout
from containers.git.index import LEFT_OUT, listed, read_tags
from containers.git.loose_objects import hash_like
from containers.git.working_tree.patch_size import free_space
from containers.git.working_tree.task_files import GIT, FoundFiles, clean, directory_inodes
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

_LARGEST = 100_000
"""Bytes of an index, about a thousand files, up to which looking at all of them is quicker than git."""
_HEADER = Struct(">4sII")
_ENTRY = Struct(">IIIIIIIIII")
_SPECIAL = 0xF000
"""The bits of an entry's flags that a plain file does not have; the others are the length of its name."""
_SECOND = 10**9
_CUT = 0xFFFF_FFFF

_MOST_DIRECTORIES = 50
"""Directories up to which git compares each path of the index with all of them more quickly than it cleans."""
_GLOB = regex(r"[*?\[\\]")
_ESCAPE = r"\\\g<0>"
State = tuple[int, ...]
"""What an index has of a file: times of change and modification, inode, mode, owner, group and size."""
Index = Mapping[str, Mapping[str, State | None]]
"""What an index has in each directory: files with their states, and directories with `None`."""
_ABSENT: State = ()
_UNCERTAIN: State = (0,)


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

    def record_time(self, root: Path, *, is_known: bool) -> None:
        """Record the time of the reset. A directory that a task changes afterwards has this one or a later one.

        Args:
            root: The worktree.
            is_known: Whether every change that a task makes shows in the time of a tracked directory.
        """
        os.utime(root / ".git")
        self.at = os.lstat(root / ".git").st_ctime_ns if is_known else None
        self.free = free_space(root)


def is_unchanged(root: Path, index: Path, commit: str, at: int | None) -> bool:
    """Whether a worktree has the files of a commit and no others; false where only git can tell. Blocking.

    Args:
        root: The worktree.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        at: When the worktree was reset; see `LastReset`.
    """
    try:
        return at is not None and _differences(root, index, commit, at, is_first_enough=True) == ([], [])
    except OSError:
        return False


def put_back(  # noqa: PLR0913 - what a reset knows, by name
    git: Git,
    options: Sequence[str],
    index: Path,
    commit: str,
    *,
    at: int | None,
    look: Callable[[], FoundFiles] | None,
) -> None:
    """Put a worktree back to the commit that it had.

    Args:
        git: Runs in the worktree, with the index.
        options: Options for every git command that reads files.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        at: When the worktree was reset; see `LastReset`.
        look: Scans the directories that were changed since then; called for a large worktree. `None` if git has
            to write the index again, for which it looks at all files.

    Raises:
        OSError: Something cannot be listed or removed.
        GitError: All files have to be checked out again.
    """
    changed = _remove_added(git.cwd, index, commit, at)
    if changed is None:
        if look is None or not _is_whole(index.read_bytes(), hash_like(commit)):
            raise GitError(f"{index} is of no use")  # git itself does not always notice that one is damaged
        _remove_untracked(git, look())
        changed = _remove_changed(git, options)
    _restore(git, options, changed)


def _remove_added(root: Path, index: Path, commit: str, at: int | None) -> list[str] | None:
    """Remove what a worktree has beside its `.git` and the unchanged files of an index.

    Args:
        root: The worktree.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.
        at: When the worktree was reset.

    Returns:
        The files to restore, with those that may have changed without a trace; `None` if the index is large, or
        has entries of other kinds.

    Raises:
        OSError: Something cannot be listed or removed.
    """
    found = _differences(root, index, commit, at)
    if found is None:
        return None
    added, changed = found
    for path in added:
        remove(Path(path))
    return changed


def _differences(
    root: Path, index: Path, commit: str, at: int | None, *, is_first_enough: bool = False
) -> tuple[list[str], list[str]] | None:
    """Return what is to be removed from a worktree, and the files to restore; see `_remove_added`.

    Where the first is enough, those of the first directory that has any are all that is returned.
    """
    expected = _read(index, hash_like(commit), at)
    if expected is None:
        return None
    added, changed = list[str](), list[str]()
    pending = [("", str(root))]
    while pending and not (is_first_enough and (added or changed)):
        directory, path = pending.pop()
        missing = dict(expected[directory])
        with os.scandir(path) as entries:
            for entry in entries:
                if not directory and entry.name == GIT:
                    continue
                state, status = missing.get(entry.name, _ABSENT), entry.stat(follow_symlinks=False)
                if state is None and stat.S_ISDIR(status.st_mode):
                    pending.append((_join(directory, entry.name), entry.path))
                elif not state or stat.S_ISDIR(status.st_mode):
                    added.append(entry.path)
                    continue
                elif state != _state(status):
                    changed.append(_join(directory, entry.name))
                    if state is not _UNCERTAIN:
                        added.append(entry.path)
                del missing[entry.name]
        changed += _files(expected, {directory: missing})
    return added, changed


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


def _files(expected: Index, missing: Index) -> Iterator[str]:
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


def _read(index: Path, digest: "hashlib._Hash", at: int | None) -> Index | None:
    """Return what an index has.

    `None` if it is large or damaged, or has other than plain files. A file as new as the index or the reset may
    have changed since without a trace: it has a state that no file has. The index may be on another file system
    than the worktree, whose times may be whole seconds.
    """
    content = read_regular(index, limit=_LARGEST)
    if content is None:
        return None
    if not _is_whole(content, digest):
        return None
    written = index.stat().st_mtime_ns
    written = written if at is None else min(written, at)
    found: dict[str, dict[str, State | None]] = {"": {}}
    for path, state in _entries(content, digest.digest_size):
        if state is None:
            return None
        directory, _, name = path.rpartition("/")
        if directory not in found:
            _add_directory(found, directory)
        found[directory][name] = state if max(state[:2]) < written else _UNCERTAIN
    return found


def _is_whole(content: bytes, digest: "hashlib._Hash") -> bool:
    digest.update(memoryview(content)[: -digest.digest_size])
    return content[-digest.digest_size :] == digest.digest()  # all zeros if `index.skipHash` is set


def _add_directory(found: dict[str, dict[str, State | None]], directory: str) -> None:
    """Add a directory, and those that it is in."""
    added = []
    while directory not in found:
        added.append(directory)
        directory = directory.rpartition("/")[0]
    for path in reversed(added):
        above, _, name = path.rpartition("/")
        found[above][name], found[path] = None, {}


def _entries(content: bytes, hash_size: int) -> Iterator[tuple[str, State | None]]:
    """Yield the paths of an index with their states; `None` for all but plain files.

    https://git-scm.com/docs/index-format
    """
    signature, version, count = _HEADER.unpack_from(content)
    if (signature, version) != (b"DIRC", 2):  # others have files with more flags, or shorter paths
        yield "", None
        return
    position = _HEADER.size
    for _ in range(count):
        changed, changed_ns, modified, modified_ns, _, *rest = _ENTRY.unpack_from(content, position)
        flags_at = position + _ENTRY.size + hash_size
        flags = int.from_bytes(content[flags_at : flags_at + 2])
        end = content.index(b"\0", flags_at + 2)
        is_plain = not flags & _SPECIAL and stat.S_IFMT(rest[1]) in {stat.S_IFREG, stat.S_IFLNK}
        times = (changed * _SECOND + changed_ns, modified * _SECOND + modified_ns)
        yield os.fsdecode(content[flags_at + 2 : end]), (*times, *rest) if is_plain else None
        position += (end - position) // 8 * 8 + 8


def _state(status: os.stat_result) -> State:
    """Return what git would write into an index (git: `fill_stat_data`, `create_ce_mode`)."""
    mode = (
        stat.S_IFLNK
        if stat.S_ISLNK(status.st_mode)
        else stat.S_IFREG | 0o644 | (status.st_mode & 0o100 and 0o111)
    )
    rest = (status.st_ino, mode, status.st_uid, status.st_gid, status.st_size)
    return (status.st_ctime_ns, status.st_mtime_ns, *(value & _CUT for value in rest))

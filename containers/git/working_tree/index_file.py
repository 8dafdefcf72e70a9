"""What a small index has of the files in a worktree, read without git (https://git-scm.com/docs/index-format)."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct

from containers.filesystem import read_regular
from containers.git.loose_objects import hash_like
from tasks.lazy.dataclasses import dataclass

_LARGEST = 100_000
"""Bytes of an index, about a thousand files, up to which looking at all of them is quicker than git."""
_HEADER = Struct(">4sII")
_ENTRY = Struct(">IIIIIIIIII")
_SPECIAL = 0xF000
"""The bits of an entry's flags that a plain file does not have; the others are the length of its name."""
SECOND = 10**9
_CUT = 0xFFFF_FFFF
State = tuple[int, ...]
"""What an index has of a file: times of change and modification, inode, mode, owner, group and size."""
Entries = Mapping[str, Mapping[str, State | None]]
"""What an index has in each directory: files with their states, and directories with `None`."""
UNCERTAIN: State = (0,)
"""The state of a file that may have changed without a trace."""


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A small index that was read.

    Args:
        identity: What identifies the file: its inode, its size, and the time of its modification.
        certain_before: Files of this time, in nanoseconds, or a later one may have changed without a trace.
        entries: What it has.
        newest: The time of the last change of a file that it has, in nanoseconds.
    """

    identity: tuple[int, int, int]
    certain_before: int
    entries: Entries
    newest: int


def read_index(index: Path, commit: str, at: int | None, known: IndexFile | None = None) -> IndexFile | None:
    """Return what an index has. Blocking.

    A file as new as the index or the reset may have changed since without a trace: it has a state that no file
    has. The index may be on another file system than the worktree, whose times may be whole seconds.

    Args:
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of any object of the repository.
        at: When the worktree was reset, in nanoseconds, by the clock of its file system; `None` if it is not
            known.
        known: What was read before, which is returned if the index is still the same.

    Returns:
        `None` if the index is large or damaged, or has other than plain files.

    Raises:
        OSError: There is no index.
    """
    status = os.lstat(index)
    identity = (status.st_ino, status.st_size, status.st_mtime_ns)
    certain_before = status.st_mtime_ns if at is None else min(status.st_mtime_ns, at)
    if known and (known.identity, known.certain_before) == (identity, certain_before):
        return known
    content = read_regular(index, limit=_LARGEST)
    if content is None or not is_whole(content, commit):
        return None
    found: dict[str, dict[str, State | None]] = {"": {}}
    newest = 0
    for path, state in _entries(content, hash_like(commit).digest_size):
        if state is None:
            return None
        directory, _, name = path.rpartition("/")
        if directory not in found:
            _add_directory(found, directory)
        changed = max(state[:2])
        found[directory][name] = state if changed < certain_before else UNCERTAIN
        newest = max(newest, changed)
    return IndexFile(identity, certain_before, found, newest)


def link_index(index: Path, copy: Path) -> None:
    """Give an index a second name, or copy it with its time where a file can have only one. Blocking.

    Git does not write into an index, it puts a new file in its place; nobody else may write into it.

    Raises:
        OSError: It cannot be copied.
    """
    try:
        os.link(index, copy)
    except OSError:
        shutil.copy2(index, copy)


def hash_at_end(index: Path, commit: str) -> str:
    """Return the hash that an index ends with, by which it is known again. Blocking.

    Args:
        index: The index.
        commit: Id of any object of the repository.

    Raises:
        OSError: There is no index, or it is shorter.
    """
    with index.open("rb") as file:
        file.seek(-hash_like(commit).digest_size, os.SEEK_END)
        return file.read().hex()


def is_whole(content: bytes, commit: str) -> bool:
    """Whether the hash at the end of an index, of the kind of a commit's id, is that of its content."""
    digest = hash_like(commit)
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
        times = (changed * SECOND + changed_ns, modified * SECOND + modified_ns)
        yield os.fsdecode(content[flags_at + 2 : end]), (*times, *rest) if is_plain else None
        position += (end - position) // 8 * 8 + 8


def state_of(status: os.stat_result) -> State:
    """Return what git would write into an index (git: `fill_stat_data`, `create_ce_mode`)."""
    mode = (
        stat.S_IFLNK
        if stat.S_ISLNK(status.st_mode)
        else stat.S_IFREG | 0o644 | (status.st_mode & 0o100 and 0o111)
    )
    rest = (status.st_ino, mode, status.st_uid, status.st_gid, status.st_size)
    return (status.st_ctime_ns, status.st_mtime_ns, *(value & _CUT for value in rest))

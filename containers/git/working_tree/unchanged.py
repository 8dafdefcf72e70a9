"""Put a worktree back where a task only added files: by the index, without git. Blocking.

A file counts as unchanged by what git itself compares (https://git-scm.com/docs/racy-git). Every directory is
listed, so that nothing beside the files of the index is missed. All else is left to git.
"""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from struct import Struct

from containers.filesystem import read_regular, remove
from containers.git.loose_objects import hash_like
from containers.git.working_tree.task_files import GIT

_LARGEST = 100_000
"""Bytes of an index, about a thousand files, up to which looking at all of them is quicker than git."""
_HEADER = Struct(">4sII")
_ENTRY = Struct(">IIIIIIIIII")
_SPECIAL = 0xF000
"""The bits of an entry's flags that a plain file does not have; the others are the length of its name."""
_SECOND = 10**9
_CUT = 0xFFFF_FFFF

State = tuple[int, ...]
"""What an index has of a file: times of change and modification, inode, mode, owner, group and size."""
_ABSENT: State = ()
_UNCERTAIN: State = (0,)


def remove_added(root: Path, index: Path, commit: str) -> bool:
    """Remove what a worktree has beside its `.git` and the files of an index; say whether these are unchanged.

    Args:
        root: The worktree.
        index: The index, as git wrote it when the worktree had exactly its files.
        commit: Id of the commit that has these files.

    Raises:
        OSError: Something cannot be listed or removed.
    """
    expected = _read(index, hash_like(commit))
    if expected is None:
        return False
    added, is_same = list[str](), True
    pending = [("", str(root))]
    while pending:
        directory, path = pending.pop()
        missing = dict(expected[directory])
        with os.scandir(path) as entries:
            for entry in entries:
                if not directory and entry.name == GIT:
                    continue
                state, status = missing.pop(entry.name, _ABSENT), entry.stat(follow_symlinks=False)
                if state is None and stat.S_ISDIR(status.st_mode):
                    pending.append((f"{directory}/{entry.name}".lstrip("/"), entry.path))
                elif not state or stat.S_ISDIR(status.st_mode):
                    added.append(entry.path)
                    is_same = is_same and state is _ABSENT
                else:
                    is_same = is_same and state == _state(status)
        is_same = is_same and not missing
    for path in added:
        remove(Path(path))
    return is_same


def _read(index: Path, digest: "hashlib._Hash") -> Mapping[str, Mapping[str, State | None]] | None:
    """Return what an index has in each directory: files with their states, and directories with `None`.

    `None` if it is large or damaged, or has other than plain files. A file as new as the index may have changed
    since without a trace: it has a state that no file has.
    """
    content = read_regular(index, limit=_LARGEST)
    if content is None:
        return None
    digest.update(content[: -digest.digest_size])
    if content[-digest.digest_size :] != digest.digest():  # all zeros if `index.skipHash` is set
        return None
    written = index.stat().st_mtime_ns
    found: dict[str, dict[str, State | None]] = {"": {}}
    for path, state in _entries(content, digest.digest_size):
        if state is None:
            return None
        directory, _, name = path.rpartition("/")
        if directory not in found:
            _add_directory(found, directory)
        found[directory][name] = state if max(state[:2]) < written else _UNCERTAIN
    return found


def _add_directory(found: dict[str, dict[str, State | None]], directory: str) -> None:
    """Add a directory, and those that it is in."""
    found[directory] = {}
    above, _, name = directory.rpartition("/")
    if above not in found:
        _add_directory(found, above)
    found[above][name] = None


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

"""The limit for the size of a patch, known before git stores or compares the files."""

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

from containers.git.changes import ABSENT, GITLINK, Change
from containers.git.command import Git, GitError
from containers.git.index import read_entries
from tasks.sizes import format_size

_NAMED = 3
"""How many of the largest files a message names."""


class PatchTooLargeError(GitError):
    """A patch exceeds its limit. The message names the size, the limit and the largest files."""


def free_space(directory: Path) -> int:
    """Return the free space of a file system, in bytes. Blocking."""
    status = os.statvfs(directory)
    return status.f_bfree * status.f_frsize


def may_have_large_files(root: Path, free_before: int | None, limit: int) -> bool:
    """Whether a task may have created files of more than `limit` bytes: a quick check of free space. Blocking.

    It misses files with holes, and what was freed by others; `may_be_large` finds those later.
    """
    return free_before is None or free_before - free_space(root) > limit // 2


def may_be_large(root: Path, listed: bytes, limit: int) -> bool:
    """Whether a patch may be larger than `limit` bytes, by the list of `git add -v`: a quick check. Blocking.

    A removed file counts as large: its size is known to git only.
    """
    if listed.startswith(b"remove ") or b"\nremove " in listed:
        return True
    lines = (os.fsdecode(line.removesuffix(b"\n")) for line in BytesIO(listed))
    names = (line.removeprefix("add '").removesuffix("'") for line in lines)
    return sum(_size_of_file(root / name) for name in names) > limit


def refuse_large_files(
    git: Git, root: Path, arguments: Sequence[str], pathspecs: Sequence[str], limit: int
) -> None:
    """Compare the files that a task created or changed with the limit, before git stores any. Blocking.

    Args:
        git: A git with the index that the files are added to.
        root: The directory of the files.
        arguments: Options for every git command that reads files.
        pathspecs: The paths to consider.
        limit: In bytes.

    Raises:
        PatchTooLargeError: Together they are larger.
    """
    listing = ("ls-files", "-o", "-m", "-z", "--exclude-standard", "--", *pathspecs)
    try:
        names = git.run(*arguments, *listing).fields
    except GitError:
        return  # a directory that cannot be read, or a broken index: `git add` repairs or reports it
    sizes = {name: size for name in names if (size := _size_of_file(root / name))}
    if sum(sizes.values()) > limit:
        # A file that was only touched has the size that it had, and a filter may make a large one small.
        stored = _stored_sizes(git, sizes)
        filtered = _filtered(git, sizes)
        added = {name: sizes[name] for name in sizes if stored.get(name) != sizes[name]}
        _refuse({name: size for name, size in added.items() if name not in filtered}, limit)


def refuse_large_changes(git: Git, changes: Iterable[Change], limit: int) -> None:
    """Compare what a patch has to hold with the limit, before git makes a diff of it. Blocking.

    A changed file counts as the larger of its two versions, because the patch of a binary file has both.

    Args:
        git: A git with the objects of the changes.
        changes: The changes.
        limit: In bytes.

    Raises:
        PatchTooLargeError: Together they are larger.
    """
    versions = {change.path: _contents(change) for change in changes}
    ids = sorted({content for contents in versions.values() for content in contents})
    if not ids:
        return
    sizes = dict(zip(ids, _sizes(git, ids), strict=True))
    _refuse({path: max(map(sizes.__getitem__, each), default=0) for path, each in versions.items()}, limit)


def _contents(change: Change) -> list[str]:
    sides = ((change.old_mode, change.old), (change.new_mode, change.new))
    return [content for mode, content in sides if mode not in {ABSENT, GITLINK}]


def _size_of_file(path: Path) -> int:
    with suppress(OSError, ValueError):
        status = os.lstat(path)
        return status.st_size if stat.S_ISREG(status.st_mode) else 0
    return 0


def _filtered(git: Git, names: Iterable[str]) -> set[str]:
    """Return the files that a filter changes, as Git LFS does (https://git-scm.com/docs/gitattributes#_filter)."""
    listed = b"".join(os.fsencode(name) + b"\0" for name in names)
    fields = git.run("check-attr", "-z", "--stdin", "filter", stdin=listed).fields
    triples = zip(fields[::3], fields[2::3], strict=True)
    return {name for name, value in triples if value not in {"unspecified", "unset"}}


def _stored_sizes(git: Git, names: Iterable[str]) -> dict[str, int]:
    """Return the sizes of the versions in the index, of those that are there."""
    staged, wanted = read_entries(git), set(names)
    ids = {path: name for path, (mode, name) in staged.items() if path in wanted and mode != GITLINK}
    return dict(zip(ids, _sizes(git, list(ids.values())), strict=True))


def _sizes(git: Git, ids: Sequence[str]) -> list[int]:
    if not ids:
        return []
    listed = "".join(f"{name}\n" for name in ids).encode("ascii")
    lines = git.run("cat-file", "--batch-check=%(objectsize)", stdin=listed).text.split("\n")
    return [int(line) if line.isdecimal() else 0 for line in lines]


def _refuse(sizes: Mapping[str, int], limit: int) -> None:
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_NAMED]
    named = ", ".join(f"{name} ({format_size(sizes[name])})" for name in largest)
    more = f" and {len(sizes) - len(largest)} more" if len(sizes) > len(largest) else ""
    raise PatchTooLargeError(
        f"it has {format_size(total)} of files, and max_patch allows {format_size(limit)}: "
        f"{named}{more}; have git ignore what is not part of the result, or set max_patch higher"
    )

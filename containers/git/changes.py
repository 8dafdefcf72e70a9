"""What differs between two trees: paths, and the patch."""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from sys import intern

from containers.git.command import Git, GitError
from containers.patch_files import spool
from tasks.lazy.dataclasses import dataclass
from tasks.patch_data import BLOCK, PatchData

GITLINK = "160000"
"""The mode of a submodule (https://git-scm.com/docs/git-fast-import#_filemodify)."""
ABSENT = "000000"
"""The mode of a path that does not exist on one side of a difference."""

_TOGETHER = 200
"""Pairs of trees that one process compares; the changes of so many patches are in memory."""
_PATCH = (
    *("-p", "--binary", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)
RAW = ("-r", "-z", "--raw", "--no-renames", "--no-relative", "--ignore-submodules=none")
"""Options with which git writes changes in its raw format."""


@dataclass(frozen=True, slots=True)
class Change:
    """A path that differs between two trees: its modes (`ABSENT` if it does not exist) and object ids."""

    old_mode: str
    new_mode: str
    old: str
    new: str
    path: str

    @property
    def had_file(self) -> bool:
        """Whether the path was a file or a symbolic link before."""
        return self.old_mode not in {ABSENT, GITLINK}

    @property
    def has_file(self) -> bool:
        """Whether the path is a file or a symbolic link afterwards."""
        return self.new_mode not in {ABSENT, GITLINK}


def directories_above(path: str) -> Iterator[str]:
    """Yield the directories of a path, the nearest first, without the root; so for the name of a ref."""
    while path := path.rpartition("/")[0]:
        yield path


def read_changes(git: Git, old: str, new: str) -> tuple[Change, ...]:
    """Return the paths that differ between two trees or commits; a renamed file is removed and added. Blocking.

    Raises:
        GitError: One of the trees is not in the repository.
    """
    return parse_changes(iter([git.run("diff-tree", *RAW, old, new).stdout]))[0]


def read_changes_of_each(git: Git, pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[Change, ...]]:
    """Yield the paths that differ between the two trees of each pair, in order; as `read_changes` does.

    Raises:
        GitError: One of them is not a tree of the repository.
    """
    for at in range(0, len(pairs), _TOGETHER):
        some = pairs[at : at + _TOGETHER]
        listed = "".join(f"{old} {new}\n" for old, new in some).encode("ascii")
        output = git.run("diff-tree", "--stdin", *RAW, stdin=listed).stdout
        yield from _changes_of_each(output, len(some))


def _changes_of_each(output: bytes, count: int) -> Iterator[tuple[Change, ...]]:
    """Yield the changes of each pair: a line with the ids of the two trees is above them."""
    found: list[Change] = []
    position = output.find(b"\n") + 1
    for _ in range(count):
        while output[position : position + 1] == b":":
            end = output.index(b"\0", position)
            last = output.index(b"\0", end + 1)
            found.append(_change(output[position + 1 : end], output[end + 1 : last]))
            position = last + 1
        yield tuple(found)
        found = []
        position = output.find(b"\n", position) + 1


def read_diff(git: Git, old: str, new: str, scratch: Path) -> tuple[tuple[Change, ...], PatchData]:
    """Return the paths that differ between two trees or commits, and the patch. Blocking.

    The patch is one that `git apply` takes, with binary files in it (https://git-scm.com/docs/diff-format).

    Args:
        git: A git with the objects of the trees.
        old: Id of the first tree or commit.
        new: Id of the second one.
        scratch: A directory for a large patch.

    Raises:
        GitError: One of the trees is not in the repository, or the patch cannot be written.
    """
    return _read_diff(git, ("diff-tree", *RAW, *_PATCH, old, new), scratch)


def read_index_diff(git: Git, old: str, scratch: Path) -> tuple[tuple[Change, ...], PatchData]:
    """Return the paths that differ between a commit and an index, and the patch. Blocking.

    Args:
        git: A git with the index and the objects of both. It reads no file of a worktree, where git would take
            one for the object in the index, and attributes only from the index.
        old: Id of the commit.
        scratch: A directory for a large patch, which has no file of the repository.

    Raises:
        GitError: The commit is not in the repository, or the patch cannot be written.
    """
    outside = git.at(scratch, {"GIT_WORK_TREE": str(scratch)})
    return _read_diff(outside, ("diff-index", "--cached", *RAW, *_PATCH, old), scratch)


def _read_diff(git: Git, arguments: Sequence[str], scratch: Path) -> tuple[tuple[Change, ...], PatchData]:
    with git.reading(*arguments) as output:
        changes, rest = parse_changes(iter(partial(output.read, BLOCK), b""))
        try:
            return changes, spool(rest, scratch)
        except OSError as error:
            raise GitError(f"cannot write a patch to {scratch}: {error.strerror}") from None


def parse_changes(blocks: Iterator[bytes]) -> tuple[tuple[Change, ...], Iterator[bytes]]:
    """Parse git's raw format (with `-z`) and return the changes, and the patch that follows them."""
    changes, data, position = list[Change](), next(blocks, b""), 0
    while data:
        end = data.find(b"\0", position)
        last = data.find(b"\0", end + 1) if end >= 0 else -1
        if data[position : position + 1] == b":" and last >= 0:
            changes.append(_change(data[position + 1 : end], data[end + 1 : last]))
            position = last + 1
        elif position < len(data) and data[position : position + 1] != b":":
            break
        elif more := next(blocks, b""):
            data, position = data[position:] + more, 0
        else:
            break
    return tuple(changes), chain([data[position + 1 :]], blocks)


def _change(about: bytes, path: bytes) -> Change:
    """Return the change of an entry of git's raw format: what is before its path, without the colon."""
    old_mode, new_mode, old, new, _ = about.decode("ascii").split(" ")
    # Shared, since there may be hundreds of thousands: new files have no old version.
    return Change(intern(old_mode), intern(new_mode), intern(old), new, os.fsdecode(path))

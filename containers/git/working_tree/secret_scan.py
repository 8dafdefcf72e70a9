"""Search a patch for secrets before any of its objects are added to the repository."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from containers.git.changes import GITLINK, Change
from containers.git.command import Git, GitError
from containers.git.working_tree.errors import SecretFoundError
from containers.git.working_tree.staging import StagedTree, Staging, stage_patch
from containers.temporary import temporary_directory
from tasks.lazy.patterns import regex
from tasks.patch_data import BLOCK, PatchData
from tasks.secrets import Search, Secrets

_SECTION = regex(rb"^diff --git ", re.MULTILINE)
_MARKER = regex(rb"^[-+ ]", re.MULTILINE)

_ATTEMPTS = 3
"""How often a patch of files that keep changing is taken."""


def stage_searched_patch(
    staging: Staging, baseline: str | None, tree_of: Callable[[str], str], secrets: Secrets, objects: Path
) -> StagedTree:
    """Search a patch for secrets with objects that are thrown away, then stage the same patch. Blocking.

    Args:
        staging: The staging.
        baseline: A tree; `None` for that of the start.
        tree_of: As for `stage_patch`.
        secrets: Values that the patch must not contain.
        objects: The object directory of the repository.

    Raises:
        SecretFoundError: It contains one.
        GitError: The files keep changing, or the patch cannot be created.
    """
    for _ in range(_ATTEMPTS):
        with with_temporary_objects(staging, objects) as temporary:
            searched = stage_patch(temporary, baseline, tree_of)
            refuse_secrets(searched, temporary.git, secrets)
        staged = stage_patch(staging, baseline, tree_of)
        if staged == searched:
            return staged
    raise GitError(
        f"files in {staging.root} keep changing after the task has ended; end the process that writes there"
    )


@contextmanager
def with_temporary_objects(staging: Staging, objects: Path) -> Iterator[Staging]:
    """Return a staging whose objects and index are removed at the end of the context. Blocking.

    As git does for pushed objects (https://git-scm.com/docs/git-receive-pack#_quarantine_environment).

    Args:
        staging: The staging to copy.
        objects: The object directory of the repository.
    """
    with temporary_directory(staging.scratch, "quarantine") as directory:
        index = directory / "index"
        if staging.index.exists():
            shutil.copy2(staging.index, index)  # with its time, by which git knows which files to compare
        environ = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(directory / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects),
        }
        (directory / "objects").mkdir()
        git = staging.git.configured([("core.fsync", "none")])  # all of it is thrown away
        yield replace(staging, git=git.at(environ=environ), index=index, trees=None)


def _quoted(path: Path) -> str:
    """Return a path quoted for GIT_ALTERNATE_OBJECT_DIRECTORIES (https://git-scm.com/docs/git)."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def refuse_secrets(staged: StagedTree, git: Git, secrets: Secrets) -> None:
    """Search the text of a patch, the files that it creates or changes, and their names. Blocking.

    Raises:
        SecretFoundError: The patch contains the value of a secret.
    """
    for change in staged.changes:
        if name := secrets.find(os.fsencode(change.path)):
            raise SecretFoundError(f"the name of a file holds the value of {name}, so the patch is withheld")
    if staged.diff is not None and (found := _find_in_diff(staged.diff, secrets)):
        name, number = found
        raise _error(name, f" in {staged.changes[number].path}" if number < len(staged.changes) else "")
    for change, names in _found_in_files(staged.changes, git, secrets):
        if name := _added_secret(change, names, git, secrets):
            raise _error(name, f" in {change.path}")


def _error(name: str, where: str) -> SecretFoundError:
    return SecretFoundError(f"the patch holds the value of {name}{where}, so it is withheld")


def _find_in_diff(diff: PatchData, secrets: Secrets) -> tuple[str, int] | None:
    """Return the name of a secret in a patch and the number of the file, from 0; `None` if there is none.

    Also one that goes over several lines, each of which begins with a mark of its own.
    """
    number, starts_line = -1, True
    whole, unmarked = Search(secrets), Search(secrets)
    for piece in _whole_lines(diff):
        marked = piece if starts_line else b" " + piece
        for count, part in enumerate(_SECTION.split(marked)):
            if count:
                number, whole, unmarked = number + 1, Search(secrets), Search(secrets)
            found = whole.feed(part if count or starts_line else part[1:])
            if name := found or unmarked.feed(_MARKER.sub(b"", part)):
                return name, max(0, number)
        starts_line = piece.endswith(b"\n")
    return None


def _whole_lines(diff: PatchData) -> Iterator[bytes]:
    """Yield the text in pieces that end with a line, unless that is very long."""
    rest = b""
    for block in diff.blocks():
        data = rest + block
        end = data.rfind(b"\n") + 1
        if not end and len(data) > BLOCK:
            end = len(data)
        rest = data[end:]
        if end:
            yield data[:end]
    yield rest


def _found_in_files(
    changes: Sequence[Change], git: Git, secrets: Secrets
) -> Iterator[tuple[Change, frozenset[str]]]:
    """Yield every file that a patch creates or changes and that holds secrets, with their names."""
    files = [change for change in changes if change.new_mode != GITLINK and change.new.strip("0")]
    for change, names in zip(files, _found_in_blobs([one.new for one in files], git, secrets), strict=True):
        if names:
            yield change, names


def _found_in_blobs(ids: Sequence[str], git: Git, secrets: Secrets) -> Iterator[frozenset[str]]:
    """Yield the names of the secrets in each of some blobs, which may be larger than memory."""
    if not ids:
        return
    given = "".join(f"{name}\n" for name in ids).encode("ascii")
    with git.reading("cat-file", "--batch", stdin=given) as output:
        for _ in ids:
            search, names = Search(secrets), set[str]()
            for block in _blob(output):
                names |= search.feed_all(block)
            yield frozenset(names)


def _blob(output: BinaryIO) -> Iterator[bytes]:
    """Yield the content of the next blob (https://git-scm.com/docs/git-cat-file#_batch_output).

    Raises:
        GitError: Git ended before.
    """
    head = output.readline().split(b" ")
    left = int(head[2]) if len(head) == 3 else -1  # noqa: PLR2004 - id, type and size
    while left > 0 and (block := output.read(min(left, BLOCK))):
        left -= len(block)
        yield block
    if left or output.read(1) != b"\n":
        raise GitError("git ended before it had written all files")


def _added_secret(change: Change, names: frozenset[str], git: Git, secrets: Secrets) -> str | None:
    """Return the name of a secret that the file did not contain before; `None` if there is none.

    A secret that it contained is not added by the patch, whose text was searched too.
    """
    old = frozenset[str]()
    if change.old_mode != GITLINK and change.old.strip("0"):
        (old,) = _found_in_blobs([change.old], git, secrets)
    return next((name for name in secrets.values if name in names - old), None)

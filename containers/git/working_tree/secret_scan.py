"""Search a patch for secrets before any of its objects are added to the repository."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from containers.git.command import Git
from containers.git.commits import GITLINK, Change
from containers.git.working_tree.staging import StagedTree, Staging
from containers.temporary import temporary_directory
from tasks.errors import PatchyardError
from tasks.secrets import Secrets

_SECTION = re.compile(rb"^diff --git ", re.MULTILINE)
_MARKER = re.compile(rb"^[-+ ]", re.MULTILINE)


class SecretFoundError(PatchyardError):
    """A patch contains the value of a secret. The message names the secret and the file, never the value."""


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
        yield replace(staging, git=git.at(environ=environ), index=index)


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
    sections = _SECTION.split(staged.diff or b"")[1:]
    for number, section in enumerate(sections):
        if name := secrets.find(section) or secrets.find(_MARKER.sub(b"", section)):
            where = f" in {staged.changes[number].path}" if len(sections) == len(staged.changes) else ""
            raise _error(name, where)
    for change, content in _contents(staged.changes, git):
        if secrets.find(content) and (name := _added_secret(change, content, git, secrets)):
            raise _error(name, f" in {change.path}")


def _error(name: str, where: str) -> SecretFoundError:
    return SecretFoundError(f"the patch holds the value of {name}{where}, so it is withheld")


def _contents(changes: tuple[Change, ...], git: Git) -> Iterator[tuple[Change, bytes]]:
    """Yield the content of every file that a patch creates or changes."""
    files = [change for change in changes if change.new_mode != GITLINK and change.new.strip("0")]
    if not files:
        return
    names = "".join(f"{change.new}\n" for change in files).encode("ascii")
    data = git.run("cat-file", "--batch", stdin=names).stdout
    at = 0
    for change in files:
        end = data.index(b"\n", at)
        size = int(data[at:end].split(b" ")[2])
        yield change, data[end + 1 : end + 1 + size]
        at = end + 1 + size + 1


def _added_secret(change: Change, content: bytes, git: Git, secrets: Secrets) -> str | None:
    """Return the name of a secret that the file did not contain before; `None` if there is none.

    A secret that it contained is not added by the patch, whose text was searched too.
    """
    old = b""
    if change.old_mode != GITLINK and change.old.strip("0"):
        old = git.run("cat-file", "blob", change.old).stdout
    each = ((name, Secrets({name: value})) for name, value in secrets.values.items())
    return next((name for name, one in each if one.find(content) and not one.find(old)), None)

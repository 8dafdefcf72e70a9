"""Looking for secrets in what a task left, before any of it gets into the repository's objects."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from containers.git.command import Git
from containers.git.commits import GITLINK, Change
from containers.git.staging import Staging, Taken
from tasks.errors import PatchyardError
from tasks.secrets import Secrets

_SECTION = re.compile(rb"^diff --git ", re.MULTILINE)
_MARKER = re.compile(rb"^[-+ ]", re.MULTILINE)


class SecretFoundError(PatchyardError):
    """A patch holds the value of a secret. The message names the secret and the file, never the value."""


@contextmanager
def quarantined(staging: Staging, objects: Path) -> Iterator[Staging]:
    """Give a staging whose objects and index are thrown away in the end; `objects` is the repository's."""
    with tempfile.TemporaryDirectory(dir=staging.scratch, prefix="quarantine-") as name:
        index = Path(name, "index")
        if staging.index.exists():
            shutil.copy2(staging.index, index)  # with its time, by which git knows what to look at
        environ = {
            "GIT_INDEX_FILE": str(index),
            "GIT_OBJECT_DIRECTORY": str(Path(name, "objects")),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects),
        }
        Path(name, "objects").mkdir()
        yield replace(staging, git=staging.git.at(environ=environ), index=index)


def _quoted(path: Path) -> str:
    """Return a path as git's lists of paths take it, whatever characters are in it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def refuse_secrets(taken: Taken, git: Git, secrets: Secrets) -> None:
    """Look through a patch: its text, the files that it makes or changes, and their names.

    Raises:
        SecretFoundError: The value of a secret is in it.
    """
    for change in taken.changes:
        if name := secrets.find(os.fsencode(change.path)):
            raise SecretFoundError(f"the name of a file holds the value of {name}, so the patch is withheld")
    sections = _SECTION.split(taken.diff)[1:]
    for number, section in enumerate(sections):
        if name := secrets.find(section) or secrets.find(_MARKER.sub(b"", section)):
            where = f" in {taken.changes[number].path}" if len(sections) == len(taken.changes) else ""
            raise _found(name, where)
    for change, content in _contents(taken.changes, git):
        if secrets.find(content) and (name := _news(change, content, git, secrets)):
            raise _found(name, f" in {change.path}")


def _found(name: str, where: str) -> SecretFoundError:
    return SecretFoundError(f"the patch holds the value of {name}{where}, so it is withheld")


def _contents(changes: tuple[Change, ...], git: Git) -> Iterator[tuple[Change, bytes]]:
    """Yield the content of every file that a patch makes or changes."""
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


def _news(change: Change, content: bytes, git: Git, secrets: Secrets) -> str | None:
    """Return the name of a secret that the file did not hold before.

    One that it held is nothing that the patch adds: the patch's own text was looked through.
    """
    old = b""
    if change.old_mode != GITLINK and change.old.strip("0"):
        old = git.run("cat-file", "blob", change.old).stdout
    each = ((name, Secrets({name: value})) for name, value in secrets.values.items())
    return next((name for name, one in each if one.find(content) and not one.find(old)), None)

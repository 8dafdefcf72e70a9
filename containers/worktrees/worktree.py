"""A worktree of the pool, and the record of the attempt that uses it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from containers.filesystem import overwrite_file
from containers.temporary import write_atomically
from tasks.errors import PatchyardError, remedy
from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from containers.git.working_tree.checkout import Checkout


class PoolError(PatchyardError):
    """The pool cannot use its directory. The message says why, and what to do."""

    exit_code: ClassVar[int] = 2


class CopyError(PatchyardError):
    """A file cannot or must not be copied into a worktree. The message names it."""

    exit_code: ClassVar[int] = 2


class RecordError(PoolError):
    """The record of an attempt cannot be written."""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree that a run has locked: its name (`wt-1`), its directory, and git's view of it.

    `port` is the first of the ports that are its alone; `None` if it has none.
    """

    name: str
    path: Path
    checkout: "Checkout"
    port: int | None = None

    @property
    def slot(self) -> int:
        """Its number: 1 for `wt-1`."""
        return number_of(self.name)


def number_of(name: str) -> int:
    """Return the number of a worktree by its name: 1 for `wt-1`."""
    return int(name.removeprefix("wt-"))


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """The attempt at a task that uses a worktree.

    It is stored beside the worktree while that may have changes that are stored nowhere else.

    Args:
        run: Id of the run.
        task: Id of the task.
        attempt: Number of the attempt, 1-based.
        start: Id of the commit that the attempt started from.
        exclude: Patterns as in `.gitignore` that its patch leaves out.
        baseline: Id of the tree after set-up, if the patch is relative to one.
    """

    run: str
    task: str
    attempt: int
    start: str
    exclude: tuple[str, ...] = ()
    baseline: str | None = None


_NO_RECORD = b"null"
StoreWork = Callable[[Worktree, AttemptRecord], bool]
"""Stores the work of a dead run's attempt; returns whether the worktree may be reset. Blocking."""


def record_file(path: Path) -> Path:
    """Return the file with the attempt record of the worktree at `path`."""
    return path.with_name(f".{path.name}.task")


def write_record(path: Path, record: AttemptRecord, *, is_first: bool) -> None:
    """Write the record of the attempt that uses the worktree at `path`. Blocking.

    Args:
        path: The worktree.
        record: The record.
        is_first: Whether the attempt has not begun yet. A part of a record is as good as none then; so is the
            one before, of an attempt that the store knows to have ended, which a loss of power may leave.

    Raises:
        RecordError: It cannot be written.
    """
    file, content = record_file(path), json.dumps(asdict(record)).encode("ascii")
    try:
        if is_first:
            overwrite_file(file, content)
        else:
            write_atomically(file, content)
    except OSError as error:
        raise RecordError(f"cannot write {file}: {error.strerror}; {remedy(error)}") from None


def forget_record(path: Path) -> None:
    """Note that the worktree at `path` has nothing that is not stored. Blocking.

    The file stays, for the next record, if it can be written.

    Raises:
        OSError: It cannot be removed either.
    """
    try:
        overwrite_file(record_file(path), _NO_RECORD)
    except OSError:
        record_file(path).unlink(missing_ok=True)


def read_record(path: Path) -> AttemptRecord | None:
    """Return the record of the last attempt in the worktree at `path`; `None` if it has none. Blocking."""
    try:
        found = json.loads(record_file(path).read_bytes())
        return AttemptRecord(**{**found, "exclude": tuple(found["exclude"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None

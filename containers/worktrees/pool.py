"""The worktree pool: acquire, reset, release, remove."""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, auto
from functools import partial
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from anyio import CancelScope, Semaphore, to_thread
from filelock import FileLock, Timeout

from containers.filesystem import is_directory, remove, write_atomically
from containers.git.checkout import BrokenWorktreeError, Checkout
from containers.git.repository import Repository
from containers.git.worktree_paths import POOL_MARKER, is_vacant, read_pointer
from containers.processes import kill_processes_in
from containers.worktrees.copies import Copies
from tasks.errors import PatchyardError

_NAME = re.compile(r"wt-([1-9][0-9]*)")
TASK_VARIABLE = "PATCHYARD_TASK"
"""A variable that every process of a task has, and no other."""
_SPARE = 1000
"""How many numbers may be passed over, because others hold them, before taking worktrees is given up."""


class PoolError(PatchyardError):
    """The pool cannot work where it was told to; the message says what is in its way."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree that is held: its name (`wt-1`), its directory, and git's view of it."""

    name: str
    path: Path
    checkout: Checkout


@dataclass(frozen=True, slots=True)
class Holder:
    """What a worktree is held for: an attempt at a task of a run.

    It stands beside the worktree for as long as that may have changes that are kept nowhere else. `start` is
    the commit that the attempt began at; `exclude` and `baseline` are what its patch is taken with.
    """

    run: str
    task: str
    attempt: int
    start: str
    exclude: tuple[str, ...] = ()
    baseline: str | None = None


Salvage = Callable[[Worktree, Holder], bool]
"""Keeps what a dead run left in a worktree; returns whether it is kept. Blocks."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A worktree that was removed, or would be."""

    name: str
    path: Path

    def __str__(self) -> str:
        """What people read."""
        return f"{self.name} ({self.path})"


class _State(Enum):
    """What stands where a worktree of the pool would."""

    VACANT = auto()
    OURS = auto()
    OTHER_POOL = auto()
    KEPT = auto()
    FOREIGN = auto()


class Pool:
    """Worktrees `wt-1` … beside each other in one directory, each held by one run at a time.

    Args:
        repository: Whose worktrees they are.
        directory: Where they stand; made where it lacks.
        size: How many the run takes. They are made when they are first acquired, and stay for later runs.
        copy: Files, directories or globs of the user's tree that are copied into each worktree, where the
            commit does not have them.
        keep: Patterns as in `.gitignore`, of untracked files that a reset leaves in place.
        salvage: Keeps what a dead run left in a worktree, before it is reset. What it does not keep is set
            aside with the whole worktree.

    Raises:
        CopyError: A pattern of `copy` leads out of the repository.
    """

    def __init__(  # noqa: PLR0913 - the parts of a pool, named by every caller
        self,
        repository: Repository,
        directory: Path,
        size: int,
        *,
        copy: Sequence[str] = (),
        keep: Sequence[str] = (),
        salvage: "Salvage | None" = None,
    ) -> None:
        self._salvage = salvage or (lambda _worktree, _holder: False)
        self.directory = directory.absolute()
        self._repository = repository
        self._size = size
        self.copies = Copies(repository, self.directory, copy)
        self._keep = tuple(keep)
        self._locks: dict[int, FileLock] = {}
        self._free: list[int] = []
        self._checkouts: dict[int, Checkout] = {}
        self._available = Semaphore(0)

    def __len__(self) -> int:
        """How many tasks can have a worktree at once."""
        return self._size

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns of what the pool puts or leaves in a worktree, and no patch should hold."""
        return (*(f"/{pattern}" for pattern in self.copies.patterns), *self._keep)

    async def __aenter__(self) -> Self:
        """Take as many worktrees as the pool's size: the lowest numbers that no other run holds.

        Raises:
            PoolError: Something else stands in the place of one.
        """
        try:
            await to_thread.run_sync(self._take_all)
        except BaseException:
            await self._let_go()
            raise
        self._available = Semaphore(self._size)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let other runs have the worktrees, which stay as they are."""
        await self._let_go()

    async def _let_go(self) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(self._release_all)

    async def acquire(self, commit: str) -> Worktree:
        """Return a free worktree with exactly what a commit holds; waits until one is free.

        Args:
            commit: Its id.

        Raises:
            GitError: The commit cannot be checked out.
            CopyError: A file that is to be copied cannot be.
        """
        await self._available.acquire()
        number = heappop(self._free)
        try:
            return await to_thread.run_sync(self._prepare, number, commit)
        except BaseException:
            heappush(self._free, number)
            self._available.release()
            raise

    async def release(self, worktree: Worktree, *, keep: bool = False) -> None:
        """Give a worktree back; it is reset when it is next acquired.

        Args:
            worktree: One that `acquire` returned.
            keep: Set it aside as it is, because it holds work that is kept nowhere else. No run takes it any
                more, and `clean` leaves it. The pool takes another one instead.

        Raises:
            PoolError: There is no other one.
        """
        number = _number(worktree.name)
        if keep:
            number = await to_thread.run_sync(self._replace, number)
        else:
            await to_thread.run_sync(partial(_holder_file(worktree.path).unlink, missing_ok=True))
        heappush(self._free, number)
        self._available.release()

    # Numbers and their locks

    def _take_all(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PoolError(
                f"cannot make {self.directory} for worktrees: {error.strerror}; name another with --worktrees"
            ) from None
        self.directory = self.directory.resolve()
        while len(self._free) < self._size:
            heappush(self._free, self._take(max(self._locks, default=0) + 1))

    def _take(self, first: int) -> int:
        """Lock the lowest number from `first` on that can be had."""
        for number in range(first, first + _SPARE):
            lock = _try_lock(self._path(number))
            if lock is None:
                continue
            state = _state(self._repository, self._path(number))
            if state in {_State.VACANT, _State.OURS}:
                if state is _State.OURS:
                    kill_processes_in(self._path(number), TASK_VARIABLE)
                if recover(self._repository, self._path(number), self._salvage):
                    self._locks[number] = lock
                    return number
            lock.release()
            if state is _State.FOREIGN:
                raise PoolError(
                    f"{self._path(number)} is in the way: it is no worktree of patchyard's; "
                    "move it, or name another directory with --worktrees"
                )
        raise PoolError(
            f"all {_SPARE} worktrees in {self.directory} are taken; name another directory with --worktrees"
        )

    def _replace(self, number: int) -> int:
        quarantine(self._path(number))
        self._checkouts.pop(number, None)
        other = self._take(max(self._locks) + 1)
        self._locks.pop(number).release()
        return other

    def _release_all(self) -> None:
        while self._locks:
            self._locks.popitem()[1].release()
        self._free.clear()

    def _path(self, number: int) -> Path:
        return self.directory / f"wt-{number}"

    # What is in a worktree

    def _prepare(self, number: int, commit: str) -> Worktree:
        path = self._path(number)
        checkout = self._checkouts.get(number) or self._repository.worktree(path)
        if checkout is None:
            checkout = self._made_anew(number, commit)
        try:
            checkout.reset(commit, self._keep)
        except BrokenWorktreeError:
            checkout = self._made_anew(number, commit)
            checkout.reset(commit, self._keep)
        self._checkouts[number] = checkout
        self.copies.put_into(path)
        return Worktree(path.name, path, checkout)

    def hold(self, worktree: Worktree, holder: Holder) -> None:
        """Note what a worktree is held for, so that nothing is lost if this process dies. Blocks."""
        note = _holder_file(worktree.path)
        try:
            write_atomically(note, json.dumps(asdict(holder)).encode("ascii"))
        except OSError as error:
            raise PoolError(f"cannot write {note}: {error.strerror}; make room, or make it writable") from None

    def _made_anew(self, number: int, commit: str) -> Checkout:
        """Make a worktree, after removing what is left of the one that this run had there."""
        path = self._path(number)
        if self._repository.worktree(path):
            self._repository.remove_worktree(path)
        elif number in self._checkouts:
            remove(path)  # the task broke what told whose it is; this run made it, and holds its lock
        return self._repository.add_worktree(path, commit)


def _try_lock(path: Path) -> FileLock | None:
    """Take a worktree's lock; `None` if another run has it. The lock of a process that died is free."""
    lock = FileLock(_lock_file(path), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except OSError as error:
        raise PoolError(
            f"cannot lock {_lock_file(path)}: {error.strerror}; name another directory with --worktrees"
        ) from None
    return lock


def _state(repository: Repository, path: Path) -> _State:
    if _kept_mark(path).exists():
        return _State.KEPT
    if repository.worktree(path):
        return _State.OURS
    if is_vacant(repository.common, path):
        return _State.VACANT
    admin = read_pointer(path / ".git")
    return _State.OTHER_POOL if admin and (admin / POOL_MARKER).is_file() else _State.FOREIGN


def _number(name: str) -> int:
    return int(name.removeprefix("wt-"))


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")  # hidden: what is listed are worktrees


def _kept_mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.kept")


def _holder_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.task")


def quarantine(path: Path) -> None:
    """Mark a worktree as one with work that could not be kept: no run takes it until `rescue_at` can."""
    _kept_mark(path).touch()


def holder_of(path: Path) -> Holder | None:
    """Return what a worktree was held for when its run died; `None` where it holds nothing."""
    try:
        found = json.loads(_holder_file(path).read_bytes())
        return Holder(**{**found, "exclude": tuple(found["exclude"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def recover(repository: Repository, path: Path, salvage: Salvage) -> bool:
    """Have kept what a dead run left in a worktree, whose lock the caller has. Blocks.

    Returns whether the worktree may be used: one whose work could not be kept is set aside.
    """
    holder = holder_of(path)
    checkout = repository.worktree(path) if holder else None
    if holder and checkout and not salvage(Worktree(path.name, path, checkout), holder):
        quarantine(path)
        return False
    _holder_file(path).unlink(missing_ok=True)
    return True


def recover_at(repository: Repository, path: Path, salvage: Salvage) -> None:
    """Have kept what a run left in a worktree, unless another run has it: then that one has seen to it.

    One that was set aside is for every run again, when its work can be kept now.
    """
    if not path.parent.is_dir() or (lock := _try_lock(path)) is None:
        return
    try:
        if _state(repository, path) in {_State.OURS, _State.KEPT} and holder_of(path):
            kill_processes_in(path, TASK_VARIABLE)
            if recover(repository, path, salvage):
                _kept_mark(path).unlink(missing_ok=True)
    finally:
        lock.release()


def default_directory(repository: Repository) -> Path:
    """Return where the worktrees of a repository stand unless told otherwise: beside it."""
    return repository.root.parent / f"{repository.name}-worktrees"


def set_aside(directory: Path) -> tuple[Path, ...]:
    """Return the worktrees with work that no run could keep; they are the user's to look at and remove."""
    marked = (mark.with_suffix("") for mark in directory.glob("wt-*.kept"))
    return tuple(sorted(path for path in marked if _NAME.fullmatch(path.name) and is_directory(path)))


def clean(
    repository: Repository, directory: Path, *, dry_run: bool = False, salvage: Salvage = lambda _w, _h: False
) -> tuple[Removed, ...]:
    """Remove a repository's worktrees from a pool's directory, except those that a run holds or set aside.

    Nothing is removed but worktrees of this repository's pool, their lock files, and the directory once it
    is empty.

    Args:
        repository: Whose worktrees.
        directory: The pool's.
        dry_run: Only say what would be removed.
        salvage: Keeps what a dead run left in one, before it is removed.

    Raises:
        GitError: One cannot be removed.
    """
    if not directory.is_dir():
        return ()
    directory = directory.resolve()
    names = (child.name.removeprefix(".") for child in directory.iterdir())
    stems = (name.removesuffix(".lock").removesuffix(".kept").removesuffix(".task") for name in names)
    numbers = {_number(stem) for stem in stems if _NAME.fullmatch(stem)}
    removed = [
        Removed(path.name, path)
        for path in (directory / f"wt-{number}" for number in sorted(numbers))
        if _clean_one(repository, path, salvage, dry_run=dry_run)
    ]
    if not dry_run and not any(directory.iterdir()):
        directory.rmdir()
    return tuple(removed)


def _clean_one(repository: Repository, path: Path, salvage: Salvage, *, dry_run: bool) -> bool:
    """Remove a worktree and its lock file if nobody uses them; returns whether there was a worktree."""
    lock_file = _lock_file(path)
    wanted = lock_file.exists()
    lock = _try_lock(path)
    if lock is None:
        return False
    try:
        if not os.path.lexists(path) and not dry_run:
            _kept_mark(path).unlink(missing_ok=True)
        state = _state(repository, path)
        if state is _State.OURS and not dry_run:
            kill_processes_in(path, TASK_VARIABLE)
            if not recover(repository, path, salvage):
                return False
        if state in {_State.OURS, _State.VACANT} and not dry_run:
            _clear(repository, path)
            wanted = False
        return state is _State.OURS
    finally:
        if not wanted:
            lock_file.unlink(missing_ok=True)
        lock.release()


def _clear(repository: Repository, path: Path) -> None:
    if is_directory(path) and not any(path.iterdir()):
        path.rmdir()
    elif repository.worktree(path) or os.path.lexists(path):
        repository.remove_worktree(path)

"""The worktree pool: acquire, reset, release."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from heapq import heappop, heappush
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from anyio import CancelScope, Semaphore, to_thread

from containers.concurrency import short_work
from containers.file_lock import FileLock
from containers.filesystem import remove
from containers.git.repository import Repository
from containers.git.working_tree.errors import BrokenWorktreeError, UnusableWorktreeError
from containers.git.working_tree.sparse import SparseCheckout
from containers.processes import kill_processes_in, running_below
from containers.worktrees.copies import Copies
from containers.worktrees.locks import WorktreeState, lock_worktree, quarantine, quarantine_mark, state_of
from containers.worktrees.ports import Ports
from containers.worktrees.recovery import (
    TASK_VARIABLE,
    recover,
    store_nothing,
    sweep_temporary_files,
)
from containers.worktrees.worktree import (
    AttemptRecord,
    PoolError,
    StoreWork,
    Worktree,
    forget_record,
    number_of,
    record_file,
    write_record,
)
from tasks.lazy.dataclasses import dataclass

if TYPE_CHECKING:
    from containers.git.working_tree.checkout import Checkout

_UNUSABLE = 3
"""How many worktrees that cannot be reset the pool quarantines for one task."""
_SEARCHED = 1000
"""How many numbers the pool tries for one worktree, if others have the lower ones locked."""
_FOR_RUNS = frozenset({WorktreeState.OWNED, WorktreeState.ABANDONED, WorktreeState.VACANT})
"""What may be reset for a run, or made."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A worktree that is locked, and not the pool's yet."""

    number: int
    lock: FileLock
    state: WorktreeState


class Pool:
    """Worktrees `wt-1`, `wt-2`, … in one directory, each locked by one run at a time.

    Args:
        repository: The repository of the worktrees.
        directory: The directory of the worktrees; it is created if missing.
        size: Number of worktrees. They are added when they are first acquired, and later runs reuse them.
        copy: Files, directories or globs of the user's tree that are copied into each worktree, if the commit
            does not have them.
        keep: Patterns as in `.gitignore`, of untracked files that a reset leaves in place.
        sparse: Whether the worktrees have only the files that the user's checkout has, where that is sparse.
        ports: The ports of the worktrees; by default they have none.
        store_work: Stores what a dead run left in a worktree, before it is reset. If it cannot, the worktree
            is quarantined.
        on_notice: Receives messages for the user.

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
        sparse: bool = False,
        ports: Ports | None = None,
        store_work: StoreWork = store_nothing,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_notice = on_notice
        self._store_work = store_work
        self.directory = directory.absolute()
        self._repository = repository
        self._size = size
        self.copies = Copies(repository, self.directory, copy, on_notice)
        self._keep = tuple(keep)
        self._is_sparse = sparse
        self._ports = ports or Ports()
        self._locks: dict[int, FileLock] = {}
        self._free: list[int] = []
        self._checkouts: dict[int, Checkout] = {}
        self._recorded: set[str] = set()
        self._available = Semaphore(0)
        self._resets = Semaphore(1)

    def __len__(self) -> int:
        """Return how many tasks can have a worktree at the same time."""
        return self._size

    @property
    def exclude(self) -> tuple[str, ...]:
        """Patterns of the files that the pool puts or leaves in a worktree, which are not part of any patch."""
        return (*(f"/{pattern}" for pattern in self.copies.patterns), *self._keep)

    def sparse_checkout(self) -> SparseCheckout | None:
        """Return which files of a commit its worktrees have; `None` if they have all. Blocking."""
        return self._repository.sparse_checkout() if self._is_sparse else None

    async def __aenter__(self) -> Self:
        """Lock as many worktrees as the pool's size: the lowest numbers that no other run has locked.

        Raises:
            PoolError: The directory cannot be used.
        """
        try:
            await to_thread.run_sync(self._lock_all)
        except BaseException:
            await self._unlock()
            raise
        self._available = Semaphore(self._size)
        self._resets = Semaphore(int(short_work().total_tokens))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the worktrees for other runs; their content is unchanged."""
        await self._unlock()

    async def _unlock(self) -> None:
        with CancelScope(shield=True):
            await to_thread.run_sync(self._release_all)

    async def acquire(
        self, commit: str, record: AttemptRecord | None = None, *, is_whole: bool = False
    ) -> Worktree:
        """Wait for a free worktree, and return it with exactly the files of a commit.

        A worktree that cannot be reset, such as one with files of another user, is quarantined; another one is
        locked in its place.

        Args:
            commit: Id of the commit.
            record: Which attempt uses it; see `record_attempt`.
            is_whole: Whether it has all files of the commit, also in a sparse pool.

        Raises:
            GitError: The commit cannot be checked out.
            CopyError: A file of `copy` cannot be copied.
            RecordError: The record cannot be written.
        """
        await self._available.acquire()
        number = heappop(self._free)
        prepare = partial(self._prepare, commit=commit, record=record, is_whole=is_whole)
        try:
            for _ in range(_UNUSABLE):
                try:
                    return await self._in_turn(prepare, number)
                except UnusableWorktreeError as error:
                    self._on_notice(
                        f"{self._path(number)} cannot be used again and was set aside ({error}); "
                        f"remove it, and {quarantine_mark(self._path(number)).name} beside it"
                    )
                    number = await to_thread.run_sync(self._quarantine, number)
            return await self._in_turn(prepare, number)
        except BaseException:
            heappush(self._free, number)
            self._available.release()
            raise

    async def _in_turn(self, prepare: Callable[[int], Worktree], number: int) -> Worktree:
        """Prepare a worktree in a thread; at most as many wait for a thread as there are.

        Else the first step would wait for a thread behind the resets of the whole pool.
        """
        async with self._resets:
            return await to_thread.run_sync(prepare, number, limiter=short_work())

    async def release(self, worktree: Worktree, *, in_quarantine: bool = False) -> None:
        """Return a worktree to the pool; it is reset when it is next acquired.

        Args:
            worktree: One that `acquire` returned.
            in_quarantine: Quarantine it, because it has work that is stored nowhere else: no run uses it, and
                `clean` does not remove it. The pool locks another one in its place.

        Raises:
            PoolError: No other worktree can be locked.
        """
        number = number_of(worktree.name)
        if in_quarantine:
            number = await to_thread.run_sync(self._quarantine, number)
        elif worktree.name in self._recorded:
            await to_thread.run_sync(self.forget_attempt, worktree)
        heappush(self._free, number)
        self._available.release()

    def _lock_all(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PoolError(
                f"cannot create {self.directory} for worktrees: {error.strerror}; name another with --worktrees"
            ) from None
        self.directory = self.directory.resolve()
        sweep_temporary_files(self._repository, self.directory)
        found: list[_Found] = []
        try:
            found.extend(islice(self._lock(1), self._size))
            # Not before they are locked: until then another run may use them, and leave processes there.
            running = running_below(self.directory)
            for one in found:
                if self._take(one, running):
                    heappush(self._free, one.number)
        except BaseException:
            for one in found:
                if one.number not in self._locks:
                    one.lock.release()
            raise
        last = found[-1].number if found else 0
        while len(self._free) < self._size:
            last = self._lock_next(last + 1)
            heappush(self._free, last)

    def _lock(self, first: int) -> Iterator[_Found]:
        """Lock worktrees that nobody has locked and that a run may use, from a number on, and yield them."""
        for number in range(first, first + _SEARCHED):
            path = self._path(number)
            lock = lock_worktree(path)
            if lock is None:
                continue
            state = state_of(self._repository, path)
            if state in _FOR_RUNS:
                yield _Found(number, lock, state)
                continue
            lock.release()
            if state is WorktreeState.FOREIGN:
                self._on_notice(
                    f"{path} exists and is not a patchyard worktree, so another number is used; "
                    "move it, or name another directory with --worktrees"
                )

    def _lock_next(self, first: int) -> int:
        """Lock the worktree with the lowest usable number, starting at `first`, and return the number."""
        for found in self._lock(first):
            if self._take(found):
                return found.number
        raise PoolError(
            f"all {_SEARCHED} worktrees in {self.directory} are in use; name another directory with --worktrees"
        )

    def _take(self, found: _Found, running: Collection[str] | None = None) -> bool:
        """Make a worktree the pool's, after its last run's work is stored; unlock it if that is not possible.

        Until then it is not in `_locks`: the record of that work must outlive an error here.
        """
        path = self._path(found.number)
        with ExitStack() as undo:
            undo.callback(found.lock.release)
            if found.state is not WorktreeState.VACANT:
                kill_processes_in(path, TASK_VARIABLE, running)
            if not recover(self._repository, path, self._store_work):
                return False
            undo.pop_all()
        self._locks[found.number] = found.lock
        self._ports.take(found.number)
        return True

    def _quarantine(self, number: int) -> int:
        """Quarantine a worktree, and return the number of the one that replaces it."""
        quarantine(self._path(number))
        self._checkouts.pop(number, None)
        other = self._lock_next(max(self._locks) + 1)
        self._locks.pop(number).release()
        return other

    def _release_all(self) -> None:
        while self._locks:
            number, lock = self._locks.popitem()
            path = self._path(number)
            if path.name not in self._recorded:
                with suppress(OSError):  # one that says that there is no attempt is harmless
                    record_file(path).unlink(missing_ok=True)
            lock.release()
        self._ports.release()
        self._free.clear()

    def _path(self, number: int) -> Path:
        return self.directory / f"wt-{number}"

    def _prepare(self, number: int, commit: str, record: AttemptRecord | None, *, is_whole: bool) -> Worktree:
        sparse = None if is_whole else self.sparse_checkout()
        path = self._path(number)
        checkout = self._checkouts.get(number) or self._repository.worktree(path)
        if checkout is None:
            checkout = self._recreate(number, commit)
        try:
            checkout.reset(commit, self._keep, sparse)
        except BrokenWorktreeError:
            checkout = self._recreate(number, commit)
            checkout.reset(commit, self._keep, sparse)
        self._checkouts[number] = checkout
        self.copies.copy_into(path)
        worktree = Worktree(path.name, path, checkout, self._ports.of(number))
        if record is not None:
            self.record_attempt(worktree, record)
        return worktree

    def record_attempt(self, worktree: Worktree, record: AttemptRecord) -> None:
        """Record which attempt uses a worktree, so that its work is found if this process dies. Blocking.

        Raises:
            RecordError: The record cannot be written.
        """
        is_first = worktree.name not in self._recorded
        self._recorded.add(worktree.name)
        write_record(worktree.path, record, is_first=is_first)

    def forget_attempt(self, worktree: Worktree) -> None:
        """Note that the worktree has nothing of an attempt that is not stored. Blocking.

        Raises:
            OSError: It cannot be noted.
        """
        forget_record(worktree.path)
        self._recorded.discard(worktree.name)

    def _recreate(self, number: int, commit: str) -> "Checkout":
        """Add a worktree, after removing the rest of the one that this run had there."""
        path = self._path(number)
        if self._repository.worktree(path):
            self._repository.remove_worktree(path)
        elif number in self._checkouts or state_of(self._repository, path) is WorktreeState.ABANDONED:
            try:
                remove(path)  # its administration is gone; this run has the lock
            except OSError as error:
                raise UnusableWorktreeError(f"cannot remove {error.filename}: {error.strerror}") from None
        return self._repository.add_worktree(path, commit)

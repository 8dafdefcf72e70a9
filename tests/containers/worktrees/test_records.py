"""The record of an attempt is beside its worktree while that may have work that is stored nowhere else."""

import shutil
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from repositories import Clone

from containers.git.repository import Repository
from containers.worktrees.locks import lock_file
from containers.worktrees.pool import Pool
from containers.worktrees.ports import HIGHEST_PORT, Ports
from containers.worktrees.recovery import remove_worktrees
from containers.worktrees.worktree import (
    AttemptRecord,
    PoolError,
    Worktree,
    read_record,
    record_file,
    write_record,
)

COMMIT = "a" * 40


def test_a_record_is_there_from_the_reset_until_its_work_is_stored(
    repository: Repository, directory: Path, clone: Clone
) -> None:
    first, second = (AttemptRecord("run", f"1.{number}", 1, COMMIT) for number in (1, 2))
    changed = AttemptRecord("run", "1.1", 1, COMMIT, baseline=COMMIT)
    found = list[AttemptRecord | None]()

    async def run() -> Path:
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head, first)
            found.append(read_record(worktree.path))
            await to_thread.run_sync(pool.record_attempt, worktree, changed)
            found.append(read_record(worktree.path))
            await to_thread.run_sync(pool.forget_attempt, worktree)
            found.append(read_record(worktree.path))
            await pool.release(worktree)
            worktree = await pool.acquire(clone.head, second)
            found.append(read_record(worktree.path))
            await pool.release(worktree)
            found.append(read_record(worktree.path))
        return worktree.path

    path = anyio.run(run)
    assert found == [first, changed, None, second, None]
    assert not record_file(path).exists()


def broken(worktree: Worktree) -> None:
    raise PoolError(f"the work of {worktree.name} cannot be stored")


@pytest.mark.parametrize("failing", ["wt-1", "wt-2", "ports", "lock file"])
def test_the_work_of_a_killed_run_outlives_a_pool_that_cannot_be_used(
    repository: Repository, directory: Path, clone: Clone, tmp_path: Path, failing: str
) -> None:
    stored = list[str]()

    def store(worktree: Worktree, _: AttemptRecord) -> bool:
        assert (worktree.path / "work").read_text() == "precious"
        if worktree.name == failing:
            broken(worktree)
        stored.append(worktree.name)
        return True

    async def leave_work() -> None:
        async with Pool(repository, directory, 3) as pool:
            paths = [(await pool.acquire(clone.head)).path for _ in range(3)]
        for number, path in enumerate(paths, 1):
            (path / "work").write_text("precious")
            write_record(path, AttemptRecord("run", f"1.{number}", 1, clone.head), is_first=True)

    async def use(ports: Ports | None = None) -> list[str]:
        async with Pool(repository, directory, 3, ports=ports, store_work=store) as pool:
            return [(await pool.acquire(clone.head)).name for _ in range(3)]

    anyio.run(leave_work)
    lock, too_high = lock_file(directory / "wt-3"), Ports(HIGHEST_PORT - 5, 10, directory=tmp_path / "ports")
    if failing == "lock file":
        lock.unlink()
        lock.symlink_to(tmp_path / "missing" / "file")
    with pytest.raises(PoolError):
        anyio.run(use, too_high if failing == "ports" else None)
    if failing == "lock file":
        lock.unlink()
    failing = ""
    assert anyio.run(use) == ["wt-1", "wt-2", "wt-3"], "all are unlocked again"
    assert stored == ["wt-1", "wt-2", "wt-3"]


@pytest.mark.parametrize("content", ["", "null", 'null"run": "r", "task": "1.1"}', '{"run": "r", "ta'])
def test_a_record_that_was_not_finished_is_none(
    repository: Repository, directory: Path, clone: Clone, content: str
) -> None:
    """Its attempt had not begun, or had stored all of its work."""
    stored = list[str]()

    def store(_: Worktree, record: AttemptRecord) -> bool:
        stored.append(record.task)
        return True

    async def acquire() -> Path:
        async with Pool(repository, directory, 1, store_work=store) as pool:
            return (await pool.acquire(clone.head)).path

    path = anyio.run(acquire)
    record_file(path).write_text(content)
    assert anyio.run(acquire) == path
    assert stored == []
    record_file(path).write_text(content)
    shutil.rmtree(path)
    clone.git("worktree", "prune")
    remove_worktrees(repository, directory, store_work=store)
    assert not directory.exists()

"""The pool: worktrees that runs share, each held by one at a time, and none of them the user's."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import sleep

import anyio
import pytest
from anyio import create_task_group, to_thread
from project import PATIENCE
from repositories import Clone, contents, write

from containers.concurrency import short_work
from containers.git.repository import GitError, Repository
from containers.git.working_tree.checkout import Checkout
from containers.git.working_tree.sparse import SparseCheckout
from containers.worktrees.pool import Pool
from containers.worktrees.recovery import (
    TASK_VARIABLE,
    RemovedWorktree,
    quarantined_worktrees,
    remove_worktrees,
)
from containers.worktrees.worktree import CopyError, PoolError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]

HOLD = """
import sys, anyio
from pathlib import Path
from containers.git.repository import Repository
from containers.worktrees.pool import Pool

async def main():
    repository = Repository.open(Path(sys.argv[1]), {**ENVIRON})
    async with Pool(repository, Path(sys.argv[2]), 2) as pool:
        worktree = await pool.acquire(repository.resolve("HEAD"))
        (worktree.path / "other").write_text("theirs")
        print(worktree.name, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""


@contextmanager
def another_run(clone: Clone, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds two worktrees, one of them acquired."""
    script = HOLD.replace("{**ENVIRON}", repr(dict(clone.user.environ)))
    root = Path(__file__).parents[3]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", script, str(clone.path), str(directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def sleeping(place: Path, variable: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that runs in a directory with a variable."""
    with subprocess.Popen(["sleep", "60"], cwd=place, env={**os.environ, variable: "1.1"}) as process:
        try:
            yield process
        finally:
            process.kill()


def is_gone(path: Path) -> bool:
    return not os.path.lexists(path)


def inode(path: Path) -> int:
    return path.stat().st_ino


def named(process: "subprocess.Popen[str]") -> str:
    """The worktree that the other process acquired."""
    assert process.stdout
    return process.stdout.readline().strip()


async def two_names(pool: Pool, commit: str) -> list[str]:
    return [(await pool.acquire(commit)).name for _ in range(2)]


class TestPool:
    async def test_worktrees_beside_the_repository(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        assert directory == clone.path.parent / "repo-worktrees"
        async with Pool(repository, directory, 2) as pool:
            assert len(pool) == 2
            assert sorted(contents(directory)) == [".wt-1.lock", ".wt-2.lock"]
            one = await pool.acquire(clone.head)
            assert (one.name, one.path) == ("wt-1", directory / "wt-1")
            assert contents(one.path) == contents(clone.path)
            two = await pool.acquire(clone.head)
            assert two.name == "wt-2"
            await pool.release(one)
            assert (await pool.acquire(clone.head)).name == "wt-1"

    async def test_later_runs_reuse_worktrees(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        write(clone.user.home, {"mark": ""})
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            write(worktree.path, {"left": "x", "README.md": "x"})
            born = inode(worktree.path)
        newer = clone.commit({"newer": "newer"})
        again = await to_thread.run_sync(Repository.open, clone.path, clone.user.environ)
        async with Pool(again, directory, 1) as pool:
            worktree = await pool.acquire(newer)
            assert inode(worktree.path) == born
            assert contents(worktree.path) == contents(clone.path)

    async def test_acquire_waits_for_a_free_worktree(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            with anyio.move_on_after(0.2) as scope:
                await pool.acquire(clone.head)
            assert scope.cancelled_caught
            await pool.release(worktree)
            assert (await pool.acquire(clone.head)).name == "wt-1"

    async def test_missing_commit_leaves_the_worktree_free(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            with pytest.raises(GitError):
                await pool.acquire("1" * 40)
            assert (await pool.acquire(clone.head)).name == "wt-1"

    @pytest.mark.parametrize(
        "damage",
        [
            "rm -rf $PWD", "rm -rf .git; rm -r ../../repo/.git/worktrees/wt-1",
            "rm -r ../../repo/.git/worktrees/wt-1",
            "cd ..; rm -rf wt-1; echo x > wt-1", "cd ..; rm -rf wt-1; mkdir other; ln -s other wt-1",
            "echo junk > ../../repo/.git/worktrees/wt-1/HEAD", "rm ../../repo/.git/worktrees/wt-1/commondir",
            "rm -rf .git; git init -q; git -C ../../repo worktree prune",
        ],
    )  # fmt: skip
    async def test_broken_worktree_is_added_again(
        self, clone: Clone, repository: Repository, directory: Path, damage: str
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            await anyio.run_process(["bash", "-c", damage], cwd=worktree.path, env=clone.user.environ)
            await pool.release(worktree)
            again = await pool.acquire(clone.head)
            assert again.name == "wt-1"
            assert contents(again.path) == contents(clone.path)
            assert clone.user.git("status", "--porcelain", "--ignored", cwd=again.path) == ""

    async def test_worktree_of_release_0_2_is_used(
        self, clone: Clone, repository: Repository, directory: Path, make_repository: Callable[..., Clone]
    ) -> None:
        """Its `.git` is a file that names its administration in the user's repository."""
        await to_thread.run_sync(repository.add_worktree, directory / "wt-1", clone.head)
        (directory / ".wt-1.owner").unlink()
        assert (directory / "wt-1/.git").is_file()
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            assert worktree.name == "wt-1"
            assert contents(worktree.path) == contents(clone.path)
            assert (worktree.path / ".git/HEAD").is_file()
        other = make_repository("other", {"a": "a"})
        opened = await to_thread.run_sync(Repository.open, other.path, other.user.environ)
        async with Pool(opened, directory, 1) as pool:
            assert (await pool.acquire(other.head)).name == "wt-2"

    async def test_worktree_with_work_is_quarantined(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            write(worktree.path, {"work": "precious"})
            await pool.release(worktree, in_quarantine=True)
            assert (await pool.acquire(clone.head)).name == "wt-2"
        async with Pool(repository, directory, 2) as pool:
            assert await two_names(pool, clone.head) == ["wt-2", "wt-3"]
        assert await to_thread.run_sync(quarantined_worktrees, directory) == (directory / "wt-1",)
        removed = await to_thread.run_sync(remove_worktrees, repository, directory)
        assert [str(one.path) for one in removed] == [str(directory / "wt-2"), str(directory / "wt-3")]
        assert (directory / "wt-1/work").read_text() == "precious"
        await to_thread.run_sync(shutil.rmtree, directory / "wt-1")
        clone.git("worktree", "prune")
        assert await to_thread.run_sync(quarantined_worktrees, directory) == ()
        assert await to_thread.run_sync(remove_worktrees, repository, directory) == ()
        assert is_gone(directory)


class TestOthers:
    async def test_concurrent_runs_use_different_worktrees(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        with another_run(clone, directory) as process:
            assert await to_thread.run_sync(named, process) == "wt-1"
            async with Pool(repository, directory, 2) as pool:
                assert await two_names(pool, clone.head) == ["wt-3", "wt-4"]
            assert (directory / "wt-1/other").read_text() == "theirs"

    async def test_the_worktrees_of_a_run_that_was_killed_are_free(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        with another_run(clone, directory) as process:
            assert await to_thread.run_sync(named, process) == "wt-1"
            process.send_signal(signal.SIGKILL)
            await to_thread.run_sync(process.wait)
        async with Pool(repository, directory, 2) as pool:
            worktree = await pool.acquire(clone.head)
            assert worktree.name == "wt-1"
            assert contents(worktree.path) == contents(clone.path)

    async def test_processes_that_a_killed_run_left_are_ended(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 3) as pool:
            paths = [(await pool.acquire(clone.head)).path for _ in range(3)]
        await to_thread.run_sync(write, paths[2], {"below/file": "x"})
        places = [paths[0], paths[2], paths[2] / "below", directory]
        with ExitStack() as stack:
            left = [stack.enter_context(sleeping(place, TASK_VARIABLE)) for place in places]
            users = stack.enter_context(sleeping(paths[0], "ANOTHER"))
            async with Pool(repository, directory, 3) as pool:
                assert {(await pool.acquire(clone.head)).path for _ in range(3)} == set(paths)
            assert [process.poll() is None for process in left] == [False, False, False, True]
            assert users.poll() is None

    async def test_two_repositories_share_a_directory(
        self, clone: Clone, repository: Repository, make_repository: Callable[..., Clone], directory: Path
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            worktree = await pool.acquire(clone.head)
            write(worktree.path, {"mine": "x"})
        other = make_repository("other", {"a": "a"})
        others = await to_thread.run_sync(Repository.open, other.path, other.user.environ)
        async with Pool(others, directory, 1) as pool:
            assert (await pool.acquire(other.head)).name == "wt-2"
        assert (directory / "wt-1/mine").exists()
        assert await to_thread.run_sync(remove_worktrees, repository, directory) == (
            RemovedWorktree("wt-1", directory / "wt-1"),
        )
        assert contents(directory / "wt-2") == {"a": b"- a"}

    @pytest.mark.parametrize(
        "theirs", [{"notes": "x"}, {".git/HEAD": "ref: refs/heads/main"}, {".git": "gitdir: /nowhere"}]
    )
    async def test_foreign_files_are_not_changed(
        self, clone: Clone, repository: Repository, directory: Path, theirs: Mapping[str, str]
    ) -> None:
        write(directory / "wt-2", theirs)
        said: list[str] = []
        async with Pool(repository, directory, 2, on_notice=said.append) as pool:
            assert {(await pool.acquire(clone.head)).name for _ in range(2)} == {"wt-1", "wt-3"}
        (notice,) = said
        assert notice == (
            f"{directory}/wt-2 exists and is not a patchyard worktree, so another number is used; "
            "move it, or name another directory with --worktrees"
        )
        for name, content in theirs.items():
            assert (directory / "wt-2" / name).read_text() == content
        assert (await to_thread.run_sync(remove_worktrees, repository, directory)) == (
            RemovedWorktree("wt-1", directory / "wt-1"),
            RemovedWorktree("wt-3", directory / "wt-3"),
        )
        assert (directory / "wt-2").is_dir()

    async def test_users_own_worktree_is_not_changed(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        clone.git("worktree", "add", "-q", "-b", "mine", directory / "wt-1")
        async with Pool(repository, directory, 1) as pool:
            assert (await pool.acquire(clone.head)).name == "wt-2"
        removed = await to_thread.run_sync(remove_worktrees, repository, directory)
        assert removed == (RemovedWorktree("wt-2", directory / "wt-2"),)
        assert (directory / "wt-1/README.md").exists()

    async def test_directory_cannot_be_created(self, clone: Clone, repository: Repository) -> None:
        with pytest.raises(
            PoolError, match=r"cannot create .*README\.md/x for worktrees: .*; name another with --worktrees"
        ):
            async with Pool(repository, clone.path / "README.md/x", 1):
                pytest.fail("the pool opened")


class TestCopy:
    async def test_untracked_files_are_copied(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        write(
            clone.path,
            {
                ".env": "SECRET=1",
                "conf/local/a": "a",
                "conf/local/b/c": "c",
                "x.pem": "x",
                "y.pem": "y",
                "build/o": "o",
            },
        )
        (clone.path / ".env").chmod(0o600)
        (clone.path / "conf/local/rel").symlink_to("a")
        (clone.path / "conf/local/abs").symlink_to(clone.path / ".env")
        (clone.path / "env-link").symlink_to(".env")
        write(clone.path, {"README.md": "changed by the user, not committed"})
        copy = ["./.env", "conf/local/", "*.pem", "missing", "env-link", "README.md", ".git"]
        async with Pool(repository, directory, 1, copy=copy) as pool:
            assert pool.exclude == (
                "/.env",
                "/conf/local",
                "/*.pem",
                "/missing",
                "/env-link",
                "/README.md",
                "/.git",
            )
            for _ in range(2):
                worktree = await pool.acquire(clone.head)
                there = contents(worktree.path)
                assert set(there) - {"README.md", ".gitignore", "src/app.py", "src/lib/util.py"} == {
                    ".env", "conf/local/a", "conf/local/b/c", "conf/local/rel", "x.pem", "y.pem", "env-link",
                }  # fmt: skip
                assert there["README.md"] == b"- # Sample\n"
                assert there["env-link"] == b"- SECRET=1"
                assert there["conf/local/rel"] == b"-> a"
                assert (worktree.path / ".env").stat().st_mode & 0o777 == 0o600
                write(worktree.path, {".env": "spoilt", "new": "n", "z.pem": "z"})
                patch = await to_thread.run_sync(
                    lambda w: w.checkout.patch(clone.head, exclude=pool.exclude), worktree
                )
                assert patch.files == ("new",)
                await pool.release(worktree)
        assert (clone.path / ".env").read_text() == "SECRET=1"

    @pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../x", "", "."])
    async def test_pattern_outside_the_repository_is_rejected(
        self, repository: Repository, directory: Path, pattern: str
    ) -> None:
        with pytest.raises(CopyError, match=r"must be a path inside the repository, such as \.env"):
            Pool(repository, directory, 1, copy=[pattern])

    async def test_link_outside_the_repository_is_rejected(
        self, clone: Clone, repository: Repository, directory: Path, tmp_path: Path
    ) -> None:
        write(tmp_path / "outside", {"key": "k"})
        (clone.path / "key").symlink_to(tmp_path / "outside/key")
        (clone.path / "out").symlink_to(tmp_path / "outside")
        for pattern in ("key", "out", "out/key"):
            async with Pool(repository, directory, 1, copy=[pattern]) as pool:
                with pytest.raises(CopyError, match=f"copy: .*/{pattern} points outside the repository"):
                    await pool.acquire(clone.head)

    async def test_files_of_git_are_never_copied(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        """They may have credentials; a link of the commit may lead to them."""
        (clone.path / "link").symlink_to(".git")
        (clone.path / "config-link").symlink_to(".git/config")
        write(clone.path, {"conf/a": "a", "conf/nested/.git/config": "token", "conf/nested/.GIT": "x"})
        copy = ["link", "link/config", "config-link", "conf", "**/.git/config", "conf/nested/.git"]
        async with Pool(repository, directory, 1, copy=copy) as pool:
            worktree = await pool.acquire(clone.head)
            there = set(contents(worktree.path))
        assert there - set(clone.git("ls-files").splitlines()) == {"conf/a"}

    async def test_copy_does_not_follow_a_link_in_the_commit(
        self, clone: Clone, repository: Repository, directory: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (clone.path / "conf").symlink_to(tmp_path / "outside")
        commit = clone.commit()
        (clone.path / "conf").unlink()
        write(clone.path, {"conf/key": "k"})
        async with Pool(repository, directory, 1, copy=["conf/key"]) as pool:
            await pool.acquire(commit)
        assert contents(tmp_path / "outside") == {}

    async def test_kept_files_are_not_removed_between_tasks(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        write(clone.path, {".env": "x"})
        async with Pool(repository, directory, 1, copy=[".env"], keep=["node_modules"]) as pool:
            worktree = await pool.acquire(clone.head)
            write(worktree.path, {"node_modules/a": "a", "src/node_modules/b": "b", "other": "o"})
            patch = await to_thread.run_sync(lambda: worktree.checkout.patch(clone.head, exclude=pool.exclude))
            assert patch.files == ("other",)
            await pool.release(worktree)
            worktree = await pool.acquire(clone.head)
            assert {"node_modules/a", "src/node_modules/b", ".env"} <= set(contents(worktree.path))
            assert not (worktree.path / "other").exists()


class TestClean:
    async def test_unlocked_worktrees_are_removed(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 2) as pool:
            await two_names(pool, clone.head)
        write(directory, {"notes.txt": "mine", "wt-x": "mine", "wt-3/f": "mine"})
        both = (RemovedWorktree("wt-1", directory / "wt-1"), RemovedWorktree("wt-2", directory / "wt-2"))
        assert await to_thread.run_sync(lambda: remove_worktrees(repository, directory, dry_run=True)) == both
        assert (directory / "wt-1/README.md").exists()
        assert str(both[0]) == f"wt-1 ({directory}/wt-1)"
        assert await to_thread.run_sync(remove_worktrees, repository, directory) == both
        assert sorted(contents(directory)) == ["notes.txt", "wt-3/f", "wt-x"]
        assert clone.git("worktree", "list").count("\n") == 0
        assert not (clone.path / ".git/worktrees").exists()

    async def test_empty_directory_is_removed(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 2) as pool:
            await pool.acquire(clone.head)
        await to_thread.run_sync(remove_worktrees, repository, directory)
        assert is_gone(directory)
        assert await to_thread.run_sync(remove_worktrees, repository, directory) == ()

    async def test_locked_worktree_is_not_removed(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        with another_run(clone, directory) as process:
            assert await to_thread.run_sync(named, process) == "wt-1"
            async with Pool(repository, directory, 1) as pool:
                await pool.acquire(clone.head)
            assert await to_thread.run_sync(remove_worktrees, repository, directory) == (
                RemovedWorktree("wt-3", directory / "wt-3"),
            )
            assert (directory / "wt-1/other").exists()

    async def test_worktree_removed_by_the_user(
        self, clone: Clone, repository: Repository, directory: Path
    ) -> None:
        async with Pool(repository, directory, 1) as pool:
            await pool.acquire(clone.head)
        await to_thread.run_sync(shutil.rmtree, directory / "wt-1")
        await to_thread.run_sync(remove_worktrees, repository, directory)
        assert is_gone(directory)
        assert not (clone.path / ".git/worktrees").exists()


async def test_two_runs_make_their_worktrees_at_the_same_time(
    clone: Clone, repository: Repository, directory: Path
) -> None:
    names: list[str] = []

    async def run() -> None:
        own = await to_thread.run_sync(Repository.open, clone.path, clone.user.environ)
        async with Pool(own, directory, 4) as pool, create_task_group() as group:
            both.release()

            async def one() -> None:
                worktree = await pool.acquire(clone.head)
                names.append(worktree.name)

            await both_there()
            for _ in range(4):
                group.start_soon(one)

    both = anyio.Semaphore(0)
    here = anyio.Event()

    async def both_there() -> None:
        if both.value == 2:
            here.set()
        await here.wait()

    async with create_task_group() as group:
        group.start_soon(run)
        group.start_soon(run)
    assert sorted(names) == [f"wt-{number}" for number in range(1, 9)]
    assert repository.resolve("HEAD") == clone.head


@pytest.mark.parametrize(("cores", "expected"), [(1, 2), (3, 3)])
async def test_no_more_worktrees_are_prepared_at_once_than_there_are_cores(
    repository: Repository, directory: Path, monkeypatch: pytest.MonkeyPatch, cores: int, expected: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    reset, lock = Checkout.reset, threading.Lock()
    everyone = threading.Barrier(expected)
    inside, most = 0, 0

    def counted(
        self: Checkout, commit: str, keep: Sequence[str] = (), sparse: SparseCheckout | None = None
    ) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        everyone.wait(PATIENCE)  # as many as may are here at once; a further one would be, too
        reset(self, commit, keep, sparse)
        with lock:
            inside -= 1

    monkeypatch.setattr(Checkout, "reset", counted)
    commit = repository.resolve("HEAD")
    async with Pool(repository, directory, 2 * expected) as pool, create_task_group() as group:
        for _ in range(2 * expected):
            group.start_soon(pool.acquire, commit)

    assert most == expected


async def test_what_was_reset_first_is_used_before_the_others_are_reset(
    repository: Repository, directory: Path, clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else no step starts until all worktrees of a large pool are reset, and all of them end at once."""
    order = list[str]()
    monkeypatch.setattr("containers.concurrency.os.cpu_count", lambda: 2)
    size = 8 * int(short_work().total_tokens)
    reset = Checkout.reset

    def slow(checkout: Checkout, *given: str, **named: str) -> None:
        order.append("reset")
        sleep(0.02)
        reset(checkout, *given, **named)  # type: ignore[arg-type]  # whatever the pool gives

    monkeypatch.setattr(Checkout, "reset", slow)

    async def start(pool: Pool) -> None:
        await pool.acquire(clone.head)
        await to_thread.run_sync(order.append, "started", limiter=short_work())

    async with Pool(repository, directory, size) as pool, create_task_group() as group:
        for _ in range(size):
            group.start_soon(start, pool)
    assert order.index("started") < size / 2

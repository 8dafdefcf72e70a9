"""The pool under load: many tasks, and nothing of the user's changed."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from anyio import CapacityLimiter, create_task_group, to_thread
from repositories import Clone

from containers.git.repository import Repository
from containers.worktrees.pool import Pool
from containers.worktrees.recovery import remove_worktrees
from containers.worktrees.worktree import Worktree

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("blockbuster")]


def state(clone: Clone) -> dict[str, str]:
    """All of the user's, byte for byte: checkout, index, HEAD, stash, configuration, branches."""
    files = [path for path in clone.path.rglob("*") if path.is_file() and ".git" not in path.parts]
    git = clone.path / ".git"
    files += [
        git / name
        for name in ("index", "HEAD", "config", "logs/HEAD", "logs/refs/stash", "refs/stash", "ORIG_HEAD")
    ]
    files += [path for path in (git / "refs").rglob("*") if path.is_file() and "patchyard" not in path.parts]
    files += [path for path in (git / "hooks").rglob("*") if path.is_file()]
    return {
        str(path): f"{path.stat().st_mtime_ns} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in files
        if path.exists()
    }


async def test_200_tasks_through_a_pool_of_8(clone: Clone, tmp_path: Path) -> None:
    directory = tmp_path / "pool"
    ran = tmp_path / "ran"
    for name in (
        "post-checkout",
        "reference-transaction",
        "pre-commit",
        "post-commit",
        "pre-push",
        "post-index-change",
    ):
        hook = clone.path / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\necho {name} >> {ran}\n")
    clone.commit({f"many/{n % 20}/{n}": f"{n}\n" * 20 for n in range(200)})
    clone.write({"README.md": "stashed"})
    clone.git("stash", "-q")
    clone.write({"README.md": "not committed", "untracked": "u", "a.log": "ignored", "staged": "s"})
    clone.git("add", "staged")
    clone.user.configure(core_autocrlf="true", commit_gpgSign="true", gpg_program="false", core_editor="false")
    for name in ("reset", "clean", "add", "commit-tree", "update-ref", "worktree"):
        clone.user.git("config", "--global", f"alias.{name}", "!false", cwd=clone.user.home)
    for hook in (clone.path / ".git/hooks").iterdir():
        hook.chmod(0o755)
    environ = {**clone.user.environ, "GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere/i"}
    repository = await to_thread.run_sync(Repository.open, clone.path, environ)
    start, before = repository.resolve("HEAD"), state(clone)
    trees: dict[int, str] = {}

    def work(number: int, worktree: Worktree) -> None:
        (worktree.path / f"file-{number}").write_text(f"{number}\n")
        (worktree.path / f"many/{number % 20}/{number}").write_text(f"changed by {number}\n")
        shutil.rmtree(worktree.path / "src")
        (worktree.path / "left.log").write_text("ignored")
        patch = worktree.checkout.patch(start)
        assert patch.files == tuple(
            sorted((f"file-{number}", f"many/{number % 20}/{number}", "src/app.py", "src/lib/util.py"))
        )
        commit = repository.commit(patch.tree, [start], f"task {number}\n")
        repository.set_branch(f"patchyard/plan/{number}", commit, None)
        trees[number] = patch.tree

    async with Pool(repository, directory, 8) as pool:
        limiter = CapacityLimiter(len(pool))

        async def task(number: int) -> None:
            async with limiter:
                worktree = await pool.acquire(start)
                await to_thread.run_sync(work, number, worktree)
                await pool.release(worktree)

        async with create_task_group() as group:
            for number in range(200):
                group.start_soon(task, number)

    def check() -> None:
        assert state(clone) == before
        branches = repository.branches("patchyard/plan/")
        assert {name: repository.tree(commit) for name, commit in branches.items()} == {
            f"patchyard/plan/{number}": tree for number, tree in trees.items()
        }
        assert len(trees) == 200
        assert not ran.exists()
        done = subprocess.run(
            ["git", "fsck", "--strict", "--no-dangling"], cwd=clone.path, env=clone.user.environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, "")
        assert len(remove_worktrees(repository, directory)) == 8
        assert state(clone) == before

    await to_thread.run_sync(check)

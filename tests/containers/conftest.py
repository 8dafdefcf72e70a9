"""What tests of runners share."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import cast

import pytest
from repositories import Clone
from stages import FILES, Stage

from containers.git.working_tree.checkout import Checkout
from containers.worktrees.worktree import Worktree


@pytest.fixture
def user_environ(tmp_path: Path) -> Mapping[str, str]:
    """The user's environment, away from the real one's home and git configuration."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "LANG": "C.UTF-8"}


@pytest.fixture
def bare_worktree(tmp_path: Path) -> Worktree:
    """A worktree that is a plain directory: a runner looks at nothing but its path."""
    path = tmp_path / "wt-1"
    path.mkdir()
    return Worktree("wt-1", path, cast("Checkout", None))


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file for steps to write process ids to, one a line; none of them outlives the test."""
    path = tmp_path / "pids"
    path.touch()
    yield path
    for pid in path.read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), SIGKILL)


@pytest.fixture
def running(pids: Path) -> Callable[[], list[int]]:
    """Which of the processes in `pids` still run; a zombie does not."""

    def look() -> list[int]:
        return [pid for pid in map(int, pids.read_text().split()) if _runs(pid)]

    return look


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    with suppress(FileNotFoundError):
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    return not stat.parent.parent.is_dir()


@pytest.fixture
def odd_clone(make_repository: Callable[..., Clone]) -> Clone:
    """A repository with modes, links, odd names, binaries and line endings."""
    clone = make_repository("repo", FILES)
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("src/app.py")
    clone.commit(message="modes and links")
    return clone


@pytest.fixture
def stage(odd_clone: Clone, tmp_path: Path) -> Stage:
    """A worktree of that repository, reset to its commit."""
    return Stage(odd_clone, tmp_path / "pool")

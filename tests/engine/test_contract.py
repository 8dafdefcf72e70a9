"""The contract of runners, for containers."""

from pathlib import Path

import pytest
from repositories import Clone
from runner_contract import Contract, Place

from containers.dagger_engine.runner import EngineRunner
from containers.git.repository import Repository
from containers.worktrees.worktree import Worktree

pytestmark = [
    pytest.mark.engine,
    pytest.mark.anyio,
    pytest.mark.usefixtures("blockbuster"),
    pytest.mark.timeout(300),
]


@pytest.fixture
def worktree(repository: Repository, clone: Clone, tmp_path: Path) -> Worktree:
    path = tmp_path / "pool" / "wt-1"
    checkout = repository.add_worktree(path, clone.head)
    checkout.reset(clone.head)
    return Worktree("wt-1", path, checkout)


@pytest.fixture
def place(runner: EngineRunner, worktree: Worktree, clone: Clone, test_image: str, tmp_path: Path) -> Place:
    return Place(runner, worktree, tmp_path / "run", clone.head, test_image)


class TestContainers(Contract):
    """The contract."""

"""What tests of worktrees share."""

from pathlib import Path

import pytest
from repositories import Clone

from containers.git.repository import Repository
from containers.worktrees.directory import default_directory


@pytest.fixture
def repository(clone: Clone) -> Repository:
    return Repository.open(clone.path, clone.user.environ)


@pytest.fixture
def directory(repository: Repository) -> Path:
    """The directory of the pool's worktrees."""
    return default_directory(repository).path

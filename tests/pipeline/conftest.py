"""What tests of publishing share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import GitHubServer
from project import Project
from repositories import Clone


@pytest.fixture(params=["", "/api/v3"], ids=["github.com", "enterprise"])
def any_github(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[GitHubServer]:
    """A GitHub for each place that its API can be at."""
    with GitHubServer(tmp_path / "hub", request.param) as server:
        yield server


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubServer]:
    """A GitHub without any repository yet."""
    with GitHubServer(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def project(clone: Clone) -> Project:
    """A user's project: a repository, plans, and the real command."""
    return Project(clone)

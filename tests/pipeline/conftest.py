"""What tests of publishing share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import TOKEN, GitHubServer
from project import Project
from repositories import Clone
from sandboxes import ON, require_sandbox


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


@pytest.fixture
def sandboxed(project: Project) -> Project:
    """The project, whose tasks run in the sandbox."""
    require_sandbox()
    project.environ |= ON
    return project


@pytest.fixture
def hosted(project: Project, github: GitHubServer) -> Project:
    """The project, whose `origin` is on GitHub, and whose user has a token."""
    github.add_repository("octo/demo")
    project.clone.git("push", "--quiet", github.repository("octo/demo").path, "main")
    project.clone.git("remote", "add", "origin", github.clone_url("octo/demo"))
    project.environ |= {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
    return project

"""What tests of the server share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import TOKEN, GitHubServer
from project import Project
from repositories import Clone
from served import Serving


@pytest.fixture
def project(clone: Clone) -> Project:
    """A user's project: a repository, and the directory around it."""
    return Project(clone)


@pytest.fixture
def server(project: Project) -> Iterator[Serving]:
    """A server for that project, and for the directory around it, where the plans are."""
    with Serving(project, ["--root", project.root, "--root", project.plans]) as serving:
        yield serving


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubServer]:
    """A GitHub without any repository yet."""
    with GitHubServer(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def hosted(project: Project, github: GitHubServer) -> Project:
    """The project, whose `origin` is on GitHub, and whose user has a token."""
    github.add_repository("octo/demo")
    project.clone.git("push", "--quiet", github.repository("octo/demo").path, "main")
    project.clone.git("remote", "add", "origin", github.clone_url("octo/demo"))
    project.environ |= {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}
    return project

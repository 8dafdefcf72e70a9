"""What tests of the server share."""

from collections.abc import Iterator

import pytest
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

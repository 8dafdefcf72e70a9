"""Fixtures for the tests of the server; `project`, `github` and `hosted` are those of the folder above."""

from collections.abc import Iterator

import pytest
from project import Project
from served import Serving


@pytest.fixture
def server(project: Project) -> Iterator[Serving]:
    """A server for that project and for the directory of its plans."""
    with Serving(project, ["--root", project.root, "--root", project.plans]) as serving:
        yield serving

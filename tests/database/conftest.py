"""What the tests of the database share."""

import pytest
from project import Project
from repositories import Clone


@pytest.fixture
def project(clone: Clone) -> Project:
    """A user's project: a repository, plans, and the real command."""
    return Project(clone)

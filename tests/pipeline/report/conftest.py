"""What tests of reports share."""

from pathlib import Path

import pytest
from elsewhere import Elsewhere, run_elsewhere
from github_server import GitHubServer
from project import Project


@pytest.fixture
def elsewhere(github: GitHubServer, project: Project, tmp_path: Path) -> Elsewhere:
    """A run in one clone, and another clone on another machine."""
    return run_elsewhere(github, project, tmp_path)

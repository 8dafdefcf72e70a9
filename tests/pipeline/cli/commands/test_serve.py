"""The command `serve`: its roots."""

from pathlib import Path

import pytest
from project import Project

from pipeline.cli.commands.serve import roots_of


def test_repository_that_is_meant_comes_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, elsewhere = project.root / "src", project.shared
    monkeypatch.chdir(elsewhere)
    assert roots_of(Path(), (), project.environ) == (Path(),)
    assert roots_of(Path(), (inside,), project.environ) == (inside,)
    assert roots_of(inside, (), project.environ) == (project.root,)
    assert roots_of(inside, (elsewhere,), project.environ) == (project.root, elsewhere)
    monkeypatch.chdir(inside)
    assert roots_of(Path(), (), project.environ) == (project.root,)

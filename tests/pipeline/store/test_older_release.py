"""Test that an interrupted run of release 0.1.0 can be resumed."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from project import Project
from repositories import Clone

from pipeline.store.store import Store
from tasks.outcome import RunStatus, Status

DATABASE = Path(__file__).with_name("release_0_1_0.sql")
"""The database of the run, as release 0.1.0 left it when its process was killed in task 1.2."""
COMMITS = DATABASE.with_suffix(".fast-import")
"""The commits of its repository, from `git fast-export --all`: importing them gives the same ids."""
RUN = "20261128-064134-b14f"
FIRST = "cf42c34006808beabba9508ab075d57fac951ff7"
"""The commit of task 1.1, which had finished."""


def test_interrupted_run_of_release_0_1_0_is_resumed(make_repository: Callable[..., Clone]) -> None:
    clone = make_repository("older", None)
    clone.git("fast-import", "--quiet", stdin=COMMITS.read_bytes())
    clone.git("reset", "--quiet", "--hard", "main")
    project = Project(clone)
    project.state.mkdir(exist_ok=True)
    with closing(sqlite3.connect(project.state / "patchyard.db")) as connection:
        connection.executescript(DATABASE.read_text(encoding="utf-8").replace("@ROOT@", str(clone.path)))
    (project.shared / "go").touch()

    with Store.beside(clone.path / ".git") as store:
        assert store.run(RUN).status is RunStatus.RUNNING
        assert [item.outcome.task for item in store.tasks(RUN)] == ["1.1"]

    project.call("resume", RUN).expect()

    with Store.beside(clone.path / ".git") as store:
        assert store.run(RUN).status is RunStatus.SUCCEEDED
        first, second = (item.outcome for item in store.tasks(RUN))
        assert (first.status, first.commit) == (Status.CHANGED, FIRST)
        assert (second.status, second.files) == (Status.CHANGED, ("two",))
        assert [(item.task, item.status) for item in store.attempts(RUN)] == [
            ("1.1", Status.CHANGED),
            ("1.2", Status.CANCELLED),
            ("1.2", Status.CHANGED),
        ]
    assert clone.git("rev-parse", "patchyard/demo/1.1") == FIRST

"""The status of stored runs."""

from dataclasses import replace

from project import Project

from pipeline.run.stored.status import current_status
from pipeline.store.store import Store
from tasks.model import RunStatus


def test_run_that_ended_since_it_was_read_is_not_interrupted(project: Project) -> None:
    run = project.run(project.tasks({"1.1": "touch a"})).expect(0).run
    with Store.beside(project.root / ".git") as store:
        seen_before = replace(store.run(run), status=RunStatus.RUNNING)
        assert current_status(store, seen_before, project.environ) is RunStatus.SUCCEEDED

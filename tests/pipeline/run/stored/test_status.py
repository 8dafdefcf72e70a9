"""The status of stored runs."""

from dataclasses import replace

from project import Project

from pipeline.run.stored.status import current_status, is_unpublished
from pipeline.store.records import SharedBranch
from pipeline.store.store import Store
from tasks.outcome import PullRequest, RunStatus


def test_run_that_ended_since_it_was_read_is_not_interrupted(project: Project) -> None:
    run = project.run(project.tasks({"1.1": "touch a"})).expect(0).run
    with Store.beside(project.root / ".git") as store:
        seen_before = replace(store.run(run), status=RunStatus.RUNNING)
        assert current_status(store, seen_before, project.environ) is RunStatus.SUCCEEDED


def test_shared_branch_that_is_pushed_with_its_pull_request_is_published(project: Project) -> None:
    done = project.run(project.tasks({"1.1": "touch a", "1.2": "touch b"})).expect(0)
    one, two = (str(done.outcome(task)["commit"]) for task in ("1.1", "1.2"))
    with Store.beside(project.root / ".git") as store:
        run = store.run(done.run)
        run = replace(run, settings=replace(run.settings, publish=True))
        assert is_unpublished(store, run)
        store.keep_shared_branches(
            run.id, [SharedBranch("plan", "p", run.base, None, ("1.1",), (one,), two, (two,))]
        )
        assert is_unpublished(store, run)
        store.keep_branch("p", pushed=two)
        assert is_unpublished(store, run)
        store.keep_pull_request(run.id, PullRequest("plan", 1, "url", "p", "main", tasks=("1.1",)))
        assert not is_unpublished(store, run)
        store.keep_shared_branches(run.id, [SharedBranch("plan", "p", run.base, None, ("1.1",), (two,), two)])
        assert is_unpublished(store, run)

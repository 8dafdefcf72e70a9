"""Live updates of a page, at moments that a whole server seldom meets."""

import anyio
import pytest
from project import Project

from pipeline.web.page.live_updates import LiveRun
from pipeline.web.page.run_view import EventDigest, read_run_view
from pipeline.web.services import ServerSettings, Services
from pipeline.web.streams.feeds import Feed
from pipeline.web.workers import Work


@pytest.mark.anyio
@pytest.mark.parametrize("work", list(Work))
async def test_end_of_a_worker_during_the_end_check_reaches_the_page(
    project: Project, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    run = project.run(project.tasks({"1.1": "touch x"})).expect(0).run
    jobs = {(run, work)}
    async with Services(ServerSettings((project.root,), project.clone.user.environ)).open() as services:
        monkeypatch.setattr(services.workers, "has", lambda name, kind=Work.RESUME: (name, kind) in jobs)
        located = await services.find(run)

        async def is_over() -> bool:
            jobs.clear()
            return True

        feed = Feed(services.event_reader(located), is_over)
        start = read_run_view(services.run_reader, located)
        live = LiveRun(services, located, feed, start)
        async with anyio.create_task_group() as group:
            group.start_soon(feed.run)
            with anyio.fail_after(30):
                await live.run()
            group.cancel_scope.cancel()

    assert start.expects_changes
    changes = live.after(0)
    assert changes, "the page gets the status without a worker"
    assert 'data-state="succeeded"' in changes[-1].html
    assert "publishing</small>" not in changes[-1].html
    assert live.over


def test_pull_request_of_several_tasks_changes_each_of_them() -> None:
    digest = EventDigest()
    digest.add(1, {"event": "pull_request", "task": "plan", "tasks": ["1.1", "1.2"]})
    digest.add(2, {"event": "pull_request", "task": "1.3"})  # of an older version
    assert list(digest.changed_tasks) == ["1.1", "1.2", "1.3"]

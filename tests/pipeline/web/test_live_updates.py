"""What whoever looks at a run is told last: at moments that a whole server seldom meets."""

import anyio
import pytest
from project import Project

from pipeline.web.feeds import Feed
from pipeline.web.live_updates import LiveRun, read_run
from pipeline.web.services import ServerSettings, Services
from pipeline.web.workers import Work


@pytest.mark.anyio
@pytest.mark.parametrize("work", list(Work))
async def test_a_worker_that_ends_while_it_is_asked_whether_the_run_is_over(
    project: Project, monkeypatch: pytest.MonkeyPatch, work: Work
) -> None:
    run = project.run(project.tasks({"1.1": "touch x"})).expect(0).run
    under_way = {(run, work)}
    async with Services(ServerSettings((project.root,), project.clone.user.environ)).open() as services:
        monkeypatch.setattr(services.workers, "has", lambda name, kind=Work.RESUME: (name, kind) in under_way)
        place = await services.find(run)

        async def is_over() -> bool:
            under_way.clear()
            return True

        feed = Feed(services.reader(place), is_over)
        start = read_run(services, place, {})
        live = LiveRun(services, place, feed, start)
        async with anyio.create_task_group() as group:
            group.start_soon(feed.run)
            with anyio.fail_after(30):
                await live.run()
            group.cancel_scope.cancel()

    assert start.expects_changes
    changes = live.after(0)
    assert changes, "the page is told that nobody works on the run any more"
    assert 'data-state="succeeded"' in changes[-1].html
    assert "publishing</small>" not in changes[-1].html
    assert live.over

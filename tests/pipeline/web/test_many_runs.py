"""Many runs at once below one server, each with a client that follows it."""

from functools import partial
from pathlib import Path

import pytest
from project import Project, plan_text, wait_for
from served import Serving, gate, in_background, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RUNS, TASKS = 20, 2


def follow(server: Serving, run: str, streams: dict[str, list[str]]) -> None:
    """Note the events of a run, until its end."""
    streams[run] = [sent.name for sent in server.events(run)]


def test_many_runs_at_once_end_and_every_client_gets_all_events(project: Project) -> None:
    plans = []
    for number in range(RUNS):
        names = [f"{number + 1}.{task}" for task in range(1, TASKS + 1)]
        scripts = {name: f"{gate()}echo {name} > {name}.txt" for name in names}
        plans.append(project.plan(plan_text(scripts, title=f"Plan {number}"), f"plan-{number}.md"))
    streams: dict[str, list[str]] = {}
    with Serving(project, ["--root", project.root, "--root", project.plans, "--runs", str(RUNS)]) as server:
        descriptors = Path(f"/proc/{server.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        runs = [server.start(plan, pool_size=TASKS) for plan in plans]
        followers = in_background(*(partial(follow, server, run, streams) for run in runs))
        wait_for(lambda: len(list(project.shared.glob("*.in"))) == RUNS * TASKS, "all tasks of all runs")
        assert len(workers_of(server)) == RUNS
        (project.shared / "go").touch()
        for run in runs:
            assert server.wait(run)["run_status"] == "succeeded"
        for one in followers:
            one.join()
        for run in runs:
            events = streams[run]
            assert (events[0], events[-1]) == ("run_started", "run_finished")
            assert [events.count(f"task_{what}") for what in ("started", "finished")] == [TASKS, TASKS]
        server.client.close()
        wait_for(lambda: not workers_of(server), "the end of the workers")
        wait_for(lambda: len(list(descriptors.iterdir())) <= before + 5, "the end of the connections")
    expected = {f"patchyard/plan-{number}/{number + 1}.{task}" for number in range(RUNS) for task in (1, 2)}
    assert expected <= project.branches().keys()

"""The flow in one process: it never blocks the event loop, and the listener receives every event."""

from functools import partial
from pathlib import Path

import pytest
from anyio import to_thread
from project import Project, meet
from repositories import CountedGit

from pipeline.events import Event, RunFinished, TaskFinished, TaskStarted
from pipeline.run.call.prepare import Call, prepare
from pipeline.run.execute import execute, recorder_for
from pipeline.run.stored.open_store import open_store
from tasks.outcome import RunStatus


class Recording:
    """A listener that records its events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        """Record the event."""
        self.events.append(event)


@pytest.mark.anyio
@pytest.mark.usefixtures("blockbuster")
async def test_run_never_blocks_the_event_loop(project: Project) -> None:
    project.configure('[worktree]\nsetup = ["echo s > setup.txt"]\nkeep = ["cache"]\ncopy = [".env"]\n')
    project.clone.write({".env": "X=1\n"})
    scripts = {
        "1.1": meet(2) + "echo a > a",
        "1.2": meet(2) + "echo b > a",
        "1.3": "exit 3",
        "2.1": "echo c > c",
        "3.1": "sleep 30",
    }
    fields = {"1.3": "**Timeout:** 5s", "3.1": "**Timeout:** 0.2s"}
    plan = project.tasks(scripts, fields=fields, batches={"3": "**Dependencies:** None"})
    listener = Recording()
    call = Call(
        plan_path=str(plan),
        repo=project.root,
        environ=project.environ,
        flags={"keep_going": True, "no_cache": True},
    )

    for run in ("run-1", "run-2"):
        prepared = await to_thread.run_sync(prepare, call)
        opener = partial(open_store, prepared.repository, project.environ)
        recorder = await to_thread.run_sync(recorder_for, prepared, run, opener)
        finished = await execute(prepared, recorder, listener, signals=False)
        await to_thread.run_sync(recorder.__exit__, None, None, None)

    assert finished.status is RunStatus.FAILED
    assert [str(outcome.status) for outcome in finished.outcomes] == [
        "changed",
        "changed",
        "failed",
        "changed",
        "timed_out",
    ]
    assert sum(isinstance(event, TaskStarted) for event in listener.events) == 12  # task 1.2 runs again
    assert sum(isinstance(event, TaskFinished) for event in listener.events) == 12
    assert not any(isinstance(event, RunFinished) for event in listener.events), "the caller reports the end"


def test_what_the_first_patch_needs_is_read_while_the_first_step_runs(project: Project, tmp_path: Path) -> None:
    counted = CountedGit.at(tmp_path / "counted", project.clone.user)
    project.run(project.tasks({"1.1": "sleep 3; echo a > a"}), environ=counted.environ).expect(0)
    words = [word for call in counted.calls() for word in call.split()]
    assert words.index("cat-file") < words.index("-Av")

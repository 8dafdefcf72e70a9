"""Events read back from the JSON objects that the store keeps."""

from dataclasses import fields
from datetime import UTC, datetime

import pytest

from pipeline.events import (
    NAMES,
    BatchStarted,
    ConflictFound,
    Event,
    Notice,
    Published,
    RunFinished,
    RunStarted,
    StepFinished,
    TaskFinished,
    TaskStarted,
    as_record,
)
from pipeline.live.records import event_of
from tasks.agent_report import Tokens
from tasks.outcome import Conflict, Outcome, PullRequest, RunStatus, Status

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
OUTCOME = Outcome(
    task="1.1",
    title="Do it",
    batch=1,
    status=Status.TIMED_OUT,
    worktree="wt-1",
    seconds=1.5,
    files=("a", "b"),
    error="timed out",
    cost=0.5,
    tokens=Tokens(10, 2),
    rounds=2,
)


@pytest.mark.parametrize(
    "event",
    [
        RunStarted(
            time=AT, run="r", plan="p", title="T", base="b", pool_size=2, tasks=3, worktrees="w", batches=0
        ),
        BatchStarted(time=AT, batch=1, title="One", mode="parallel", start="c", tasks=3),
        TaskStarted(time=AT, task="1.1", title="T", batch=1, worktree="wt-1", attempt=2),
        StepFinished(
            time=AT, task="1.1", worktree="wt-1", number=1, kind="run", command="m", exit_code=None, seconds=0.5
        ),
        TaskFinished(time=AT, outcome=OUTCOME),
        ConflictFound(time=AT, conflict=Conflict(1, ("1.1", "1.2"), ("a",))),
        Published(time=AT, request=PullRequest("1.1", 7, "https://x/7", "b", "main")),
        Notice(time=AT, message="m", level="warning"),
    ],
    ids=lambda event: NAMES[type(event)],
)
def test_an_event_is_read_back(event: Event) -> None:
    read = event_of(as_record(event))

    assert type(read) is type(event)
    if isinstance(event, Published) and isinstance(read, Published):
        assert (read.time, read.request.url) == (event.time, event.request.url)
    else:
        assert read == event


def test_what_is_not_known_is_left_out() -> None:
    assert event_of({"event": "of_a_later_release", "time": "2026-01-02T03:04:05Z"}) is None
    assert event_of({"event": "task_started", "time": "2026-01-02T03:04:05Z"}) is None
    assert event_of({"event": "task_started", "time": "never"}) is None
    later = as_record(Notice(time=AT, message="m")) | {"more": 1}
    assert event_of(later) == Notice(time=AT, message="m")


def test_the_end_of_a_run_is_left_to_the_store() -> None:
    end = RunFinished(run="r", status=RunStatus.FAILED, seconds=1.0, speedup=1.0, efficiency=1.0, outcomes=())

    assert event_of(as_record(end)) is None


def test_every_field_of_an_event_has_a_name_of_its_own_in_json() -> None:
    """Otherwise it could not be read back."""
    special = {TaskFinished, ConflictFound, Published, RunFinished}
    for kind in set(NAMES) - special:
        assert "event" not in {item.name for item in fields(kind)}

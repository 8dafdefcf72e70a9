"""Models of the API from snapshots of runs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from containers.git.repository import Repository
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.web.api.serializers import batch_states, execution_state, execution_status
from pipeline.web.snapshot import RunActivity, Snapshot
from tasks.model import Batch, Plan, Task
from tasks.outcome import Outcome, PullRequest, Request, RunStatus, Status

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 1, 2, 3, 5, 5, tzinfo=UTC)
RUN = Run(
    id="20260102-030405-ab12",
    plan_path="plan.md",
    plan_name="demo",
    plan_title="Demo",
    plan_text="",
    base="0" * 40,
    base_name="main",
    pool_size=2,
    status=RunStatus.RUNNING,
    started_at=MOMENT,
)
TASKS = {name: Task(name, f"Do {name}", int(name[0])) for name in ("1.1", "1.2", "2.1")}
PLAN = Plan(
    "demo",
    "Demo",
    "plan.md",
    (
        Batch(1, "First", (TASKS["1.1"], TASKS["1.2"]), ()),
        Batch(2, "Second", (TASKS["2.1"],), (1,)),
        Batch(3, "Alone", (), ()),
    ),
)


class FakeRepository:
    """The part of a repository that a snapshot uses."""

    root = "/srv/demo"


def stored(task: str, status: Status = Status.CHANGED, request: str | None = None) -> StoredTask:
    """Return a finished task, with a pull request if `request` names its action."""
    outcome = Outcome(
        task, f"Do {task}", int(task[0]), status, "wt-1", 1.5, MOMENT, branch=f"b/{task}", commit="c" * 40
    )
    pull = PullRequest(task, 7, "https://example.com/7", f"b/{task}", "main", request) if request else None
    return StoredTask(outcome, finished_at=LATER, pull_request=pull)


def snapshot(
    *tasks: StoredTask,
    status: RunStatus = RunStatus.RUNNING,
    running: str | None = None,
    has_worker: bool = False,
    failure: str | None = None,
    request: Request | None = None,
) -> Snapshot:
    attempts = [StoredAttempt(running, 1, "", 1, MOMENT, "wt-2")] if running else []
    return Snapshot(
        run=replace(RUN, request=request, finished_at=LATER if status.is_over else None),
        repository=cast("Repository", FakeRepository()),
        plan=PLAN,
        activity=RunActivity(status, has_worker=has_worker, failure=failure),
        tasks={item.outcome.task: item for item in tasks},
        attempts=tuple(attempts),
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (RunStatus.PENDING, "started"),
        (RunStatus.RUNNING, "executing"),
        (RunStatus.SUCCEEDED, "complete"),
        (RunStatus.FAILED, "failed"),
        (RunStatus.CANCELLED, "failed"),
        (RunStatus.INTERRUPTED, "failed"),
    ],
)
def test_run_status_has_an_api_status(status: RunStatus, expected: str) -> None:
    assert execution_status(snapshot(status=status)) == expected


def test_run_with_a_worker_is_executing() -> None:
    for status in (RunStatus.INTERRUPTED, RunStatus.FAILED, RunStatus.CANCELLED):
        assert execution_status(snapshot(status=status, has_worker=True)) == "executing"
    assert execution_status(snapshot(status=RunStatus.PENDING, has_worker=True)) == "started"


def test_run_that_no_worker_could_start_has_failed_with_the_reason() -> None:
    state = execution_state(snapshot(status=RunStatus.PENDING, failure="no token"))
    assert (state.status, state.run_status, state.error) == ("failed", "pending", "no token")


def test_paused_run_is_executing_after_a_resume_request() -> None:
    paused = snapshot(status=RunStatus.PAUSED, request=Request.PAUSE)
    assert execution_status(paused) == "paused"
    assert execution_state(paused).request == "pause"
    assert execution_status(snapshot(status=RunStatus.PAUSED)) == "executing"
    assert execution_status(snapshot(request=Request.PAUSE)) == "executing"


def test_current_batch_is_the_first_unfinished_batch() -> None:
    first, second, third = stored("1.1"), stored("1.2"), stored("2.1")
    assert execution_state(snapshot()).current_batch == 1
    assert execution_state(snapshot(first)).current_batch == 1
    assert execution_state(snapshot(first, second)).current_batch == 2
    done = execution_state(snapshot(first, second, third, status=RunStatus.SUCCEEDED))
    assert (done.current_batch, done.total_batches) == (3, 3)
    assert (done.tasks_completed, done.tasks_total, done.tasks_failed) == (3, 3, 0)
    assert (done.started_at, done.completed_at) == (MOMENT, LATER)


def test_failed_and_skipped_tasks_are_not_completed() -> None:
    tasks = stored("1.1"), stored("1.2", Status.FAILED), stored("2.1", Status.SKIPPED)
    state = execution_state(snapshot(*tasks, status=RunStatus.FAILED))
    assert (state.tasks_completed, state.tasks_failed, state.tasks_total) == (1, 2, 3)


def test_task_marked_completed_in_the_plan_is_completed() -> None:
    done = replace(TASKS["1.1"], completed=True)
    plan = replace(PLAN, batches=(replace(PLAN.batches[0], tasks=(done,)),))
    seen = replace(snapshot(stored("1.1", Status.SKIPPED)), plan=plan)
    assert execution_state(seen).tasks_completed == 1
    assert batch_states(seen)[0].tasks[0].status == "complete"


def test_merged_pull_requests_are_not_active() -> None:
    state = execution_state(
        snapshot(
            stored("1.1", request="opened"), stored("1.2", request="merged"), stored("2.1", request="updated")
        )
    )
    assert [(item.task, item.pr_number, item.status, item.url) for item in state.active_prs] == [
        ("1.1", 7, "open", "https://example.com/7"),
        ("2.1", 7, "open", "https://example.com/7"),
    ]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (stored("1.1"), "complete"),
        (stored("1.1", Status.UNCHANGED), "complete"),
        (stored("1.1", request="opened"), "pr_created"),
        (stored("1.1", request="updated"), "pr_created"),
        (stored("1.1", request="merged"), "merged"),
        (stored("1.1", Status.FAILED), "failed"),
        (stored("1.1", Status.TIMED_OUT), "failed"),
        (stored("1.1", Status.SKIPPED), "failed"),
        (stored("1.1", Status.CANCELLED), "failed"),
    ],
)
def test_task_outcome_has_an_api_status(task: StoredTask, expected: str) -> None:
    state = batch_states(snapshot(task))[0].tasks[0]
    assert (state.status, state.task_status) == (expected, str(task.outcome.status))
    assert (state.started_at, state.completed_at, state.commits) == (MOMENT, LATER, ["c" * 40])


def test_started_task_is_in_progress_only_in_an_active_run() -> None:
    state = batch_states(snapshot(running="1.2"))[0].tasks[1]
    assert (state.status, state.worktree, state.attempt, state.started_at) == ("in_progress", "wt-2", 1, MOMENT)
    state = batch_states(snapshot(running="1.2", status=RunStatus.INTERRUPTED))[0].tasks[1]
    assert (state.status, state.worktree) == ("pending", None)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (snapshot(status=RunStatus.PENDING), ["ready", "pending", "complete"]),
        (snapshot(running="1.1"), ["executing", "pending", "complete"]),
        (snapshot(stored("1.1")), ["executing", "pending", "complete"]),
        (snapshot(stored("1.1"), stored("1.2")), ["complete", "ready", "complete"]),
        (snapshot(stored("1.1", Status.FAILED)), ["executing", "pending", "complete"]),
        (snapshot(stored("1.1", Status.FAILED), stored("1.2")), ["failed", "pending", "complete"]),
        (
            snapshot(stored("1.1"), stored("1.2", Status.CANCELLED), status=RunStatus.CANCELLED),
            ["failed", "pending", "complete"],
        ),
    ],
)
def test_batch_statuses(seen: Snapshot, expected: list[str]) -> None:
    states = batch_states(seen)
    assert [state.status for state in states] == expected
    assert [state.batch_number for state in states] == [1, 2, 3]
    for state in states:
        assert (state.completed_at is not None) == (
            state.status in {"complete", "failed"} and bool(state.tasks)
        )

"""The words and figures of a verdict."""

from collections.abc import Mapping

import pytest

from pipeline.verdict.model import Kind, Verdict
from pipeline.verdict.words import advice, as_fields, failing_before, figure, headline, progress, text_lines
from tasks.outcome import FAILS_BEFORE, Conflict, Outcome, PullRequest, RunStatus, Status
from tasks.usage import Usage, budget_spent


def outcome(task: str, status: Status = Status.CHANGED, **more: object) -> Outcome:
    """Return the outcome of a task that ran."""
    started = status not in {Status.SKIPPED, Status.CANCELLED}
    values: Mapping[str, object] = {"worktree": "wt-1" if started else None, "seconds": 1.0, **more}
    return Outcome(task, f"Do {task}", 1, status, **values)  # type: ignore[arg-type]  # its fields


def verdict(status: RunStatus, *outcomes: Outcome, **more: object) -> Verdict:
    """Return the verdict of a run that took 4.2 s."""
    return Verdict("r-1", status, outcomes, seconds=4.2, **more)  # type: ignore[arg-type]  # its fields


CONFLICT = Conflict(1, ("1.1", "1.2"), ("a.txt",))
REQUEST = PullRequest("1.1", 7, "https://github.test/7", "b", "main")
ENDS = {
    "succeeded: 2 changed, in 4.2 s": verdict(RunStatus.SUCCEEDED, outcome("1.1"), outcome("1.2")),
    "succeeded: 1 unchanged, 1 left out, in 4.2 s": verdict(
        RunStatus.SUCCEEDED, outcome("1.1", Status.UNCHANGED), outcome("1.2", Status.SKIPPED), left_out={"1.2"}
    ),
    "succeeded: 1 changed, 1 from the cache, in 4.2 s": verdict(
        RunStatus.SUCCEEDED, outcome("1.1", worktree=None, cached=True)
    ),
    "failed: 1 changed, 1 in conflict (1.2), in 4.2 s": verdict(
        RunStatus.FAILED, outcome("1.1"), outcome("1.2"), conflicts=[CONFLICT]
    ),
    "failed: 1 failed (1.1), 1 timed out (1.2), 1 skipped, in 4.2 s": verdict(
        RunStatus.FAILED,
        outcome("1.1", Status.FAILED),
        outcome("1.2", Status.TIMED_OUT),
        outcome("1.3", Status.SKIPPED),
    ),
    "cancelled: 1 changed, 1 cancelled, in 4.2 s": verdict(
        RunStatus.CANCELLED, outcome("1.1"), outcome("1.2", Status.CANCELLED)
    ),
    "succeeded: 2 changed, 1 published, 1 not published (1.2), in 4.2 s": verdict(
        RunStatus.SUCCEEDED, outcome("1.1"), outcome("1.2"), requests=[REQUEST], unpublished=["1.2"]
    ),
    "succeeded: 1 changed, 1 not published (1.1), in 4.2 s": verdict(
        RunStatus.SUCCEEDED, outcome("1.1"), unpublished=["1.1"], publishes=True
    ),
    "running: 1 changed, 1 running, 2 pending, in 4.2 s": verdict(
        RunStatus.RUNNING,
        outcome("1.1"),
        open_tasks={"1.2": Kind.RUNNING, "1.3": Kind.PENDING, "1.4": Kind.PENDING},
        unpublished=["1.1"],
    ),
}


@pytest.mark.parametrize("expected", ENDS)
def test_headline_counts_each_task_once(expected: str) -> None:
    end = ENDS[expected]

    assert headline(end) == expected
    assert sum(end.counts.values()) == end.total


def commands(end: Verdict) -> list[str]:
    """Return the commands that are shown."""
    return [one.command.removeprefix("patchyard ") for one in advice(end)]


def test_commands_are_those_that_help_now() -> None:
    failed = [outcome("1.1"), outcome("1.2", Status.FAILED), outcome("1.3", Status.TIMED_OUT)]
    assert commands(verdict(RunStatus.FAILED, *failed, unpublished=["1.1"])) == [
        "logs r-1 1.2",
        "retry r-1",
        "publish r-1",
    ]
    assert commands(ENDS["failed: 1 changed, 1 in conflict (1.2), in 4.2 s"]) == [
        "diff r-1 1.2",
        "retry r-1 1.2 --onto 1.1",
    ]
    assert commands(ENDS["cancelled: 1 changed, 1 cancelled, in 4.2 s"]) == ["resume r-1"]
    assert commands(verdict(RunStatus.SUCCEEDED, outcome("1.1"), requests=[REQUEST])) == []
    done = verdict(RunStatus.SUCCEEDED, outcome("1.1"), unpublished=["1.1"])
    assert commands(done) == ["diff r-1", "apply r-1", "publish r-1"]
    stopped = verdict(RunStatus.FAILED, outcome("1.1"), outcome("1.2", Status.CANCELLED))
    assert commands(stopped) == ["resume r-1"]
    refused = verdict(RunStatus.FAILED, outcome("1.1", Status.FAILED, worktree=None))
    assert commands(refused) == ["retry r-1"]  # it has no log
    assert commands(verdict(RunStatus.RUNNING, outcome("1.1"), unpublished=["1.1"])) == []


def test_what_has_no_result_of_its_own_is_resumed() -> None:
    """A refused key or a limit: `retry` would start over, and lose what the agent left."""
    cut_off = outcome("1.1", Status.FAILED, step="mine", error="agent mine cannot be used")
    skipped = outcome("1.2", Status.SKIPPED)
    assert commands(verdict(RunStatus.FAILED, cut_off, skipped)) == ["logs r-1 1.1", "resume r-1"]
    failed = outcome("1.2", Status.FAILED, step="make", exit_code=2)
    assert commands(verdict(RunStatus.FAILED, cut_off, failed)) == ["logs r-1 1.1", "retry r-1"]


@pytest.mark.parametrize(("whose", "option"), [("run", "--budget"), ("task", "--task-budget")])
def test_spent_budget_is_raised_with_resume(whose: str, option: str) -> None:
    """`retry` would end at the same budget."""
    spent = f"it was not repaired: {budget_spent(whose, 2.5, 3)}"
    ended = outcome("1.1", Status.FAILED, step="mine", error=f"it ended with exit code 1\n{spent}")
    unstarted = outcome("1.2", Status.SKIPPED, error=f"it did not start: {budget_spent(whose, 2.5, 3)}")
    more = f"resume r-1 {option} USD"
    assert commands(verdict(RunStatus.FAILED, ended, unstarted)) == ["logs r-1 1.1", more]
    assert commands(verdict(RunStatus.FAILED, outcome("1.1"), unstarted)) == [more]
    failed = outcome("1.3", Status.FAILED, step="make", exit_code=2)
    assert commands(verdict(RunStatus.FAILED, unstarted, failed)) == ["logs r-1 1.3", more, "retry r-1"]


def test_a_run_that_was_cut_off_has_no_speed() -> None:
    speed = {"speedup": 3.76, "efficiency": 0.94}
    tasks = [outcome("1.1"), outcome("1.2", Status.CANCELLED, worktree="wt-2")]

    assert figure(verdict(RunStatus.CANCELLED, *tasks, **speed)) == "1 of 2 tasks done in 4.2 s"
    assert figure(verdict(RunStatus.INTERRUPTED, *tasks, **speed)) == "1 of 2 tasks done in 4.2 s"


@pytest.mark.parametrize(
    ("speedup", "expected"),
    [
        (3.76, "2 tasks in 4.2 s: 3.8 times faster than one by one, 94 % of a pool of 4"),
        (0.64, "2 tasks in 4.2 s: 16 % of a pool of 4"),
    ],
)
def test_speedup_is_shown_only_if_there_is_one(speedup: float, expected: str) -> None:
    end = verdict(RunStatus.SUCCEEDED, outcome("1.1"), outcome("1.2"), speedup=speedup, efficiency=speedup / 4)
    assert figure(end) == expected


def test_what_was_skipped_is_not_done() -> None:
    counts = {Kind.CHANGED: 6, Kind.UNCHANGED: 1, Kind.FAILED: 1, Kind.SKIPPED: 2}
    assert progress(counts, 10) == "7 of 10 tasks done, 1 failed, 2 skipped"
    assert progress({Kind.CHANGED: 1, Kind.RUNNING: 1, Kind.PENDING: 1}, 3) == "1 of 3 tasks done"


def test_lines_say_why_and_sum_up() -> None:
    end = verdict(
        RunStatus.FAILED,
        outcome("1.1", added=12, removed=3, cost=0.5),
        outcome("1.2", added=1, removed=0),
        outcome("1.3", Status.FAILED, error="it ended\nE  boom"),
        conflicts=[CONFLICT],
        usage=Usage(0.75),
    )
    lines = text_lines(end)
    assert lines[1:3] == ["  1.2 Do 1.2: conflicts with task 1.1 in a.txt", "  1.3 Do 1.3: E boom"]
    assert lines[-1] == "3 tasks in 4.2 s; +13 \N{MINUS SIGN}3 lines; agents: $0.75"
    fields = as_fields(end)
    assert (fields["added"], fields["removed"]) == (13, 3)
    assert fields["counts"] == {"changed": 1, "conflict": 1, "failed": 1}


def test_what_fails_without_the_change_fails_with_it_too_only_where_the_task_failed_at_it() -> None:
    outcomes = (
        outcome("1.1", fails_before=("a",)),
        outcome("1.2", Status.FAILED, step="b", fails_before=("a", "b")),
        outcome("1.3", Status.CANCELLED, step="b", fails_before=("b",)),
        outcome("1.4", Status.TIMED_OUT, step="b", fails_before=("b",)),
    )
    lines = failing_before(outcomes)
    assert lines == [
        f"tasks 1.1, 1.2: `a` {FAILS_BEFORE}",
        f"tasks 1.2, 1.4: `b` {FAILS_BEFORE} too",
        f"task 1.3: `b` {FAILS_BEFORE}",
    ]
    shown = text_lines(verdict(RunStatus.FAILED, *outcomes))
    assert [line.strip() for line in shown if FAILS_BEFORE in line] == lines

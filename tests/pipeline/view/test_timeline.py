"""The view of a run: lanes, bars and steps with their times, batches, figures and rows."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import Project
from views import ZERO, at, attempt, ended, plan, run

from pipeline.events import now
from pipeline.run.stored.status import plan_of
from pipeline.store.records import StoredStep
from pipeline.store.store import Store
from pipeline.view.source import RunningStep, Source, source_of
from pipeline.view.templating import bar_label
from pipeline.view.timeline import Clock, ticks
from pipeline.view.timeline_builder import natural_key, timeline
from tasks.outcome import Conflict, PullRequest, RunStatus, Status

DAY = 86400.0


def test_running_run_has_lanes_bars_and_rows() -> None:
    source = Source(
        run=run(),
        displayed_status=RunStatus.RUNNING,
        plan=plan("1.1", "1.2", "1.3", "2.1"),
        attempts=[
            attempt("1.1", 0.0, 2.0, worktree="wt-2"),
            attempt("1.2", 0.5, None, worktree="wt-10"),
        ],
        steps={("1.1", 1): [StoredStep(1, "run", "make", 0, 1.5, None, finished_at=at(1.75))]},
        tasks=[ended("1.1", seconds=2.0, worktree="wt-2", files=("a", "b"), branch="b/1.1", commit="c")],
        running={"1.2": RunningStep(2, "verify", "make test", at(3.0))},
    )
    view = timeline(source, at(4.0))
    assert [lane.name for lane in view.lanes] == ["wt-2", "wt-10"]
    assert [[bar.task for bar in lane.bars] for lane in view.lanes] == [["1.1"], ["1.2"]]
    (one,), (two,) = view.bars("1.1"), view.bars("1.2")
    assert (one.start, one.end, one.seconds, one.state) == (0.0, 2.0, 2.0, "changed")
    assert (two.start, two.end, two.seconds, two.state) == (0.5, None, None, "running")
    assert [(mark.start, mark.end, mark.state) for mark in one.marks] == [(0.25, 1.75, "ok")]
    assert [(mark.number, mark.start, mark.end, mark.state) for mark in two.marks] == [
        (2, 3.0, None, "running")
    ]
    assert [(row.task, row.state, row.attempts) for row in view.rows] == [
        ("1.1", "changed", 1),
        ("1.2", "running", 1),
        ("1.3", "pending", 0),
        ("2.1", "pending", 0),
    ]
    assert view.counts == {"changed": 1, "running": 1, "pending": 2}
    assert (view.span, view.elapsed, view.busy) == (4.0, 4.0, 5.5)
    assert view.speedup == pytest.approx(5.5 / 4)
    assert view.places == 2
    assert view.efficiency == pytest.approx(5.5 / 8)
    assert [(stage.number, stage.done, stage.tasks, stage.state) for stage in view.stages] == [
        (1, 1, 3, "running"),
        (2, 0, 1, "pending"),
    ]
    assert view.stage is view.stages[0]
    assert view.live
    assert view.moving


def test_a_run_that_was_closed_has_the_figures_that_it_was_closed_with() -> None:
    request = PullRequest("1.1", 7, "https://github.test/pull/7", "b", "main")
    source = Source(
        run=run(status=RunStatus.FAILED, finished_at=at(9), seconds=8.5, speedup=1.5, efficiency=0.75),
        displayed_status=RunStatus.FAILED,
        plan=plan("1.1", "1.2"),
        attempts=[attempt("1.1", 0, 2), attempt("1.2", 2, 3, status=Status.FAILED)],
        tasks=[ended("1.1", request=request), ended("1.2", Status.FAILED, error="no\nlog")],
    )
    view = timeline(source, at(1000))
    assert (view.elapsed, view.speedup, view.efficiency, view.places) == (8.5, 1.5, 0.75, 2)
    assert view.span == 3.0
    assert (view.live, view.moving, view.verdict.done) == (False, False, 1)
    assert view.requests == (request,)
    assert view.stage is not None
    assert view.stage.state == "failed"
    assert [lane.name for lane in view.lanes] == ["wt-1"]


def test_conflict_is_the_kind_of_its_later_task_and_of_its_bar() -> None:
    source = Source(
        run=run(status=RunStatus.FAILED, finished_at=at(9), seconds=9.0),
        displayed_status=RunStatus.FAILED,
        plan=plan("1.1", "1.2", "2.1"),
        attempts=[attempt("1.1", 0, 2), attempt("1.2", 2, 3), attempt("2.1", 3, 4)],
        tasks=[ended("1.1", added=3, removed=1, files=("a",)), ended("1.2", files=("a",)), ended("2.1")],
    )
    before = timeline(source, at(10))
    assert [row.state for row in before.rows] == ["changed"] * 3
    assert [(row.added, row.removed) for row in before.rows] == [(3, 1), (None, None), (None, None)]
    source = replace(source, conflicts=[Conflict(1, ("1.1", "1.2"), ("a",))])
    for view in (timeline(source, at(10)), timeline(source, at(10), before=before)):
        assert [(row.state, row.why) for row in view.rows] == [
            ("changed", None),
            ("conflict", "conflicts with task 1.1 in a"),
            ("changed", None),
        ]
        assert [bar.state for bar in view.lanes[0].bars] == ["changed", "conflict", "changed"]
        assert view.counts == {"changed": 2, "conflict": 1}
        assert [stage.state for stage in view.stages] == ["failed", "succeeded"]
        assert view.late["1.2"].tasks == ("1.1", "1.2")


def test_what_a_task_and_a_batch_wait_for_is_known() -> None:
    named = plan("1.1", "1.2", "1.3", "2.1")
    tasks = (
        named.tasks[0],
        replace(named.tasks[1], dependencies=("1.1",)),
        replace(named.tasks[2], dependencies=("1.1", "1.2", "9.9")),
    )
    batches = (replace(named.batches[0], tasks=tasks), named.batches[1])
    attempts = [attempt("1.3", 0, 1)]
    source = Source(
        run=run(), displayed_status=RunStatus.RUNNING, plan=replace(named, batches=batches), attempts=attempts
    )
    view = timeline(source, at(2))
    assert [row.after for row in view.rows] == [(), ("1.1",), ("1.2",), ()]
    assert view.bars("1.3")[0].after == ("1.2",)
    assert bar_label(view.bars("1.3")[0]).endswith(", in wt-1, after 1.2")
    assert [stage.after for stage in view.stages] == [(), (1,)]


def test_a_long_time_without_work_is_cut_out() -> None:
    source = Source(
        run=run(status=RunStatus.SUCCEEDED, finished_at=at(DAY + 20)),
        displayed_status=RunStatus.SUCCEEDED,
        attempts=[
            attempt("1.1", 0, 10, status=Status.CANCELLED),
            attempt("1.1", DAY, DAY + 10, number=2),
            attempt("1.2", DAY + 10, DAY + 20),
        ],
    )
    view = timeline(source, at(2 * DAY))
    (gap,) = view.breaks
    assert (gap.at, gap.seconds) == (10.0, DAY - 10)
    assert 0 < gap.width < 2
    first, second = view.bars("1.1")
    assert (first.start, first.end) == (0.0, 10.0)
    assert second.start == pytest.approx(10 + gap.width)
    assert second.seconds == pytest.approx(10.0)
    assert view.span == pytest.approx(30 + gap.width)


def test_time_that_passes_while_something_runs_is_never_cut() -> None:
    source = Source(
        run=run(),
        displayed_status=RunStatus.RUNNING,
        attempts=[attempt("1.1", 0, 5), attempt("1.2", 1, None, worktree="wt-2")],
    )
    view = timeline(source, at(DAY))
    assert view.breaks == ()
    assert view.span == DAY


def test_a_run_that_waited_for_its_turn_begins_with_its_first_task() -> None:
    source = Source(run=run(), displayed_status=RunStatus.RUNNING, attempts=[attempt("1.1", 20, None)])
    view = timeline(source, at(22))
    assert view.bars("1.1")[0].start == 0.0
    assert view.elapsed == pytest.approx(2.0)
    started = [attempt("1.1", 0.4, None)]
    soon = timeline(Source(run=run(), displayed_status=RunStatus.RUNNING, attempts=started), at(2))
    assert soon.bars("1.1")[0].start == pytest.approx(0.4)
    waiting = timeline(Source(run=run(), displayed_status=RunStatus.RUNNING), at(20))
    assert (waiting.elapsed, waiting.span) == (0.0, 1.0)


def test_an_attempt_whose_process_died_ends_where_it_was_seen_last() -> None:
    source = Source(
        run=run(),
        displayed_status=RunStatus.INTERRUPTED,
        plan=plan("1.1"),
        attempts=[attempt("1.1", 1, None)],
        steps={("1.1", 1): [StoredStep(1, "run", "make", 0, 2.0, None, finished_at=at(4))]},
    )
    view = timeline(source, at(DAY))
    (bar,) = view.bars("1.1")
    assert (bar.start, bar.end, bar.state) == (1.0, 4.0, "interrupted")
    assert view.row("1.1") is not None
    assert view.rows[0].state == "interrupted"
    assert not view.live


def test_a_task_that_is_tried_again_has_a_bar_an_attempt_and_one_row() -> None:
    attempts = [
        attempt("1.1", 0, 1, status=Status.FAILED),
        attempt("2.1", 1, 2),
        attempt("1.1", 3, None, number=2, worktree="wt-2"),
    ]
    view = timeline(Source(run=run(), displayed_status=RunStatus.RUNNING, attempts=attempts), at(4))
    assert [(bar.number, bar.state) for bar in view.bars("1.1")] == [(1, "failed"), (2, "running")]
    row = view.row("1.1")
    assert row is not None
    assert (row.state, row.attempts, row.lane) == ("running", 2, "wt-2")
    assert [stage.parts for stage in view.stages] == [((0.0, 1.0), (3.0, None)), ((1.0, 2.0),)]


def test_hosts_are_shown_if_there_were_several() -> None:
    attempts = [attempt("1.1", 0, 1, host="a"), attempt("1.2", 0, 1, host="b")]
    view = timeline(Source(run=run(), displayed_status=RunStatus.SUCCEEDED, attempts=attempts), at(4))
    assert [lane.name for lane in view.lanes] == ["a wt-1", "b wt-1"]


def test_tasks_missing_from_the_plan_are_shown() -> None:
    source = Source(
        run=run(),
        displayed_status=RunStatus.FAILED,
        attempts=[attempt("1.2", 0, 1)],
        tasks=[ended("1.1", Status.SKIPPED, error="why")],
    )
    view = timeline(source, at(4))
    assert [(row.task, row.state) for row in view.rows] == [("1.1", "skipped"), ("1.2", "changed")]
    assert view.row("9") is None


def test_the_axis_has_round_numbers() -> None:
    assert ticks(1.0) == (0.0, 1.0)
    assert ticks(7.9) == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert ticks(61.0) == (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0)
    assert ticks(4000.0)[:3] == (0.0, 600.0, 1200.0)


@given(st.floats(1.0, 1e9))
def test_the_axis_is_never_crowded_and_never_empty(span: float) -> None:
    found = ticks(span)
    assert 2 <= len(found) <= 9
    assert found[0] == 0.0
    assert found[-1] <= span


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100)), min_size=1, max_size=12))
def test_no_cut_changes_an_order_or_the_length_of_what_ran(spans: list[tuple[float, float]]) -> None:
    attempts = [
        attempt(f"1.{number}", start, start + length, worktree=f"wt-{number}")
        for number, (start, length) in enumerate(spans)
    ]
    view = timeline(Source(run=run(), displayed_status=RunStatus.FAILED, attempts=attempts), at(0))
    for item in attempts:
        (bar,) = view.bars(item.task)
        assert bar.seconds == pytest.approx(item.seconds, abs=1e-3)
        assert -1e-3 <= bar.start <= view.span
    order = sorted(attempts, key=lambda item: item.started_at)
    starts = [view.bars(item.task)[0].start for item in order]
    assert all(one <= other + 1e-3 for one, other in pairwise(starts))


@given(
    st.lists(st.sampled_from(["begin", "step", "end", "again"]), max_size=12), st.randoms(use_true_random=False)
)
def test_incremental_timeline_equals_a_new_one(events: list[str], random: Random) -> None:
    names = ["1.1", "1.2", "2.1"]
    source = Source(run=run(), displayed_status=RunStatus.RUNNING, plan=plan(*names))
    view = timeline(source, at(0))
    for second, event in enumerate(events, 1):
        task = random.choice(names)
        source = happened(source, task, event, float(second))
        moment = at(second + 0.5)
        view = timeline(source, moment, before=view, touched={task})
        again = timeline(source, moment)
        assert (view.lanes, view.rows, view.stages) == (again.lanes, again.rows, again.stages)
        assert (view.span, view.busy, view.clock) == (again.span, again.busy, again.clock)
    over = replace(source, displayed_status=RunStatus.INTERRUPTED)
    cut = timeline(over, at(100), before=view)
    assert (cut.lanes, cut.rows) == (timeline(over, at(100)).lanes, timeline(over, at(100)).rows)


def happened(source: Source, task: str, event: str, second: float) -> Source:
    """Return what is known after something happened to a task, if it can happen to it now."""
    own = [item for item in source.attempts if item.task == task]
    others = [item for item in source.attempts if item.task != task]
    if event in {"begin", "again"} and not any(item.finished_at is None for item in own):
        begun = attempt(task, second, None, number=len(own) + 1, worktree=f"wt-{task[-1]}{task[0]}")
        return replace(source, attempts=[*others, *own, begun])
    if own and own[-1].finished_at is None and event == "step":
        key = (task, own[-1].number)
        step = StoredStep(1, "run", "make", 0, 0.2, None, finished_at=at(second))
        return replace(source, steps={**source.steps, key: (*source.steps.get(key, ()), step)})
    if own and own[-1].finished_at is None and event == "end":
        done = replace(own[-1], finished_at=at(second), status=Status.CHANGED)
        tasks = [item for item in source.tasks if item.outcome.task != task]
        return replace(source, attempts=[*others, *own[:-1], done], tasks=[*tasks, ended(task)])
    return source


def test_lanes_are_in_the_order_of_their_numbers() -> None:
    assert sorted(["wt-10", "wt-2", "a 1", "wt-1"], key=natural_key) == ["a 1", "wt-1", "wt-2", "wt-10"]


def test_a_clock_without_cuts_counts_from_its_zero() -> None:
    assert Clock(ZERO).position(at(2.5)) == 2.5
    assert Clock(ZERO).position(at(-1)) == 0.0


def test_a_real_run_is_read_from_its_store(project: Project) -> None:
    scripts = {"1.1": "sleep 0.2; echo 1 > a", "1.2": "exit 3", "1.3": "true", "2.1": "cat a > b"}
    done = project.run(project.tasks(scripts), "--keep-going", "--pool-size", "2").expect(1)
    with Store.beside(project.root / ".git") as store:
        stored = store.run(done.run)
        source = source_of(store, stored, stored.status, plan_of(stored))
    view = timeline(source, now())
    assert [(row.task, row.state) for row in view.rows] == list(done.statuses.items())
    assert sorted(bar.task for lane in view.lanes for bar in lane.bars) == ["1.1", "1.2", "1.3", "2.1"]
    for lane in view.lanes:
        for one, other in pairwise(lane.bars):
            assert one.end is not None
            assert one.end <= other.start
    for task in scripts:
        (bar,) = view.bars(task)
        assert bar.end is not None
        assert bar.lane == done.outcome(task)["worktree"]
        assert 0.0 <= bar.start <= bar.end <= view.span
        assert all(bar.start <= mark.start <= (mark.end or 0.0) <= bar.end + 0.05 for mark in bar.marks)
    assert view.speedup == pytest.approx(done.finished["speedup"], abs=1e-3)
    assert [mark.exit_code for mark in view.bars("1.2")[0].marks] == [3]

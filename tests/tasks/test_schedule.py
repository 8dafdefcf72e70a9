"""Which tasks may start, and why others may not."""

from dataclasses import replace

import pytest

from tasks.model import Batch, Plan, Task
from tasks.outcome import Outcome, Status
from tasks.schedule import SelectionError, foundations, left_out, obstacle, ready, select


def task(name: str, *needs: str, completed: bool = False) -> Task:
    return Task(id=name, title=name, batch=int(name[0]), dependencies=needs, completed=completed)


def outcome(name: str, status: Status) -> Outcome:
    return Outcome(task=name, title=name, batch=int(name[0]), status=status)


PLAN = Plan(
    name="p",
    title="P",
    path="p.md",
    batches=(
        Batch(1, "one", (task("1.1"), task("1.2", "1.1"))),
        Batch(2, "two", (task("2.1", "1.1"), task("2.2"))),
        Batch(3, "three", (task("3.1"),), dependencies=()),
        Batch(4, "four", (task("4.1"),), dependencies=(2, 3)),
    ),
)


def test_everything_is_selected_by_default() -> None:
    assert [item.id for item in select(PLAN).tasks] == ["1.1", "1.2", "2.1", "2.2", "3.1", "4.1"]


def test_batch_without_dependencies_builds_on_the_previous_one() -> None:
    assert [batch.dependencies for batch in select(PLAN).batches] == [(), (1,), (), (2, 3)]


def test_dependencies_on_unselected_tasks_are_removed() -> None:
    chosen = select(PLAN, start_batch=2, end_batch=4, tasks=("2.1", "4.1"))
    assert [item.id for item in chosen.tasks] == ["2.1", "4.1"]
    assert chosen.tasks[0].dependencies == ()
    assert [batch.dependencies for batch in chosen.batches] == [(), (), (2, 3)]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"start_batch": 9}, "--start-batch 9: p.md has no batch 9; its batches are 1, 2, 3, 4"),
        ({"end_batch": 0}, "--end-batch 0: p.md has no batch 0; its batches are 1, 2, 3, 4"),
        ({"tasks": ("7.7",)}, "--task 7.7: p.md has no task 7.7"),
        (
            {"start_batch": 3, "end_batch": 1},
            "nothing to run: no task of p.md is in the selected batches and tasks",
        ),
        (
            {"start_batch": 2, "tasks": ("1.1",)},
            "nothing to run: no task of p.md is in the selected batches and tasks",
        ),
    ],
)
def test_unknown_selection_is_named(asked: dict[str, object], sentence: str) -> None:
    with pytest.raises(SelectionError) as caught:
        select(PLAN, **asked)  # type: ignore[arg-type]  # a table of keyword arguments
    assert str(caught.value) == sentence


def test_foundations_are_found_through_other_batches() -> None:
    plan = select(PLAN)
    assert foundations(plan, 1) == ()
    assert foundations(plan, 4) == (1, 2, 3)


def test_ready_tasks_have_finished_dependencies_in_their_batch() -> None:
    tasks = (task("1.1"), task("1.2", "1.1"), task("1.3", "1.2", "0.1"), task("1.4"))
    assert [item.id for item in ready(tasks, (), ())] == ["1.1", "1.4"]
    assert [item.id for item in ready(tasks, ("1.1",), ("1.1", "1.4"))] == ["1.2"]
    assert [item.id for item in ready(tasks, ("1.1", "1.2"), ("1.1", "1.2"))] == ["1.3", "1.4"]


def test_a_failed_task_is_an_obstacle_to_the_next_batch() -> None:
    plan = select(PLAN)
    outcomes = {"1.1": outcome("1.1", Status.CHANGED), "1.2": outcome("1.2", Status.TIMED_OUT)}
    why = obstacle(plan, plan.batches[1], plan.batches[1].tasks[1], outcomes, keep_going=False)
    assert why == "it builds on batch 1, and task 1.2 timed out (`patchyard run --keep-going` runs it anyway)"


def test_keep_going_skips_only_direct_dependents() -> None:
    plan = select(PLAN)
    outcomes = {"1.1": outcome("1.1", Status.FAILED), "1.2": outcome("1.2", Status.CHANGED)}
    first, second = plan.batches[1].tasks
    assert obstacle(plan, plan.batches[1], second, outcomes, keep_going=True) is None
    why = obstacle(plan, plan.batches[1], first, outcomes, keep_going=True)
    assert why == "it depends on task 1.1, which failed"


def test_an_independent_batch_has_no_obstacle() -> None:
    plan = select(PLAN)
    outcomes = {name: outcome(name, Status.FAILED) for name in ("1.1", "1.2", "2.1", "2.2")}
    assert obstacle(plan, plan.batches[2], plan.batches[2].tasks[0], outcomes, keep_going=False) is None
    assert obstacle(plan, plan.batches[3], plan.batches[3].tasks[0], outcomes, keep_going=False) is not None


def test_completed_task_satisfies_dependencies() -> None:
    plan = Plan("p", "P", "p.md", (Batch(1, "", (task("1.1", completed=True), task("1.2", "1.1"))),))
    outcomes = {"1.1": outcome("1.1", Status.SKIPPED)}
    assert obstacle(plan, plan.batches[0], plan.batches[0].tasks[1], outcomes, keep_going=False) is None


def test_left_out_dependencies_are_named() -> None:
    assert left_out(PLAN, select(PLAN)) == ()
    assert left_out(PLAN, select(PLAN, start_batch=2, end_batch=2)) == ("1.1", "1.2")
    assert left_out(PLAN, select(PLAN, tasks=["1.2"])) == ("1.1",)
    assert left_out(PLAN, select(PLAN, tasks=["3.1"])) == ()


def test_selected_tasks_run_with_what_they_build_on() -> None:
    def ids(*tasks: str, **limits: int) -> list[str]:
        return [item.id for item in select(PLAN, tasks=tasks, with_needed=True, **limits).tasks]

    assert ids("1.2") == ["1.1", "1.2"]
    assert ids("2.1") == ["1.1", "1.2", "2.1"]
    assert ids("4.1", start_batch=2) == ["2.1", "2.2", "3.1", "4.1"]
    assert left_out(PLAN, select(PLAN, tasks=["4.1"], with_needed=True)) == ()


def test_a_completed_task_is_selected_too_where_it_holds_the_order() -> None:
    first, done, last = task("1.1"), task("1.2", "1.1", completed=True), task("1.3", "1.2")
    plan = replace(PLAN, batches=(Batch(1, "One", (first, done, last)),))
    assert [item.id for item in select(plan, tasks=["1.3"], with_needed=True).tasks] == ["1.1", "1.2", "1.3"]
    alone = replace(PLAN, batches=(Batch(1, "One", (replace(done, dependencies=()), last)),))
    assert [item.id for item in select(alone, tasks=["1.3"], with_needed=True).tasks] == ["1.3"]

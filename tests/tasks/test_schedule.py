"""Which tasks may start, and why others may not."""

from dataclasses import replace

import pytest

from tasks.model import Batch, Plan, Task
from tasks.order import Order
from tasks.outcome import Outcome, Status
from tasks.schedule import Obstacles, SelectionError, left_out, select


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


def test_a_failed_task_is_an_obstacle_to_the_next_batch() -> None:
    plan = select(PLAN)
    outcomes = {"1.1": outcome("1.1", Status.CHANGED), "1.2": outcome("1.2", Status.TIMED_OUT)}
    why = Obstacles(Order(plan), keep_going=False).of(plan.batches[1].tasks[1], outcomes)
    assert why == "it builds on batch 1, and task 1.2 timed out (`patchyard run --keep-going` runs it anyway)"


def test_keep_going_skips_only_direct_dependents() -> None:
    plan = select(PLAN)
    outcomes = {"1.1": outcome("1.1", Status.FAILED), "1.2": outcome("1.2", Status.CHANGED)}
    first, second = plan.batches[1].tasks
    obstacles = Obstacles(Order(plan), keep_going=True)
    assert obstacles.of(second, outcomes) is None
    assert obstacles.of(first, outcomes) == "it depends on task 1.1, which failed"


def test_an_independent_batch_has_no_obstacle() -> None:
    plan = select(PLAN)
    outcomes = {name: outcome(name, Status.FAILED) for name in ("1.1", "1.2", "2.1", "2.2")}
    obstacles = Obstacles(Order(plan), keep_going=False)
    assert obstacles.of(plan.batches[2].tasks[0], outcomes) is None
    why = obstacles.of(plan.batches[3].tasks[0], outcomes)
    assert why == "it builds on batch 1, and task 1.1 failed (`patchyard run --keep-going` runs it anyway)"


def test_completed_task_satisfies_dependencies() -> None:
    plan = Plan("p", "P", "p.md", (Batch(1, "", (task("1.1", completed=True), task("1.2", "1.1"))),))
    outcomes = {"1.1": outcome("1.1", Status.SKIPPED)}
    assert Obstacles(Order(plan), keep_going=False).of(plan.batches[0].tasks[1], outcomes) is None


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


def test_what_batches_build_on_is_looked_at_once() -> None:
    """Each batch builds on the one before it: with all tasks below asked about each time, it is cubic."""

    class Counted(dict[str, Outcome]):
        asked = 0

        def get(self, key: str, default: Outcome | None = None) -> Outcome | None:  # type: ignore[override]
            self.asked += 1
            return super().get(key, default)

    batches = tuple(
        Batch(number, "", tuple(replace(task(f"{number}.{one}"), batch=number) for one in range(5)))
        for number in range(1, 2001)
    )
    plan = select(Plan("p", "P", "p.md", batches))
    outcomes = Counted({one.id: Outcome(one.id, "", one.batch, Status.UNCHANGED) for one in plan.tasks})
    obstacles = Obstacles(Order(plan), keep_going=False)
    assert obstacles.of(plan.batches[-1].tasks[0], outcomes) is None
    assert all(obstacles.of(one, outcomes) is None for one in plan.tasks)
    assert outcomes.asked <= len(plan.tasks)

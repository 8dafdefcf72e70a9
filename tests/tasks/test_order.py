"""What tasks and batches build on, and which tasks of a batch may start."""

import random
from dataclasses import replace
from graphlib import TopologicalSorter

from tasks.model import Batch, Plan, Task
from tasks.order import Line, Order, first_of


def task(name: str, *needs: str, completed: bool = False) -> Task:
    return Task(id=name, title=name, batch=1, dependencies=needs, completed=completed)


def plan_of(*needs: tuple[int, ...]) -> Plan:
    """Return a plan of batches, the first of which is 1, each with those that it names."""
    return Plan("p", "P", "p.md", tuple(Batch(number, "", (), one) for number, one in enumerate(needs, 1)))


def test_foundations_are_found_through_other_batches() -> None:
    order = Order(plan_of((), (1,), (), (2, 3), (4, 1)))
    assert order.foundations(1) == ()
    assert order.foundations(4) == (1, 2, 3)
    assert order.foundations(2, 4) == (1, 2, 3)
    assert order.tops(4) == (2, 3)
    assert order.tops(5) == (4,)
    assert order.among_foundations(4, {3, 1, 4}) == (1, 3)
    assert [number for number in range(1, 6) if order.is_built_on(number)] == [1, 2, 3, 4]


def test_a_long_chain_of_batches_has_its_foundations() -> None:
    order = Order(plan_of((), *((number,) for number in range(1, 3000))))
    assert order.tops(3000) == (2999,)
    assert len(order.foundations(3000)) == 2999


def test_the_order_holds_through_a_task_that_is_left_out() -> None:
    first, done, last = task("1.1"), task("1.2", "1.1", completed=True), task("1.3", "1.2")
    order = Order(Plan("p", "P", "p.md", (Batch(1, "", (first, done, last)),)))
    assert order.needed(last) == (done, first)
    assert order.needed(first) == ()


def test_the_first_of_some_tasks_is_that_of_the_first_batch() -> None:
    order = Order(plan_of((), (), ()))
    second, third = replace(task("2.1"), batch=2), replace(task("3.1"), batch=3)
    assert first_of(order, (third, None, second)) is second
    assert first_of(order, (None,)) is None


def test_ready_tasks_have_finished_dependencies_in_their_batch() -> None:
    line = Line([task("1.1"), task("1.2", "1.1"), task("1.3", "1.2", "0.1"), task("1.4", "1.1", "1.1")])
    assert [one.id for one in line.ready()] == ["1.1"]
    assert line.ready() == []
    line.finish("1.1")
    assert [one.id for one in line.ready()] == ["1.2", "1.4"]
    line.finish("1.4")
    assert line.ready() == []
    line.finish("1.2")
    assert [one.id for one in line.ready()] == ["1.3"]


def test_finished_tasks_do_not_start_again_and_nothing_waits_for_them() -> None:
    line = Line([task("1.1"), task("1.2", "1.1"), task("1.3", "1.2")], {"1.1"})
    assert [one.id for one in line.ready()] == ["1.2"]
    line.finish("1.1")
    assert line.ready() == []


def test_every_task_of_any_graph_starts_once_after_all_that_it_needs() -> None:
    for seed in range(20):
        dice = random.Random(seed)  # noqa: S311 - the same each time
        tasks = [
            task(f"1.{number}", *{f"1.{dice.randrange(number)}" for _ in range(dice.randrange(4)) if number})
            for number in range(60)
        ]
        dice.shuffle(tasks)
        line, running, ended = Line(tasks), list[str](), list[str]()
        while True:
            running += [one.id for one in line.ready()]
            if not running:
                break
            ended.append(running.pop(dice.randrange(len(running))))
            line.finish(ended[-1])
        assert sorted(ended) == sorted(one.id for one in tasks)
        place = {name: at for at, name in enumerate(ended)}
        graph = {one.id: one.dependencies for one in tasks}
        assert all(
            place[below] < place[name]
            for name in TopologicalSorter(graph).static_order()
            for below in graph[name]
        )


def test_a_task_is_looked_at_when_one_that_it_needs_has_ended() -> None:
    """With the whole line looked at each time, the cost of a task grows with its plan."""
    looked: list[str] = []

    class Seen(Task):
        def __getattribute__(self, name: str) -> object:
            if name == "dependencies":
                looked.append(object.__getattribute__(self, "id"))
            return object.__getattribute__(self, name)

    tasks = [Seen(f"1.{number}", "", 1, dependencies=("1.0",) if number % 2 else ()) for number in range(100)]
    line = Line(tasks)
    for one in line.ready():
        line.finish(one.id)
    assert len(line.ready()) == 50
    assert len(looked) == len(tasks)

"""Which tasks share a pull request."""

from collections.abc import Collection, Mapping

import pytest

from pipeline.publish.parts import Part, in_order, parts_of
from tasks.model import Batch, Task
from tasks.outcome import PullRequestScope


def task(name: str, *needs: str, group: str = "", batch: int = 1) -> Task:
    return Task(name, f"Do {name}", batch, dependencies=needs, group=group)


def groups(*tasks: Task, builds_on: Mapping[str, Collection[str]] | None = None) -> tuple[Part, ...]:
    return parts_of(
        tasks, PullRequestScope.GROUP, batches=[Batch(1, "First"), Batch(2, "")], builds_on=builds_on
    )


def test_a_task_of_its_own_has_no_part() -> None:
    assert parts_of([task("1.1")], PullRequestScope.TASK) == ()


@pytest.mark.parametrize(("ids", "name"), [(("1", "2"), "plan"), (("plan", "2"), "plan-2")])
def test_the_plan_is_one_part_with_a_name_of_its_own(ids: tuple[str, ...], name: str) -> None:
    assert parts_of([task(one) for one in ids], PullRequestScope.PLAN) == (Part(name, "", ids),)


def test_groups_are_those_of_the_plan_else_batches() -> None:
    assert groups(
        task("1", group="Set up"),
        task("2", group="Build"),
        task("3", group="Set up"),
        task("4"),
        task("5", batch=2),
    ) == (
        Part("group-set-up", "Set up", ("1", "3")),
        Part("group-build", "Build", ("2",)),
        Part("group-1", "First", ("4",)),
        Part("group-2", "Batch 2", ("5",)),
    )


def test_groups_of_other_scripts_and_of_the_same_slug_have_names_of_their_own() -> None:
    found = groups(
        task("1", group="設定"), task("2", group="構築"), task("3", group="a b"), task("4", group="A-B")
    )
    names = [part.name for part in found]
    assert names[2:] == ["group-a-b", "group-a-b-2"]
    assert len(set(names)) == len(found)
    long = [f"{'long ' * 20}{number}" for number in range(2)]
    cut = [part.name for part in groups(task("1", group=long[0]), task("2", group=long[1]))]
    assert cut[0] != cut[1] == groups(task("2", group=long[1]))[0].name
    assert all(name.isascii() and not name.endswith("-") for name in names)


def test_a_group_follows_those_that_it_builds_on() -> None:
    found = groups(task("1", "2", group="a"), task("2", group="b"), task("3", group="c"))
    assert [part.tasks for part in found] == [("2",), ("1",), ("3",)]
    found = groups(task("1", group="a"), task("2", group="b"), builds_on={"1": ["2"], "2": ["gone"]})
    assert [part.tasks for part in found] == [("2",), ("1",)]


def test_groups_that_build_on_each_other_are_one() -> None:
    found = groups(
        task("1", group="a"), task("2", "1", group="b"), task("3", "2", group="a"), task("4", "3", group="c")
    )
    assert found == (Part("group-a", "a, b", ("1", "2", "3")), Part("group-c", "c", ("4",)))


def test_order_is_that_of_the_plan_as_far_as_possible() -> None:
    assert in_order(["1", "2", "3", "4"], {"1": ["3", "elsewhere"], "4": ["1"]}) == ["2", "3", "1", "4"]
    chain = [str(number) for number in range(3000)]
    assert in_order(chain[::-1], {name: [str(int(name) - 1)] for name in chain[1:]}) == chain

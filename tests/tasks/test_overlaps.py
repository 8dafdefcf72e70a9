"""Tasks of a batch that declare the same file."""

from dataclasses import replace

import pytest

from tasks.model import Batch, DeclaredFile, FileAction, Plan, Task
from tasks.overlaps import Overlap, overlaps, serialized


def task(name: str, *files: str, after: tuple[str, ...] = (), completed: bool = False) -> Task:
    """Return a task that modifies files; `=path` is one that it reads."""
    declared = tuple(
        DeclaredFile(FileAction.READ if path.startswith("=") else FileAction.MODIFY, path.removeprefix("="))
        for path in files
    )
    return Task(id=name, title="", batch=1, files=declared, dependencies=after, completed=completed)


def plan(*tasks: Task) -> Plan:
    return Plan("p", "P", "p.md", (Batch(1, "One", tasks),))


def found(*tasks: Task) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.path, one.tasks) for one in overlaps(plan(*tasks))]


def waits(*tasks: Task) -> dict[str, tuple[str, ...]]:
    return {one.id: one.dependencies for one in serialized(plan(*tasks)).tasks}


def test_tasks_that_change_the_same_file_are_found() -> None:
    tasks = (task("1", "a", "b"), task("2", "./a"), task("3", "c"), task("4", "a", "c"))
    assert found(*tasks) == [("a", ("1", "2", "4")), ("c", ("3", "4"))]
    assert overlaps(plan(*tasks))[0] == Overlap(1, "a", ("1", "2", "4"))


@pytest.mark.parametrize(
    "tasks",
    [
        (task("1", "a"), task("2", "=a")),
        (task("1", "a"), task("2", "a", completed=True)),
        (task("1", "a"), task("2", "a", after=("1",))),
        (task("1", "a"), task("2", after=("1",)), task("3", "a", after=("2",))),
        (task("1", "a", after=("2",)), task("2", "a")),
        (task("1", "../a"), task("2", "../a")),
    ],
)
def test_tasks_that_only_read_or_wait_do_not_overlap(tasks: tuple[Task, ...]) -> None:
    assert found(*tasks) == []
    assert serialized(plan(*tasks)) == plan(*tasks)


def test_each_waits_for_the_one_before_it() -> None:
    tasks = (task("1", "a"), task("2", "b"), task("3", "b", "a"), task("4", "a"))
    assert waits(*tasks) == {"1": (), "2": (), "3": ("1", "2"), "4": ("3",)}
    assert serialized(plan(*tasks)).tasks[3].reasons == {"3": "both change a"}
    assert overlaps(serialized(plan(*tasks))) == ()


def test_a_task_that_depends_on_a_later_one_stays_behind_it() -> None:
    tasks = (task("1", "a", after=("3",)), task("2", "a"), task("3", "a"))
    ordered = waits(*tasks)
    assert overlaps(serialized(plan(*tasks))) == ()
    assert "1" not in ordered["3"]
    assert "3" in ordered["1"]


def test_batches_are_apart() -> None:
    one, two = task("1", "a"), replace(task("2", "a"), batch=2)
    both = Plan("p", "P", "p.md", (Batch(1, "One", (one,)), Batch(2, "Two", (two,), dependencies=())))
    assert overlaps(both) == ()
    assert serialized(both) == both

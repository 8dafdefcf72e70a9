"""Task Master's `tasks.json`."""

import json
from typing import Any

from tasks.dialects.read_options import Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan
from tasks.plan.parser import Parsed


def task(number: Any, *needs: Any, status: str = "pending", **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"id": number, "title": f"T{number}", "status": status, "dependencies": list(needs), **more}


def parsed(content: Any, **options: Any) -> Parsed:  # noqa: ANN401 - JSON
    text = json.dumps(content, indent=2)
    return parse(text, "tasks.json", agent="agent", options=ReadOptions(**options))


def plan_of(content: Any, **options: Any) -> Plan:  # noqa: ANN401 - JSON
    found = parsed(content, **options)
    assert found.plan, found.diagnostics
    return found.plan


def waits(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {task.id: task.dependencies for task in plan.tasks}


def test_tasks_wait_for_their_dependencies_and_nothing_else() -> None:
    plan = plan_of({"tasks": [task(1), task(2), task("7", 1, "2"), task(9)]})
    assert (plan.dialect, plan.unit) == ("taskmaster", "group")
    assert waits(plan) == {"1": (), "2": (), "7": ("1", "2"), "9": ()}
    assert [batch.dependencies for batch in plan.batches] == [()]


def test_sequential_order_is_the_files() -> None:
    assert waits(plan_of({"tasks": [task(3), task(1)]}, order=Order.SEQUENTIAL)) == {"3": (), "1": ("3",)}


def test_done_cancelled_and_deferred_tasks_are_not_run() -> None:
    states = ("done", "cancelled", "deferred", "pending", "in-progress", "review")
    plan = plan_of({"tasks": [task(number, status=state) for number, state in enumerate(states)]})
    assert [each.completed for each in plan.tasks] == [True, True, True, False, False, False]
    assert (plan.items, plan.done_items) == (6, 3)


def test_the_prompt_of_a_task_has_its_sub_tasks() -> None:
    parts = [task(1, status="done", description="first"), task(2, 1, details="second")]
    (only,) = plan_of({"tasks": [task(4, subtasks=parts, description="all", testStrategy="by hand")]}).tasks
    for text in ("all", "4.1 T1 (done already)", "first", "4.2 T2", "second", "How to test it: by hand"):
        assert text in only.implementation
    assert only.done_items == ("4.1 T1 (done already)",)


def test_sub_tasks_name_siblings_or_any_task() -> None:
    tasks = [
        task(1, subtasks=[task(1), task(2, 1), task(3, "1")]),
        task(2, subtasks=[task(1, "1.2")]),
        task(3, 1, subtasks=[task(1)]),
        task(4, 3),
    ]
    plan = plan_of({"tasks": tasks}, unit=UnitKind.ITEM)
    assert waits(plan) == {
        "1.1": (),
        "1.2": ("1.1",),
        "1.3": ("1.1",),
        "2.1": ("1.2",),
        "3.1": ("1.1", "1.2", "1.3"),
        "4": ("3.1",),
    }
    assert [each.group for each in plan.tasks] == ["T1", "T1", "T1", "T2", "T3", ""]


def test_a_dependency_that_is_not_there_is_a_warning_with_its_place() -> None:
    found = parsed({"tasks": [task(1, 8)]})
    assert found.plan
    assert waits(found.plan) == {"1": ()}
    (warning,) = found.warnings
    assert str(warning).startswith("tasks.json:3:5: warning: task 1 depends on `8`, which is not there")


def test_a_tag_names_one_of_several_lists() -> None:
    content = {
        "master": {"tasks": [task(1)]},
        "next": {"tasks": [task(2)], "metadata": {"description": "later"}},
    }
    assert list(waits(plan_of(content))) == ["1"]
    assert "`--tag` names another: next" in str(parsed(content).warnings[0])
    plan = plan_of(content, tag="next")
    assert (list(waits(plan)), plan.header) == (["2"], "later")
    (error,) = parsed(content, tag="none").errors
    assert "no list of tasks is named `none`; its lists are master, next" in error.message


def test_a_cycle_is_an_error_and_json_that_is_not_valid_too() -> None:
    (error,) = parsed({"tasks": [task(1, 2), task(2, 1)]}).errors
    assert error.message == "tasks depend on each other in a cycle: 1 -> 2 -> 1"
    (broken,) = parse('{"tasks": [\n {"dependencies": [}', "tasks.json", agent="a").errors
    assert (broken.line, broken.column) == (2, 20)


def test_odd_values_are_read_without_a_traceback() -> None:
    tasks = [
        {"id": None, "title": 5, "dependencies": "1", "subtasks": {"a": 1}},
        "text",
        {"title": "x", "dependencies": [None]},
    ]
    assert [each.id for each in plan_of({"tasks": tasks}).tasks] == ["1", "2"]

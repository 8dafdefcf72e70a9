"""Ralph's `prd.json`."""

import json
from typing import Any

from tasks.dialects.registry import parse
from tasks.model import Plan


def story(name: str, priority: object, *, passes: bool = False, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"id": name, "title": f"Story {name}", "priority": priority, "passes": passes, **more}


def plan_of(**content: Any) -> Plan:  # noqa: ANN401 - JSON
    found = parse(json.dumps(content), "prd.json", agent="agent")
    assert found.plan, found.diagnostics
    return found.plan


def test_stories_run_one_after_another_by_priority() -> None:
    stories = [story("A", 2), story("B", 1), story("C", 2), story("D", "x")]
    plan = plan_of(project="P", userStories=stories)
    assert (plan.dialect, plan.unit, plan.title) == ("ralph", "item", "P")
    assert [(task.id, task.dependencies) for task in plan.tasks] == [
        ("B", ()),
        ("A", ("B",)),
        ("C", ("A",)),
        ("D", ("C",)),
    ]


def test_a_story_that_passes_is_done() -> None:
    plan = plan_of(userStories=[story("A", 1, passes=True), story("B", 2)])
    assert [task.completed for task in plan.tasks] == [True, False]
    assert plan.done_items == 1


def test_criteria_are_prose_to_make_sure_of_and_nothing_is_lost() -> None:
    first = story(
        "A", 1, description="why", notes="mind", extra={"k": "policy"}, acceptanceCriteria=["it works"]
    )
    (task,) = plan_of(description="About", policy="careful", userStories=[first]).tasks
    assert [(check.text, check.step) for check in task.verification] == [("it works", None)]
    for text in ("why", "mind", "policy"):
        assert text in task.implementation
    header = plan_of(description="About", policy="careful", userStories=[first]).header
    assert "About" in header
    assert "careful" in header

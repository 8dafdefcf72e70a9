"""Setting the boxes of tasks in the text of a plan."""

import json

import pytest

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.ticks import Ticked, ticked

CHECKLIST = "\ufeff# L\r\n\r\n- [ ] a [ ]\r\n  * [] inside\r\n- [x] b\r\n- [~] c\r\n"


def tick(text: str, path: str, *names: str, unit: UnitKind | None = None) -> Ticked:
    plan = parse(text, path, agent="agent", options=ReadOptions(unit=unit)).plan
    assert plan
    return ticked(text, [task for task in plan.tasks if task.id in names])


def test_only_boxes_of_the_tasks_change() -> None:
    done = tick(CHECKLIST, "TODO.md", "1", unit=UnitKind.ITEM)
    assert done.text == CHECKLIST.replace("- [ ] a", "- [x] a").replace("* []", "* [x]")
    assert (done.boxes, done.tasks) == (2, ("1",))


def test_boxes_that_are_at_work_are_set_and_others_left() -> None:
    assert tick(CHECKLIST, "TODO.md", "3", unit=UnitKind.ITEM).text == CHECKLIST.replace("[~]", "[x]")
    assert tick(CHECKLIST, "TODO.md", "2", unit=UnitKind.ITEM).text == CHECKLIST


def test_boxes_below_a_heading_are_its_own() -> None:
    steps = (
        "### Task {0}: A\n**Files:**\n- Create: `{0}.py`\n\n- [ ] **Step 1: Write**\n- [ ] **Step 2: Try**\n\n"
    )
    text = "# P\n\n" + steps.format(1) + steps.format(2) + "## Notes\n\n- [ ] not a step\n"
    done = tick(text, "docs/superpowers/plans/p.md", "1")
    assert done.boxes == 2
    assert done.text.split("### Task 2")[0].count("[x]") == 2
    assert "[x]" not in done.text.split("### Task 2")[1]


@pytest.mark.parametrize("indent", ["  ", ""])
def test_a_parent_of_kiro_is_set_with_its_items_and_what_is_optional_is_not(indent: str) -> None:
    text = (
        f"# Implementation Plan\n\n- [ ] 1. First\n{indent}- [ ] 1.1 a\n    - _Requirements: 1_\n"
        f"{indent}- [ ]* 1.2 b\n- [ ] 2. Second\n{indent}- [ ] 2.1 c\n    - _Requirements: 2_\n"
    )
    done = tick(text, ".kiro/specs/a/tasks.md", "1")
    assert done.text == text.replace("- [ ] 1. ", "- [x] 1. ").replace("- [ ] 1.1", "- [x] 1.1")
    assert done.boxes == 2


def test_manual_criteria_are_left_to_a_person() -> None:
    text = (
        "# P\n## Phase 1: A\n### Success Criteria:\n#### Automated Verification:\n- [ ] `make test`\n"
        "#### Manual Verification:\n- [ ] Look\n"
    )
    assert tick(text, "p.md", "1").text == text.replace("- [ ] `make", "- [x] `make")


@pytest.mark.parametrize("indent", [None, 2])
def test_the_status_in_json_is_set_and_nothing_else(indent: int | None) -> None:
    sub = {"id": 1, "title": "s", "status": "pending", "note": '{"status": 1}'}
    tasks = [
        {"id": 1, "title": "a", "subtasks": [sub], "status": "pending", "dependencies": []},
        {"id": 2, "title": "b", "status": "in-progress", "dependencies": [1]},
    ]
    text = json.dumps({"tasks": tasks}, indent=indent)
    done = json.loads(tick(text, "tasks.json", "1").text)
    assert [task["status"] for task in done["tasks"]] == ["done", "in-progress"]
    assert done["tasks"][0]["subtasks"][0] == {**sub, "status": "done"}
    stories = [{"id": "A", "title": "a", "passes": False}, {"id": "B", "title": "b", "passes": False}]
    text = json.dumps({"userStories": stories}, indent=indent)
    assert tick(text, "prd.json", "B").text == text.replace("false", "true", 2).replace("true", "false", 1)

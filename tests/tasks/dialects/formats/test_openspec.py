"""Plans of OpenSpec."""

from typing import Any

import pytest

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan

PATH = "openspec/changes/add-shop/tasks.md"

PLAN = """\
# Tasks

Why it is done.

## 1. Store

Tests come first.

- [x] 1.1 Add the table
- [ ] 1.2 Add the model:
  - [ ] with an index
  - [ ] with a check

## 2. Sell

### 2.1 Prices

- [x] 2.1.1 Add prices
- [x] 2.1.2 Round them

### 2.2 Taxes

- [ ] 2.2.1 Add taxes

## 3. Check

- [ ] 3.1 Run `make lint` and `make test`
- [ ] 3.2 Look at the shop

## Notes

Nobody reads this.
"""


def read(text: str, path: str = PATH, **options: Any) -> Plan:  # noqa: ANN401 - options of any type
    plan = parse(text, path, agent="a", options=ReadOptions(**options)).plan
    assert plan is not None
    return plan


def test_sections_are_tasks() -> None:
    plan = read(PLAN)
    assert (plan.dialect, plan.unit, plan.items, plan.done_items) == ("openspec", "group", 7, 3)
    assert [(task.id, task.title, task.group, task.completed, task.dependencies) for task in plan.tasks] == [
        ("1", "Store", "", False, ()),
        ("2.1", "Prices", "Sell", True, ("1",)),
        ("2.2", "Taxes", "Sell", False, ("2.1",)),
        ("3", "Check", "", False, ("2.2",)),
    ]
    assert plan.header == "# Tasks\n\nWhy it is done."
    assert plan.footer == "## Notes\n\nNobody reads this."
    assert plan.neighbours == ("proposal.md", "design.md", "specs/")


def test_text_of_a_section_is_all_of_it() -> None:
    first = read(PLAN).tasks[0]
    assert first.implementation.startswith("Tests come first.\n\n- [x] 1.1 Add the table")
    assert first.implementation.endswith("  - [ ] with a check")
    assert first.done_items == ("1.1 Add the table",)


def test_lines_are_tasks_in_item_mode() -> None:
    tasks = read(PLAN, unit=UnitKind.ITEM).tasks
    assert [task.id for task in tasks] == ["1.1", "1.2", "2.1.1", "2.1.2", "2.2.1", "3.1", "3.2"]
    assert [task.dependencies for task in tasks[:3]] == [(), ("1.1",), ("1.2",)]
    assert (tasks[1].title, tasks[1].group, tasks[1].group_text) == (
        "Add the model:",
        "Store",
        "Tests come first.",
    )
    assert tasks[1].implementation.count("\n") == 2


def test_items_that_say_to_run_commands_are_verification() -> None:
    assert [check.text for check in read(PLAN).tasks[3].verification] == ["make lint", "make test"]


def test_boxes_without_a_number_or_a_section() -> None:
    plan = read("- [x] a\n- [ ] b\n")
    assert [(task.id, task.title, task.completed) for task in plan.tasks] == [("1", "add-shop", False)]
    items = read("- [x] a\n- [ ] b\n", unit=UnitKind.ITEM).tasks
    assert [(task.id, task.title, task.completed) for task in items] == [("1", "a", True), ("2", "b", False)]


def test_boxes_without_a_number_are_counted_in_their_section() -> None:
    items = read("## 2. A\n\n- [ ] a\n- [ ] b\n\n## B\n\n- [ ] c\n", unit=UnitKind.ITEM).tasks
    assert [task.id for task in items][:2] == ["2.1", "2.2"]


def test_numbered_headings_without_a_box_are_tasks() -> None:
    text = "# Tasks\n\nWhy.\n\n## 1. A\n\nDo a.\n\n## 2. B\n\n**Files:**\n- Modify: `b.py`\n"
    plan = read(f"{text}\n## Notes\n\nBe brief.\n")
    assert [(task.id, task.title, task.dependencies) for task in plan.tasks] == [
        ("1", "A", ()),
        ("2", "B", ("1",)),
    ]
    assert plan.tasks[0].implementation == "Do a."
    assert [file.path for file in plan.tasks[1].files] == ["b.py"]
    assert (plan.header, plan.footer) == ("# Tasks\n\nWhy.", "## Notes\n\nBe brief.")


def test_numbered_headings_without_a_box_among_others_are_reported() -> None:
    text = "## 1. A\n\na\n\n## 2. B\n\nb\n\n## 3. C\n\n- [ ] c\n"
    parsed = parse(text, PATH, agent="a")
    assert ["2 numbered sections without a box" in found.message for found in parsed.diagnostics] == [True]


def test_boxes_beside_numbered_headings_are_a_check_list_for_all() -> None:
    plan = read("## 1. A\n\na\n\n## 2. B\n\nb\n\n## Done when\n\n- [x] c\n")
    assert [(task.title, task.completed) for task in plan.tasks] == [("A", False), ("B", False)]
    assert plan.footer == "## Done when\n\n- [x] c"


def test_all_of_it_may_be_done() -> None:
    plan = read("## 1. A\n\n- [X] 1.1 a\n- [x] ~~1.2 b~~\n")
    assert [task.completed for task in plan.tasks] == [True]


def test_number_in_a_box_below_its_heading_makes_a_plan_of_it_anywhere() -> None:
    assert read("## 1. A\n\n- [ ] 1.1 a\n", "x.md").dialect == "openspec"
    assert read("## 1. A\n\n- [ ] a\n", "x.md").dialect == "checklist"


@pytest.mark.parametrize("text", ["# Tasks\n", "", "{}"])
def test_file_without_a_task_gives_an_error(text: str) -> None:
    parsed = parse(text, PATH, agent="a")
    assert parsed.plan is None
    assert parsed.diagnostics


def test_windows_lines_tabs_and_other_bullets() -> None:
    text = "\ufeff## 1. A\r\n\r\n* [ ] 1.1 a\r\n\t* [ ] b\r\n+ [x]1.2 c\r\n".encode()
    plan = parse(text, PATH, agent="a").plan
    assert plan is not None
    assert (plan.items, plan.done_items) == (2, 1)
    assert "\t* [ ] b" in plan.tasks[0].implementation


def test_plan_in_a_fence_or_a_comment_is_text() -> None:
    plan = read("## 1. A\n\n- [ ] 1.1 a\n\n```markdown\n## 2. B\n- [ ] 2.1 b\n```\n\n<!--\n- [ ] 2.2 c\n-->\n")
    assert [task.id for task in plan.tasks] == ["1"]
    assert plan.items == 1
    assert "2.1 b" in plan.tasks[0].implementation


def test_headings_of_tasks_without_a_box_are_grouped_by_those_above() -> None:
    text = (
        "# P\n\n## Phase 1: A\n\nAbout A.\n\n### Task 1.1: a ✅\n\n**Status:** done\n\n### Task 1.2: b\n\n- c\n"
    )
    assert [(task.id, task.title, task.completed) for task in read(text).tasks] == [("1", "Phase 1: A", False)]
    items = read(text, unit=UnitKind.ITEM)
    assert (items.dialect, items.items, items.done_items) == ("openspec", 2, 1)
    assert [(task.id, task.title, task.group, task.group_text) for task in items.tasks] == [
        ("1.1", "a", "Phase 1: A", "About A."),
        ("1.2", "b", "Phase 1: A", "About A."),
    ]

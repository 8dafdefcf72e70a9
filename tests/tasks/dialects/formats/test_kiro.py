"""Plans of Kiro and cc-sdd."""

from typing import Any

import pytest

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan, Task

PATH = ".kiro/specs/shop/tasks.md"
ITEMS = ReadOptions(unit=UnitKind.ITEM)

PLAN = """\
# Implementation Plan

What holds for all.

- [x] 1. Store the goods
  - Keep it small
  - [x] 1.1 (P) Add the table
    - With an index
    - _Requirements: 1.1_
  - [x] 1.2 (P) Add the model
    - _Requirements: 1.2_

- [ ] 2. Sell the goods
- [x] 2.1 Add the basket
  - _Requirements: 2.1_

```python
basket = []
```

- [ ] 2.2 (P) Add the prices
  - _Requirements: 2.2_
- [ ] 2.3 (P) Add the taxes
  - _Requirements: 2.3_
- [ ]* 2.4 Write tests of the prices
  - _Requirements: 2.2_

- [ ] 3. Run `make test` and see it pass
  - _Requirements: 3_
  - _Depends: 1.2_

## Notes

Be careful.
"""


def read(text: str, path: str = PATH, **options: Any) -> Plan:  # noqa: ANN401 - options of any type
    plan = parse(text, path, agent="a", options=ReadOptions(**options)).plan
    assert plan is not None
    return plan


def tasks(text: str, path: str = PATH, **options: Any) -> dict[str, Task]:  # noqa: ANN401 - options of any type
    return {task.id: task for task in read(text, path, **options).tasks}


def messages(text: str, **options: Any) -> list[str]:  # noqa: ANN401 - options of any type
    return [found.message for found in parse(text, PATH, agent="a", options=ReadOptions(**options)).diagnostics]


def test_first_numbers_are_tasks() -> None:
    plan = read(PLAN)
    assert (plan.dialect, plan.unit, plan.items, plan.done_items) == ("kiro", "group", 7, 3)
    assert [(task.id, task.title, task.completed) for task in plan.tasks] == [
        ("1", "Store the goods", True),
        ("2", "Sell the goods", False),
        ("3", "Run `make test` and see it pass", False),
    ]
    assert plan.header == "# Implementation Plan\n\nWhat holds for all."
    assert plan.footer == "## Notes\n\nBe careful."
    assert plan.neighbours == ("requirements.md", "design.md", "/.kiro/steering/")


def test_text_of_a_group_is_all_of_it_without_optional_items() -> None:
    text = tasks(PLAN)["2"].implementation
    assert "basket = []" in text
    assert "2.3 (P) Add the taxes" in text
    assert "2.4" not in text
    assert "2.4 Write tests of the prices" in tasks(PLAN, optional=True)["2"].implementation
    assert "optional and left out: 2.4; `--optional` runs them too" in messages(PLAN)
    assert messages(PLAN, optional=True) == []


def test_what_is_done_of_a_group_is_known() -> None:
    assert tasks(PLAN)["2"].done_items == ("2.1 Add the basket",)


def test_depends_holds_instead_of_the_order() -> None:
    assert {name: task.dependencies for name, task in tasks(PLAN).items()} == {
        "1": (),
        "2": ("1",),
        "3": ("1",),
    }


def test_lowest_numbers_are_tasks_in_item_mode() -> None:
    found = tasks(PLAN, unit=UnitKind.ITEM)
    assert list(found) == ["1.1", "1.2", "2.1", "2.2", "2.3", "2.4", "3"]
    assert {name: task.dependencies for name, task in found.items()} == {
        "1.1": (),
        "1.2": (),
        "2.1": ("1.1", "1.2"),
        "2.2": ("2.1",),
        "2.3": ("2.1",),
        "2.4": ("2.2", "2.3"),
        "3": ("1.2",),
    }
    assert found["2.2"].title == "Add the prices"
    assert found["2.2"].group == "Sell the goods"
    assert "Keep it small" in found["1.1"].group_text
    assert "basket = []" in found["2.1"].implementation
    assert [name for name, task in found.items() if task.optional] == ["2.4"]
    assert not found["2.4"].completed


def test_item_that_says_to_run_a_command_is_verification() -> None:
    assert [check.text for check in tasks(PLAN)["3"].verification] == ["make test"]


def test_optional_items_alone_make_an_optional_task() -> None:
    found = tasks("- [x] 1. a\n- [ ]* 2. b\n  - [ ] 2.1 c\n- [ ]\\* 3. d\n")
    assert [(task.completed, task.optional) for task in found.values()] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    assert "2.1 c" in found["2"].implementation


def test_parent_is_done_when_its_children_are() -> None:
    found = tasks("- [ ] 1. a\n- [x] 1.1 b\n- [x] 2. c\n  - [ ] 2.1 d\n")
    assert [task.completed for task in found.values()] == [True, False]


def test_headings_may_be_groups() -> None:
    text = """\
# Plan

## Tasks

### 1. First

For all of it.

- [ ] 1.1 a
  - _Requirements: 1_
- [x] 1.2 b ✅

### 2. Second

- [-] 2.1 c
"""
    found = tasks(text)
    assert [(task.id, task.title, task.line) for task in found.values()] == [
        ("1", "First", 5),
        ("2", "Second", 13),
    ]
    assert found["1"].implementation.startswith("For all of it.\n\n- [ ] 1.1 a")
    item = tasks(text, unit=UnitKind.ITEM)["1.2"]
    assert (item.title, item.completed, item.group, item.group_text) == ("b", True, "First", "For all of it.")


def test_headings_over_groups_come_with_them() -> None:
    text = "## Phase A\n\nAbout A.\n\n- [ ] 1. a\n- [ ] 2. b\n\n## Phase B\n\nAbout B.\n\n- [ ] 3. c\n"
    assert [(task.group, task.group_text) for task in read(text).tasks] == [
        ("Phase A", "About A."),
        ("Phase A", "About A."),
        ("Phase B", "About B."),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "- [ ] 17.1 Title",
        "- [ ]  17.1  Title",
        "- [ ] 17.1. Title",
        "- [ ] 17.1: Title",
        "- [ ] 17.1：（P） Title",  # noqa: RUF001 - full-width
        "- [ ] **17.1 Title**",
        "* [ ] **17.1** Title (P)",
        "+ [ ]17.1 Title",
        "- [~] Task 17.1: Title",
        "- [ ] 17.1\u00a0Title",
    ],
)
def test_numbers_are_written_in_many_ways(line: str) -> None:
    found = tasks(line + "\n", unit=UnitKind.ITEM)
    assert [(name, task.title) for name, task in found.items()] == [("17.1", "Title")]


def test_amount_at_the_start_does_not_count() -> None:
    assert list(tasks("- [ ] 1. a\n  - [ ] 90% covered\n  - [ ] 3 retries\n", unit=UnitKind.ITEM)) == ["1"]


def test_box_without_a_number_belongs_to_the_group_before() -> None:
    found = tasks("- [ ] 1. a\n  - [x] 1.1 b\n- [ ] Checkpoint: it works\n- [ ] 2. c\n", unit=UnitKind.ITEM)
    assert [(name, task.title) for name, task in found.items()] == [
        ("1.1", "b"),
        ("1.1-2", "Checkpoint: it works"),
        ("2", "c"),
    ]


def test_boxes_without_a_number_after_all_are_text() -> None:
    text = "- [ ] 1. a\n\n## Done when\n\n- [ ] it works\n"
    assert read(text).footer == "## Done when\n\n- [ ] it works"
    assert any("without a number after the last task" in message for message in messages(text))


def test_number_that_no_task_has_is_reported() -> None:
    text = "- [ ] 1. a\n- [ ] 2. b\n  - _Depends: 9.9_\n"
    assert any("9.9" in message for message in messages(text))
    assert tasks(text)["2"].dependencies == ("1",)


@pytest.mark.parametrize("what", ["none", "-", "なし"])
def test_task_may_depend_on_nothing(what: str) -> None:
    assert tasks(f"- [ ] 1. a\n- [ ] 2. b\n  - _Depends: {what}_\n")["2"].dependencies == ()


def test_dependencies_on_libraries_are_text() -> None:
    assert tasks("- [ ] 1. a\n- [ ] 2. b\n  - _Dependencies: numpy 1.26_\n")["2"].dependencies == ("1",)


def test_requirements_make_a_plan_of_it_anywhere() -> None:
    text = "- [ ] 1. a\n  - [ ] 1.1 b\n    - _Requirements: 1.1_\n"
    assert read(text, "plan.md").dialect == "kiro"
    assert read(text.replace("_Requirements: 1.1_", "text"), "plan.md").dialect == "checklist"


def test_plan_without_numbers_is_read_by_its_headings() -> None:
    found = read("# Plan\n\n## Build\n\n- [ ] a\n- [x] b\n\n## Ship\n\n- [ ] c\n")
    assert (found.dialect, [task.title for task in found.tasks]) == ("kiro", ["Build", "Ship"])


def test_numbers_that_come_again_are_other_tasks() -> None:
    assert list(tasks("## A\n\n- [ ] 1. a\n- [ ] 2. b\n\n## B\n\n- [ ] 1. c\n")) == ["1", "2", "1-2"]


def test_empty_plan_says_whose_it_is() -> None:
    assert messages("# Plan\n") == ["this kiro plan has no task"]


def test_details_of_a_parent_are_work_where_all_below_is_optional() -> None:
    text = "- [ ] 1. a\n  - the work\n- [ ]* 1.1 test it\n- [ ] 2. b\n  - [x] 2.1 c\n  - [ ]* 2.2 d\n"
    groups = tasks(text)
    assert [(task.completed, task.optional) for task in groups.values()] == [(False, False), (True, False)]
    assert groups["1"].implementation == "- [ ] 1. a\n  - the work"
    assert [task.completed for task in tasks(text, optional=True).values()] == [False, False]
    items = tasks(text, unit=UnitKind.ITEM)
    assert [(name, task.completed, task.optional) for name, task in items.items()] == [
        ("1", False, False),
        ("1.1", False, True),
        ("2.1", True, False),
        ("2.2", False, True),
    ]


def test_fields_that_continue_a_title_are_left_out_of_it() -> None:
    text = "- [ ] 1. a\n  - [ ] 1.1 Write `a_b: c` to x_y\n    _Requirements: 1.1_\n    _Depends: 1_\n"
    assert tasks(text, unit=UnitKind.ITEM)["1.1"].title == "Write `a_b: c` to x_y"


def test_groups_whose_items_depend_on_each_other_are_in_order() -> None:
    text = """\
- [ ] 1. a
  - [ ] 1.1 b
  - [ ] 1.2 c
    - _Depends: 2.1_
- [ ] 2. d
  - [ ] 2.1 e
    - _Depends: 1.1_
"""
    assert {name: task.dependencies for name, task in tasks(text).items()} == {"1": (), "2": ("1",)}
    assert any("1 -> 2 -> 1" in message for message in messages(text))
    assert tasks(text, unit=UnitKind.ITEM)["1.2"].dependencies == ("2.1",)


def test_dependency_on_itself_says_nothing() -> None:
    text = "- [ ] 1. a\n  - [ ] 1.1 b\n  - [ ] 1.2 c\n    - _Depends: 1_\n"
    assert tasks(text, unit=UnitKind.ITEM)["1.2"].dependencies == ("1.1",)

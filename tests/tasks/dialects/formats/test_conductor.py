"""Plans of Conductor."""

from typing import Any

import pytest

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan

PLAN = """\
# Plan: Shop

Tests first.

## Phase 1: Store [checkpoint: 0a1b2c3]

Goods are kept.

- [x] Task: Add the table [1a2b3c4]
    - [ ] Write a test
    - [x] Write the table
- [~] Task: Add the model
    - [ ] Run `make test` and see it pass
- [ ] Task: Conductor - User Manual Verification 'Phase 1: Store' (Protocol in workflow.md)

## Phase 2: Empty

Intentionally empty.

## Phase 3: Sell

- [ ] **Task: Add the prices**
- [ ] Add the taxes
"""


def read(text: str, path: str = "plan.md", **options: Any) -> Plan:  # noqa: ANN401 - options of any type
    plan = parse(text, path, agent="a", options=ReadOptions(**options)).plan
    assert plan is not None
    return plan


def test_boxes_are_tasks() -> None:
    plan = read(PLAN)
    assert (plan.dialect, plan.unit, plan.items, plan.done_items) == ("conductor", "item", 4, 1)
    assert [(task.id, task.title, task.completed, task.dependencies) for task in plan.tasks] == [
        ("1.1", "Add the table", True, ()),
        ("1.2", "Add the model", False, ("1.1",)),
        ("3.1", "Add the prices", False, ("1.2",)),
        ("3.2", "Add the taxes", False, ("3.1",)),
    ]
    assert plan.header == "# Plan: Shop\n\nTests first."
    assert plan.footer == "## Phase 2: Empty\n\nIntentionally empty."
    assert plan.neighbours == ("spec.md",)


def test_text_of_a_task_and_of_its_phase() -> None:
    task = read(PLAN).tasks[1]
    assert task.implementation == "- [~] Task: Add the model\n    - [ ] Run `make test` and see it pass"
    assert (task.group, task.group_text) == ("Phase 1: Store", "Goods are kept.")
    assert task.done_items == ("Task: Add the table [1a2b3c4]",)
    assert task.verification == ()


def test_phases_are_tasks_in_group_mode() -> None:
    plan = read(PLAN, unit=UnitKind.GROUP)
    assert [(task.id, task.title, task.dependencies) for task in plan.tasks] == [
        ("1", "Phase 1: Store", ()),
        ("3", "Phase 3: Sell", ("1",)),
    ]
    assert "Manual Verification" not in plan.tasks[0].implementation


def test_manual_verification_is_left_out_and_reported() -> None:
    parsed = parse(PLAN, "plan.md", agent="a")
    assert [(found.line, "manual verification" in found.message) for found in parsed.diagnostics] == [
        (14, True)
    ]


def test_phase_of_which_only_the_manual_verification_is_open_is_done() -> None:
    text = "## Phase 1: A\n- [x] Task: a\n- [ ] Task: Conductor - User Manual Verification 'A'\n"
    assert [task.completed for task in read(text, unit=UnitKind.GROUP).tasks] == [True]
    assert [task.completed for task in read(text).tasks] == [True]


@pytest.mark.parametrize(
    "line",
    [
        "- [ ] Task: Title",
        "- [ ] **Task:** Title",
        "- [ ] **Task: Title**",
        "- [ ] Task：Title",  # noqa: RUF001 - full-width
        "- [ ] Task 1.1: Title",
        "- [x] Task: Title 0b41b9b",
        "- [x] Task: Title [0b41b9b]",
        "- [x] 0b41b9b Task: Title",
        "* [ ]Task: Title",
    ],
)
def test_titles_are_written_in_many_ways(line: str) -> None:
    plan = read(f"## Phase 1: A\n\n{line}\n- [ ] Task: Next\n")
    assert (plan.dialect, plan.tasks[0].id, plan.tasks[0].title) == ("conductor", "1.1", "Title")


def test_path_makes_a_plan_of_it_without_the_word_task() -> None:
    text = "## Setup\n\n- [ ] a\n  - [ ] b\n- [x] c\n"
    plan = read(text, "conductor/tracks/shop_1/plan.md")
    assert (plan.dialect, [task.title for task in plan.tasks]) == ("conductor", ["a", "c"])
    assert read(text, "plan.md").dialect == "checklist"


def test_phase_holds_what_is_below_headings_in_it() -> None:
    plan = read(
        "## Phase 1: A\n\n### Goal\n\nSmall.\n\n### Tasks\n\n- [ ] Task: a\n\n### Later\n\n- [ ] Task: b\n"
    )
    assert [(task.id, task.group) for task in plan.tasks] == [("1.1", "Phase 1: A"), ("1.2", "Phase 1: A")]
    assert "Small." in plan.tasks[0].group_text


def test_manual_verification_makes_no_plan_of_another_tool_of_it() -> None:
    text = "".join(
        f"## Phase {number}: A\n\n- [x] Task: Conductor - User Manual Verification 'A'\n\n"
        for number in range(9)
    )
    assert read(f"{text}## Phase 9: B\n\n- [ ] Task: Perform manual verification\n").dialect == "conductor"

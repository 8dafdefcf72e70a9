"""Stories of BMAD."""

from typing import Any

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Beside
from tasks.model import Plan

STORY = """\
# Story 2.10: Greet

## Status

Done

## Story

As a user I am greeted.

## Acceptance Criteria

1. It greets.

## Tasks / Subtasks

- [x] **Task 1: Say hello** (AC: 1)
  - [x] in one line
- [ ] Task 2: Say goodbye (AC: 1)
  - [ ] too

## Dev Notes

- [ ] not an item
"""


def plan_of(text: str = "", files: dict[str, str] | None = None, **options: Any) -> Plan:  # noqa: ANN401 - values
    beside = Beside(tuple((files or {}).items()), frozenset(files or ()))
    found = parse(text, "docs/stories/2.10.md", agent="agent", options=ReadOptions(**options), beside=beside)
    assert found.plan, found.diagnostics
    return found.plan


def test_a_story_is_one_unit() -> None:
    plan = plan_of(STORY)
    assert (plan.dialect, plan.unit, plan.items, plan.done_items) == ("bmad", "group", 2, 1)
    (task,) = plan.tasks
    assert (task.id, task.title, task.completed) == ("2.10", "Story 2.10: Greet", False)
    assert task.implementation == STORY.strip()
    assert task.done_items == ("**Task 1: Say hello** (AC: 1)",)


def test_by_items_the_top_boxes_are_units_in_order() -> None:
    plan = plan_of(STORY, unit=UnitKind.ITEM)
    assert [(task.id, task.title, task.completed, task.dependencies) for task in plan.tasks] == [
        ("1", "Task 1: Say hello (AC: 1)", True, ()),
        ("2", "Task 2: Say goodbye (AC: 1)", False, ("1",)),
    ]
    assert "As a user I am greeted." in plan.tasks[1].group_text
    assert "not an item" in plan.tasks[1].group_text
    assert "Say goodbye" not in plan.tasks[1].group_text


def test_headings_of_tasks_are_the_top_items() -> None:
    text = STORY.replace("- [x] **Task 1: Say hello** (AC: 1)", "### Task 1: Hello\n- [x] do (AC: 1)")
    text = text.replace("- [ ] Task 2: Say goodbye (AC: 1)", "### Task 2: Goodbye\n- [ ] do (AC: 1)")
    plan = plan_of(text, unit=UnitKind.ITEM)
    assert [(task.title, task.completed) for task in plan.tasks] == [
        ("Task 1: Hello", True),
        ("Task 2: Goodbye", False),
    ]


def test_a_status_that_is_done_with_open_items_is_a_warning() -> None:
    found = parse(STORY, "s.md", agent="agent")
    assert [(warning.line, warning.message) for warning in found.warnings] == [
        (3, "s.md: its status is Done, but items are open; they are run")
    ]


def test_a_directory_of_stories_is_one_plan_in_their_order() -> None:
    def story(number: str) -> str:
        return STORY.replace("2.10", number)

    plan = plan_of(files={"2.10.b.md": story("2.10"), "2.9.a.md": story("2.9"), "index.md": "# Index\n"})
    assert [(task.id, task.dependencies) for task in plan.tasks] == [("2.9", ()), ("2.10", ("2.9",))]

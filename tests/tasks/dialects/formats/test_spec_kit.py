"""Plans of spec-kit."""

from typing import Any

import pytest

from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan

PLAN = """\
# Tasks: Login

The header.

## Phase 1: Setup

- [x] T001 Create it
- [ ] T002 [P] Lint it

## Phase 2: Foundation

- [ ] T003 Prepare

## Phase 3: User Story 1 - In (P1)

**Goal**: sign in

- [ ] T004 [P] [US1] Write `in.py`
  - with care
- [ ] T005 [P] [US1] Write the test
- [ ] T006 [US1] Run `pytest tests/in` and `ruff check .`

## Phase 4: User Story 2 - Out

- [ ] T007 [US2] Write `out.py`

## Phase 5: Polish

- [ ] T008 Polish

## Dependencies & Execution Order

- **User Story 1**: can start after Foundation
- **User Story 2 (US2)**: BLOCKS nothing
"""


def plan_of(text: str, **options: Any) -> Plan:  # noqa: ANN401 - values of ReadOptions
    found = parse(text, "specs/1/tasks.md", agent="agent", options=ReadOptions(**options))
    assert found.plan, found.diagnostics
    return found.plan


def waits(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {task.id: task.dependencies for task in plan.tasks}


def test_phases_are_in_order_and_neighbouring_stories_side_by_side() -> None:
    plan = plan_of(PLAN)
    assert (plan.dialect, plan.unit, plan.title, plan.items, plan.done_items) == (
        "spec-kit",
        "group",
        "Tasks: Login",
        8,
        1,
    )
    assert waits(plan) == {"1": (), "2": ("1",), "3": ("2",), "4": ("2",), "5": ("3", "4")}


def test_items_with_the_mark_run_side_by_side() -> None:
    plan = plan_of(PLAN, unit=UnitKind.ITEM)
    assert waits(plan)["T004"] == waits(plan)["T005"] == ("T003",)
    assert waits(plan)["T006"] == ("T004", "T005")
    assert plan.tasks[3].group_text == "**Goal**: sign in"


def test_a_heading_ends_a_run_of_items_with_the_mark() -> None:
    text = "## Phase 1: A\n- [ ] T001 [P] a\n- [ ] T002 [P] b\n## Phase 2: B\n- [ ] T003 [P] c\n"
    assert waits(plan_of(text, unit=UnitKind.ITEM)) == {"T001": (), "T002": (), "T003": ("T001", "T002")}


def test_a_story_that_depends_on_another_builds_on_it() -> None:
    text = PLAN.replace("BLOCKS nothing", "Depends on US1 (its model); can run in parallel with US3")
    assert waits(plan_of(text))["4"] == ("3",)


def test_commands_that_an_item_only_runs_are_verification() -> None:
    phase = plan_of(PLAN).tasks[2]
    assert [check.text for check in phase.verification] == ["pytest tests/in", "ruff check ."]
    assert "- [ ] T004 [P] [US1] Write `in.py`\n  - with care" in phase.implementation


def test_header_and_footer_are_about_the_whole_plan() -> None:
    plan = plan_of(PLAN)
    assert plan.header == "# Tasks: Login\n\nThe header."
    assert plan.footer.startswith("## Dependencies & Execution Order")
    assert "spec.md" in plan.neighbours


def test_struck_out_items_are_done_and_boxes_without_an_id_are_text() -> None:
    text = "## Phase 1: A\n- [ ] ~~T001 gone~~\n- [ ] T-002 b\n- [ ] T012a c\n- [ ] Checkpoint\n"
    plan = plan_of(text, unit=UnitKind.ITEM)
    assert [(task.id, task.completed) for task in plan.tasks] == [
        ("T001", True),
        ("T-002", False),
        ("T012a", False),
    ]


STORIES = """\
# Tasks: Stories

## Phase 1: Foundation

- [ ] T001 a

## Phase 2: User Stories 3+4

- [ ] T002 b

## Phase 3: [US1] One

- [ ] T003 c

## Phase 4: P2 User Stories

- [ ] T004 [US2] d

## Phase 5: Last

- [ ] T005 e

## Dependencies

"""


@pytest.mark.parametrize(
    ("line", "phase", "expected"),
    [
        ("", "3", ("1",)),
        ("- **US1**: Depends on US3 (why) + US4 (why)", "3", ("2",)),
        ("- US1: depends on Phase 2", "3", ("2",)),
        ("- **Phase 3 (P1)**: Depends on Phase 2 (not Phase 4)", "3", ("2",)),
        ("- US1: BLOCKS US3, US2", "2", ("1",)),
        ("- US1: Depends on Phase 1, can run in parallel with US3", "3", ("1",)),
        ("- US1 (P1): Can start after Phase 1 - May integrate with US3", "3", ("1",)),
        ("- US1: does not depend on US3", "3", ("1",)),
        ("- US1: No dependencies on US3", "3", ("1",)),
        ("- US3: Depends on US1", "2", ("3",)),
        ("- US2: depends on all previous phases", "4", ("2", "3")),
        ("- US2: depends on Phases 1-3", "4", ("2", "3")),
        ("- User Stories 1-2: All depend on User Story 3 (P1)", "4", ("2",)),
        ("- US2:\n  - Depends on: US1", "4", ("3",)),
        ("- US2: depende de US1", "4", ("3",)),
        ("| Story | Depends on |\n|---|---|\n| US2 | US1 (why) |", "4", ("3",)),
        ("```\nUS3 --> US1 --> US2\n```", "4", ("3",)),
        ("- One at a time, or in parallel: US3 → US1 → US2", "4", ("1",)),
        ("- After US1 is there, US2 is easy", "4", ("1",)),
    ],
)
def test_what_a_line_below_dependencies_says(line: str, phase: str, expected: tuple[str, ...]) -> None:
    plan = plan_of(STORIES + line + "\n")
    assert waits(plan)[phase] == expected
    assert waits(plan)["5"] == ("2", "3", "4")


def test_a_phase_says_itself_what_it_depends_on() -> None:
    text = STORIES.replace("- [ ] T003", "**Depends on**: US3\n\n- [ ] T003")
    assert waits(plan_of(text))["3"] == ("2",)


def test_stories_that_depend_on_each_other_are_reported() -> None:
    text = f"{STORIES}- US1: depends on US2\n- US2: depends on US1\n"
    found = parse(text, "tasks.md", agent="agent")
    assert found.plan
    assert waits(found.plan)["3"] == ("4",)
    assert "phase 4 cannot wait for phase 3" in found.diagnostics[0].message


def test_a_phase_with_one_tag_on_every_item_is_a_story() -> None:
    text = (
        "## Phase 1: A\n- [ ] T001 a\n## Phase 2: B\n- [ ] T002 [P] [US1] b\n"
        "## Phase 3: C\n- [ ] T003 [US2] c\n- [ ] T004 [US2] d\n"
        "## Phase 4: D (for User Story 1)\n- [ ] T005 e\n"
    )
    assert waits(plan_of(text)) == {"1": (), "2": ("1",), "3": ("1",), "4": ("2", "3")}


def test_sections_without_a_number_come_between_the_phases() -> None:
    text = "## Phase 1: A\n- [ ] T001 a\n## Rules\n- [ ] T002 b\n## Phase 2: B\n- [ ] T003 c\n"
    assert waits(plan_of(text)) == {"1": (), "1a": ("1",), "2": ("1a",)}


def test_a_phase_without_items_is_in_the_footer() -> None:
    text = "## Phase 1: A\n- [ ] T001 a\n## Phase 2: B\n\nSkipped.\n\n## Phase 3: C\n- [ ] T002 b\n"
    plan = plan_of(text)
    assert [task.id for task in plan.tasks] == ["1", "3"]
    assert plan.footer == "## Phase 2: B\n\nSkipped."


def test_a_heading_over_all_phases_is_none() -> None:
    text = "# A\n\n## Tasks\n\n### Setup\n- [ ] T001 a\n\n### Core\n- [ ] T002 b\n"
    assert [task.title for task in plan_of(text).tasks] == ["Setup", "Core"]


@pytest.mark.parametrize(
    ("box", "name", "title"),
    [
        ("- [ ] **T001** [P] [Setup] Do it", "T001", "Do it"),
        ("- [ ] **T001 [P]** Do it", "T001", "Do it"),
        ("* [ ] T001: Do it", "T001", "Do it"),
        ("- [ ] T001\uff1aDo it", "T001", "Do it"),
        ("+ [ ] [T001] [P] Do it", "T001", "Do it"),
        ("- [ ] `T001` - Do it", "T001", "Do it"),
        ("- [ ]  T1.2 Do it", "T1.2", "Do it"),
        ("- [ ] T001-T003 Do it", "T001-T003", "Do it"),
        ("- [ ] TXXX Do it", "TXXX", "Do it"),
    ],
)
def test_ids_are_written_in_many_ways(box: str, name: str, title: str) -> None:
    task = plan_of(f"## Phase 1: A\n\n{box}\n", unit=UnitKind.ITEM).tasks[0]
    assert (task.id, task.title) == (name, title)


@pytest.mark.parametrize(
    ("box", "done"),
    [
        ("- [ ] ~~T001 gone~~ (see T002)", True),
        ("- [ ] T001 ~~gone~~", True),
        ("- [ ] T001 [US1] ~~gone~~ \u2014 not needed", True),
        ("- [ ] T001 ~~old~~ new name", False),
        ("- [ ] T001 [DONE] [P] it", True),
        ("- [X] T001 it", True),
        ("- [ ] T001 \u2705 it", True),
        ("- [ ] T001 it", False),
    ],
)
def test_what_is_done(box: str, done: bool) -> None:  # noqa: FBT001 - a value of the table
    assert plan_of(f"## Phase 1: A\n\n{box}\n").done_items == done


def test_an_item_below_an_item_is_its_own() -> None:
    text = "## Phase 1: A\n- [ ] T001 a\n  - [ ] b\n  - [ ] T002 c\n    - d\n"
    assert [task.implementation for task in plan_of(text, unit=UnitKind.ITEM).tasks] == [
        "- [ ] T001 a\n  - [ ] b",
        "  - [ ] T002 c\n    - d",
    ]


def test_without_phases_a_plan_is_read_by_items() -> None:
    found = parse(
        "- [ ] T001 a\n- [ ] T002 b\n", "t.md", agent="agent", options=ReadOptions(unit=UnitKind.GROUP)
    )
    assert found.plan
    assert (found.plan.unit, waits(found.plan)) == ("item", {"T001": (), "T002": ("T001",)})
    assert "read by items" in found.diagnostics[0].message


def test_a_command_that_leaves_the_repository_is_text() -> None:
    found = parse("## Phase 1: A\n- [ ] T001 Run `cd /home/me/x && make test`\n", "tasks.md", agent="agent")
    assert found.plan
    assert found.plan.tasks[0].verification == ()
    assert "leaves the repository" in found.diagnostics[0].message

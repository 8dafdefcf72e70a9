"""Plain check lists."""

from typing import Any

import pytest

from tasks.dialects.read_options import Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.model import Plan

PLAN = """\
---
owner: somebody
---
# Shop

What it is for.

## Store ✅

About the store.

- [x] Add the table
- [x] ~~Add the view~~

## Sell

- [ ] **Prices**: add them
  1. round them

Then, of the taxes:

- [ ] Add the taxes
- [ ] `make test` passes

### Later

More of selling.

## Notes

1. [ ] Write notes

## End

The end.
"""


def read(text: str, **options: Any) -> Plan:  # noqa: ANN401 - options of any type
    plan = parse(text, "TODO.md", agent="a", options=ReadOptions(**options)).plan
    assert plan is not None
    return plan


def test_headings_that_hold_boxes_are_tasks() -> None:
    plan = read(PLAN)
    assert (plan.dialect, plan.unit, plan.items, plan.done_items) == ("checklist", "group", 6, 2)
    assert [(task.id, task.title, task.completed, task.dependencies) for task in plan.tasks] == [
        ("1", "Store", True, ()),
        ("2", "Sell", False, ("1",)),
        ("3", "Notes", False, ("2",)),
    ]
    assert (plan.header, plan.footer) == ("# Shop\n\nWhat it is for.", "## End\n\nThe end.")
    assert plan.tasks[1].implementation.endswith("### Later\n\nMore of selling.")
    assert [check.text for check in plan.tasks[1].verification] == ["make test"]


def test_top_boxes_are_tasks_in_item_mode() -> None:
    plan = read(PLAN, unit=UnitKind.ITEM)
    assert [(task.id, task.title) for task in plan.tasks] == [
        ("1", "Add the table"),
        ("2", "Add the view"),
        ("3", "Prices: add them"),
        ("4", "Add the taxes"),
        ("5", "`make test` passes"),
        ("6", "Write notes"),
    ]
    assert plan.tasks[2].implementation == "- [ ] **Prices**: add them\n  1. round them"
    assert plan.tasks[3].group_text == "Then, of the taxes:\n\n### Later\n\nMore of selling."


def test_title_makes_no_group() -> None:
    plan = read("# Shop\n\nWhy.\n\n- [ ] a\n  - [x] b\n- [x] c\n\n## Notes\n\nd\n")
    assert (plan.unit, [task.title for task in plan.tasks]) == ("item", ["a", "c"])
    assert (plan.header, plan.footer) == ("# Shop\n\nWhy.", "## Notes\n\nd")
    whole = read("# Shop\n\n- [ ] a\n- [x] c\n", unit=UnitKind.GROUP)
    assert (whole.unit, [task.title for task in whole.tasks]) == ("group", ["Shop"])


def test_several_headings_of_level_one_are_groups() -> None:
    assert [task.title for task in read("# A\n\n- [ ] a\n\n# B\n\n- [ ] b\n").tasks] == ["A", "B"]


def test_fence_after_a_box_belongs_to_it() -> None:
    first, second = read("- [ ] a\n\n```sh\necho a\n```\n\nIn short.\n\n- [ ] b\n").tasks
    assert first.implementation == "- [ ] a\n\n```sh\necho a\n```\n\nIn short."
    assert second.implementation == "- [ ] b"


def test_what_follows_a_done_box_is_kept() -> None:
    tasks = read("## A\n\n- [x] a\n\nMind this.\n\n- [ ] b\n", unit=UnitKind.ITEM).tasks
    assert tasks[1].group_text == "Mind this."


def test_heading_over_groups_comes_with_them() -> None:
    plan = read("# P\n\n## All\n\nAbout all.\n\n- [ ] a\n\n### One\n\n- [ ] b\n\n### Empty\n\nText.\n")
    assert [(task.title, task.group) for task in plan.tasks] == [("All", ""), ("One", "All")]
    assert plan.tasks[1].group_text == "About all.\n\n### Empty\n\nText."


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("- [x] a", True),
        ("- [X] a", True),
        ("- [ ] a ✅", True),
        ("- [ ] a (DONE)", True),
        ("- [ ] ~~a~~", True),
        ("- [ ] set it to DONE", False),
        ("- [-] a", False),
        ("- [~] a", False),
        ("- [] a", False),
    ],
)
def test_what_is_done(text: str, done: bool) -> None:  # noqa: FBT001 - a case
    assert [task.completed for task in read(f"{text}\n- [ ] b\n").tasks] == [done, False]


def test_link_makes_no_box() -> None:
    assert len(read("- [x](a.md)\n- [ ] b\n").tasks) == 1


def test_command_that_leaves_the_repository_is_text() -> None:
    parsed = parse("- [ ] Run `cd /home/me/shop && make test`\n", "TODO.md", agent="a")
    assert parsed.plan is not None
    assert parsed.plan.tasks[0].verification == ()
    assert ["leaves the repository" in found.message for found in parsed.diagnostics] == [True]


@pytest.mark.parametrize(
    ("item", "commands"),
    [
        ("Run `a b`, `c d` and `e f`", ["a b", "c d", "e f"]),
        ("**Verify**: `npm test` passes", ["npm test"]),
        ("Run the full test suite (`npm test`)", ["npm test"]),
        ("`make test` → 0 failures", ["make test"]),
        ("All tests pass with `make test`", ["make test"]),
        ("Run `npm install x`", []),
        ("Run `make test` and mend what fails in `a.py`", []),
        ("`shop list`", []),
        ("Test `shop list`", []),
        ("Run `tests/shop.py`", []),
    ],
)
def test_commands_that_have_to_succeed(item: str, commands: list[str]) -> None:
    assert [check.text for check in read(f"- [ ] {item}\n").tasks[0].verification] == commands


def test_inferred_order_needs_files_that_are_declared() -> None:
    plan = read("## A\n\n- [ ] a\n\n## B\n\n- [ ] b\n", order=Order.INFERRED)
    assert [task.dependencies for task in plan.tasks] == [(), ("1",)]


def test_many_boxes_are_read_fast() -> None:
    text = "# A\n\n" + "\n".join(f"- [ ] {number} `a` `b`, and\n\n  text\n\nmore" for number in range(3000))
    assert len(read(text).tasks) == 3000


@pytest.mark.parametrize("status", ["**Status:** Completed", "Status: ✅ Done", "> **Status**: COMPLETE"])
def test_plan_that_calls_itself_completed_is_run_and_reported(status: str) -> None:
    parsed = parse(f"# A\n\n{status}\n\n- [ ] a\n", "TODO.md", agent="a")
    assert parsed.plan is not None
    assert not parsed.plan.tasks[0].completed
    assert [(found.line, "it is completed" in found.message) for found in parsed.diagnostics] == [(3, True)]


def test_plan_that_is_completed_is_not_reported() -> None:
    assert parse("Status: done\n\n- [x] a\n", "TODO.md", agent="a").diagnostics == ()


def test_status_in_the_front_matter_is_reported_too() -> None:
    parsed = parse("---\nname: a\nstatus: completed\n---\n# A\n\n- [ ] a\n", "TODO.md", agent="a")
    assert [(found.line, "it is completed" in found.message) for found in parsed.diagnostics] == [(3, True)]

"""Groups: headings such as `## Phase 1: Title` above tasks."""

import pytest

from tasks.model import Mode, Plan
from tasks.plan.parser import parse

PHASES = """\
# Plan

Hello.

## Phase 1: Foundations

**Goal:** lay them.

### Task 1: A
**Run:** a

### Task 2: B
**Run:** b

### Checkpoint

All is well.

## Phase 2 - The rest
**Mode:** local

#### Why
Since.

### Task 3: C
**Run:** c

## Notes

### Task 4: D
**Run:** d
"""


def read(text: str) -> Plan:
    parsed = parse(text, "p.md")
    assert parsed.diagnostics == (), [str(found) for found in parsed.diagnostics]
    assert parsed.plan is not None
    return parsed.plan


def said(text: str) -> list[str]:
    return [str(found) for found in parse(text, "p.md").diagnostics]


def groups(plan: Plan) -> list[tuple[int, str, list[str]]]:
    return [(batch.number, batch.title, [task.id for task in batch.tasks]) for batch in plan.batches]


def test_groups_without_batches_run_in_order() -> None:
    plan = read(PHASES)
    assert groups(plan) == [
        (1, "Phase 1: Foundations", ["1", "2"]),
        (2, "Phase 2 - The rest", ["3"]),
        (3, "Plan", ["4"]),
    ]
    assert [batch.dependencies for batch in plan.batches] == [None, None, None]
    assert [(batch.mode, batch.line) for batch in plan.batches] == [(None, 5), (Mode.LOCAL, 19), (None, 0)]
    assert [task.group for task in plan.tasks] == [*["Phase 1: Foundations"] * 2, "Phase 2 - The rest", ""]


def test_the_text_of_a_group() -> None:
    first, _, third, fourth = read(PHASES).tasks
    assert first.group_text == "**Goal:** lay them.\n\n### Checkpoint\n\nAll is well."
    assert third.group_text == "**Mode:** local\n\n#### Why\nSince."
    assert fourth.group_text == ""


@pytest.mark.parametrize("word", ["Phase", "CHUNK", "part", "Wave", "Milestone", "Slice"])
@pytest.mark.parametrize(("heading", "title"), [("{} 1: A", "{} 1: A"), ("**{} 2.1** (b)", "{} 2.1 (b)")])
def test_words_of_groups(word: str, heading: str, title: str) -> None:
    plan = read(f"## {heading.format(word)}\n### Task 1: A\n**Run:** a\n")
    assert [task.group for task in plan.tasks] == [title.format(word)]


@pytest.mark.parametrize(
    "heading", ["## Phase 1 tasks", "## Part of it: A", "##### Phase 1: A", "## Phases: A"]
)
def test_other_headings_begin_nothing(heading: str) -> None:
    plan = read(f"{heading}\n### Task 1: A\n**Run:** a\n")
    assert [task.group for task in plan.tasks] == [""]


@pytest.mark.parametrize(
    ("names", "numbers"), [(("0", "2"), [0, 2]), (("A", "B"), [1, 2]), (("2", "2"), [1, 2])]
)
def test_a_group_keeps_its_own_number(names: tuple[str, str], numbers: list[int]) -> None:
    text = "".join(
        f"## Phase {name}: A\n### Task {place}: A\n**Run:** a\n" for place, name in enumerate(names, 1)
    )
    assert [number for number, _, _ in groups(read(text))] == numbers


def test_tasks_that_each_group_counts_again() -> None:
    text = (
        "## Phase 1: A\n### Task 1: A\n**Run:** a\n### Task 2: B\n**Run:** b\n**Depends on:** Task 1\n"
        "## Phase 2: B\n### Task 1: C\n**Run:** c\n### Task 3: D\n**Run:** d\n**Depends on:** Task 1, Task 2\n"
    )
    parsed = parse(text, "p.md")
    assert [str(found) for found in parsed.diagnostics] == [
        "p.md:2:1: warning: there are several tasks 1: this one is read as task 1.1",
        "p.md:8:1: warning: there are several tasks 1: this one is read as task 2.1",
    ]
    assert parsed.plan is not None
    assert [(task.id, task.dependencies) for task in parsed.plan.tasks] == [
        ("1.1", ()),
        ("2", ("1.1",)),
        ("2.1", ()),
        ("3", ("2.1", "2")),
    ]
    twice = "## Phase 1: A\n### Task 1: A\n**Run:** a\n### Task 1: B\n**Run:** b\n"
    assert "p.md:4:1: error: task 1 is already defined on line 2" in said(twice)


def test_groups_of_level_1_and_groups_in_groups() -> None:
    plan = read(
        "# Part A: One\nFirst.\n## Phase A1: X\nInner.\n### Task 1: A\n**Run:** a\n"
        "## Phase A2: Y\n### Task 2: B\n**Run:** b\n"
        "# Part B: Two\n### Task 3: C\n**Run:** c\n"
    )
    assert plan.title == "p"
    assert [(task.group, task.group_text) for task in plan.tasks] == [
        ("Phase A1: X", "First.\n\nInner."),
        ("Phase A2: Y", "First."),
        ("Part B: Two", ""),
    ]


def test_groups_around_batches_change_no_order() -> None:
    plan = read(
        "## Phase 1: One\nWhy.\n### Batch 1: A\n#### Task 1.1: A\n**Run:** a\n"
        "### Batch 2: B\n#### Task 2.1: B\n**Run:** b\n"
        "## Phase 2: Two\n### Batch 3: C\n**Dependencies:** Phase 1\n#### Task 3.1: C\n**Run:** c\n"
    )
    assert groups(plan) == [(1, "A", ["1.1"]), (2, "B", ["2.1"]), (3, "C", ["3.1"])]
    assert [batch.dependencies for batch in plan.batches] == [None, None, (1, 2)]
    assert [(task.group, task.group_text) for task in plan.tasks] == [
        ("Phase 1: One", "Why."),
        ("Phase 1: One", "Why."),
        ("Phase 2: Two", ""),
    ]


def test_dependencies_may_name_groups() -> None:
    text = (
        "## Phase 1: A\n### Task 1: A\n**Run:** a\n## Phase 2: B\n### Task 2: B\n**Run:** b\n"
        "## Phase 3: C\n**Dependencies:** {}\n### Task 3: C\n**Run:** c\n**Depends on:** {}\n"
    )
    plan = read(text.format("Phases 1 and 2", "Phase 01"))
    assert plan.batches[2].dependencies == (1, 2)
    assert plan.tasks[2].dependencies == ("1",)
    assert said(text.format("Phase 3", "Phase 3")) == [
        "p.md:8:19: error: phase 3 depends on itself",
        "p.md:11:17: error: task 3 depends on phase 3, which does not run before its own",
    ]
    assert said(text.format("Task 2", "Wave 2")) == [
        "p.md:8:19: error: phase 3 depends on task 2, but a batch can only depend on batches",
        "p.md:11:17: error: task 3 depends on wave 2, which is not in the plan",
    ]


def test_a_field_of_a_group_that_orders_nothing_is_ignored() -> None:
    (message,) = said("## Phase 1: A\n**Mode:** local\n### Batch 1: B\n#### Task 1.1: A\n**Run:** a\n")
    assert message.startswith(
        "p.md:2:1: warning: **Mode:** is ignored here: `Phase 1: A` is not a task or a batch;"
    )

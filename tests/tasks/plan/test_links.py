"""What batches and tasks depend on."""

import pytest

from tasks.plan.links import cycles
from tasks.plan.parser import Parsed, parse

BATCHES = "## Batch {}: B\n{}\n### Task {}.1: T\n**Run:** a\n"


def batches(*dependencies: str) -> Parsed:
    """Parse a plan of batches 1, 2, … with these dependencies, four lines each."""
    texts = [BATCHES.format(number, text, number) for number, text in enumerate(dependencies, 1)]
    return parse("".join(texts), "p.md")


def tasks(*dependencies: str) -> Parsed:
    """Parse a plan of tasks 1, 2, … with these dependencies, three lines each."""
    texts = [f"### Task {number}: T\n**Run:** a\n{text}\n" for number, text in enumerate(dependencies, 1)]
    return parse("".join(texts), "p.md")


def said(parsed: Parsed) -> list[str]:
    return [str(found).removeprefix("p.md:") for found in parsed.diagnostics]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", None),
        ("**Dependencies:** None", ()),
        ("**Dependencies:** none.", ()),
        ("**Dependencies:** -", ()),
        ("**Dependencies:** N/A", ()),
        ("**Dependencies:** *Nothing*", ()),
        ("**Dependencies:** None (foundation)", ()),
        ("**Dependencies:** None - it can start at once", ()),
        ("**Dependencies:** **None**, really", ()),
        ("**Dependencies:** Batch 1", (1,)),
        ("**Depends on:** Batch 1, Batch 2", (1, 2)),
        ("**Dependencies:** Batches 1 and 2", (1, 2)),
        ("**Dependencies:** batch 2, and batch 1.", (2, 1)),
        ("**Dependencies:** 1, 2, 1", (1, 2)),
        ("**Dependencies:** Batches 1-2", (1, 2)),
        ("**Dependencies:** Batch 1 (the parser), `Batch 2`", (1, 2)),
        ("**Dependencies:** Batch 1: The parser", (1,)),
        ("**Dependencies:**\n- Batch 1\n- [ ] Batch 2 - and more", (1, 2)),
        ("**Dependencies:**\nBatch 1,\nBatch 2", (1, 2)),
        ("**Dependencies:** Batch 1,\nBatch 2", (1, 2)),
        ("**Dependencies:** Batch 1 complete", (1,)),
        ("**Dependencies:** Batches 1 and 2 must be completed", (1, 2)),
        ("**Dependencies:** Completion of Batch 1", (1,)),
        ("**Dependencies:** All tasks in Batch 1, all of Batch 2", (1, 2)),
        ("**Dependencies:** All previous batches", (1, 2)),
        ("**Dependencies:** All previous tasks (they are small)", (1, 2)),
        ("**Dependencies:** the previous batch.", (2,)),
        ("**Dependencies:** Batch 1 (the parser (new)), Batch 2 ✅ COMPLETE", (1, 2)),
    ],
)
def test_dependencies_of_a_batch(text: str, numbers: tuple[int, ...] | None) -> None:
    parsed = batches("", "", text)
    assert said(parsed) == []
    assert parsed.plan is not None
    assert parsed.plan.batches[2].dependencies == numbers


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("**Dependencies:** None", ()),
        ("**Dependencies:** Task 1", ("1",)),
        ("**Dependencies:** 1, 2", ("1", "2")),
        ("**Dependencies:** Tasks 1 and 2", ("1", "2")),
        ("**Depends on:** task #2 & task 1", ("2", "1")),
        ("**Dependencies:**\n- Task 1: With, a title and more\n- Task 2", ("1", "2")),
        ("**Dependencies:** Task 1 (since it is first)", ("1",)),
        ("**Dependencies:** Task 1 (why), Task 2 (why (so)). They are needed.", ("1", "2")),
        ("**Dependencies:** Task 1: One, Task 2: Two", ("1", "2")),
        ("**Dependencies:** Task 1 - one and Task 2 - two", ("1", "2")),
        ("**Dependencies:** Tasks 1 through 2 complete", ("1", "2")),
        ("**Dependencies:** All previous tasks", ("1", "2")),
        ("**Dependencies:** All prior tasks must be complete.", ("1", "2")),
        ("**Dependencies:** all tasks above", ("1", "2")),
        ("**Dependencies:** Everything above", ("1", "2")),
        ("**Dependencies:** All tasks", ("1", "2")),
        ("**Dependencies:** Previous task", ("2",)),
    ],
)
def test_dependencies_of_a_task(text: str, names: tuple[str, ...]) -> None:
    parsed = tasks("", "", text)
    assert said(parsed) == []
    assert parsed.plan is not None
    assert parsed.plan.tasks[2].dependencies == names


def test_ids_with_dots_and_letters() -> None:
    parsed = parse(
        "### Task 1.2a: A\n**Run:** a\n### Task 1.2.3: B\n**Run:** b\n**Dependencies:** Task 1.2A\n", "p.md"
    )
    assert parsed.plan is not None
    assert parsed.plan.tasks[1].dependencies == ("1.2a",)


def test_ranges_of_ids_with_dots() -> None:
    text = "".join(f"### Task 1.{number}: A\n**Run:** a\n" for number in range(1, 5))
    for names in ("Tasks 1.1-1.3", "1.1 to 3", "Task 1.1 - Task 1.3"):
        parsed = parse(f"{text}**Depends on:** {names}\n", "p.md")
        assert parsed.plan is not None, said(parsed)
        assert parsed.plan.tasks[3].dependencies == ("1.1", "1.2", "1.3")
    assert said(parse(f"{text}**Depends on:** 1.1-2.3\n", "p.md")) == [
        "9:17: error: `1.1-2.3` is not a valid range; name each dependency"
    ]


def test_previous_batches_of_a_task() -> None:
    text = "".join(
        f"## Batch {number}: B\n### Task {number}.1: A\n**Run:** a\n### Task {number}.2: B\n**Run:** b\n"
        for number in (1, 2, 3)
    )
    for names, ids in (
        ("All previous batches", ("1.1", "1.2", "2.1", "2.2")),
        ("Previous batch", ("2.1", "2.2")),
        ("All previous tasks", ("1.1", "1.2", "2.1", "2.2", "3.1")),
    ):
        parsed = parse(f"{text}**Depends on:** {names}\n", "p.md")
        assert parsed.plan is not None, said(parsed)
        assert parsed.plan.tasks[-1].dependencies == ids


def test_a_task_may_name_a_whole_batch_before_its_own() -> None:
    text = (
        "## Batch 1: A\n### Task 1.1: A\n**Run:** a\n### Task 1.2: B\n**Run:** b\n"
        "## Batch 2: B\n### Task 2.1: C\n**Run:** c\n"
    )
    parsed = parse(f"{text}**Dependencies:** Batch 1", "p.md")
    assert parsed.plan is not None
    assert parsed.plan.tasks[2].dependencies == ("1.1", "1.2")
    parsed = parse(f"{text}**Dependencies:** Batch 2, Batch 3", "p.md")
    assert said(parsed) == [
        "9:19: error: task 2.1 depends on batch 2, which does not run before its own",
        "9:28: error: task 2.1 depends on batch 3, which is not in the plan",
    ]


@pytest.mark.parametrize(
    ("texts", "messages"),
    [
        (
            ["**Dependencies:** Batch 7"],
            ["2:19: error: batch 1 depends on batch 7, which is not in the plan"],
        ),
        (["**Dependencies:** Batch 1"], ["2:19: error: batch 1 depends on itself"]),
        (
            ["**Dependencies:** Task 1.1"],
            ["2:19: error: batch 1 depends on task 1.1, but a batch can only depend on batches"],
        ),
        (
            ["**Dependencies:** Batch 2", ""],
            ["2:19: error: batch 1 depends on batch 2, which comes later: batches run in order"],
        ),
        (
            ["**Dependencies:** Batch 2", "**Dependencies:** Batch 1"],
            ["2:19: error: batches depend on each other in a cycle: 1 -> 2 -> 1"],
        ),
        (
            ["**Dependencies:**"],
            ["2:1: error: **Dependencies:** is empty: write `None`, or the dependencies"],
        ),
        (
            ["", "**Dependencies:** Batch 1, the parser"],
            [
                (
                    "6:28: error: `the parser` is not a dependency; write `None`, or names such as"
                    " `Batch 1` and `Task 1.1`"
                )
            ],
        ),
        (["", "**Dependencies:** 3-1"], ["6:19: error: `3-1` is not a valid range; name each dependency"]),
    ],
)
def test_errors_in_batch_dependencies(texts: list[str], messages: list[str]) -> None:
    parsed = batches(*texts)
    assert said(parsed) == messages
    assert parsed.plan is None


@pytest.mark.parametrize(
    ("texts", "messages"),
    [
        (["**Depends on:** Task 9"], ["3:17: error: task 1 depends on task 9, which is not in the plan"]),
        (["**Depends on:** 1"], ["3:17: error: task 1 depends on itself"]),
        (
            ["**Depends on:** 3", "**Depends on:** 1", "**Depends on:**\n- 2"],
            ["3:17: error: tasks depend on each other in a cycle: 1 -> 3 -> 2 -> 1"],
        ),
        (
            ["**Depends on:** 2", "**Depends on:** 1", "**Depends on:** 4", "**Depends on:** 3, 1"],
            [
                "3:17: error: tasks depend on each other in a cycle: 1 -> 2 -> 1",
                "9:17: error: tasks depend on each other in a cycle: 3 -> 4 -> 3",
            ],
        ),
    ],
)
def test_errors_in_task_dependencies(texts: list[str], messages: list[str]) -> None:
    parsed = tasks(*texts)
    assert said(parsed) == messages
    assert parsed.plan is None


def test_task_cannot_depend_on_a_later_batch() -> None:
    text = (
        "## Batch 1: A\n### Task 1.1: A\n**Run:** a\n**Depends on:** 2.1\n"
        "## Batch 2: B\n### Task 2.1: B\n**Run:** b\n"
    )
    assert said(parse(text, "p.md")) == [
        "4:17: error: task 1.1 depends on task 2.1 of batch 2, which runs later"
    ]
    assert said(parse(f"{text}**Depends on:** 1.1\n", "p.md")) == [
        "4:17: error: tasks depend on each other in a cycle: 1.1 -> 2.1 -> 1.1"
    ]


def test_cycles_are_found_once_and_without_recursion() -> None:
    assert list(cycles({})) == []
    assert list(cycles({1: [2], 2: [3], 3: []})) == []
    assert list(cycles({1: [2, 3], 2: [3], 3: []})) == []
    assert list(cycles({0: [1], 1: [2], 2: [1]})) == [[1, 2, 1]]
    long = {number: [(number + 1) % 5000] for number in range(5000)}
    assert list(cycles(long)) == [[*range(5000), 0]]

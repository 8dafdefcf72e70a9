"""What holds for every plan of any dialect, and for every text that is none."""

import json
import re
from collections.abc import Callable, Iterator, Mapping

import pytest
from conversions import read_again
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.dialects.read_options import NAMES, Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Beside
from tasks.model import NATIVE, Plan
from tasks.plan.links import cycles
from tasks.plan.parser import Parsed

PATHS = st.sampled_from(
    [
        "plan.md",
        ".kiro/specs/a/tasks.md",
        "openspec/changes/a/tasks.md",
        "specs/1/tasks.md",
        "conductor/tracks/a/plan.md",
        ".sisyphus/plans/a.md",
        "docs/superpowers/plans/a.md",
        ".planning/phases/1/01-02-PLAN.md",
        "prd.json",
        ".taskmaster/tasks/tasks.json",
    ]
)
OPTIONS = st.builds(
    ReadOptions,
    dialect=st.sampled_from([None, *NAMES]),
    unit=st.sampled_from([None, *UnitKind]),
    order=st.sampled_from(Order),
    optional=st.booleans(),
    tag=st.sampled_from([None, "master", "a"]),
)
PIECES = st.sampled_from(
    [
        *("---\n", "phase: 02.10\nplan: 01\n", 'wave: 2\ndepends_on: [01, "02-01"]\n', "depends_on:\n  - 1\n"),
        *(
            "# Title\n",
            "# Story 1.2\n",
            "## Phase 1: A\n",
            "### Phase 2: US1, US2\n",
            "## Phase N\n",
            "## 1. A\n",
        ),
        *("### Task 1: A\n", "## Task 2.1 — B (DONE)\n", "### Task 4.1-4.6\n", "## Chunk 1\n", "# Part A\n"),
        *("## Batch 1: A\n", "### Task 1.1: A\n", "**Run:** `make`\n", "**Files:**\n", "**Status:** done\n"),
        *("## TODOs\n", "## Tasks / Subtasks\n", "## Acceptance Criteria\n", "## Story\n", "## Dependencies\n"),
        *(
            "#### Automated Verification\n",
            "#### Manual Verification:\n",
            "### Success Criteria\n",
            "## Notes\n",
        ),
        *(
            "- [ ] T001 [P] [US1] a\n",
            "- [x] T002 b\n",
            "- [ ] ~~T003 c~~\n",
            "- US1: depends on US2, Phase 1-3\n",
        ),
        *(
            "- [ ] 1. a\n",
            "- [ ] 1.1 b\n",
            "- [x] 2. c\n",
            "  - [ ] 2.1 d\n",
            "- [ ]* 3.1 e\n",
            "- [-] 4. (P) f\n",
        ),
        *("  - _Requirements: 1.1_\n", "  _Depends: 1.1, 2.1_\n", "- [ ] Task: a [abc1234]\n", "- [ ] F1. a\n"),
        *("- [ ] Task: Conductor - User Manual Verification 'A'\n", "  - [ ] Sub-task: b\n", "- [x] ✅ a\n"),
        *("- [ ] **Step 1: a**\n", "**Step 2: Run it**\n", "Run: `make`\nExpected: PASS\n", "Expected: FAIL\n"),
        *(
            "**Depends on:** Task 1, Task 2 (why)\n",
            "**Blocked By**: 1, 2\n",
            "Wave 1 | Blocks: 2 | Blocked By: 3\n",
        ),
        *(
            "> **For agentic workers:** a\n",
            "**Spec:** `a.md`\n",
            "- [ ] `make` passes\n",
            "- [ ] Run `a`, `b`\n",
        ),
        *(
            "<objective>a</objective>\n",
            "<tasks>\n",
            "</tasks>\n",
            '<task type="auto">\n',
            "</task>\n",
            "<name>a</name>\n",
        ),
        *(
            "<verify><automated>make && a</automated></verify>\n",
            "<context>@a.md</context>\n",
            "<done>a</done>\n",
        ),
        *(
            "- [ ] a (AC: 1, 2)\n",
            "* [ ]\ta\n",
            "+ [X]a\n",
            "1. [ ] a\n",
            "- [ ]\u00a0a\n",
            "- [ ] 1\uff1a a\n",
        ),
        *(
            "- Create: `a.py:1-2`\n",
            "- Modify: `C:\\a`\n",
            'git commit -m "a"\n',
            "git commit -m \"$(cat <<'E'\n",
        ),
        *(
            "```\n",
            "````markdown\n",
            "```bash\n",
            "~~~\n",
            "    ",
            "\t",
            "> ",
            "- ",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
        ),
        *(
            "| Task | Depends on |\n|---|---|\n| 1 | 2 |\n",
            "<!--",
            "-->",
            "[a]: b\n",
            "[",
            "](",
            "![",
            "**",
            "__",
            "`",
        ),
        *(
            '{"tasks": [',
            '{"id": 1, "title": "a", "dependencies": ["1.1", 2]}',
            "]}",
            '{"userStories": [',
            "{",
            "[",
            ",",
        ),
        *("\0", "\u2028", "\x0b", "e\u0301", "\ud800", "\ufeff", "任务 1: a\n", "## 阶段 1\n"),
    ]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 9)
    | st.floats()
    | st.sampled_from(["", "1", "1.1", "done", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "tasks",
                    "id",
                    "title",
                    "dependencies",
                    "subtasks",
                    "status",
                    "userStories",
                    "priority",
                    "passes",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def check(parsed: Parsed) -> None:
    """Assert what every answer to a text has to be."""
    for found in parsed.diagnostics:
        assert found.line >= 1
        assert found.column >= 1
        assert str(found).count("\n") == 0
    assert (parsed.plan is None) == bool(parsed.errors)
    if parsed.plan and parsed.plan.dialect != NATIVE:
        check_tasks(parsed.plan)


def check_tasks(plan: Plan) -> None:
    """Assert that tasks have ids of their own, and wait for others that can run before them."""
    ids = [task.id for task in plan.tasks]
    assert len(set(ids)) == len(ids)
    waits = {task.id: task.dependencies or () for task in plan.tasks}
    assert all(set(others) <= set(ids) for others in waits.values())
    assert not list(cycles(waits))
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) for name in ids)


@given(st.binary(max_size=400), PATHS, OPTIONS)
@settings(max_examples=50, deadline=None)
def test_any_bytes_have_an_answer(data: bytes, path: str, options: ReadOptions) -> None:
    check(parse(data, path, agent="agent", options=options))


@given(TEXTS, PATHS, OPTIONS)
@settings(max_examples=80, deadline=None)
def test_any_mixture_of_lines_has_an_answer(text: str, path: str, options: ReadOptions) -> None:
    check(parse(text, path, agent="agent", options=options))


@given(
    st.lists(st.tuples(st.sampled_from(["01-01-PLAN.md", "01-02-PLAN.md", "a.md", "b.md"]), TEXTS), max_size=4),
    OPTIONS,
)
@settings(max_examples=50, deadline=None)
def test_any_directory_has_an_answer(files: list[tuple[str, str]], options: ReadOptions) -> None:
    named = dict(sorted(files))
    beside = Beside(tuple(named.items()), frozenset(named) | {"01-01-SUMMARY.md"})
    check(parse("", "plans", agent="agent", options=options, beside=beside))


@given(VALUES, PATHS, OPTIONS)
@settings(max_examples=50, deadline=None)
def test_any_json_has_an_answer(value: object, path: str, options: ReadOptions) -> None:
    check(parse(json.dumps(value), path, agent="agent", options=options))


WORDS = st.sampled_from(
    ["Write", "Add `a.py`", "Run `make`", "Say *no*, then go", "**Do** it (P1)", "Wait: 1. 2"]
)
BOXES = st.lists(st.tuples(st.booleans(), WORDS), min_size=1, max_size=4)
GROUPS = st.lists(BOXES, min_size=1, max_size=4)


class Shape:
    """Numbers the items of a generated plan, so that each text is there once."""

    def __init__(self, groups: list[list[tuple[bool, str]]]) -> None:
        self.items: list[str] = []
        self.groups = [[self._item(done, words) for done, words in group] for group in groups]

    def _item(self, done: bool, words: str) -> tuple[str, str, str]:  # noqa: FBT001 - what is generated
        text = f"{words} nr{len(self.items):03}"
        self.items.append(text)
        return ("x" if done else " ", text, f"{len(self.items):03}")

    def lines(self, head: Callable[[int], str], item: Callable[[int, int, str], str]) -> str:
        """Return the plan: a heading for each group, below it its items."""
        blocks: list[str] = []
        for at, group in enumerate(self.groups, 1):
            rows = (
                item(at, row, text).replace("[ ]", f"[{box}]") for row, (box, text, _) in enumerate(group, 1)
            )
            blocks += [head(at), "", *rows, ""]
        return "\n".join(["# Plan", "", "Header.", "", *blocks])


def _flat(shape: Shape, line: str) -> Iterator[str]:
    texts = (entry for group in shape.groups for entry in group)
    for at, (box, text, _) in enumerate(texts, 1):
        yield line.format(box=box, at=at, text=text)


def _objects(shape: Shape, key: str, done: object, open_: object) -> Iterator[dict[str, object]]:
    for box, text, number in (entry for group in shape.groups for entry in group):
        words = {"id": int(number) + 1, "title": text, "priority": 1, "dependencies": []}
        yield {**words, key: done if box == "x" else open_}


MAKERS: Mapping[str, tuple[str, Callable[[Shape], str]]] = {
    "spec-kit": (
        "specs/1/tasks.md",
        lambda shape: shape.lines(
            lambda at: f"## Phase {at}: User Story {at}",
            lambda at, row, text: f"- [ ] T{at}{row:02} [P] {text}",
        ),
    ),
    "kiro": (
        ".kiro/specs/a/tasks.md",
        lambda shape: shape.lines(
            lambda at: f"- [ ] {at}. Group",
            lambda at, row, text: f"  - [ ] {at}.{row} {text}\n    - _Requirements: 1.1_",
        ),
    ),
    "openspec": (
        "openspec/changes/a/tasks.md",
        lambda shape: shape.lines(
            lambda at: f"## {at}. Group", lambda at, row, text: f"- [ ] {at}.{row} {text}"
        ),
    ),
    "conductor": (
        "conductor/tracks/a/plan.md",
        lambda shape: shape.lines(
            lambda at: f"## Phase {at}: Group", lambda _at, _row, text: f"- [ ] Task: {text}"
        ),
    ),
    "checklist": (
        "TODO.md",
        lambda shape: shape.lines(lambda at: f"## Group {at}", lambda _at, _row, text: f"- [ ] {text}"),
    ),
    "bmad": (
        "docs/stories/1.1.story.md",
        lambda shape: "\n".join(
            [
                "# Story 1.1\n\n## Story\n\nAs a user\n\n## Acceptance Criteria\n\n1. It works\n",
                "## Tasks / Subtasks\n",
                *_flat(shape, "- [{box}] {text} (AC: 1)"),
            ]
        ),
    ),
    "sisyphus": (
        ".sisyphus/plans/a.md",
        lambda shape: "\n".join(
            ["# Plan\n", "## TODOs\n", *_flat(shape, "- [{box}] {at}. {text}\n\n  **Blocked By**: None\n")]
        ),
    ),
    "superpowers": (
        "docs/superpowers/plans/a.md",
        lambda shape: "\n".join(
            ["# Plan\n", *_flat(shape, "### Task {at}: Name\n\n- [{box}] **Step 1: {text}**\n\nMore.\n")]
        ),
    ),
    "taskmaster": (
        ".taskmaster/tasks/tasks.json",
        lambda shape: json.dumps({"tasks": list(_objects(shape, "status", "done", "pending"))}),
    ),
    "ralph": (
        "prd.json",
        lambda shape: json.dumps({"userStories": list(_objects(shape, "passes", True, False))}),  # noqa: FBT003
    ),
}
"""For each dialect, a path and what makes a plan of a shape."""


@pytest.mark.parametrize("dialect", MAKERS)
@given(groups=GROUPS, unit=st.sampled_from([None, *UnitKind]), order=st.sampled_from(Order))
@settings(max_examples=25, deadline=None)
def test_each_open_item_is_in_exactly_one_task(
    dialect: str, groups: list[list[tuple[bool, str]]], unit: UnitKind | None, order: Order
) -> None:
    path, make = MAKERS[dialect]
    shape = Shape(groups)
    parsed = parse(make(shape), path, agent="agent", options=ReadOptions(unit=unit, order=order))
    check(parsed)
    assert parsed.plan
    assert parsed.plan.dialect == dialect
    texts = [f"{task.title}\n{task.implementation}" for task in parsed.plan.tasks if not task.completed]
    for box, text, _ in (entry for group in shape.groups for entry in group):
        # The title of a task, which is all that some have, is not bold.
        found = sum(text.replace("**", "") in given.replace("**", "") for given in texts)
        assert found == 1 or (box == "x" and found == 0)
    assert parsed.plan.done_items == sum(entry[0] == "x" for group in shape.groups for entry in group)


@given(TEXTS, PATHS, OPTIONS)
@settings(max_examples=60, deadline=None)
def test_what_is_read_from_any_mixture_of_lines_is_the_same_as_a_native_plan(
    text: str, path: str, options: ReadOptions
) -> None:
    check_conversion(parse(text, path, agent="agent", options=options))


STORIES = st.fixed_dictionaries(
    {"id": st.integers(1, 4), "title": TEXTS, "priority": st.just(1), "dependencies": st.just([])},
    optional={"description": TEXTS, "details": TEXTS, "acceptanceCriteria": st.lists(TEXTS, max_size=3)},
)


@given(st.lists(STORIES, min_size=1, max_size=3), st.sampled_from(["tasks", "userStories"]), OPTIONS)
@settings(max_examples=60, deadline=None)
def test_any_text_in_json_is_the_same_in_a_native_plan(
    stories: list[dict[str, object]], key: str, options: ReadOptions
) -> None:
    options = ReadOptions(unit=options.unit, order=options.order)
    check_conversion(parse(json.dumps({key: stories}), "prd.json", agent="agent", options=options))


def check_conversion(parsed: Parsed) -> None:
    """Assert that a plan of another tool is the same when it is written as a native one and read again."""
    if parsed.plan and parsed.plan.dialect != NATIVE:
        read_again(parsed.plan)

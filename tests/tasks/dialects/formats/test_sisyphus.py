"""Plans of Sisyphus: entries that run in waves."""

from tasks.diagnostics import Severity
from tasks.dialects.formats.sisyphus import DIALECT
from tasks.dialects.native import count as native_count
from tasks.dialects.prose.criteria import passing_commands
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Source
from tasks.model import Plan

HEAD = """\
# Kettle

## TL;DR

Boil water.

### Definition of Done

- [ ] `make test` → PASS

## TODOs

"""
FINAL = """\
## Final Verification Wave

> Both have to agree.

- [ ] F1. **Compliance** — `oracle`
  Read the plan.

- [ ] F2. **Quality** — `deep`
  Run all.

## Success Criteria

### Final Checklist

- [ ] all is there
"""


def entry(number: str, *fields: str, mark: str = " ") -> str:
    """Return an entry with fields, each a line."""
    lines = "".join(f"  {field}\n" for field in fields)
    return f"- [{mark}] {number}. Entry {number}\n\n  **What to do**:\n  - work {number}\n\n{lines}\n"


def plan(text: str, options: ReadOptions | None = None) -> Plan:
    parsed = parse(text, ".sisyphus/plans/kettle.md", agent="cat", options=options)
    assert [str(one) for one in parsed.diagnostics if one.severity is Severity.ERROR] == []
    assert parsed.plan is not None
    assert parsed.plan.dialect == "sisyphus"
    return parsed.plan


def waits(text: str) -> dict[str, tuple[str, ...]]:
    return {one.id: one.dependencies for one in plan(text).tasks}


def test_entries_are_items_and_the_final_wave_is_last() -> None:
    found = plan(HEAD + entry("1", mark="x") + entry("2a") + FINAL)
    assert [(one.id, one.title) for one in found.tasks] == [
        ("1", "Entry 1"),
        ("2a", "Entry 2a"),
        ("F1", "Compliance — `oracle`"),
        ("F2", "Quality — `deep`"),
    ]
    assert [one.completed for one in found.tasks] == [True, False, False, False]
    assert [one.dependencies for one in found.tasks] == [(), ("1",), ("1", "2a"), ("1", "2a")]
    assert (found.items, found.done_items) == (4, 1)
    assert found.tasks[2].group == "Final Verification Wave"
    assert found.tasks[2].group_text == "> Both have to agree."


def test_other_boxes_are_not_items() -> None:
    found = plan(HEAD + entry("1") + FINAL)
    assert "Definition of Done" in found.header
    assert "Final Checklist" in found.footer
    assert "Final Checklist" not in found.tasks[-1].implementation


def test_what_blocks_an_entry_is_its_order() -> None:
    text = (
        HEAD
        + entry("0", "- **Blocked By**: Task 3 (needs 2 things)")
        + entry("1", "- **Blocked By**: None (can start immediately)")
        + entry("2", "- **Blocked By**: Tasks 0-1")
        + entry("3", "Can Parallel: YES | Wave 1 | Blocks: 0,2 | Blocked By: -")
        + entry("4", "- **Depends On**: 1, 2")
        + entry("5", "- **Blocked By**: 任务2、任务4")
    )
    assert waits(text) == {"0": ("3",), "1": (), "2": ("0", "1"), "3": (), "4": ("1", "2"), "5": ("2", "4")}


def test_else_the_wave_before_is() -> None:
    text = (
        HEAD
        + entry("1", "- **Parallel Group**: Wave 1 (with Task 2)")
        + entry("2", "- **Parallel Group**: Wave 1")
        + entry("3", "- **Wave**: 2")
        + entry("4", "- **Parallel Group**: Wave 2", "- **Blocked By**: Task 1")
        + entry("5", "- **Parallel Group**: Wave 3")
    )
    assert waits(text) == {"1": (), "2": (), "3": ("1", "2"), "4": ("1",), "5": ("3", "4")}
    assert plan(text).tasks[2].group == "Wave 2"


def test_else_they_follow_each_other() -> None:
    assert waits(HEAD + entry("1") + entry("3") + entry("2")) == {"1": (), "3": ("1",), "2": ("3",)}


def test_a_matrix_counts_where_entries_say_nothing() -> None:
    matrix = (
        "## Dependency Matrix\n\n| Task | Depends On | Blocks | Wave |\n|---|---|---|---|\n| T1 | — | 2 | 1 |\n"
        "| 2 | 1 | 3 | 2 |\n| 3 | 1, 2 | F1-F2 | 3 |\n\n"
    )
    text = HEAD.replace("## TODOs", matrix + "## TODOs") + entry("1") + entry("2") + entry("3")
    assert waits(text) == {"1": (), "2": ("1",), "3": ("1", "2")}
    assert waits(text + entry("4", "- **Blocked By**: None")) == {
        "1": (),
        "2": ("1",),
        "3": ("1", "2"),
        "4": (),
    }


def test_a_short_matrix_counts_too() -> None:
    matrix = "### Dependency Matrix\n\n- **1-2**: — — 3, 1\n- **3**: 1, 2 — 4, 2\n- **4**: 3 — —, 3\n\n"
    text = HEAD.replace("## TODOs", matrix + "## TODOs") + "".join(map(entry, "1234"))
    assert waits(text) == {"1": (), "2": (), "3": ("1", "2"), "4": ("3",)}


def test_a_list_is_a_matrix_too() -> None:
    matrix = "### Dependency Matrix\n\n- T1: none\n- T2: T1\n- T3: T1, T2\n- Task 4: depends on T3\n\n"
    text = HEAD.replace("## TODOs", matrix + "## TODOs") + "".join(map(entry, ("T1", "T2", "T3", "T4")))
    assert waits(text) == {"T1": (), "T2": ("T1",), "T3": ("T1", "T2"), "T4": ("T3",)}


def test_a_drawing_gives_the_waves() -> None:
    drawing = (
        "```\nWave 1 (now):\n├── Task 1: a\n└── Task 2: b\n\nWave 2:\n└── Task 3: c\n\nWave FINAL:\n├── F1: d\n"
        "Critical Path: 1 → 3\n```\n\n"
    )
    text = HEAD.replace("## TODOs", drawing + "## TODOs") + "".join(map(entry, "123"))
    assert waits(text) == {"1": (), "2": (), "3": ("1", "2")}


def test_tasks_may_be_headings() -> None:
    text = HEAD + (
        "### Task 1 — A\n- **Wave**: 1\n- **Depends on**: —\n- **Files to modify**: `a.py`\n"
        "- **Files READ ONLY (do not modify)**: `b.py`\n\n**What to do**:\n\n1. x\n\n---\n\n"
        "### Task 2 — B\n- **Wave**: 2\n- **Depends on**: Task 1\n- **Files to CREATE**: `c.py`\n\ny\n\n"
    )
    found = plan(text + FINAL)
    assert [(one.id, one.title, one.dependencies) for one in found.tasks][:3] == [
        ("1", "A", ()),
        ("2", "B", ("1",)),
        ("F1", "Compliance — `oracle`", ("1", "2")),
    ]
    assert [(file.action.value, file.path) for file in found.tasks[0].files] == [
        ("modify", "a.py"),
        ("read", "b.py"),
    ]
    assert [(file.action.value, file.path) for file in found.tasks[1].files] == [("create", "c.py")]
    assert found.tasks[1].implementation.endswith("y")
    assert native_count(Source("p.md", text)) == 0


def test_tasks_without_todos_need_their_fields() -> None:
    text = "# P\n\n## Work\n\n### Task 1: A\n\n- **Blocked By**: None\n\n"
    text += "### Task 2: B\n\n- **Blocked By**: Task 1\n"
    assert DIALECT.count(Source("plan.md", text)) == 2
    assert DIALECT.count(Source("plan.md", "# P\n\n### Task 1: A\n\n- [ ] wave\n")) == 0
    assert DIALECT.count(Source("plan.md", "# P\n\n## Phase 1\n\n- [ ] T001 Wave\n")) == 0
    workers = text.replace("# P\n", "# P\n\n> **For agentic workers:** do it.\n")
    assert DIALECT.count(Source("plan.md", workers)) == 0


def test_acceptance_criteria_with_commands_are_verification() -> None:
    text = HEAD + entry(
        "1",
        "**Acceptance Criteria**:",
        "- [ ] File created: `a.py`",
        "- [ ] `make test` → PASS (3 tests)",
        "- [ ] `tsc --noEmit` passes",
        "- [ ] `npm run lint` → 0 errors",
        "- [ ] `make old` → FAIL",
        "- [ ] `npm run dev` → no errors",
    )
    found = plan(text).tasks[0]
    assert [check.text for check in found.verification] == ["make test", "tsc --noEmit", "npm run lint"]


def test_criteria_that_are_not_commands() -> None:
    for text in (
        "`a.py` passes",
        "`make test`",
        "`make test` is there",
        "`make test` → shows 3",
        "All: `make test` → PASS",
    ):
        assert passing_commands(text) == (), text
    assert passing_commands("`make a` and `make b` pass") == ("make a", "make b")
    assert passing_commands("`make a` exits with code 0") == ("make a",)


def test_an_entry_says_the_message_of_its_commit() -> None:
    text = (
        HEAD
        + entry("1", "**Commit**: YES", "- Message: `feat: a`", "- Files: `a.py`")
        + entry("2", "**Commit**: NO")
    )
    assert plan(HEAD + entry("1", "Commit: Y | fix(b): c")).tasks[0].commit == "fix(b): c"
    one = plan(HEAD + entry("1", "**Commit**: YES | Message: `fix: b` | Files: `b.py`, `c/`")).tasks[0]
    assert (one.commit, [file.path for file in one.files]) == ("fix: b", ["b.py", "c/"])
    assert plan(HEAD + entry("1", "**Commit**: NO | Message: `with 2` | Files: `b.py`")).tasks[0].commit is None
    found = plan(text)
    assert [one.commit for one in found.tasks] == ["feat: a", None]
    assert [file.path for file in found.tasks[0].files] == ["a.py"]


def test_a_wave_may_be_the_unit() -> None:
    text = (
        HEAD + entry("2", "- **Wave**: 2") + entry("1", "- **Wave**: 1") + entry("3", "- **Wave**: 2") + FINAL
    )
    found = plan(text, ReadOptions(unit=UnitKind.GROUP))
    assert [(one.id, one.dependencies) for one in found.tasks] == [("1", ()), ("2", ("1",)), ("final", ("2",))]
    assert found.unit == "group"
    assert "work 2" in found.tasks[1].implementation
    assert "work 3" in found.tasks[1].implementation
    assert "work 1" not in found.tasks[1].implementation


def test_waves_may_be_headings() -> None:
    text = (
        HEAD
        + "### Wave 1: Water\n\nFill it.\n\n"
        + entry("1")
        + "### Wave 2: Fire\n\n"
        + entry("2")
        + entry("3")
    )
    found = plan(text)
    assert [one.group for one in found.tasks] == ["Wave 1: Water", "Wave 2: Fire", "Wave 2: Fire"]
    assert [one.dependencies for one in found.tasks] == [(), ("1",), ("1",)]
    assert found.tasks[0].group_text == "Fill it."


def test_an_unknown_blocker_is_a_warning() -> None:
    text = HEAD + entry("1") + entry("2", "- **Blocked By**: Task 9")
    assert any(
        "task 9, which is not in the plan" in one.message
        for one in parse(text, "p.md", agent="cat").diagnostics
    )


def test_text_without_indentation_belongs_to_the_entry_above() -> None:
    text = HEAD + "- [ ] 1. A\n\n**What to do**: this\n\n- [ ] note\n\n- [ ] 2. B\n\n**What to do**: that\n"
    found = plan(text)
    assert [one.id for one in found.tasks] == ["1", "2"]
    assert "this" in found.tasks[0].implementation
    assert "note" in found.tasks[0].implementation
    assert "that" in found.tasks[1].implementation


def test_what_is_above_an_entry_and_all_others() -> None:
    text = HEAD + "".join(
        entry(number, f"**Blocked By**: {said}")
        for number, said in (
            ("1", "None"),
            ("2", "the previous task"),
            ("3", "all previous tasks"),
            ("4", "None"),
            ("5", "all other tasks"),
            ("6", "None"),
        )
    )
    assert waits(text) == {
        "1": (),
        "2": ("1",),
        "3": ("1", "2"),
        "4": (),
        "5": ("1", "2", "3", "4", "6"),
        "6": (),
    }

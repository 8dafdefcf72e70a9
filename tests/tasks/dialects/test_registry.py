"""Which dialect a plan is read as."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.dialects.packing import packed, unpacked
from tasks.dialects.read_options import NAMES, Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Beside, Source, place_of
from tasks.model import NATIVE
from tasks.plan.parser import Parsed

ROOT = Path(__file__).parents[3]
SPEC_KIT = "# Plan\n\n## Phase 1: A\n\n- [ ] T001 a\n- [ ] T002 b\n"
OPENSPEC = "# Plan\n\n## 1. A\n\n- [ ] 1.1 a\n- [ ] 1.2 b\n"
GSD = "---\nphase: 01\nplan: {0}\nwave: {0}\n---\n<tasks>\n<task><name>Do {0}</name></task>\n</tasks>\n"


def read(text: str, path: str = "plan.md", **options: object) -> Parsed:
    return parse(text, path, agent="agent", options=ReadOptions(**options))  # type: ignore[arg-type]


def dialect_of(text: str, path: str = "plan.md") -> str | None:
    found = read(text, path)
    return found.plan.dialect if found.plan else None


@pytest.mark.parametrize(
    ("text", "path", "dialect"),
    [
        (SPEC_KIT, "plan.md", "spec-kit"),
        (OPENSPEC, "plan.md", "openspec"),
        (OPENSPEC, ".kiro/specs/a/tasks.md", "kiro"),
        ("- [ ] 1. a\n  - [ ] 1.1 b\n    - _Requirements: 1.1_\n", "plan.md", "kiro"),
        ("- [ ] a\n", "openspec/changes/a/tasks.md", "openspec"),
        ("# A\n\n## Task 1: A\n\n- [ ] **Step 1: a**\n", "plan.md", "superpowers"),
        ("## TODOs\n\n- [ ] 1. a\n\n  **Blocked By**: None\n", "plan.md", "sisyphus"),
        ("## Phase 1: A\n\n- [ ] Task: a\n", "plan.md", "conductor"),
        (
            "## Phase 1: A\n\n### Success Criteria\n\n#### Automated Verification\n- [ ] `make`\n",
            "p.md",
            "humanlayer",
        ),
        (GSD.format(1), "01-01-PLAN.md", "gsd"),
        ('{"tasks": [{"id": 1, "title": "a", "dependencies": []}]}', "tasks.json", "taskmaster"),
        ('{"userStories": [{"id": "1", "title": "a", "passes": false}]}', "prd.json", "ralph"),
        (
            "## Story\n\na\n\n## Acceptance Criteria\n\n1. a\n\n## Tasks / Subtasks\n\n- [ ] a (AC: 1)\n",
            "s.md",
            "bmad",
        ),
        ("# A\n\n- [ ] a\n", "plan.md", "checklist"),
        ("### Task 1: A\n- [ ] a\n", "plan.md", "checklist"),
        ("### Task 1: A\n- **Depends on**: None\n\n- [ ] a\n", "plan.md", NATIVE),
        ("## Task 1: A\nDepends on: None\n\n- [ ] a\n", "plan.md", NATIVE),
        ("### Task 1.1: A\n**Acceptance Criteria:**\n- [ ] a\n", "plan.md", NATIVE),
        ("### Task A1: A\n**Acceptance Criteria:**\n- [ ] a\n", "plan.md", "checklist"),
        ("### Phase 1: A\n**Acceptance Criteria:**\n- [ ] a\n", "plan.md", "checklist"),
        ("### Task 1.1: A\n\n**Run:** `make`\n", "plan.md", NATIVE),
        ("## Batch 1: A\n\n### Task 1.1: A\n\n**Implementation:**\n- [ ] a\n- [ ] T001 b\n", "plan.md", NATIVE),
        (
            "## Batch 1: A\n\n### Task 1.1: A\n\n**Run:** `make`\n\n## Notes\n\n- [ ] a\n- [ ] b\n",
            "plan.md",
            NATIVE,
        ),
    ],
)
def test_a_plan_is_read_as_its_dialect(text: str, path: str, dialect: str) -> None:
    assert dialect_of(text, path) == dialect
    assert dialect_of("\ufeff" + text.replace("\n", "\r\n"), path) == dialect


def test_more_items_win_and_the_other_is_named() -> None:
    found = read(SPEC_KIT + "\n## 2. B\n\n- [ ] 2.1 c\n", "openspec/changes/a/tasks.md")
    assert found.plan
    assert found.plan.dialect == "openspec"
    assert found.diagnostics[0].message == "this is read as openspec; `--dialect spec-kit` reads it otherwise"


def test_a_tie_is_won_by_the_first_of_the_names() -> None:
    first, second = sorted(("spec-kit", "openspec"), key=NAMES.index)
    found = read(SPEC_KIT, "openspec/changes/a/tasks.md")
    assert found.plan
    assert found.plan.dialect == first
    assert f"`--dialect {second}`" in found.diagnostics[0].message


@pytest.mark.parametrize("name", ["openspec", "checklist", "spec-kit"])
def test_a_named_dialect_decides(name: str) -> None:
    found = read(SPEC_KIT, dialect=name)
    assert found.plan
    assert found.plan.dialect == name
    assert not found.diagnostics


@pytest.mark.parametrize("name", NAMES)
def test_a_dialect_that_reads_nothing_is_named(name: str) -> None:
    found = read("# Only a title\n", dialect=name)
    assert found.plan is None
    message = found.errors[0].message
    assert message == (
        "not valid JSON: Expecting value"
        if name in {"taskmaster", "ralph"}
        else f"this {name} plan has no task"
        if name != NATIVE
        else "the plan has no task; write one as `### Task 1.1: Title`"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Only a title\n",
        "{}",
        "[1]",
        "text\n",
        "---\ntags: [a]\nphase: 2\n---\n# Notes\n\n- a\n",
        "**Status:** a",
    ],
)
def test_a_text_of_no_dialect_is_answered_with_what_was_looked_for(text: str) -> None:
    found = read(text)
    assert found.plan is None
    assert len(found.diagnostics) == 1
    message = found.errors[0].message
    assert message.startswith("this is not a plan of a known dialect")
    assert "boxes (`- [ ] …`)" in message


def test_json_that_is_not_valid_is_reported_where_it_is_not() -> None:
    (error,) = read('{\n "hello": [\n  {"id": 1,, }\n ]\n}', "tasks.json").errors
    assert str(error).startswith("tasks.json:3:12: error: not valid JSON: ")


def test_the_shortest_plan_that_is_shown_can_be_read() -> None:
    shown = read("").errors[0].message.split("`")
    assert dialect_of(f"{shown[-4]}\n\n{shown[-2]}\n") == NATIVE


def test_what_is_wrong_with_a_native_plan_is_still_said() -> None:
    assert "unknown key `tags`" in read("---\ntags: [a]\n---\n### Task 1.1: A\n**Run:** a\n").errors[0].message
    assert "never closed" in read("```\n### Task 1.1: A\n").errors[-1].message


@pytest.mark.parametrize("path", sorted([*ROOT.glob("examples/*.md"), *ROOT.glob("benchmarks/**/*.md")]))
def test_plans_of_this_repository_stay_native(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "### Task" in text:
        assert dialect_of(text, str(path)) == NATIVE


def test_a_plan_with_nothing_left_to_run_can_be_read() -> None:
    found = parse("- [x] a\n- [x] b\n", "TODO.md")
    assert found.plan
    assert not found.diagnostics
    assert all(task.is_left_out for task in found.plan.tasks)


def test_a_packed_directory_is_read_as_the_directory() -> None:
    beside = Beside(
        (("01-01-PLAN.md", GSD.format(1)), ("01-02-PLAN.md", GSD.format(2))),
        frozenset({"01-01-PLAN.md", "01-01-SUMMARY.md", "01-02-PLAN.md"}),
    )
    options = ReadOptions(unit=UnitKind.ITEM, order=Order.SEQUENTIAL)
    first = parse("", "plans", agent="agent", options=options, beside=beside)
    text = packed(Source("plans", "", beside), options)
    assert first.plan
    assert len(first.plan.tasks) == 2
    assert first.plan.tasks[0].completed
    assert parse(text, "plans", agent="agent") == first
    assert parse(text, "plans", agent="agent", options=ReadOptions(dialect="kiro")) == first
    assert packed(Source("plans", text), ReadOptions(dialect="kiro")) == text


@pytest.mark.parametrize(
    ("path", "absolute", "place"),
    [
        ("tasks.md", "/home/me/demo/.kiro/specs/login/tasks.md", ".kiro/specs/login/tasks.md"),
        ("login/tasks.md", "/home/me/demo/.kiro/specs/login/tasks.md", ".kiro/specs/login/tasks.md"),
        ("x/tasks.md", "/srv/openspec/changes/a/openspec/changes/x/tasks.md", "openspec/changes/x/tasks.md"),
        (".kiro/specs/login/tasks.md", "/home/me/demo/.kiro/specs/login/tasks.md", ""),
        ("plan.md", "/home/me/demo/plan.md", ""),
        ("plan.md", "/home/conductor/demo/plan.md", ""),
    ],
)
def test_place_of_a_plan_begins_at_the_folder_of_its_tool(path: str, absolute: str, place: str) -> None:
    assert place_of(path, absolute) == place


def test_a_plan_named_from_inside_the_folder_of_its_tool_is_known_then_and_later() -> None:
    text = "- [ ] First\n- [ ] Second\n"
    beside = Beside(place="openspec/changes/add-login/tasks.md")
    plan = parse(text, "tasks.md", agent="agent", beside=beside).plan
    assert plan
    assert (plan.dialect, plan.title) == ("openspec", "add-login")
    stored = packed(Source("tasks.md", text, beside), ReadOptions())
    assert parse(stored, "tasks.md", agent="agent").plan == plan


def test_options_are_packed_with_a_file_and_a_file_alone_is_its_text() -> None:
    source = Source("plan.md", SPEC_KIT)
    options = ReadOptions("checklist", UnitKind.ITEM, Order.INFERRED, optional=True, tag="a")
    assert packed(source, ReadOptions()) == SPEC_KIT
    assert unpacked(Source("plan.md", packed(source, options)), ReadOptions()) == (source, options)


@pytest.mark.parametrize(
    "rest", ["", "{", "[]", "{}", '{"text": 1}', '{"text": "", "files": [1], "names": []}']
)
def test_what_only_looks_packed_is_text(rest: str) -> None:
    assert not parse(f"patchyard-plan: {rest}", "plan.md", agent="agent").plan


def test_a_native_plan_loads_no_other_dialect() -> None:
    text = "# P\n\n## Batch 1: B\n\n### Task 1.1: T\n\n**Files:**\n- Create: `a`\n\n**Run:**\n- `make`\n"
    program = (
        "import sys; from tasks.dialects.registry import parse; "
        f"assert parse({text!r}, 'plan.md').plan; "
        "loaded = {'tasks.dialects.formats.superpowers', 'tasks.dialects.formats.kiro'}; "
        "print(sorted(sys.modules.keys() & loaded))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"

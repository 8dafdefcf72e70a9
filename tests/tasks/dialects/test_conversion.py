"""A plan of each dialect, written as a native one, is the same plan when it is read again."""

import json
from dataclasses import replace

import pytest
from conversions import read_again

from tasks.dialects.read_options import Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Beside
from tasks.model import Batch, Check, DeclaredFile, FileAction, Plan, Task
from tasks.plan.parser import parse as parse_native
from tasks.plan.writer import differing, native_text

SUPERPOWERS = """\
# Login

> **For agentic workers:** steps have boxes.

**Goal:** log in
**Spec:** `docs/spec.md`

## Chunk 1: Server

What the server needs.

### Task 1: Add the **form** ✅ COMPLETE

**Files:**
- Create: `src/form.py`

- [x] **Step 1: Write it**

### Task 2: Check it

**Files:**
- Modify: `src/form.py:1-9`
- Create: `src/[id]/(app).ts`

- [x] **Step 1: Write the test**

```markdown
### Task 9: in a fence
**Run:** make
```

- [ ] **Step 2: Run it**

Run: `pytest -q`
Expected: PASS

- [ ] **Step 3: Commit**

```bash
git commit -m "feat: check it

With a body"
```

## Self-review

All is well.
"""
SPEC_KIT = """\
# Tasks: Login

**Input**: documents

## Phase 1: Setup

**Purpose**: begin

- [x] T001 Create `src/a.py`
- [ ] T002 [P] Create `src/b.py`

### Tests

- [ ] T003 Run `make test` and see it pass

## Phase 2: User Story 1 - Log in

**Goal**: people log in
**Dependencies**: none

- [ ] T004 [US1] Write src/c.py

## Phase 3: User Story 2 - Log out

- [ ] T005 [US2] Write src/d.py

## Dependencies

- All of it
"""
KIRO = """\
# Implementation Plan

- [ ] 1. Set up
  - [x] 1.1 Write a.py
    - _Requirements: 1.1_
  - [ ] 1.2 (P) Write b.py
    - _Requirements: 1.2_
- [ ]* 2. Write tests
  - _Requirements: 2_
- [ ] 3. Finish
  - _Requirements: 3_
"""
OPENSPEC = (
    "## 1. Code\n\n- [x] 1.1 Write it\n- [ ] 1.2 Run `make test`\n\n## 2. Docs\n\n- [ ] 2.1 Write `README.md`\n"
)
GSD = """\
---
phase: 12-things
plan: {plan}
wave: {plan}
depends_on: []
files_modified: [src/{plan}.py]
---
<objective>
Build {plan}.
</objective>

<context>
@src/a.py
</context>

<tasks>
<task type="auto">
  <name>Task 1: Do it</name>
  <files>src/{plan}.py</files>
  <action>Work</action>
  <verify><automated>make && make test</automated></verify>
</task>
</tasks>
"""
TASKMASTER = json.dumps(
    {
        "tasks": [
            {"id": 1, "title": "Set <!-- up", "status": "done", "dependencies": []},
            {
                "id": 2,
                "title": "  Do **",
                "details": "## Batch 1\n**Run:** make\r\n\u0000",
                "status": "pending",
                "dependencies": [1],
                "subtasks": [
                    {"id": 1, "title": "A", "status": "done", "dependencies": []},
                    {"id": 2, "title": "B", "status": "pending", "dependencies": [1], "details": "```"},
                ],
            },
        ]
    }
)
RALPH = json.dumps(
    {
        "userStories": [
            {
                "id": "US-001",
                "title": "A",
                "priority": 1,
                "passes": False,
                "acceptanceCriteria": ["Typecheck passes", "`make` passes", "Run it:\n- a"],
            },
            {"id": "US-002", "title": "B", "priority": 2, "passes": True, "acceptanceCriteria": []},
        ]
    }
)
SISYPHUS = """\
# Plan

## TODOs

Wave 1 is short.

- [ ] 1. Write it

  **Wave**: 1
  **Blocks**: 2

- [ ] 2. Check it

  **Blocked By**: 1
  **Acceptance Criteria**:
  - [ ] `make test` passes

## Final Verification Wave

- [ ] F1. Look at it
"""
CONDUCTOR = """\
# Track

## Phase 1: Begin [checkpoint: abc1234]

- [x] Task: Write it [abc1234]
- [ ] Task: Test it
    - [ ] Sub-task: more
- [ ] Task: Conductor - User Manual Verification 'Begin'
"""
HUMANLAYER = """\
# Plan

## Overview

Why.

## Phase 1: Server

### Changes Required:

**File**: `src/a.py`

### Success Criteria:

#### Automated Verification:
- [ ] Tests pass: `make test`

#### Manual Verification:
- [ ] It looks right

---

## Phase 2: Client

### Success Criteria:

#### Automated Verification:
- [ ] `make lint`

## Testing Strategy

By hand.
"""
BMAD = """\
# Story 1.1: Log in

Status: Draft

## Story

As a user.

## Acceptance Criteria

1. It works

## Tasks / Subtasks

- [x] Write it (AC: 1)
- [ ] Test it (AC: 1)
  - [ ] deeply

## Dev Notes

None.
"""
CHECKLIST = (
    "# To do\n\nA list.\n\n## One\n\nWhy.\n\n- [x] a\n- [ ] b\n  more of b\n\n"
    "## Two\n\n- [ ] c\n\n## End\n\nThanks.\n"
)

GSD_FILES = (("12-01-PLAN.md", GSD.format(plan="01")), ("12-02-PLAN.md", GSD.format(plan="02")))
PLANS = {
    "superpowers": ("docs/superpowers/plans/a.md", SUPERPOWERS),
    "spec-kit": ("specs/1/tasks.md", SPEC_KIT),
    "kiro": (".kiro/specs/a/tasks.md", KIRO),
    "openspec": ("openspec/changes/a/tasks.md", OPENSPEC),
    "gsd": ("phases/12-things", ""),
    "taskmaster": (".taskmaster/tasks/tasks.json", TASKMASTER),
    "ralph": ("prd.json", RALPH),
    "sisyphus": (".sisyphus/plans/a.md", SISYPHUS),
    "conductor": ("conductor/tracks/a/plan.md", CONDUCTOR),
    "humanlayer": ("thoughts/plan.md", HUMANLAYER),
    "bmad": ("docs/stories/1.1.story.md", BMAD),
    "checklist": ("TODO.md", CHECKLIST),
}


def plan_of(dialect: str, options: ReadOptions | None = None) -> Plan:
    path, text = PLANS[dialect]
    beside = Beside(GSD_FILES, frozenset(dict(GSD_FILES))) if dialect == "gsd" else None
    found = parse(text, path, agent="agent", options=options, beside=beside)
    assert found.plan, found.diagnostics
    assert found.plan.dialect == dialect
    return found.plan


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("unit", [None, *UnitKind])
@pytest.mark.parametrize("dialect", PLANS)
def test_every_dialect_is_the_same_when_it_is_read_again(
    dialect: str, unit: UnitKind | None, order: Order
) -> None:
    read_again(plan_of(dialect, ReadOptions(unit=unit, order=order)))


def test_the_result_is_a_plan_that_a_person_can_go_on_with() -> None:
    text, _ = read_again(plan_of("spec-kit"))

    assert text.startswith('---\npatchyard: 2\ntitle: "Tasks: Login"\ndocuments:\n  - spec.md\n')
    assert "\n# Tasks: Login\n\n**Input**: documents\n\n### Task " in text
    assert "\n**Depends on:** Task " in text
    assert "\n### Tests\n\n- [ ] T003 Run `make test` and see it pass\n" in text
    assert text.endswith("## Dependencies\n\n- All of it\n")
    assert "verbatim" not in text
    assert text.count("\\") == 1  # before `**Dependencies**:`, which is a part of the text


def test_what_a_text_file_cannot_hold_is_json() -> None:
    text, again = read_again(plan_of("taskmaster"))

    assert "````json verbatim\n" in text
    assert "\0" not in text
    assert "\r" not in text
    assert "\0" in again.tasks[1].implementation


def test_optional_tasks_run_where_the_user_says_so() -> None:
    text = native_text(plan_of("kiro"))
    options = ReadOptions(optional=True)

    assert "**Status:** optional" in text
    assert [task.optional for task in parse(text, "p.md", agent="agent").plan.tasks].count(True) == 1  # type: ignore[union-attr]
    assert not any(task.optional for task in parse(text, "p.md", agent="agent", options=options).plan.tasks)  # type: ignore[union-attr]
    _, again = read_again(plan_of("kiro", options))
    assert not any(task.optional for task in again.tasks)


def test_a_converted_plan_is_native_wherever_it_is_and_whatever_is_in_it() -> None:
    text = native_text(plan_of("spec-kit"))
    for path, _ in PLANS.values():
        plan = parse(text, path, agent="agent").plan
        assert plan
        assert plan.dialect == "patchyard"


ODD = [
    *("", "\n", " ", "a", "- a\n\n  b", "---\n\n# A\n\nb\n\n---", "<!-- a", "<pre>\n\n**Run:** x", "```\nopen"),
    *("Setext\n===", "Setext\n---", "**Files:** a\n**Title:** b", "### Task 2: X\n\ntext", "# Batch 1\n\\# a"),
    *("\\**Run:** a\n\\\\# b", "````verbatim\n```\n````", "    code\n**Goal:** a", "> ## Group\n\n## Group: a"),
    *(
        "a\r\nb",
        "\x0b\u2028",
        "1. a\n2. **Run:** b",
        "**Runs:** a",
        "### Task: no number",
        "~~~\n### Task 3\n~~~",
    ),
]
WORDS = [
    *("a", "a  b", " a ", "**a**", "a ** b", "a <!-- b --> c", "a #", "a\nb", "DONE", "x ✅", "~~a~~", "`a`"),
    *("- a", "[ ] a", "\u00a0a", "a:", "a\u2028b", "$ ls", "## a", "`" * 4, "'", '"', "\\**a", "None", "a\\"),
]


def odd_plan(at: int) -> Plan:
    """Return a plan with one odd text at each place of it, and odd words elsewhere."""
    text, word = ODD[at % len(ODD)], WORDS[at % len(WORDS)]
    other = WORDS[(at * 7 + 3) % len(WORDS)]
    first = Task(
        id=["1", "T001", "a", "1.2A", "02-01", "x-and-y"][at % 6],
        title=word,
        batch=1,
        files=(DeclaredFile(FileAction.CREATE, "a b/(c).py"), DeclaredFile(FileAction.READ, "d,e")),
        implementation=text,
        commit=f"{word.strip() or 'a'}\n\nbody" if at % 2 else word.strip(),
        group=word,
        group_text=text,
        done_items=(word, other),
        manual=(other, text.strip() or "a"),
        verification=(Check(text.strip() or "a"), Check(other)),
        optional=bool(at % 2),
    )
    second = replace(
        Task("2-2", "B", 1), dependencies=(first.id,), reasons={first.id: "both change (a) b"}, completed=True
    )
    batch = Batch(1, word, (first, second), ())
    return Plan("a", word, "plan.md", (batch,), dialect="gsd", header=text, footer=text, neighbours=(word,))


@pytest.mark.parametrize("at", range(len(ODD) * 2))
def test_odd_texts_are_the_same_when_they_are_read_again(at: int) -> None:
    plan = odd_plan(at)
    again = parse_native(native_text(plan), "plan.md", agent="agent").plan
    assert differing(plan, again) == ()


def test_what_is_lost_is_named() -> None:
    plan = odd_plan(0)
    first, second = plan.tasks
    other = replace(plan, batches=(replace(plan.batches[0], tasks=(first, replace(second, commit="b"))),))

    assert differing(plan, other) == ("2-2",)
    assert differing(plan, None) == (first.id, "2-2")
    assert differing(plan, replace(plan, header="x")) == (first.id, "2-2")

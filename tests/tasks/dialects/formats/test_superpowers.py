"""Plans of superpowers: tasks with steps."""

from tasks.diagnostics import Severity
from tasks.dialects.formats.superpowers import DIALECT
from tasks.dialects.native import count as native_count
from tasks.dialects.read_options import Order, ReadOptions, UnitKind
from tasks.dialects.registry import parse
from tasks.dialects.source import Source
from tasks.model import Plan, Task

HEAD = """\
# Kettle Implementation Plan

> **For agentic workers:** REQUIRED SUB-SKILL: Use superpowers:executing-plans to do this plan task by task.

**Goal:** Boil water.

**Spec:** `docs/specs/kettle.md`

---

"""

TASK = """\
### Task 1: Heat

**Files:**
- Create: `src/heat.py`
- Modify: `src/kettle.py:12-34`
- Test: `tests/test_heat.py`

- [ ] **Step 1: Write the failing test**

```python
def test_heat() -> None:
    assert heat() == 100
```

- [ ] **Step 2: Run test to verify it fails**

Run: `pytest tests/test_heat.py -v`
Expected: FAIL with "heat is not defined"

- [ ] **Step 3: Write the code**

- [ ] **Step 4: Run test to verify it passes**

Run: `pytest tests/test_heat.py -v`
Expected: PASS

- [ ] **Step 5: Commit**

```bash
git add src/heat.py tests/test_heat.py
git commit -m "feat: heat the water"
```
"""


def plan(text: str, options: ReadOptions | None = None) -> Plan:
    """Return the plan that a text is, without errors."""
    parsed = parse(text, "docs/plans/kettle.md", agent="cat", options=options)
    assert [str(one) for one in parsed.diagnostics if one.severity is Severity.ERROR] == []
    assert parsed.plan is not None
    assert parsed.plan.dialect == "superpowers"
    return parsed.plan


def warnings(text: str) -> list[str]:
    return [one.message for one in parse(text, "plan.md", agent="cat").diagnostics]


def written(*parts: str) -> str:
    """Return a plan with paragraphs below its header."""
    return HEAD + "\n\n".join(parts) + "\n"


def task(body: str) -> Task:
    """Return the one task of a plan whose task has a body."""
    return plan(f"{HEAD}### Task 1: Heat\n\n{body}").tasks[0]


def verified(body: str) -> list[str]:
    return [check.text for check in task(body).verification]


def waits(text: str) -> dict[str, tuple[str, ...]]:
    return {one.id: one.dependencies for one in plan(text).tasks}


def test_a_task_is_read_whole() -> None:
    one = plan(HEAD + TASK).tasks[0]
    assert (one.id, one.title) == ("1", "Heat")
    assert [(file.action.value, file.path) for file in one.files] == [
        ("create", "src/heat.py"),
        ("modify", "src/kettle.py"),
        ("modify", "tests/test_heat.py"),
    ]
    assert [check.text for check in one.verification] == ["pytest tests/test_heat.py -v"]
    assert one.commit == "feat: heat the water"
    assert one.implementation.startswith("**Files:**")
    assert "assert heat() == 100" in one.implementation
    assert 'git commit -m "feat: heat the water"' in one.implementation


def test_the_header_and_the_specification_are_kept() -> None:
    found = plan(HEAD + TASK)
    assert "Boil water" in found.header
    assert found.neighbours == ("/docs/specs/kettle.md",)
    assert found.title == "Kettle Implementation Plan"


def test_a_plan_with_steps_and_without_the_line_is_one() -> None:
    assert DIALECT.count(Source("p.md", "# P\n\n" + TASK)) == 1
    assert native_count(Source("p.md", "# P\n\n" + TASK)) == 0


def test_steps_need_no_box() -> None:
    text = HEAD + TASK.replace("- [ ] ", "")
    assert plan(text).tasks[0].verification[0].text == "pytest tests/test_heat.py -v"
    assert not plan(text).tasks[0].completed


def test_numbered_items_may_be_the_steps() -> None:
    text = (
        "# P\n\n## Tasks\n\n### Task 1: A\n\n**Depends on:** none\n**Files:** `a.py`\n\n"
        "1. Change it:\n\n```py\nx\n```\n\n"
        "2. Run: `make test`\n3. Observe: all tests pass\n4. Commit: `feat: a`\n\n"
        "### Task 2: B\n\n**Depends on:** none | **Files:** `b.py`\n\n1. Run: `make lint`\n"
    )
    found = plan(text).tasks
    assert [(one.id, one.dependencies, [file.path for file in one.files]) for one in found] == [
        ("1", (), ["a.py"]),
        ("2", (), ["b.py"]),
    ]
    assert [check.text for check in found[0].verification] == ["make test"]
    assert found[0].commit == "feat: a"
    native = text.replace("1. Change it:", "**Implementation:**\n1. Change it:")
    assert DIALECT.count(Source("p.md", native)) == 0
    assert native_count(Source("p.md", native)) == 2


def test_plans_of_others_are_not() -> None:
    native = "# P\n\n## Batch 1: A\n\n### Task 1.1: B\n\n**Run:**\n```sh\nmake\n```\n"
    assert DIALECT.count(Source("p.md", native)) == 0
    assert native_count(Source("p.md", native)) == 2
    assert DIALECT.count(Source("p.md", "# P\n\n### Task 1: A\n\n- [ ] do it\n")) == 0
    story = "## Tasks / Subtasks\n\n### Task 1: A (AC: 1)\n\n- [ ] **Step 1: b**\n"
    assert DIALECT.count(Source("p.md", story)) == 0
    todos = "## TODOs\n\n### Task 1 — A\n- **Wave**: 1\n\n**Step 1: b**\n"
    assert DIALECT.count(Source("p.md", todos)) == 0
    assert DIALECT.count(Source("prd.json", '{"task": "### Task 1: **Step 1**"}')) == 0


def test_numbers_and_marks_of_headings() -> None:
    headings = {
        "### Task 1: A": ("1", "A"),
        "## Task 1.2 — B": ("1.2", "B"),
        "#### Task A1. C": ("A1", "C"),
        "### Task 5b - D": ("5b", "D"),
        "### Task 0: E": ("0", "E"),
        "### Task T1: F": ("T1", "F"),
        "### Task 4.1–4.6: G": ("4.1-4.6", "G"),  # noqa: RUF001 - the dash of a range
        "### 任务 7：H": ("7", "H"),  # noqa: RUF001 - full-width colon
        "### Task 9": ("9", "Task 9"),
        "### 🔧 Task 3: I": ("3", "I"),
        "### Task 5 — 3 new pages": ("5", "3 new pages"),
        "### Task 1 - 2.0 release": ("1", "2.0 release"),
        "### Task 2 of 5: L": ("2", "L"),
        "### Task 1.1 [P]: M": ("1.1", "M"),
        "### Task A: N": ("A", "N"),
        "### **Task 3:** J": ("3", "J"),
        "### Task 2.2.5: `k`": ("2.2.5", "`k`"),
    }
    for heading, expected in headings.items():
        one = plan(f"{HEAD}{heading}\n\n**Step 1: x**\n").tasks[0]
        assert (one.id, one.title) == expected, heading


def test_levels_may_be_mixed() -> None:
    text = written(
        "## Task 1: A", "**Step 1: a**", "### Task 2: B", "**Step 1: b**", "## Task 3: C", "**Step 1: c**"
    )
    found = plan(text).tasks
    assert [one.id for one in found] == ["1", "2", "3"]
    assert [one.implementation for one in found] == ["**Step 1: a**", "**Step 1: b**", "**Step 1: c**"]


def test_tasks_in_fences_are_text() -> None:
    text = written(
        "### Task 1: A", "````markdown\n### Task 2: B", "- [x] **Step 1: b**\n````", "- [ ] **Step 1: a**"
    )
    found = plan(text).tasks
    assert [one.id for one in found] == ["1"]
    assert "### Task 2: B" in found[0].implementation


def test_a_fence_of_markdown_may_hold_fences_of_its_length() -> None:
    shown = "```markdown\n# Guide\n\n## Use\n\n```bash\nkettle\n```\n\n## Help\n\nAsk.\n```"
    found = plan(
        f"{HEAD}### Task 1: A\n\n**Step 1: Write it**\n\n{shown}\n\n**Step 2: b**\n\n### Task 2: C\n\nx\n"
    ).tasks
    assert [one.id for one in found] == ["1", "2"]
    assert found[0].implementation.endswith("**Step 2: b**")


def test_a_fence_that_is_never_closed_is_a_warning() -> None:
    text = f"{HEAD}### Task 1: A\n\n```py\nx = 1\n\n### Task 2: B\n\n**Step 1: b**\n"
    assert [one.id for one in plan(text).tasks] == ["1"]
    assert any("this fence is never closed" in one for one in warnings(text))
    assert not any("never closed" in one for one in warnings(HEAD + TASK))
    assert not any("never closed" in one for one in warnings(HEAD + TASK + "\n    indented\n"))


def test_a_task_is_done_when_its_boxes_are() -> None:
    found = plan(
        HEAD + TASK.replace("[ ]", "[x]") + "\n### Task 2: B\n\n- [x] **Step 1: a**\n- [ ] **Step 2: b**\n"
    )
    assert [one.completed for one in found.tasks] == [True, False]
    assert found.tasks[1].done_items == ("**Step 1: a**",)
    assert (found.items, found.done_items) == (2, 1)


def test_a_heading_says_that_a_task_is_done() -> None:
    for heading in (
        "### Task 1: A ✅",
        "### ✅ Task 1: A",
        "### Task 1: A - DONE",
        "### Task 1: A ✅ (abc1234)",
        "### Task 1: A (done)",
        "### [x] Task 1: A",
        "### ~~Task 1: A~~",
    ):
        one = plan(f"{HEAD}{heading}\n\n**Step 1: a**\n").tasks[0]
        assert one.completed, heading
        assert one.title == "A", heading


def test_a_status_counts_where_there_is_no_box() -> None:
    assert task("**Status:** Completed\n\n**Step 1: a**\n").completed
    assert not task("**Status:** Completed\n\n- [ ] **Step 1: a**\n").completed


def test_a_completed_plan_with_open_boxes_is_a_warning() -> None:
    text = HEAD.replace("**Goal:**", "**Status:** Completed\n\n**Goal:**") + TASK
    assert any("the plan says that it is completed, but 1 task is open" in one for one in warnings(text))


def test_tasks_follow_each_other() -> None:
    text = HEAD + "".join(f"### Task {n}: A\n\n**Step 1: a**\n\n" for n in "123")
    assert waits(text) == {"1": (), "2": ("1",), "3": ("2",)}


def test_a_task_that_says_what_it_depends_on_waits_for_that() -> None:
    def said(line: str) -> tuple[str, ...]:
        tasks = "".join(f"### Task {n}: A\n\n**Step 1: a**\n\n" for n in (1, 2, 3, 4))
        return waits(f"{HEAD}{tasks}### Task 5: B\n\n{line}\n\n**Step 1: b**\n")["5"]

    assert said("**Depends on:** Task 1") == ("1",)
    assert said("- **Depends on**: Task 1") == ("1",)
    assert said("Depends on: Task 1, Task 3") == ("1", "3")
    assert said("**Depends on:** None") == ()
    assert said("**Depends on:** Task 3 (uses the API of 2), Task 4 (why). Task 1 was done before.") == (
        "3",
        "4",
    )
    assert said("Depends on: Tasks 1, 2, 3") == ("1", "2", "3")
    assert said("**Depends on:** Tasks 1–3") == ("1", "2", "3")  # noqa: RUF001 - the dash of a range
    assert said("**Depends on:** all previous tasks") == ("1", "2", "3", "4")
    assert said("**Dependencies:** Task 2") == ("2",)
    assert said("**Dependencies:** `requests` 2.31, Python 3") == ("4",)
    assert said("**Dependencies:** None") == ("4",)
    assert said("**Depends on:**\n- Task 1\n- Task 2") == ("1", "2")
    assert said("```\nDepends on: Task 1\n```") == ("4",)


def test_a_heading_may_say_what_a_task_depends_on() -> None:
    text = f"{HEAD}### Task 1: A\n\na\n\n### Task 2: B\n\nb\n\n### Task 3: C (depends on Task 1)\n\nc\n"
    assert waits(text)["3"] == ("1",)
    assert plan(text).tasks[2].title == "C"


def test_a_number_in_a_range_is_the_task_of_the_range() -> None:
    text = written(
        "### Task 1: A",
        "a",
        "### Task 4.1–4.6: B",  # noqa: RUF001
        "b",
        "### Task 5: C",
        "c",
        "### Task 6: D",
        "**Depends on:** Task 4.3",
    )
    assert waits(text)["6"] == ("4.1-4.6",)


def test_a_task_may_depend_on_a_later_one() -> None:
    text = f"{HEAD}### Task 1: A\n\n**Depends on:** Task 2\n\n### Task 2: B\n\nb\n\n### Task 3: C\n\nc\n"
    assert waits(text) == {"1": ("2",), "2": (), "3": ("2",)}


def test_tasks_that_depend_on_each_other_are_an_error() -> None:
    text = f"{HEAD}### Task 1: A\n\n**Depends on:** Task 2\n\n### Task 2: B\n\n**Depends on:** Task 1\n"
    assert any("cycle" in one for one in warnings(text))


def test_an_unknown_task_is_a_warning() -> None:
    text = f"{HEAD}### Task 1: A\n\na\n\n### Task 2: B\n\n**Depends on:** Task 7\n"
    assert any("task 7, which is not in the plan" in one for one in warnings(text))
    assert waits(text)["2"] == ("1",)


GROUPS = f"""{HEAD}## Chunk 1: Water

Fill it first.

### Task 1: A

- [x] **Step 1: a**

### Task 2: B

- [ ] **Step 1: b**

## Chunk 2: Fire

### Task 3: C

- [ ] **Step 1: c**

## Self-Review

- nothing is missing
"""


def test_chunks_are_groups() -> None:
    found = plan(GROUPS)
    assert [one.group for one in found.tasks] == ["Chunk 1: Water", "Chunk 1: Water", "Chunk 2: Fire"]
    assert found.tasks[1].group_text == "Fill it first."
    assert found.tasks[1].done_items == ("A",)
    assert found.footer.startswith("## Self-Review")
    assert "Self-Review" not in found.tasks[2].implementation
    assert "Fill it first" not in found.header


def test_a_group_may_be_the_unit() -> None:
    found = plan(GROUPS, ReadOptions(unit=UnitKind.GROUP))
    assert [(one.id, one.title, one.dependencies) for one in found.tasks] == [
        ("1", "Chunk 1: Water", ()),
        ("2", "Chunk 2: Fire", ("1",)),
    ]
    assert found.unit == "group"
    assert "Fill it first." in found.tasks[0].implementation
    assert "### Task 2: B" in found.tasks[0].implementation
    assert found.tasks[0].done_items == ("A",)
    assert (found.items, found.done_items) == (3, 1)


def test_a_plan_without_groups_is_read_by_items() -> None:
    options = ReadOptions(unit=UnitKind.GROUP)
    assert plan(HEAD + TASK, options).unit == "item"
    found = parse(HEAD + TASK, "plan.md", agent="cat", options=options).diagnostics
    assert any("no chunks or phases, so it is read by items" in one.message for one in found)


def test_headings_over_all_tasks_are_not_groups() -> None:
    for heading in ("## Tasks", "## Phase 1 Tasks", "## Implementation"):
        found = plan(f"{HEAD}{heading}\n\nAll of it.\n\n{TASK}")
        assert found.tasks[0].group == "", heading
        assert "All of it." in found.header, heading


def test_a_part_may_hold_phases() -> None:
    text = written(
        "# Part A: Big",
        "Why.",
        "## Phase A1: Small",
        "How.",
        "### Task A1: x",
        "x",
        "## Phase A2: Empty",
        "Intentionally empty.",
    )
    one = plan(text).tasks[0]
    assert one.group == "Phase A1: Small"
    assert one.group_text.startswith("Why.")
    assert one.group_text.endswith("How.")


def test_groups_that_count_from_one_give_unique_ids() -> None:
    text = written(
        "## Phase 1: P",
        "### Task 1: A",
        "a",
        "### Task 2: B",
        "b",
        "## Phase 2: Q",
        "### Task 1: C",
        "c",
        "### Task 2: D",
        "**Depends on:** Task 1",
    )
    assert waits(text) == {"1.1": (), "1.2": ("1.1",), "2.1": ("1.2",), "2.2": ("2.1",)}


def test_sections_between_tasks_belong_to_no_task() -> None:
    text = written(
        "## Phase 0: P", "### Task 1: A", "a", "## Findings", "It boils.", "## Phase 1: Q", "### Task 2: B", "b"
    )
    found = plan(text)
    assert found.footer == "## Findings\n\nIt boils."
    assert found.tasks[0].implementation == "a"


def test_open_boxes_outside_of_tasks_are_a_warning() -> None:
    assert any(
        "open boxes below `Rollout`" in one for one in warnings(f"{HEAD}{TASK}\n## Rollout\n\n- [ ] ask\n")
    )


def test_words_of_success() -> None:
    for words in (
        "PASS", "PASS (4 tests)",
        "all tests pass", "`test result: ok`", "No errors", "zero errors", "0 failures",
        "exit 0", "exit code 0", "compiles", "green", "BUILD SUCCESSFUL", "4 passed, 0 failed", "no output",
        "PASS — no regressions", "fmt clean; all tests pass", "Command exits 0 and prints `x`", "✅ all good",
    ):  # fmt: skip
        assert verified(f"**Step 1: a**\n\nRun: `pytest -q`\nExpected: {words}\n") == ["pytest -q"], words


def test_words_of_failure_and_of_neither() -> None:
    for words in (
        "FAIL",
        'FAIL with "no module"', "test fails because it is missing", "Shows the list", "`2`", "one match",
        "error: undefined", "does not compile", "should not pass", "1 passed, 2 failed", "Browser opens",
    ):  # fmt: skip
        assert verified(f"**Step 1: a**\n\nRun: `pytest -q`\nExpected: {words}\n") == [], words


def test_ways_to_say_what_is_run() -> None:
    for body in (
        "**Step 1: a**\n\nRun: `make test`\nExpected: PASS\n",
        "**Step 1: a**\n\nRun: `make test`\n\nExpected: PASS\n",
        "**Step 1: a**\n\nRun:\n```bash\nmake test\n```\nExpected: PASS\n",
        "**Step 1: a**\n\nRun:\n\n```\nmake test\n```\n\nExpected:\n\n```text\nAll tests pass\n```\n",
        "**Step 1: Run it**\n\n```bash\nmake test\n```\n\nExpected: PASS.\n",
        "- [ ] **Step 1: Run** `make test` → PASS\n",
        "- [ ] **Step 1:** Run `make test`. Expected: PASS (all).\n",
        "- [ ] **Step 1: Check** — `make test` -> PASS.\n",
        "- [ ] Run `make test` and see it pass.\n",
        "- [ ] **Step 1: Run tests (expect PASS)**\n\n```bash\nmake test\n```\n",
        "- [ ] **Step 1: Run tests to verify they pass**\n\nRun: `make test`\n",
        "- [ ] **Step 1: a**\n  - Run: `make test`\n  - Expected: PASS\n",
        "**Step 1: a**\n\n**Run:** `make test`\n**Expected:** PASS\n",
        "**步骤 1：a**\n\n运行：`make test`\n预期：通过\n",  # noqa: RUF001 - full-width colons
        "**Step 1: a**\n\nRun: make test\nExpected: PASS\n",
        "- [ ] **Run it (expect PASS).** `make test`. Expected: 3 rows.\n",
        "- [ ] **Step 4: Build.** `make test` — Expected: compiles.\n",
        "**Step 1: Make it so and run it**\n\n```sh\nmake test\n```\n\nExpected output: 6 passed, 0 failed.\n",
        "**Step 1: a**\r\n\r\nRun:\u00a0`make test`\r\nExpected: PASS\r\n",
    ):
        assert verified(body) == ["make test"], body


def test_commands_that_are_work_stay_text() -> None:
    for command in (
        "git push", "npm install", "mkdir -p a", "npm run dev", "git status", "gh pr create",
        "pytest tests/<name>.py",
        "grep x y || echo ABSENT", "git commit -m 'x'",
    ):  # fmt: skip
        assert verified(f"**Step 1: a**\n\nRun: `{command}`\nExpected: PASS\n") == [], command


def test_a_search_that_is_to_find_nothing_stays_text() -> None:
    assert verified("**Step 1: a**\n\nRun: `grep -rn old src`\nExpected: no output\n") == []
    assert verified("**Step 1: a**\n\nRun: `node -c a.js`\nExpected: no output\n") == ["node -c a.js"]


def test_a_later_step_that_fails_makes_an_earlier_one_untrue() -> None:
    first = "**Step 1: a**\n\nRun: `make test`\nExpected: PASS\n\n"
    first += "**Step 2: b**\n\nRun: `make test`\nExpected: FAIL\n"
    assert verified(first) == []
    assert verified(f"{first}\n**Step 3: c**\n\nRun: `make test`\nExpected: PASS\n") == ["make test"]


def test_all_commands_that_succeed_are_verification() -> None:
    body = "**Step 1: a**\n\nRun: `make test`\nExpected: PASS\n\n"
    body += "**Step 2: b**\n\nRun: `make lint`\nExpected: clean\n"
    assert verified(body) == ["make test", "make lint"]


def test_a_command_of_the_authors_machine_stays_text() -> None:
    text = f"{HEAD}### Task 1: A\n\n**Step 1: a**\n\nRun: `cd /home/ann/kettle && make test`\nExpected: PASS\n"
    assert plan(text).tasks[0].verification == ()
    assert any("outside of the repository" in one for one in warnings(text))


def test_a_path_of_the_authors_machine_in_a_command_keeps_it_text() -> None:
    for command in (
        "/home/ann/.venv/bin/pytest -q",
        "git diff --check\ncd D:\\kettle\nmake test",
        "cd ~/k && make test",
    ):
        assert verified(f"**Step 1: a**\n\nRun:\n```\n{command}\n```\nExpected: PASS\n") == [], command


def test_messages_of_commits() -> None:
    def message(script: str) -> str | None:
        return task(f"**Step 1: Commit**\n\n```bash\n{script}\n```\n").commit

    assert message('git add a && git commit -m "feat: a"') == "feat: a"
    assert message("git commit -am 'fix: b'") == "fix: b"
    assert message('git commit -m "feat: a" -m "Why."') == "feat: a\n\nWhy."
    assert message('git commit -m "feat: a\n\nWhy."') == "feat: a\n\nWhy."
    assert message("git commit -m \"$(cat <<'EOF'\nfeat: a\n\nWhy.\nEOF\n)\"\ngit push") == "feat: a\n\nWhy."
    assert message("git commit -F - <<EOF\nfeat: a\nEOF") == "feat: a"
    assert message("git commit --amend --no-edit") is None
    assert task('**Step 1: Commit**\n\n`git commit -m "docs: c"`\n').commit == "docs: c"
    assert task("**Step 1:** Commit `feat(a): b`.\n").commit == "feat(a): b"
    assert (
        task(
            '**Step 1: a**\n\n```bash\ngit commit -m "a"\n```\n\n'
            "**Step 2: b**\n\n```sh\ngit commit -m 'b'\n```\n"
        ).commit
        == "b"
    )


def test_files_are_read_as_plans_write_them() -> None:
    def files(body: str) -> list[tuple[str, str]]:
        return [(file.action.value, file.path) for file in task(body).files]

    assert files("**Files:** `a/b.py`, `c/d.py` (new `x`)\n") == [("modify", "a/b.py"), ("modify", "c/d.py")]
    assert files("**Files:** Create `a.py`; modify `b.py`\n") == [("create", "a.py"), ("modify", "b.py")]
    assert files("**Files:**\n- Modify: `a.py` (lines 3–9) — call `b.py`\n") == [("modify", "a.py")]  # noqa: RUF001 - the dash of a range
    assert files("**Files:**\n- Delete: `old/`\n- Reference: `docs/a.md`\n") == [
        ("delete", "old/"),
        ("read", "docs/a.md"),
    ]
    assert files("**Files:**\n- Modify: all that is needed\n- Check: `git status`\n") == []
    assert files("**Files:**\n- Create:\n  - `a.py`\n  - `b.py`\n") == [("create", "a.py"), ("create", "b.py")]
    assert files("**Files:**\n- `a.py` (new)\n\n- [ ] **Step 1: Create `b.py`**\n") == [("create", "a.py")]
    assert files("**Files:** none\n\n**Step 1: a**\n") == []


def test_a_file_of_the_authors_machine_is_a_warning() -> None:
    text = f"{HEAD}### Task 1: A\n\n**Files:**\n- Create: `/home/ann/a.py`\n- Create: `b.py`\n\n**Step 1: a**\n"
    assert [file.path for file in plan(text).tasks[0].files] == ["b.py"]
    assert any("`/home/ann/a.py` is outside of the repository" in one for one in warnings(text))


def test_order_may_be_inferred_from_files() -> None:
    text = HEAD + "".join(
        f"### Task {n}: A\n\n**Files:**\n- Modify: `{path}`\n\n**Step 1: a**\n\n"
        for n, path in enumerate(("a.py", "b.py", "a.py"), 1)
    )
    found = plan(text, ReadOptions(order=Order.INFERRED)).tasks
    assert [one.dependencies for one in found] == [(), (), ("1",)]


def test_a_file_that_is_read_and_then_changed_counts_as_changed() -> None:
    both = "**Files:**\n- Reference: `a.py`\n- Modify: `a.py`\n\n**Step 1: a**\n\n"
    text = f"{HEAD}### Task 1: A\n\n{both}### Task 2: B\n\n**Files:**\n- Modify: `b.py`\n\nas `a.py`\n\n"
    found = plan(text, ReadOptions(order=Order.INFERRED)).tasks
    assert [(str(file.action), file.path) for file in found[0].files] == [("modify", "a.py")]
    assert [one.dependencies for one in found] == [(), ("1",)]


def test_all_text_reaches_one_prompt() -> None:
    words = [f"word{number}" for number in range(12)]
    text = (
        f"{HEAD}{words[0]}\n\n## Phase 1: {words[1]}\n\n{words[2]}\n\n### Task 1: {words[3]}\n\n{words[4]}\n\n"
        f"- [ ] **Step 1: a**\n\n  - {words[5]}\n\n  ```py\n  {words[6]}\n  ```\n\n> {words[7]}\n\n"
        f"#### Notes\n\n{words[8]}\n\n"
        f"### Task 2: b\n\n| {words[9]} |\n\n### Done when\n\n{words[10]}\n\n## Notes\n\n{words[11]}\n"
    )
    found = plan(text)
    texts = [one.title + one.implementation for one in found.tasks]
    about = found.header + found.footer + found.tasks[0].group + found.tasks[0].group_text
    for word in words:
        assert sum(word in one for one in texts) + (word in about) == 1, word

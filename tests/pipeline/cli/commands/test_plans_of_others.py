"""What the commands say of plans of other tools."""

import json
from pathlib import Path

import pytest
from project import Project

STORIES = (
    "# Tasks\n\n## Phase 1: Setup\n- [x] T001 a\n\n## Phase 2: User Story 1\n- [ ] T002 b\n\n"
    "## Phase 3: User Story 2\n- [ ] T003 c\n"
)
AGENT = 'echo "$PATCHYARD_TASK" > same.txt'
LEFT = {
    "spec-kit": (STORIES.replace("[ ]", "[x]"), "a spec-kit plan in which every task is done"),
    "openspec": ("## 1. A\n- [x] 1.1 a\n", "an openspec plan in which every task is done"),
    "kiro": (
        "- [x] 1. A\n  - _Requirements: 1_\n- [ ]* 2. B\n  - _Requirements: 2_\n",
        "a kiro plan in which every task is done or optional",
    ),
    "bmad": (
        "# Story 1.2: X\n\n## Story\n\n## Acceptance Criteria\n\n## Tasks / Subtasks\n\n- [x] One (AC: 1)\n",
        "a BMAD plan in which every task is done",
    ),
}


@pytest.mark.parametrize("converted", [False, True])
def test_words_of_the_native_format_are_not_used(project: Project, *, converted: bool) -> None:
    source = project.plan(STORIES, "tasks.md")
    plan = project.plans / "own.md"
    if converted:
        project.call("convert", source, "--output", plan).expect(0)
    else:
        plan = source

    dry = project.call("run", plan, "--agent", AGENT, "--dry-run").expect(0).out
    said = project.call("run", plan, "--agent", AGENT, "--on-conflict", "stop").expect(1).out
    status = project.call("status").expect(0).out
    reports = [project.call("report", "--format", name).expect(0).out for name in ("markdown", "junit", "html")]

    for out in (dry, said, status, *reports):
        assert "batch" not in out.rpartition("</style>")[2].partition("<script>")[0].lower()
    assert "task 1: Phase 1: Setup (skipped: marked as completed in the plan)" in " ".join(dry.split())
    for out in (said, status):
        assert "tasks 2 and 3 conflict in same.txt" in out
    assert "What did not succeed" not in reports[0]
    (record,) = [json.loads(line) for line in project.call("runs", "--json").out.splitlines()]
    assert record["status"] == "failed"  # two of its tasks conflict


@pytest.mark.parametrize("dialect", LEFT)
def test_a_plan_with_nothing_left_says_so_and_makes_no_run(project: Project, dialect: str) -> None:
    text, left = LEFT[dialect]
    plan = project.plan(text, "tasks.md")
    options = (plan, "--dialect", dialect)

    (notice,) = project.call("run", *options, "--json", "--agent", "true").expect(0).records

    assert (notice["event"], notice["message"]) == ("notice", f"{plan}: {left}: nothing is left to run")
    assert left in project.call("check", *options).expect(0).out
    assert not project.worktrees.exists()
    assert project.call("runs", "--json").expect(0).out == ""
    if dialect == "kiro":
        assert f"{left}: nothing is left" in project.call("run", *options, "--dry-run").expect(0).out
        done = project.run(Path(plan), "--optional", "--agent", AGENT).expect(0)
        assert done.statuses == {"1": "skipped", "2": "changed"}

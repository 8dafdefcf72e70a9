"""A run of a plan of each dialect, from a repository laid out as its tool does it, with a scripted agent."""
# ruff: noqa: E501 - the lines of the plans are data

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from github_server import GitHubServer
from project import Done, Project
from repositories import Clone

NAME = "octo/demo"

AGENT = (
    'name="$PATCHYARD_TASK"; cat > "$SHARED/$name.prompt"; echo "start $name" >> "$SHARED/order"; '
    'touch "$name.txt"; echo "end $name" >> "$SHARED/order"'
)
"""Keeps its prompt, says when it starts and ends, and changes a file."""


@dataclass(frozen=True)
class Layout:
    """The files of a repository; `plan` is what is run.

    `waits` are the tasks with those that each is built on, `prompt` texts in the prompt of the last of them, and
    `set` the number of boxes that `tick` sets afterwards (`None` where a directory is the plan).
    """

    plan: str
    files: Mapping[str, str]
    waits: Mapping[str, tuple[str, ...]]
    prompt: tuple[str, ...] = ()
    set: int | None = None
    options: tuple[str, ...] = field(default=())


SUPERPOWERS = (
    "# Greet\n\n**Goal:** greet all.\n\n## Task 1: Hello\n\n**Files:**\n- Create: `a.txt`\n\n- [ ] **Step 1: Write it**\n\n"
    "## Task 2: Bye\n\n**Files:**\n- Create: `b.txt`\n\n- [ ] **Step 1: Write it**\n- [ ] **Step 2: Look**\n"
)
GSD = '---\nphase: 01-a\nplan: {0}\nwave: {0}\n---\n<objective>\nDo {0}.\n</objective>\n<tasks>\n<task type="auto">\n  <name>Task 1: x</name>\n  <action>Write {0}</action>\n</task>\n</tasks>\n'

LAYOUTS = {
    "superpowers": Layout(
        "docs/superpowers/plans/x.md",
        {"docs/superpowers/plans/x.md": SUPERPOWERS},
        {"1": (), "2": ("1",)},
        ("greet all.", "Step 2: Look"),
        3,
    ),
    "spec-kit": Layout(
        "specs/003-login/tasks.md",
        {
            "specs/003-login/tasks.md": "# Tasks\n\n## Phase 1: Setup\n- [ ] T001 a\n\n## Phase 2: User Story 1\n- [ ] T002 b\n\n"
            "## Phase 3: User Story 2\n- [ ] T003 c\n\n## Phase 4: Polish\n- [ ] T004 d\n",
            "specs/003-login/spec.md": "the spec",
        },
        {"1": (), "2": ("1",), "3": ("1",), "4": ("2", "3")},
        ("`specs/003-login/spec.md`", "T004 d"),
        4,
    ),
    "kiro": Layout(
        ".kiro/specs/login/tasks.md",
        {
            ".kiro/specs/login/tasks.md": "# Implementation Plan\n\n- [ ] 1. First\n  - [ ] 1.1 a\n    - _Requirements: 1.1_\n"
            "- [ ] 2. Second\n  - [ ] 2.1 b\n    - _Requirements: 1.2_\n",
            ".kiro/specs/login/requirements.md": "r",
            ".kiro/steering/product.md": "p",
        },
        {"1": (), "2": ("1",)},
        ("`.kiro/specs/login/requirements.md`", "`.kiro/steering`", "2.1 b"),
        4,
    ),
    "openspec": Layout(
        "openspec/changes/add-login",
        {
            "openspec/changes/add-login/tasks.md": "## 1. Server\n- [ ] 1.1 a\n\n## 2. Client\n- [ ] 2.1 b\n- [ ] 2.2 c\n",
            "openspec/changes/add-login/proposal.md": "why",
        },
        {"1": (), "2": ("1",)},
        ("`openspec/changes/add-login/proposal.md`", "2.2 c"),
        3,
    ),
    "gsd": Layout(
        ".planning/phases/01-a",
        {f".planning/phases/01-a/01-0{number}-PLAN.md": GSD.format(number) for number in (1, 2)},
        {"01-01": (), "01-02": ("01-01",)},
        ("Write 2",),
    ),
    "taskmaster": Layout(
        ".taskmaster/tasks/tasks.json",
        {
            ".taskmaster/tasks/tasks.json": json.dumps(
                {
                    "master": {
                        "tasks": [
                            {
                                "id": 1,
                                "title": "a",
                                "status": "pending",
                                "dependencies": [],
                                "description": "do a",
                            },
                            {
                                "id": 2,
                                "title": "b",
                                "status": "pending",
                                "dependencies": [1],
                                "description": "do b",
                            },
                        ]
                    }
                },
                indent=2,
            )
        },
        {"1": (), "2": ("1",)},
        ("do b",),
        2,
    ),
    "sisyphus": Layout(
        ".sisyphus/plans/x.md",
        {
            ".sisyphus/plans/x.md": "# X\n\n## TODOs\n\n- [ ] 1. First\n\n  **What to do**:\n  - a\n\n  **Parallelization**:\n"
            "  - **Blocked By**: None\n\n- [ ] 2. Second\n\n  **What to do**:\n  - b\n\n  **Parallelization**:\n  - **Blocked By**: 1\n"
        },
        {"1": (), "2": ("1",)},
        ("- b",),
        2,
    ),
    "conductor": Layout(
        "conductor/tracks/x",
        {
            "conductor/tracks/x/plan.md": "# Plan\n\n## Phase 1: A\n\n- [ ] Task: One\n  - [ ] Write\n- [ ] Task: Two\n",
            "conductor/tracks/x/spec.md": "spec",
        },
        {"1.1": (), "1.2": ("1.1",)},
        ("`conductor/tracks/x/spec.md`", "Task: Two"),
        3,
    ),
    "humanlayer": Layout(
        "thoughts/shared/plans/x.md",
        {
            "thoughts/shared/plans/x.md": "# X\n\n## Phase 1: A\n\nWrite a.\n\n### Success Criteria:\n\n#### Automated Verification:\n"
            "- [ ] `test -e 1.txt`\n\n## Phase 2: B\n\nWrite b.\n\n### Success Criteria:\n\n#### Automated Verification:\n- [ ] `test -e 1.txt`\n\n"
            "#### Manual Verification:\n- [ ] Look\n"
        },
        {"1": (), "2": ("1",)},
        ("Write b.", "`test -e 1.txt`"),
        2,
    ),
    "ralph": Layout(
        "prd.json",
        {
            "prd.json": json.dumps(
                {
                    "project": "P",
                    "userStories": [
                        {
                            "id": "US-2",
                            "title": "b",
                            "priority": 2,
                            "passes": False,
                            "acceptanceCriteria": ["it is so"],
                        },
                        {
                            "id": "US-1",
                            "title": "a",
                            "priority": 1,
                            "passes": False,
                            "acceptanceCriteria": ["x"],
                        },
                    ],
                }
            )
        },
        {"US-1": (), "US-2": ("US-1",)},
        ("it is so",),
        2,
    ),
    "bmad": Layout(
        "docs/stories/1.2.x.md",
        {
            "docs/stories/1.2.x.md": "# Story 1.2: X\n\n## Story\n\nAs a user.\n\n## Acceptance Criteria\n\n1. it\n\n## Tasks / Subtasks\n\n"
            "- [ ] One (AC: 1)\n  - [ ] inside\n- [ ] Two (AC: 1)\n"
        },
        {"1": (), "2": ("1",)},
        ("As a user.",),
        3,
        ("--unit", "item"),
    ),
    "checklist": Layout(
        "TODO.md",
        {"TODO.md": "# L\n\n## A\n\n- [ ] a\n\n## B\n\n- [ ] b\n"},
        {"1": (), "2": ("1",)},
        ("- [ ] b",),
        2,
    ),
}


@pytest.mark.parametrize("dialect", LAYOUTS)
def test_plan_runs_in_its_order_is_published_stacked_and_its_boxes_are_set(
    hosted: Project, github: GitHubServer, tmp_path: Path, dialect: str
) -> None:
    project, layout = hosted, LAYOUTS[dialect]
    project.clone.commit(dict(layout.files))
    project.clone.git("push", "--quiet", github.repository(NAME).path, "main")

    done = project.run(Path(layout.plan), "--agent", AGENT, *layout.options).expect(0)

    assert done.statuses == dict.fromkeys(layout.waits, "changed")
    assert done.records[0]["dialect"] == dialect
    order = (project.shared / "order").read_text().splitlines()
    for task, needed in layout.waits.items():
        for other in needed:
            assert order.index(f"end {other}") < order.index(f"start {task}")
            project.clone.git("merge-base", "--is-ancestor", *(_commit(done, name) for name in (other, task)))
    prompt = (project.shared / f"{list(layout.waits)[-1]}.prompt").read_text()
    for text in layout.prompt:
        assert text in prompt
    _check_pull_requests(project, github, tmp_path, done, layout)
    if layout.set is not None:
        _check_ticks(project, layout, layout.set)


def _check_pull_requests(
    project: Project, github: GitHubServer, tmp_path: Path, done: Done, layout: Layout
) -> None:
    """Check that another clone publishes the run from its report, each task on what it builds on."""
    project.call("patches", done.run, "-o", tmp_path / "out").expect(0)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["plan"]["dialect"] == done.records[0]["dialect"]
    project.clone.user.git("clone", "-q", github.repository(NAME).path, tmp_path / "there", cwd=tmp_path)
    there = Clone(project.clone.user, tmp_path / "there")
    there.git("remote", "set-url", "origin", github.clone_url(NAME))

    project.call("publish", "--from", tmp_path / "out", cwd=there.path).expect(0)

    branches = {task: str(done.outcome(task)["branch"]) for task in layout.waits}
    expected = {
        branches[task]: "main"
        if not needed
        else branches[needed[0]]
        if len(needed) == 1
        else f"{branches[task]}-base"
        for task, needed in layout.waits.items()
    }
    assert {pull.head: pull.base for pull in github.pull_requests(NAME)} == expected


def _check_ticks(project: Project, layout: Layout, number: int) -> None:
    """Check that `tick` sets the boxes and nothing else, and that nothing is left to run then."""
    path = project.root / layout.plan
    before = path.read_text() if path.is_file() else ""
    assert f": {number} set, of " in project.call("tick").expect(0).out
    assert "nothing to set" in project.call("tick").expect(0).out
    if before:
        assert _without_marks(path.read_text()) == _without_marks(before)
    (notice,) = project.run(Path(layout.plan), "--agent", AGENT, *layout.options).expect(0).records
    assert " plan in which every task is done" in notice["message"]


def _commit(done: Done, task: str) -> str:
    return str(done.outcome(task)["commit"])


def _without_marks(text: str) -> str:
    for mark in ("[x]", "[ ]", "true", "false", "done", "pending"):
        text = text.replace(mark, "")
    return text

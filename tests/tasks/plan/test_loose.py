"""Fields that are not bold, in a list, or beside others on a line; and text that only looks like one."""

import pytest

from tasks.model import Mode, Task
from tasks.plan.parser import Parsed, parse

ABOVE = "### Task 1: A\n**Run:** a\n\n### Task 2: B\n**Run:** b\n\n### Task 3: C\n"


def said(parsed: Parsed) -> list[str]:
    return [str(found) for found in parsed.diagnostics]


def last(text: str, *, agent: str | None = "a") -> Task:
    """Return the last task of a plan, whose text begins below its heading, on line 8."""
    parsed = parse(f"{ABOVE}{text}\n", "p.md", agent=agent, is_agent=lambda name: name in {"a", "claude"})
    assert said(parsed) == []
    assert parsed.plan is not None
    return parsed.plan.tasks[-1]


def files(task: Task) -> list[str]:
    return [file.path for file in task.files]


@pytest.mark.parametrize(
    "text",
    [
        "- **Depends on**: Task 1",
        "- **Depends on:** Task 1",
        "* **Dependencies:** Task 1 (why)",
        "+ Depends on: Task 1",
        "Depends on: Task 1",
        "depends on: Task 1",
        "**Priority:** high\nDepends on: Task 1",
        "**Priority:** high | **Depends on:** Task 1",
        "**Status:** pending | **Depends on:** Task 1",
        "**Status:** pending | Depends on: Task 1",
        "**Tasks**: 4 | **Dependencies**: Task 1",
        "Effort: 2h | Depends on: Task 1 | Risk: low",
        "Depends on: Task 1 | Files: `a.py`",
        "Status: pending\nDepends on: Task 1\nFiles: a.py",
        "Status: Not started\nDepends on: Task 1",
        "- **Files:**\n  - `a.py`\n- **Depends on**: Task 1",
        "- **What:** it is\n- **Depends on**: Task 1\n- **Why:** so",
        "- Write it\n- Depends on: Task 1",
        "Depends on:\n- Task 1",
        "- **Depends on:**\n  - Task 1",
        "**Verification:**\n- `make`\n\nDepends on: Task 1",
        "**Files:**\n- a.py\n\nDepends on: Task 1",
        "**Run:**\n- `make`\n\nDepends on: Task 1",
        "**Files:**\n- a.py\nDepends on: Task 1",
        "**Files:**\n- `a.py`\n- **Depends on**: Task 1\n- b.py",
        "**Files:**\n- Create:\n  - `a.py`\n- **Depends on**: Task 1",
        "Do it.\n\nDepends on: Task 1",
        "Do it.\n\n- **Depends on:** Task 1",
        "__Depends on:__ Task 1",
        "Depends on: All previous tasks | Status: pending",
    ],
)
def test_dependencies(text: str) -> None:
    expected = ("1", "2") if "All" in text else ("1",)
    assert last(text).dependencies == expected


@pytest.mark.parametrize(
    "text",
    [
        "Run: it is important that all of it is run.",
        "Depends on: the library that is there",
        "Dependencies: react, redux",
        "- **Dependencies:** `three-stdlib`, rxjs",
        "Status: the code of the answer",
        "Status: done when the tests pass",
        "Files: see the list above, and all that they need",
        "File: config",
        "Commit: after each step",
        "Timeout: how long it waits",
        "Agent: the one that calls",
        "Image: the picture of the user",
        "Mode: parallel",
        "Implementation: as in Task 1",
        "Verification: it is as it was",
        "The handler sets\nstatus: done",
        "See that it\nDepends on: Task 1",
        "It has these fields:\n- **Status:** done\n- **Depends on:** Task 1",
        "It has these fields:\n\n- **Status:** done\n- **Timeout:** 10m",
        "- **Status:** the code\n- **Image:** the picture of it\n- **Files:** what it opened",
        "- [ ] **Depends on:** Task 1",
        "- [ ] Status: done",
        "1. **Depends on:** Task 1",
        "- Run the tests\n- Status: done",
        "- item\n  - **Depends on:** Task 1",
        "> Depends on: Task 1",
        "```\nDepends on: Task 1\n```",
        "    Depends on: Task 1",
        "| Depends on: Task 1 | Status: done |",
        "see http://example.org | Status: what it is",
    ],
)
def test_text_for_the_agent(text: str) -> None:
    task = last(text)
    assert task.implementation == text.strip("\n").replace("    Depends", "Depends")
    assert (task.dependencies, task.files, task.run, task.verification) == ((), (), (), ())
    assert (task.completed, task.commit, task.timeout, task.agent, task.image) == (
        False,
        None,
        None,
        None,
        None,
    )


def test_the_text_of_an_implementation_is_not_searched() -> None:
    text = "Do it.\n\n- **Depends on:** Task 1\n\nDepends on: Task 1"
    task = last(f"**Implementation:**\n{text}")
    assert (task.implementation, task.dependencies) == (text, ())


def test_all_fields_in_a_list() -> None:
    task = last(
        "Do it well.\n\n- **Files**:\n  - Create: `a.py`\n  - Test: `b.py`\n- **Depends on**: Task 1, Task 2\n"
        "- **Status:** pending\n"
        "- **Commit:** feat(a): do it\n- **Timeout:** 10m\n- **Agent:** claude\n- **Image:** python:3.13\n"
        "- **Verification:** `make test`\n- **Note:** *so*\n  and so\n"
        "- **Acceptance Criteria:**\n  - it works\n\nAnd more.\n"
    )
    assert files(task) == ["a.py", "b.py"]
    assert (task.dependencies, task.completed, task.commit) == (("1", "2"), False, "feat(a): do it")
    assert (task.timeout, task.agent, task.image) == (600.0, "claude", "python:3.13")
    assert [(check.text, check.step is None) for check in task.verification] == [
        ("make test", False),
        ("it works", True),
    ]
    assert task.implementation == "Do it well.\n\n- **Note:** *so*\n  and so\n\nAnd more."


def test_all_fields_without_bold() -> None:
    task = last(
        "Files:\n- Create: `a.py`\n- [ ] Write it\n\nDepends on: Task 1\nStatus: done\nTimeout: 1h\n\n"
        "Commit: `add it`\n\nVerification:\n- `make test`\n- it is well\n"
    )
    assert (files(task), task.dependencies, task.completed) == (["a.py"], ("1",), True)
    assert (task.timeout, task.commit) == (3600.0, "add it")
    assert [check.text for check in task.verification] == ["make test", "it is well"]
    assert task.implementation == "- [ ] Write it"


def test_commands_that_are_not_bold_are_run_only_if_there_is_no_agent() -> None:
    for text in ("- **Run:** `make`", "Run: `make`", "Run: make test", "- **Files:** a.py\n- **Run:** `make`"):
        assert [step.title for step in last(text, agent=None).run] == [
            text.rpartition(": ")[2].rpartition("** ")[2].strip("`")
        ]
        assert last(text).run == ()
        assert last(text).implementation == text.rpartition("\n")[2]


@pytest.mark.parametrize("text", ["Write it.\n\nRun: `make`", "- **Run:** `make`\n- **Note:** write it first"])
def test_commands_beside_a_text_are_not_run(text: str) -> None:
    without, later = (parse(f"### Task 1: A\n{text}\n", "p.md", agent=agent) for agent in (None, "mine"))
    assert without.plan
    assert without.plan.tasks[0].run == ()
    assert later.plan
    texts = [plan.tasks[0].implementation.split() for plan in (without.plan, later.plan)]
    assert texts[0] == texts[1]


def test_a_field_given_twice_is_text_where_it_is_not_bold() -> None:
    task = last("**Depends on:** Task 1\n\nDepends on: Task 2")
    assert (task.dependencies, task.implementation) == (("1",), "Depends on: Task 2")


def test_a_sentence_that_names_tasks_is_text_with_a_warning() -> None:
    parsed = parse(f"{ABOVE}\nDepends on: what Task 1 makes of it\n", "p.md", agent="a")
    assert said(parsed) == [
        "p.md:9:1: warning: this is text for the agent; write `Depends on: Task 1, Task 2` with nothing else"
    ]


def test_a_wrong_name_is_an_error_in_its_place() -> None:
    parsed = parse(f"{ABOVE}- **Files:** a.py | **Depends on:** Task 9\n", "p.md", agent="a")
    assert said(parsed) == ["p.md:8:37: error: task 3 depends on task 9, which is not in the plan"]


def test_fields_of_a_batch() -> None:
    text = (
        "## Batch 1: A\n### Task 1.1: A\n**Run:** a\n## Batch 2: B\n"
        "**Developer**: x\n**Tasks**: 1 | **Dependencies**: None | **Files:** none\n**Commit**: 79062b0\n\n"
        "- **Mode:** local\n- **Goal:** it\n**Success Criteria:**\n- all of it\n### Task 2.1: B\n**Run:** b\n"
        "## Batch 3: C\nDepends on: Batch 1 complete\n### Task 3.1: C\n**Run:** c\n"
    )
    parsed = parse(text, "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [batch.dependencies for batch in parsed.plan.batches] == [None, (), (1,)]
    assert [batch.mode for batch in parsed.plan.batches] == [None, Mode.LOCAL, None]


@pytest.mark.parametrize("name", ["Acceptance Criteria", "Success Criteria"])
def test_criteria_are_prose(name: str) -> None:
    task = last(
        f"**Files:** a.py\n**Verification:**\n- `make`\n\n**{name}:**\n"
        "- [ ] It works\n  1. so\n- [x] It is\n  as it was\n\nAll of it."
    )
    assert [(check.text, check.step is None, check.line) for check in task.verification] == [
        ("make", False, 10),
        ("It works\n1. so", True, 13),
        ("It is\nas it was", True, 15),
        ("All of it.", True, 18),
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("**Acceptance Criteria:**\n- It works\n- `make test` passes", "5:4"),
        ("**Success Criteria:**\n- It runs: `make test` and more\n- `make test`", "4:13"),
        ("**Success Criteria:**\n\n```sh\nmake test\nls\n```", "6:1"),
        ("**Success Criteria:** see that `make test` is as before", "3:33"),
    ],
)
def test_a_command_among_criteria_gets_a_hint(text: str, place: str) -> None:
    parsed = parse(f"### Task 1: A\nDo it.\n{text}\n", "p.md", agent="a")
    assert said(parsed) == [
        f"p.md:{place}: warning: `make test` is not run; to have it run, put it below **Verification:**"
    ]
    assert parsed.plan is not None
    assert all(check.step is None for check in parsed.plan.tasks[0].verification)


def test_criteria_above_the_first_task_are_the_plan_s_own() -> None:
    text = "# P\n**Success Criteria:**\n- all\n\n### Task 1: A\n**Run:** a\n\n"
    text += "## Notes\n**Acceptance Criteria:** x\n"
    assert said(parse(text, "p.md")) == []


def test_what_is_about_a_batch_ends_the_checks_of_its_last_task() -> None:
    task = last("**Verification:**\n- `make`\n\n**Batch 1 Commit Pattern**:\n\n```\nfeat: a\n```\n")
    assert [check.text for check in task.verification] == ["make"]
    assert task.implementation == "**Batch 1 Commit Pattern**:\n\n```\nfeat: a\n```"

"""Version 2 of the native format: what it has more, and that a plan of version 1 stays as it was."""

import pytest

from tasks.model import Plan, Task
from tasks.plan.parser import parse
from tasks.plan.verbatim import fenced, given, with_escapes

FRONT = "---\npatchyard: 2\n---\n\n"

WHOLE = """\
---
patchyard: 2
documents:
  - spec.md
  - /docs/design.md
---

# Login

**Goal:** people can log in.

## Constraints

- No new dependency

## Group: User Story 1

As a user I log in.

### Independent test

By hand.

### Task T001: Add the form

**Done:**
- the button
- the
  label

**Implementation:**

- [ ] Write it

### Notes

\\**Files:** none yet
\\## What the user sees
\\\\# stays escaped once

**Manual Verification:**
- [ ] It looks right

**Commit:** feat: add the form

### Task `final`: Check it

**Status:** completed, optional
**Depends on:**
- Task T001: both change src/(app)/a.ts

## Group

### Task 02-01: Later
**Title:** Later **and** better
**Status:** optional
**Depends on:** Task t001 and Task `final`

**Verification:**
- ```verbatim
  `make` passes
  ```
- ```sh
  make a
  make b
  ```

## Risks

None.

## About the whole plan

That is all.
"""


def plan_of(text: str) -> Plan:
    parsed = parse(text, "p.md", agent="agent")
    assert parsed.plan, parsed.diagnostics
    assert not parsed.diagnostics
    return parsed.plan


def task_of(body: str) -> Task:
    (task,) = plan_of(f"{FRONT}### Task 1: A\n\n{body}\n").tasks
    return task


def test_a_whole_plan() -> None:
    plan = plan_of(WHOLE)
    first, second, third = plan.tasks

    assert (plan.version, plan.title, plan.neighbours) == (2, "Login", ("spec.md", "/docs/design.md"))
    assert plan.header == "**Goal:** people can log in.\n\n## Constraints\n\n- No new dependency"
    assert plan.footer == "## Risks\n\nNone.\n\n## About the whole plan\n\nThat is all."
    assert [(task.id, task.title) for task in plan.tasks] == [
        ("T001", "Add the form"),
        ("final", "Check it"),
        ("02-01", "Later **and** better"),
    ]
    text = "As a user I log in.\n\n### Independent test\n\nBy hand."
    assert [(task.group, task.group_text) for task in plan.tasks] == [("User Story 1", text)] * 2 + [("", "")]
    assert first.implementation == (
        "- [ ] Write it\n\n### Notes\n\n**Files:** none yet\n## What the user sees\n\\# stays escaped once"
    )
    assert (first.done_items, first.manual) == (("the button", "the\nlabel"), ("It looks right",))
    assert (first.completed, first.optional, first.dependencies) == (False, False, ())
    assert (second.completed, second.optional, second.dependencies) == (True, True, ("T001",))
    assert second.reasons == {"T001": "both change src/(app)/a.ts"}
    assert (third.completed, third.optional, third.dependencies) == (False, True, ("T001", "final"))
    prose, command = third.verification
    assert (prose.text, prose.step) == ("`make` passes", None)
    assert command.step
    assert (command.text, command.step.argv[-1]) == ("make a\nmake b", "make a\nmake b")
    assert [(batch.number, len(batch.tasks)) for batch in plan.batches] == [(1, 3)]


OLD = """\
# A

Header.

### Task 1: A

**Done:**
- the button

**Implementation:**
\\## Not a heading

**Title:** B

---

## Notes

None.

## Group: X

### Task 2: B
**Status:** optional
"""


def test_in_version_1_all_of_it_is_text() -> None:
    for front in ("", "---\npatchyard: 1\n---\n", "---\ndocuments: []\n---\n"):
        parsed = parse(front + OLD, "p.md", agent="agent")
        plan = parsed.plan
        assert plan
        assert (plan.version, plan.header, plan.footer, plan.neighbours) == (1, "", "", ())
        assert [(task.title, task.group, task.optional, task.done_items) for task in plan.tasks] == [
            ("A", "", False, ()),
            ("B", "", False, ()),
        ]
        assert plan.tasks[0].implementation == ("**Done:**\n- the button\n\n\\## Not a heading\n\n**Title:** B")
        assert ["unknown status" in found.message for found in parsed.diagnostics] == [True]


def test_a_title_of_the_front_matter_leaves_all_headings_to_the_header() -> None:
    plan = plan_of("---\npatchyard: 2\ntitle: ' A  title'\n---\n# Head\n\n### Task 1: A\n")

    assert (plan.title, plan.header) == (" A  title", "# Head")


def test_the_content_of_a_section_about_the_plan_goes_to_agents_without_its_heading() -> None:
    plan = plan_of(
        f"{FRONT}### Task 1: A\n\n## About the whole plan\n\nOne.\n\n## Two\n\nMore.\n\n### Task 2: B\n"
    )

    assert plan.footer == "One.\n\n## Two\n\nMore."
    assert [task.id for task in plan.tasks] == ["1", "2"]


def test_documents_and_a_title_are_of_every_version() -> None:
    plan = plan_of("---\ntitle: A\ndocuments: [b.md]\n---\n# Head\n\n### Task 1: A\n")

    assert (plan.version, plan.title, plan.neighbours) == (1, "A", ("b.md",))


@pytest.mark.parametrize(
    ("front", "message"),
    [
        ("patchyard: 3", "p.md:2:12: error: unknown version `3` of the format; expected 1 or 2"),
        ("documents: a.md", "p.md:2:12: error: `documents` must be a list of paths"),
        ("title: ''", "p.md:2:8: error: expected a non-empty string"),
    ],
)
def test_errors_in_front_matter(front: str, message: str) -> None:
    parsed = parse(f"---\n{front}\n---\n### Task 1: A\n", "p.md", agent="agent")

    assert [str(found) for found in parsed.diagnostics] == [message]


def test_a_field_of_a_task_below_a_group_is_an_error() -> None:
    parsed = parse(f"{FRONT}## Group: A\n\n**Run:** make\n\n### Task 1: A\n", "p.md", agent="agent")

    assert [found.message for found in parsed.errors] == ["**Run:** belongs to a task, not to a group"]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("```verbatim\n**Run:** make\n```", "**Run:** make"),
        ("````verbatim\n```sh\nmake\n```\n````", "```sh\nmake\n```"),
        ('```json verbatim\n"a\\rb\\u0000"\n```', "a\rb\0"),
        ("```verbatim\na\n```\nmore", "```verbatim\na\n```\nmore"),
        ("```json verbatim\n1\n```", "```json verbatim\n1\n```"),
        ("```verbatim\n```", ""),
        ("\\**Run:** make", "**Run:** make"),
        ("a\n  \\## A\n    \\## code", "a\n  ## A\n    \\## code"),
    ],
)
def test_text_is_taken_as_it_is(written: str, text: str) -> None:
    assert given(written) == text
    if text:
        assert task_of(f"**Implementation:**\n\n{written}").implementation.strip() == text.strip()


@pytest.mark.parametrize("text", ["a", "```\na\n````", "`" * 9, "a\n\n", " a", "~~~\n"])
def test_a_fence_holds_any_text(text: str) -> None:
    assert given(fenced(text)) == text
    assert given(fenced(text, as_json=True)) == text


def test_escaped_lines_are_read_as_they_were() -> None:
    text = "**Run:** a\n\\# b\n   \\**c\nd"

    assert with_escapes(text, frozenset({0})) == "\\**Run:** a\n\\\\# b\n   \\\\**c\nd"
    assert given(with_escapes(text, frozenset({0}))) == text


@pytest.mark.parametrize("name", ["`../x`", "`a/b`", "`été`", "`.a`", "`-x`", "`a..b`", "`a.lock`", "1..2"])
def test_an_id_that_cannot_be_in_the_name_of_a_branch_is_an_error(name: str) -> None:
    parsed = parse(f"{FRONT}### Task {name}: A\n\nText.\n", "plan.md", agent="agent")
    (error,) = parsed.errors
    assert (error.line, error.column) == (5, 1)
    assert "cannot be the id of a task: it is part of a branch's name" in error.message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Acceptance Criteria", None),
        ("Manual Verificaton", "Manual verification"),
        ("Verificaton", "Verification"),
    ],
)
def test_what_looks_like_a_field_is_compared_with_the_fields_of_version_2(name: str, meant: str | None) -> None:
    parsed = parse(f"{FRONT}### Task 1: A\n\nText.\n\n**{name}:** more\n", "plan.md", agent="agent")
    assert parsed.plan
    said = f"did you mean **{meant}:**?"
    assert [said in one.message for one in parsed.diagnostics] == ([True] if meant else [])

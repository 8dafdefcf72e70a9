"""A whole plan: its batches and tasks, and every mistake with its line and column."""

import re

import pytest

from tasks.model import Batch, Check, DeclaredFile, FileAction, Mode, Plan, Step, StepKind, Task
from tasks.plan.parser import MAX_BYTES, Diagnostic, Parsed, PlanError, Severity, parse, slug

WHOLE = """\
# A small plan

What it is for.

## Batch 1: Foundations

**Dependencies:** None
**Execution Mode:** parallel

### Task 1.1: Add a file

**Files:**
- Create: `a.txt`
- Read: README.md

**Implementation:**
Write *hello* into it.

**Note:** nothing else.

**Run:**
```sh
echo hello > a.txt
```

**Verification:**
- `test -f a.txt`
- cat a.txt
- Test file exists

**Commit:** feat: add a file
**Timeout:** 10m
**Image:** python:3.13
**Status:** pending

### Task 1.2a: Add another - with an agent
**Agent:** claude -p
**Depends on:** Task 1.1
**Implementation:** Do it.

---

### Batch 2 - More
**Dependencies:** Batch 1
**Mode:** local
**Image:** `debian:12`

#### Task 2.3.1 — Remove it
**Run:** rm a.txt
**Status:** completed
"""


def run(command: str) -> Step:
    return Step(StepKind.RUN, command, ("sh", "-e", "-c", command))


def said(parsed: Parsed) -> list[str]:
    return [str(found) for found in parsed.diagnostics]


def task(text: str, agent: str | None = None) -> Task:
    """Return the only task of a plan whose text begins below its heading, on line 3."""
    parsed = parse(f"# Plan\n\n### Task 1: Title\n{text}\n", "plan.md", agent=agent)
    assert parsed.plan is not None, said(parsed)
    assert said(parsed) == []
    return parsed.plan.tasks[0]


def test_a_whole_plan() -> None:
    parsed = parse(WHOLE, "docs/plan.md")
    assert said(parsed) == []
    echo = Step(StepKind.RUN, "echo hello > a.txt", ("sh", "-e", "-c", "echo hello > a.txt\n"))
    exists, shows = "test -f a.txt", "cat a.txt"
    assert parsed.plan == Plan(
        name="a-small-plan",
        title="A small plan",
        path="docs/plan.md",
        batches=(
            Batch(
                number=1,
                title="Foundations",
                dependencies=(),
                mode=Mode.PARALLEL,
                line=5,
                tasks=(
                    Task(
                        id="1.1",
                        title="Add a file",
                        batch=1,
                        files=(
                            DeclaredFile(FileAction.CREATE, "a.txt", 13),
                            DeclaredFile(FileAction.READ, "README.md", 14),
                        ),
                        implementation="Write *hello* into it.\n\n**Note:** nothing else.",
                        run=(echo,),
                        verification=(
                            Check(exists, Step(StepKind.VERIFY, exists, ("sh", "-e", "-c", exists)), 27),
                            Check(shows, Step(StepKind.VERIFY, shows, ("sh", "-e", "-c", shows)), 28),
                            Check("Test file exists", None, 29),
                        ),
                        commit="feat: add a file",
                        timeout=600.0,
                        image="python:3.13",
                        line=10,
                    ),
                    Task(
                        id="1.2a",
                        title="Add another - with an agent",
                        batch=1,
                        implementation="Do it.",
                        dependencies=("1.1",),
                        agent="claude -p",
                        line=36,
                    ),
                ),
            ),
            Batch(
                number=2,
                title="More",
                dependencies=(1,),
                mode=Mode.LOCAL,
                image="debian:12",
                line=43,
                tasks=(
                    Task(
                        id="2.3.1", title="Remove it", batch=2, run=(run("rm a.txt"),), completed=True, line=48
                    ),
                ),
            ),
        ),
    )


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_change_nothing(newline: str, mark: str) -> None:
    expected = parse(WHOLE, "plan.md")
    assert expected.plan is not None
    text = mark + WHOLE.replace("\n", newline)
    assert parse(text, "plan.md") == expected
    assert parse(text.encode(), "plan.md") == expected


def test_tasks_without_a_batch_are_one() -> None:
    parsed = parse(
        "# The title\n\n**Mode:** local\n\n### Task 1: A\n**Run:** a\n### Task 2: B\n**Run:** b\n", "p.md"
    )
    assert said(parsed) == []
    assert parsed.plan is not None
    (batch,) = parsed.plan.batches
    assert (batch.number, batch.title, batch.mode, batch.dependencies) == (1, "The title", Mode.LOCAL, None)
    assert [(found.id, found.batch) for found in batch.tasks] == [("1", 1), ("2", 1)]


def test_a_plan_without_a_title_is_called_after_its_file() -> None:
    parsed = parse("### Task 1: A\n**Run:** a\n", "somewhere/My plan.v2.md")
    assert parsed.plan is not None
    assert (parsed.plan.title, parsed.plan.name) == ("My plan.v2", "my-plan-v2")


def test_an_underlined_title_and_batch() -> None:
    parsed = parse("Title\n=====\n\nBatch 3: Three\n---\n\n### Task 3.1: A\nText\n---\n**Run:** a\n", "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert (parsed.plan.title, parsed.plan.batches[0].number) == ("Title", 3)
    assert parsed.plan.tasks[0].implementation == "Text\n---"


@pytest.mark.parametrize(
    ("heading", "name", "title"),
    [
        ("### Task 1.1: A title", "1.1", "A title"),
        ("#### task 1.1 - A title ##", "1.1", "A title"),
        ("### TASK 12 – A title", "12", "A title"),  # noqa: RUF001 - a dash that people type
        ("### Task 2.3.1 — A: title", "2.3.1", "A: title"),
        ("### Task 1.2A: A title", "1.2a", "A title"),
        ("### Task 1.1. A title", "1.1", "A title"),
        ("### **Task 1.1:** A `title`", "1.1", "A `title`"),
        ("### Task #3: A title <!-- a note -->", "3", "A title"),
        ("## Task 3: A title", "3", "A title"),
        ("### 🔧 Task 3: A title", "3", "A title"),
        ("### [ ] Task 3: A title", "3", "A title"),
        ("### Task 3: Wait until the state is DONE", "3", "Wait until the state is DONE"),
        ("### Task 3: Show that it is PENDING", "3", "Show that it is PENDING"),
        ("### Task 3: A title 🔄 IN PROGRESS", "3", "A title"),
        ("### Task 3: A title ⏸️ PENDING", "3", "A title"),
        ("### Task 3: A title - TODO", "3", "A title"),
        ("### Task 3: A title [NOT STARTED]", "3", "A title"),
    ],
)
def test_headings_of_tasks(heading: str, name: str, title: str) -> None:
    parsed = parse(f"{heading}\n**Run:** make\n", "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [(found.id, found.title) for found in parsed.plan.tasks] == [(name, title)]


@pytest.mark.parametrize(
    "heading",
    [
        "### Task 1.1: A title ✅ COMPLETE",
        "### Task 1.1: A title - DONE",
        "### Task 1.1: A title — COMPLETED",
        "### Task 1.1: A title [DONE]",
        "### Task 1.1: A title (done)",
        "### Task 1.1: A title **✅**",
        "### Task 1.1: ~~A title~~",
        "### ~~Task 1.1: A title~~",
        "### ✅ Task 1.1: A title",
        "### [x] Task 1.1: A title",
        "## Task 1.1: A title ✅ (2024-01-01)",
    ],
)
def test_a_heading_says_that_its_task_is_done(heading: str) -> None:
    parsed = parse(f"{heading}\n", "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [(found.id, found.title, found.completed) for found in parsed.plan.tasks] == [
        ("1.1", "A title", True)
    ]


def test_tasks_of_level_2() -> None:
    text = (
        "## Batch 1: A\n## Task 1.1: B\nDo it.\n### Details\nMore.\n## Batch 2: C\n## Task 2.1: D\nDo that.\n"
    )
    parsed = parse(text, "p.md", agent="a")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [(found.id, found.batch, found.implementation) for found in parsed.plan.tasks] == [
        ("1.1", 1, "Do it.\n### Details\nMore."),
        ("2.1", 2, "Do that."),
    ]


def test_a_task_of_level_2_that_only_holds_tasks_is_a_group() -> None:
    text = "## Task 1: A\nWhy.\n### Task 1.1: B\nDo it.\n## Task 2: C\nDo that.\n### Task 3.1: D\nAnd this.\n"
    parsed = parse(text, "p.md", agent="a")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [(found.id, found.group, found.group_text) for found in parsed.plan.tasks] == [
        ("1.1", "Task 1: A", "Why."),
        ("2", "", ""),
        ("3.1", "", ""),
    ]


def test_a_batch_may_say_that_it_is_done() -> None:
    batch = "## Batch {0}: B{1}\n{2}### Task {0}.1: A\n{3}Do it.\n### Task {0}.2: A\nDo it.\n"
    text = (
        batch.format(1, " ✅ COMPLETE", "**Commit**: 79062b0\n", "**Status:** pending\n")
        + batch.format(2, "", "**Status**: ✅ COMPLETE\n**Commit:** (pending)\n", "")
        + batch.format(3, "", "**Status:** ⏸️ PENDING\n", "")
    )
    parsed = parse(text, "p.md", agent="a")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [found.title for found in parsed.plan.batches] == ["B", "B", "B"]
    assert [found.completed for found in parsed.plan.tasks] == [False, True, True, True, False, False]
    assert {found.commit for found in parsed.plan.tasks} == {None}


def test_the_message_of_a_batch_is_that_of_its_only_task() -> None:
    text = "## Batch 1: B\n**Commit:** feat(a): do it\n### Task 1.1: A\n**Run:** a\n"
    parsed = parse(text, "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [found.commit for found in parsed.plan.tasks] == ["feat(a): do it"]
    parsed = parse(f"{text}### Task 1.2: B\n**Run:** b\n", "p.md")
    assert parsed.plan is not None
    assert [found.commit for found in parsed.plan.tasks] == [None, None]


def test_mode_below_the_title_is_the_default_of_batches() -> None:
    batch = "## Batch {0}: B\n{1}### Task {0}.1: A\n**Run:** make\n"
    text = "# P\n**Execution Mode:** local\n" + batch.format(1, "") + batch.format(2, "**Mode:** parallel\n")
    parsed = parse(text, "p.md")
    assert said(parsed) == []
    assert parsed.plan is not None
    assert [found.mode for found in parsed.plan.batches] == [Mode.LOCAL, Mode.PARALLEL]
    assert said(parse(text.replace("local", "slow"), "p.md")) == [
        "p.md:2:21: error: unknown mode `slow`; expected one of local, parallel, dagger"
    ]


def test_other_headings_stay_text_or_end_the_task() -> None:
    parsed = parse(
        "## Batch 1: A\n### Overview\nnothing\n### Task 1.1: A\n**Implementation:**\none\n#### Details\ntwo\n"
        "**Run:** make\n### Notes\n**Run:** not mine\n### Task 1.2: B\n**Run:** b\n## Appendix\n"
        "**Commit:** nobody's\n",
        "p.md",
    )
    assert [reported.partition(" is ignored here: ")[0] for reported in said(parsed)] == [
        "p.md:11:1: warning: **Run:**",
        "p.md:15:1: warning: **Commit:**",
    ]
    assert parsed.plan is not None
    first, second = parsed.plan.tasks
    assert (first.implementation, first.run) == ("one\n#### Details\ntwo", (run("make"),))
    assert (second.run, second.commit, second.batch) == ((run("b"),), None, 1)


def test_code_quotes_and_comments_are_text() -> None:
    hidden = "### Task 1.2: Hidden\n**Run:** rm -rf /\n"
    quoted = "".join(f"> {line}\n" for line in hidden.splitlines())
    indented = "".join(f"    {line}\n" for line in hidden.splitlines())
    text = f"```\n{hidden}```\n\n{quoted}\n{indented}\n<!--\n{hidden}-->\n\n<div>\n{hidden}</div>"
    assert task(f"**Implementation:**\n{text}", agent="a").implementation == text
    assert len(parse(f"### Task 1: A\n{text}", "p.md", agent="a").plan.tasks) == 1  # type: ignore[union-attr]  # fails if None


def test_text_is_the_dedented_source() -> None:
    found = task(
        "Before.\n\n**Implementation:**\n\n  first\n    second\n\n  - \\*third\\*  \n\n---\n", agent="a"
    )
    assert found.implementation == "Before.\n\nfirst\n  second\n\n- \\*third\\*"


def test_text_below_a_field_without_text_goes_to_the_agent() -> None:
    found = task(
        "**Status:** pending\n**Note:** one\n\n**Files:**\n- a.txt\n\ntwo\n\n**Dependencies:** none\n\n"
        "- three\n**Commit:** m\n\nfour\n",
        agent="a",
    )
    assert found.implementation == "**Note:** one\n\ntwo\n\n- three\n\nfour"
    assert found.commit == "m"


def test_all_errors_are_reported_in_the_order_of_the_text() -> None:
    text = (
        "---\nmode: paralel\nagent: nobody\n---\n"
        "### Task 0.9: Early\n**Run:** a\n"
        "## Batch 1: A\n**Mode:** sequential\n**Dependencies:** Batch 9\n"
        "### Task 1.1: A\n**Timeout:** soon\n**Run:**\n"
        "### Task 1.1: B\n**Depends on:** Task 7\n**Agent:** someone\n"
        "## Batch 1: Again\n"
        "### Task 2.1:\n**Run:**\nprose\n"
    )
    parsed = parse(text, "plan.md", is_agent=lambda _: False)
    assert parsed.plan is None
    assert said(parsed) == [
        "plan.md:2:7: error: unknown mode `paralel`; expected one of local, parallel, dagger",
        (
            "plan.md:3:8: error: unknown agent `nobody`: declare it in the front matter's `agents` or in the"
            " configuration, or write a command"
        ),
        "plan.md:5:1: error: task 0.9 is above the first batch; move it into a batch",
        (
            "plan.md:8:11: error: unknown mode `sequential`; expected one of local, parallel, dagger; one after"
            " another is `local`"
        ),
        "plan.md:9:19: error: batch 1 depends on batch 9, which is not in the plan",
        "plan.md:11:14: error: 'soon' is not a duration; write for example 90s, 10m or 1h 30m",
        "plan.md:12:1: error: **Run:** is empty: write a fence or a list of commands",
        "plan.md:13:1: error: task 1.1 is already defined on line 10",
        "plan.md:14:17: error: task 1.1 depends on task 7, which is not in the plan",
        (
            "plan.md:15:12: error: unknown agent `someone`: declare it in the front matter's `agents` or in the"
            " configuration, or write a command"
        ),
        "plan.md:16:1: error: batch 1 is already defined on line 7",
        "plan.md:17:1: warning: task 2.1 has no title; write `Task 2.1: Title`",
        "plan.md:17:1: warning: task 2.1 is numbered for batch 2, but is in batch 1",
        "plan.md:19:1: error: **Run:** takes a fence or a list of commands; this is neither",
    ]
    assert [found.severity for found in parsed.warnings] == [Severity.WARNING, Severity.WARNING]
    assert len(parsed.errors) == 12


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: error: the plan has no task; write one as `### Task 1.1: Title`"),
        ("# Only a title\n", "1:1: error: the plan has no task; write one as `### Task 1.1: Title`"),
        (
            "# Plan\n# Task 1: A\n",
            "2:1: error: `Task 1: A` is not a task here: a task's heading is written with ### or ####",
        ),
        (
            "  ### Task A: A\n",
            (
                "1:3: error: `Task A: A` is neither a batch nor a task: a task's heading is written"
                " `Task 1.1: Title`, with an id such as 1, 1.1, 2.3.1 or 1.2a"
            ),
        ),
        (
            "## Batch 1.5: A\n",
            (
                "1:1: error: `Batch 1.5: A` is neither a batch nor a task: a batch's heading is written"
                " `Batch 1: Title`, with a whole number"
            ),
        ),
        ("### Task 1: A\n**Run:** a\n**Run:** b\n", "3:1: error: **Run:** is already given on line 2"),
        (
            "### Task 1: A\n**Run:** a\n**Mode:** local\n",
            "3:1: error: **Mode:** belongs to a batch, not to a task",
        ),
        (
            "## Batch 1: A\n**Timeout:** 1m\n### Task 1.1: A\n**Run:** a\n",
            "2:1: error: **Timeout:** belongs to a task, not to a batch",
        ),
        (
            "### Task 1: A\n**Run:** a\n\n```sh\n### Task 2: B\n",
            "4:1: error: this fence is never closed, so everything below belongs to it",
        ),
        (
            "### Task 1: A\n**Run:** a\n\n<!-- ### Task 2: B\n",
            "4:1: error: this comment is never closed, so everything below belongs to it",
        ),
        (
            "### Task 1: A\n**Run:** a\n\n" + "> " * 200 + "a",
            "4:1: error: quotes and lists are nested too deeply here; flatten them",
        ),
        ("### Task 1: A\n**Agent:**\n**Run:** a\n", "2:1: error: **Agent:** is empty"),
    ],
)
def test_errors(text: str, message: str) -> None:
    parsed = parse(text, "p.md")
    assert said(parsed) == [f"p.md:{message}"]
    assert parsed.plan is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("## Batch 1: A\n### Task 1.1: A\n**Run:** a\n## Batch 2: B\n", "4:1: warning: batch 2 has no task"),
        (
            "### Task 1: A\n**Files:**\n- Create: `../a.txt`\n**Run:** a\n",
            "3:12: warning: `../a.txt` is outside of the repository: this task will fail",
        ),
        (
            "### Task 1: A\n**Run:** a\n**Agent:** claude\n",
            "3:12: warning: task 1 has both **Run:** and an agent: the commands are run, the agent is not",
        ),
        (
            "### Task 1: A\n**Run:** a\n**Status:** maybe\n",
            (
                "3:13: warning: unknown status `maybe`: the task is run; write `completed` to skip a task,"
                " else `pending`"
            ),
        ),
        (
            "### Task 1: A\n**Run:** a\n**Verfication:** b\n",
            (
                "3:1: warning: **Verfication:** is not a field and is treated as text; did you mean"
                " **Verification:**?"
            ),
        ),
        (
            "**Timeout:** 1m\n### Task 1: A\n**Run:** a\n",
            "1:1: warning: **Timeout:** is ignored here; for the whole plan set `timeout` in the front matter",
        ),
        (
            "### Task 1: A\n**Run:** a\n##### Task 2: B\n",
            "3:1: warning: `Task 2: B` is not a task here: a task's heading is written with ### or ####",
        ),
    ],
)
def test_warnings(text: str, message: str) -> None:
    parsed = parse(text, "p.md")
    if "#####" in text:
        assert f"p.md:{message}" in said(parsed)
        return
    assert said(parsed) == [f"p.md:{message}"]
    assert parsed.plan is not None


def test_a_task_without_any_text_or_command_is_an_error() -> None:
    parsed = parse("# P\n\n### Task 1: A\n\n### Task 2\n\n### Task 3\nDo it.\n", "p.md", agent="a")
    (error,) = parsed.errors
    assert str(error).startswith("p.md:5:1: error: task 2 has neither a text for an agent nor a command; ")
    for text in ("**Verification:** `make`", "**Files:** a.txt", "**Acceptance Criteria:** it works"):
        assert parse(f"### Task 1\n{text}\n", "p.md", agent="a").plan is not None


def test_a_completed_task_needs_no_agent() -> None:
    assert task("**Status:** completed").completed


def test_the_agent_may_come_from_anywhere() -> None:
    assert task("Do it.", agent="outside").agent is None
    assert task("Do it.\n\n**Agent:** mine").agent == "mine"
    assert parse("---\nagent: claude\n---\n### Task 1: A\nDo it.\n", "p.md").plan is not None


def test_an_agent_that_the_plan_declares_can_be_used() -> None:
    text = "---\nagents:\n  mine: python agent.py\n---\n### Task 1: A\n**Agent:** `{}`\n"
    assert said(parse(text.format("mine"), "p.md", is_agent=lambda _: False)) == []
    assert said(parse(text.format("yours"), "p.md", is_agent=lambda _: False)) != []
    assert said(parse(text.format("yours"), "p.md", is_agent="yours".__eq__)) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"ok\n\xc3\xa9 \xff\n", "2:3: error: the byte 0xff is not valid UTF-8; save the plan as UTF-8"),
        (b"a\r\nb\r\n  \xe2\x82", "3:3: error: the byte 0xe2 is not valid UTF-8; save the plan as UTF-8"),
        (b"a\nb\x00", "2:2: error: NUL character: a plan is a text file"),
        ("a\n\ud800", "2:1: error: unpaired surrogate: the text is not valid Unicode"),
        ("a".encode("utf-16"), "1:1: error: the plan is not UTF-8 but UTF-16; save it as UTF-8"),
        (b"#" * (MAX_BYTES + 1), "1:1: error: the plan is larger than 16 MiB"),
    ],
)
def test_input_that_is_not_text(data: bytes | str, message: str) -> None:
    parsed = parse(data, "p.md")
    assert said(parsed) == [f"p.md:{message}"]
    assert parsed.plan is None


def test_a_plan_error_has_every_diagnostic() -> None:
    found = (
        Diagnostic("p.md", 1, 2, Severity.ERROR, "one"),
        Diagnostic("p.md", 3, 4, Severity.WARNING, "two"),
    )
    error = PlanError(found)
    assert (str(error), error.exit_code) == ("p.md:1:2: error: one\np.md:3:4: warning: two", 2)
    assert error.diagnostics == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A small plan", "a-small-plan"),
        ("  Ünïcode & more!  ", "unicode-more"),
        ("../..//a", "a"),
        ("計画", ""),
        ("", ""),
        ("x" * 49 + " yy", "x" * 49),
    ],
)
def test_a_slug_is_a_safe_part_of_a_branch_name(text: str, expected: str) -> None:
    assert slug(text) == expected


def test_a_plan_whose_names_give_no_slug_is_called_plan() -> None:
    parsed = parse("# 計画\n### Task 1: A\n**Run:** a\n", "計画.md")
    assert parsed.plan is not None
    assert parsed.plan.title == "計画"
    assert re.fullmatch("plan-[0-9a-f]{6}", parsed.plan.name)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("A small plan", "a-small-plan"),
        ("../A: small, plan!", "a-small-plan"),
        ("x" * 50, "x" * 50),
        ("x" * 51, "x{43}-[0-9a-f]{6}"),
        ("Ünïcode", "unicode-[0-9a-f]{6}"),
        ("Plan — one", "plan-one-[0-9a-f]{6}"),
    ],
)
def test_a_name_that_does_not_show_the_whole_title_has_a_digest(title: str, expected: str) -> None:
    plan, other = (
        parse(f"# {text}\n### Task 1: A\n**Run:** a\n", "p.md").plan for text in (title, f"{title}Ü")
    )
    assert plan is not None
    assert other is not None
    assert re.fullmatch(expected, plan.name)
    assert plan.name != other.name
    assert slug(other.name) == other.name

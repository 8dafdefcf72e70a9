"""What holds for every plan, and for every text that is none."""

import re
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.model import FileAction
from tasks.plan.commands import command_in
from tasks.plan.parser import Parsed, Severity, parse, slug

PIECES = st.sampled_from(
    [
        *("---\n", "...\n", "base: main\n", "mode: local\n", "agents: {a: b}\n", "pool_size: 3\n"),
        *("# Title\n", "## Batch 1: A\n", "### Batch 2: B\n", "## Batch", "##### "),
        *("### Task 1.1: A\n", "#### Task 1.2a - B\n", "### Task 2.1: C\n", "### Task"),
        *(
            "**Files:**\n",
            "**File:** ",
            "**Files to Create:** ",
            "**Implementation:**\n",
            "**Run:**\n",
            "**Run:** ",
        ),
        *(
            "**Verification:**\n",
            "**Dependencies:** ",
            "**Depends on:** Task 1.1\n",
            "**Commit:** ",
            "**Status:** ",
        ),
        *("**Timeout:** ", "**Agent:** ", "**Image:** ", "**Mode:** local\n", "**Word:** "),
        *("completed\n", "10m\n", "None\n", "Batch 1, ", "Task 1.1 and ", "make\n", "text\n"),
        *("- Create: `a.txt`\n", "- `make`\n", "- ", "1. ", "> ", "```", "```sh\n", "~~~\n", "    ", "\t"),
        *("<!--", "-->", "<div>\n", "`", "``", "\\\n", "\n", "\n\n", "\r\n", "\r"),
        *("\0", "\u2028", "\x0b", "é", "e\u0301", "\ud800"),
    ]
)
PLANS = st.lists(PIECES, max_size=40).map("".join)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="`*<#"), min_size=1
)

PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="`"), min_size=1
).filter(lambda path: path == path.strip() and re.search(r":\d+(-\d+)?$", path) is None)


def check(parsed: Parsed, text: str) -> None:
    """Assert what every answer to a text has to be."""
    lines = re.split(r"\r\n?|\n", text)
    for found in parsed.diagnostics:
        assert 1 <= found.line <= len(lines)
        assert 1 <= found.column <= len(lines[found.line - 1]) + 1
        assert re.fullmatch(r"p\.md:\d+:\d+: (error|warning): \S.*", str(found))
        assert str(found).isprintable()
    assert list(parsed.diagnostics) == sorted(parsed.diagnostics, key=lambda found: (found.line, found.column))
    assert (parsed.plan is None) == any(found.severity is Severity.ERROR for found in parsed.diagnostics)
    if parsed.plan is not None:
        ids = [task.id for task in parsed.plan.tasks]
        assert ids
        assert len(set(ids)) == len(ids)
        assert all(name in ids and name != task.id for task in parsed.plan.tasks for name in task.dependencies)
        assert parsed.plan.name == slug(parsed.plan.name)


@settings(max_examples=300, deadline=None)
@given(st.binary())
@example(b"\xef\xbb\xbf---\r\n\xff")
def test_any_bytes_give_a_plan_or_errors(data: bytes) -> None:
    check(parse(data, "p.md"), data.removeprefix(b"\xef\xbb\xbf").decode(errors="replace"))


@settings(max_examples=500, deadline=None)
@given(PLANS, st.sampled_from([None, "agent"]))
def test_any_text_gives_a_plan_or_errors(text: str, agent: str | None) -> None:
    check(parse(text, "p.md", agent=agent), text)


@settings(max_examples=300, deadline=None)
@given(st.text().map("---\n{}\n---\n### Task 1: A\n**Run:** a\n".format))
def test_any_front_matter_gives_a_plan_or_errors(text: str) -> None:
    check(parse(text, "p.md"), text)


@settings(max_examples=200, deadline=None)
@given(PLANS.filter(lambda text: "\r" not in text))
def test_line_ends_make_no_difference(text: str) -> None:
    expected = parse(text, "p.md", agent="a")
    assert parse(text.replace("\n", "\r\n"), "p.md", agent="a") == expected
    assert parse(text.replace("\n", "\r"), "p.md", agent="a") == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES.filter(lambda piece: not set(piece) & set("`\r\0\ud800")), max_size=20).map("".join))
def test_fence_content_has_no_effect(text: str) -> None:
    plan = parse(f"### Task 1: A\n````\n{text}\n````\n**Run:** a\n### Task 2: B\n**Run:** b\n", "p.md").plan
    assert plan is not None
    first, second = plan.tasks
    assert first.implementation == f"````\n{text}\n````"
    assert [step.title for step in (*first.run, *second.run)] == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(PLANS.filter(lambda text: not set(text) & set("\r\0\ud800")))
def test_quote_content_has_no_effect(text: str) -> None:
    quoted = "\n".join(f"> {line}" for line in text.split("\n"))
    plan = parse(f"### Task 1: A\n{quoted}\n\n**Run:** a\n### Task 2: B\n**Run:** b\n", "p.md").plan
    assert plan is not None
    first, second = plan.tasks
    assert first.implementation == quoted.rstrip()
    assert [step.title for step in (*first.run, *second.run)] == ["a", "b"]


@settings(max_examples=200, deadline=None)
@given(PLANS.filter(lambda text: not set(text) & set("\r\0\ud800") and "-->" not in text))
def test_comment_content_has_no_effect(text: str) -> None:
    plan = parse(f"### Task 1: A\n<!-- {text} -->\n**Run:** a\n### Task 2: B\n**Run:** b\n", "p.md").plan
    assert plan is not None
    first, second = plan.tasks
    assert first.implementation == ""
    assert [step.title for step in (*first.run, *second.run)] == ["a", "b"]


LINES = st.lists(
    st.sampled_from(
        [
            *(
                "{}",
                "{} and\n",
                "",
                "- {}",
                "- [ ] {}",
                "1. {}",
                "> {}",
                "`{}`",
                "---",
            ),
            *(
                "**Note:** {}",
                "- **Note:** {}",
                "- **Note**:\n  - {}",
                "**Note:** {} | **Word:** {}",
                "Note: {}",
            ),
            *(
                "Status: {}",
                "- **Status:** {}",
                "Timeout: {}",
                "Mode: {}",
                "Agent: the {} one",
                "Image: the {}",
            ),
            *("Depends on: {}", "- **Depends on**: the {}", "- Depends on: Task 1", "Depends on: Task 1"),
            *(
                "Files: {}.py",
                "- **Files:** {}.py (the {})",
                "Files: all of {} and more",
                "**Files:**\n- {}.py",
            ),
            *("**Files:**\n- {} and what it needs\n- [ ] {}", "Files:", "- Test: {}.py", "- Create: `{}`:12"),
            *(
                "Commit: feat: {}",
                "- **Commit:** {} after it",
                "Run: {}",
                "- **Run:** `{}`",
                "Verification: {}",
            ),
            *("**Acceptance Criteria:**\n- {}", "Success Criteria:", "- **Success Criteria:** {}"),
            *(
                "**Verification:**\n- {}",
                "**Implementation:** {}",
                "**Batch 1 Verification:** {}",
                "**Timeout:** 1m",
            ),
            *("**Status:** pending | **Depends on:** Task 1 | **Goal:** {}", "| {} | Files: {} |"),
        ]
    ),
    max_size=12,
)


@settings(max_examples=1000, deadline=None)
@given(LINES)
def test_no_word_of_a_task_is_lost(lines: Sequence[str]) -> None:
    count = sum(line.count("{}") for line in lines)
    words = [f"w{number}w" for number in range(count)]
    text = "\n".join(lines).format(*words)
    plan = parse(f"### Task 1: A\n**Run:** a\n### Task 2: B\n{text}\n### Task 3: C\nc", "p.md", agent="a").plan
    if plan is None:
        return
    task = plan.tasks[1]
    checks = [check.text for check in task.verification]
    found = "\n".join([task.implementation, *checks, *(file.path for file in task.files), task.commit or ""])
    remarks = re.findall(r"\(the (w\d+w)\)", text)
    assert [word for word in words if word not in found and word not in remarks] == []


TASKS = st.lists(
    st.tuples(
        WORDS,
        st.lists(st.tuples(st.sampled_from(FileAction), PATHS), max_size=3),
        st.lists(WORDS, min_size=1, max_size=3),
        st.integers(1, 99),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(TASKS)
def test_written_plan_is_parsed(
    tasks: Sequence[tuple[str, Sequence[tuple[FileAction, str]], Sequence[str], int]],
) -> None:
    text = "## Batch 1: A\n"
    for number, (title, files, commands, minutes) in enumerate(tasks, 1):
        text += f"### Task 1.{number}: {title}\n**Files:**\n"
        text += "".join(f"- {action}: `{path}`\n" for action, path in files)
        text += "**Run:**\n" + "".join(f"- `{command}`\n" for command in commands)
        text += f"**Timeout:** {minutes}m\n" + (f"**Depends on:** Task 1.{number - 1}\n" if number > 1 else "")
    plan = parse(text, "p.md").plan
    assert plan is not None
    for number, (found, (title, files, commands, minutes)) in enumerate(zip(plan.tasks, tasks, strict=True), 1):
        assert (found.id, found.title, found.timeout) == (f"1.{number}", title, minutes * 60)
        assert [step.argv[-1] for step in found.run] == list(commands)
        assert found.dependencies == ((f"1.{number - 1}",) if number > 1 else ())
        assert [(file.action, file.path) for file in found.files] == list(files)


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_is_a_command_or_prose(text: str) -> None:
    command = command_in(text)
    assert command is None or (command and command in text)


@pytest.mark.parametrize(
    "text",
    [
        "> " * 20_000 + "a",
        "- " * 20_000 + "a",
        "".join("  " * depth + "- a\n" for depth in range(500)),
        "[" * 100_000,
        "a <!--\n" * 20_000,
        "a <!--\n**Run:** b\n" * 10_000 + "-->",
        "a\n1b\n" * 20_000 + "<!-- c\n1 -->",
        "`" * 100_000,
        "".join("`" * length + " " for length in range(400)),
        "**" * 100_000,
        "**a" * 50_000,
        "\n" * 200_000,
        " " * 200_000 + "a",
        "\t" * 100_000,
        "### Task 1: " + "a" * 1_000_000 + "\n**Run:** b",
        "### Task 1: A\n**Run:** " + "b " * 500_000,
        "### Task 1: A" + " " * 100_000 + "B\n**Run:** b",
        "### Task 1: A" + " ✅" * 20_000 + "B\n**Run:** b",
        "### Task 1: A" + " - DONE" * 3_000 + "B\n**Run:** b",
        "### Phase 1" + " (" * 50_000 + "\n### Task 1: A\n**Run:** b",
        "### Task 1: A\n" + "Depends on: Task 2 | " * 2_000,
        "### Task 1: A\n" + "a | " * 20_000,
        "### Task 1: A\n" + "- **Word:** a\n" * 10_000,
        "### Task 1: A\n" + "- Depends on: Task 1\n" * 3_000,
        "### Task 1: A\n" + "Depends on: Task 1\n" * 3_000,
        "### Task 1: A\nDepends on:" + " " * 100_000 + "Task 1",
        "### Task 1: A\n**Files:** a" + " (" * 20_000,
        "### Task 1: A\n**Files:** a" + " (b)" * 20_000 + "c",
        "### Task 1: A\n**Depends on:** Task 1" + " (" * 20_000,
        "### Task 1: A\n**Depends on:** " + "all previous " * 20_000,
        "".join(f"## Phase {number}: A\n### Task {number}: A\nDepends on: all\n" for number in range(2_000)),
        "### Task 1: A\n**Files:** " + "`a`, " * 50_000,
        "### Task 1: A\n**Files:** a" + " " * 100_000 + "b",
        "### Task 1: A\n**Depends on:** " + ", ".join(map(str, range(20_000))),
        "### Task 1: A\n**Depends on:** a" + " " * 100_000 + "b",
        "### Task 1: A\n**Verification:** for" + " ; do" * 100_000,
        "### Task 1: A\n**Verification:** `a`" + " " * 100_000 + "b",
        "### Task 1: A\n**Status:**" + "<!--" * 50_000 + "-->",
        "".join(f"**Word {number}:** a\n\n" for number in range(5_000)) + "### Task 1: A",
        "## Batch 1: A\n" * 5_000,
        "### Task 1: A\n" * 5_000,
        "| a " * 50_000,
        "<a b='" * 50_000,
        "---\n" + "a: &a [*a]\n" * 3_000 + "---\n",
        "---\n" + "{" * 5_000 + "\n---\n",
    ],
    ids=lambda text: f"{text[:24]!r}",
)
def test_adversarial_text_is_parsed_in_time(text: str) -> None:
    check(parse(text, "p.md"), text)


def plan_of(tasks: int) -> str:
    """Return the text of a plan of many tasks, in batches of 25."""
    text = ["# A long plan\n"]
    for number in range(tasks):
        batch, place = divmod(number, 25)
        if not place:
            text.append(f"\n## Batch {batch + 1}: Part {batch + 1}\n\n**Execution Mode:** parallel\n")
        text.append(
            f"\n### Task {batch + 1}.{place + 1}: File {number}\n\n**Files:**\n- Create: `{number}.txt`\n"
            f"\n**Implementation:**\nWrite it.\n\n**Run:**\n```sh\necho {number} > {number}.txt\n```\n\n"
            f"**Verification:**\n- `test -f {number}.txt`\n- The file exists\n"
        )
        if place:
            text.append(f"**Dependencies:** Task {batch + 1}.{place}\n")
    return "".join(text)


def lines_run(text: str, tasks: int) -> int:
    """Return how many lines of Python are run to read a text: the same on every machine, however busy it is."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parsed = parse(text, "p.md")
    finally:
        sys.settrace(before)
    assert parsed.plan is not None
    assert len(parsed.plan.tasks) == tasks
    return count


def test_parse_time_is_linear() -> None:
    lines_run(plan_of(25), 25)  # what is made once, whatever the plan, is made now
    assert lines_run(plan_of(400), 400) < 2.1 * lines_run(plan_of(200), 200)

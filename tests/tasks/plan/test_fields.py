"""The values of fields: what is run, what is checked, and what else a task says."""

import math

import pytest

from tasks.model import Mode, Task
from tasks.plan.commands import MAX_SCRIPT
from tasks.plan.parser import parse


def task(text: str) -> Task:
    """Return a task whose text begins below its heading, on line 1; there must be no diagnostics."""
    parsed = parse(f"### Task 1: Title\n{text}\n", "p.md", agent="a")
    assert [str(found) for found in parsed.diagnostics] == []
    assert parsed.plan is not None
    return parsed.plan.tasks[0]


def wrong(text: str) -> list[str]:
    """Return what is wrong with such a task."""
    return [
        str(found).removeprefix("p.md:") for found in parse(f"### Task 1: Title\n{text}\n", "p.md").diagnostics
    ]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("**Run:** make build", ["make build"]),
        ("**Run:** `make build`", ["make build"]),
        ("**Run:**\n- make\n- `make test`\n* ls", ["make", "make test", "ls"]),
        ("**Run:**\n1. make\n2. make test", ["make", "make test"]),
        ("**Run:**\n- [ ] make\n- [x] ls", ["make", "ls"]),
        ("**Run:**\n- [ -f a.txt ]", ["[ -f a.txt ]"]),
        ("**Run:**\n- make \\\n  all", ["make \\\nall"]),
        ("**Run:**\n- echo `date` *not markup*", ["echo `date` *not markup*"]),
        ("**Run:**\n- Build it:\n  ```\n  make\n  ```\n- ls", ["make\n", "ls"]),
        ("**Run:**\n```\nmake\nls\n```", ["make\nls\n"]),
        ("**Run:**\n\n    make\n    ls", ["make\nls\n"]),
        ("**Run:**\n```\na\n```\n\n- b\n\n~~~sh\nc\n~~~", ["a\n", "b", "c\n"]),
        ("**Run:** a\n- b", ["a", "b"]),
        ("**Run:**\n<!-- a comment -->\n- a\n\n---", ["a"]),
        ("**Run:**\n- a\n**Note:** not run", ["a"]),
        ("**Run:**\n- a\n- b <!-- c -->\n**Note:** not run", ["a", "b <!-- c -->"]),
        ("**Run:**\n1. a\n   b\n**Note:** not run", ["a\nb"]),
    ],
)
def test_run(text: str, steps: list[str]) -> None:
    assert [step.argv for step in task(text).run] == [("sh", "-e", "-c", step) for step in steps]


@pytest.mark.parametrize(
    ("info", "argv"),
    [
        ("", ("sh", "-e", "-c")),
        ("sh", ("sh", "-e", "-c")),
        ("Shell title=x", ("sh", "-e", "-c")),
        ("bash", ("bash", "-e", "-c")),
        ("{.bash .numberLines}", ("bash", "-e", "-c")),
        ("python", ("python3", "-c")),
        ("python3", ("python3", "-c")),
        ("py", ("python3", "-c")),
    ],
)
def test_fence_language_selects_the_interpreter(info: str, argv: tuple[str, ...]) -> None:
    (step,) = task(f"**Run:**\n```{info}\n\nx = 1\n```").run
    title = "x = 1 (python3)" if argv[0] == "python3" else "x = 1"
    assert (step.title, step.argv) == (title, (*argv, "\nx = 1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("**Run:**", "2:1: error: **Run:** is empty: write a fence or a list of commands"),
        (
            "**Run:**\n\nBuild it.",
            "4:1: error: **Run:** takes a fence or a list of commands; this is neither",
        ),
        ("**Run:** a\nb", "3:1: error: **Run:** takes a fence or a list of commands; this is neither"),
        ("**Run:**\n> a", "3:1: error: **Run:** takes a fence or a list of commands; this is neither"),
        (
            "**Run:**\n```ruby\na\n```",
            "3:1: error: cannot run a fence with language `ruby`; use sh, bash or python",
        ),
        (
            "**Run:**\n```console\n$ a\n```",
            "3:1: error: cannot run a fence with language `console`; use sh, bash or python",
        ),
        ("**Run:**\n```\n  \n```", "3:1: error: this fence is empty: there is nothing to run"),
        ("**Run:**\n- a\n-", "4:1: error: this item is empty: there is nothing to run"),
        ("**Run:** ` `", "2:10: error: this command is empty: there is nothing to run"),
        ("**Run:**\n- a\n  - b", "3:1: error: an item under **Run:** is one command, or a fence"),
        (
            "**Run:**\n- `make` builds it",
            (
                "3:3: error: only a part of `` `make` builds it` is in backticks: put the whole command in"
                " backticks, or none of it"
            ),
        ),
        (
            "**Run:**\n- make\n  ```\n  ls\n  ```",
            "3:1: error: an item is a command or a fence; a text above a fence ends with a colon",
        ),
        (
            "**Run:**\n- a\n\n**Then:** more\n- b",
            "6:1: warning: this belongs to the text below `**Then:** more` and is not run",
        ),
        (
            f"**Run:**\n```\n: {'x' * MAX_SCRIPT}\n```",
            (
                "3:1: error: this script is longer than 120,000 bytes: put it into a file in the repository and"
                " run the file"
            ),
        ),
    ],
)
def test_invalid_run_field(text: str, message: str) -> None:
    assert wrong(text) == [message.replace("`` `make`", "``make`")]


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        (
            "**Verification:**\n- `a b`\n- The file exists\n- ls -l",
            [("a b", 3), ("-The file exists", 4), ("ls -l", 5)],
        ),
        ("**Verification:** `pytest -q`", [("pytest -q", 2)]),
        ("**Verification:** pytest -q", [("pytest -q", 2)]),
        ("**Verification:** The file\nexists", [("-The file exists", 2)]),
        ("**Verification:**\nThe file\nexists", [("-The file exists", 3)]),
        ("**Verification:**\n`pytest`\nruff check", [("pytest", 3), ("ruff check", 4)]),
        ("**Verification:**\n`pytest`\nis green", [("pytest", 3)]),
        ("**Verification:**\n```sh\npytest\nls\n```", [("pytest\nls", 3)]),
        ("**Verification:** Run this:\n```\npytest\n```", [("pytest", 3)]),
        ("**Verification:**\n\n**All of it:**\n\n- Run this:\n\n  ```\n  pytest\n  ```", [("pytest", 8)]),
        (
            "**Verification:**\n- All of:\n  - `a`\n  - It works\n- [ ] ls -l",
            [("a", 4), ("-It works", 5), ("ls -l", 6)],
        ),
        ("**Verification:**\n- It works\n  - `a`", [("-It works", 3), ("a", 4)]),
        ("**Verification:**\n> look\n> at it", [("-> look\n> at it", 3)]),
        ("**Verification:**\n- see\n  the log <!-- twice -->", [("-see the log", 3)]),
        ("**Verification:**\n<!-- none -->\n---", []),
        ("**Verification:**", []),
    ],
)
def test_verification(text: str, checks: list[tuple[str, int]]) -> None:
    found = task(text).verification
    assert [(check.text if check.step else f"-{check.text}", check.line) for check in found] == checks


def test_a_check_that_is_a_command_has_its_step() -> None:
    first, second = task("**Verification:**\n- `make`\n- Run:\n  ```py\n  print(1)\n  ```").verification
    assert first.step is not None
    assert (first.step.kind, first.step.title, first.step.argv) == (
        "verify",
        "make",
        ("sh", "-e", "-c", "make"),
    )
    assert second.step is not None
    assert second.step.argv == ("python3", "-c", "print(1)\n")


def test_fence_that_cannot_be_run_goes_to_the_agent() -> None:
    text = "### Task 1: Title\n**Run:** a\n**Verification:**\n```json\n{}\n```\n"
    parsed = parse(text, "p.md")
    assert parsed.plan is not None
    (check,) = parsed.plan.tasks[0].verification
    assert (check.text, check.step, check.line) == ("```json\n{}\n```", None, 4)
    assert [str(found) for found in parsed.diagnostics] == [
        (
            "p.md:4:1: warning: cannot run a fence with language `json`: it goes to the agent; only sh,"
            " bash and python fences are run as checks"
        )
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("**Commit:** feat: a *b*", "feat: a *b*"),
        ("**Commit Message:** `feat: a`", "feat: a"),
        ("**Commit:** feat: a\nand b\n\nnot this", "feat: a\nand b"),
        ("**Commit:**\nfeat: a\n\nA body.\n\n- with a list", "feat: a\n\nA body.\n\n- with a list"),
        ("**Commit:**\n```\nfeat: a\n\n  A body.\n```", "feat: a\n\n  A body."),
    ],
)
def test_commit(text: str, message: str) -> None:
    assert task(text).commit == message


@pytest.mark.parametrize(
    ("status", "completed"),
    [
        ("completed", True),
        ("Complete", True),
        ("**done**", True),
        ("[x]", True),
        ("✅ done", True),
        ("`completed` (2024-01-01)", True),
        ("pending", False),
        ("In progress", False),
        ("[ ]", False),
        ("not done", False),
        ("TODO", False),
        ("⏳ waiting", False),
    ],
)
def test_status(status: str, completed: bool) -> None:  # noqa: FBT001 - a value of the table
    assert task(f"**Status:** {status}").completed is completed


def test_one_line_fields() -> None:
    found = task("**Timeout:** `1h 30m`\n**Agent:**\nclaude -p\n**Image:** ghcr.io/a/b:1")
    assert (found.timeout, found.agent, found.image) == (5400.0, "claude -p", "ghcr.io/a/b:1")
    assert task("**Timeout:** none").timeout == math.inf


@pytest.mark.parametrize("mode", list(Mode))
def test_mode(mode: Mode) -> None:
    parsed = parse(f"## Batch 1: A\n**Execution Mode:** {mode.upper()}\n### Task 1.1: A\n**Run:** a\n", "p.md")
    assert parsed.plan is not None
    assert parsed.plan.batches[0].mode is mode


def test_field_below_an_unknown_heading_is_reported() -> None:
    text = "# P\n### Task 1: A\n**Run:** true\n### Tsk 2: B\n**Run:** true\n**Commit:** x\n"
    (found,) = parse(text, "p.md").diagnostics
    assert str(found).startswith("p.md:5:1: warning: **Run:** is ignored here: ")
    assert "Tsk 2: B" in found.message

"""Agents: which command, and what it is told."""

from pathlib import Path

import pytest

from containers.agents import agent_step, is_usable, prompt, resolve
from tasks.model import Batch, Check, DeclaredFile, FileAction, Plan, Step, StepKind, Task

AGENTS = {"claude": "claude -p --model best", "quick": "python agent.py {prompt_file}"}


def plan(title: str = "Tidy up", *tasks: Task) -> Plan:
    return Plan(name="tidy-up", title=title, path="plan.md", batches=(Batch(1, "One", tasks),))


def command(text: str) -> Check:
    return Check(text, Step(StepKind.VERIFY, text.splitlines()[0], ("sh", "-e", "-c", text)))


def test_a_declared_name_is_its_command_and_else_the_text_itself() -> None:
    assert resolve("claude", AGENTS) == "claude -p --model best"
    assert resolve("codex exec -", AGENTS) == "codex exec -"
    assert resolve("Claude", AGENTS) == "Claude"


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("claude", True),
        ("quick", True),
        ("agent -p", True),
        ("./agent.sh", True),
        ("on-path", True),
        ("not-executable", False),
        ("cluade", False),
        ("", False),
        ("  ", False),
        (" cluade ", False),
    ],
)
def test_what_can_be_an_agent(tmp_path: Path, name: str, usable: bool) -> None:  # noqa: FBT001 - a table's column
    for program, mode in (("on-path", 0o755), ("not-executable", 0o644)):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(mode)
    assert is_usable(name, AGENTS, str(tmp_path)) is usable


def test_an_agent_s_step() -> None:
    assert agent_step("claude -p", "Do it.") == Step(
        kind=StepKind.AGENT,
        title="claude -p",
        argv=("sh", "-c", "claude -p"),
        stdin="Do it.",
        prompt_file=False,
    )
    assert agent_step("python agent.py {prompt_file}", "").prompt_file


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("", ""),
        ("\n  cd sub\nagent\n", "cd sub …"),
        ("x" * 80, "x" * 80),
        ("x" * 81, "x" * 79 + "…"),
    ],
)
def test_the_title_is_one_line(text: str, title: str) -> None:
    step = agent_step(text, "")
    assert step.title == title
    assert step.argv == ("sh", "-c", text)


def test_all_that_an_agent_is_told() -> None:
    task = Task(
        id="1.2a",
        title="Add a greeting",
        batch=1,
        files=(
            DeclaredFile(FileAction.CREATE, "src/hello.py"),
            DeclaredFile(FileAction.MODIFY, "odd`name.md"),
            DeclaredFile(FileAction.READ, "README.md"),
        ),
        implementation="\nSay **hello** to `{everyone}`.\n\n```python\nprint(1)\n```\n",
        verification=(
            Check("The greeting is\npolite"),
            command("python src/hello.py"),
            Check("README names it"),
            command("test -f a\n\ntest `cat a` = 1"),
            command("echo `date`"),
        ),
    )
    assert prompt(task, plan("Tidy {up}", task)) == (
        """\
# Task 1.2a: Add a greeting

This task is part of the plan "Tidy {up}". Do this task alone, and do it in the current directory, which is a
git worktree of its own.

## What to do

Say **hello** to `{everyone}`.

```python
print(1)
```

## Files

- Create: `src/hello.py`
- Modify: `` odd`name.md ``
- Read: `README.md`

## Make sure that

- The greeting is
  polite
- README names it

## What is run afterwards, and has to succeed

- `python src/hello.py`
- ```
  test -f a

  test `cat a` = 1
  ```
- `` echo `date` ``

Leave your changes in the current directory: they are taken from there. Do not push, and do not open a pull
request.
"""
    )


def test_what_a_plan_does_not_say_has_no_section() -> None:
    task = Task(id="1", title="", batch=1)
    assert prompt(task, plan("", task)) == (
        """\
# Task 1

This task is part of the plan "tidy-up". Do this task alone, and do it in the current directory, which is a
git worktree of its own.

Leave your changes in the current directory: they are taken from there. Do not push, and do not open a pull
request.
"""
    )

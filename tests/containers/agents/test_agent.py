"""Resolving agents, and their prompts."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from containers.agents.agent import (
    agent_secrets,
    first_line,
    is_usable,
    missing_requirement,
    resolve_agent,
)
from containers.agents.builtin import BUILT_IN, Agent
from containers.agents.prompt import agent_step, prompt
from tasks.model import Batch, Check, DeclaredFile, FileAction, Plan, Step, StepKind, Task

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
AGENTS = {
    "claude": Agent("claude", "claude -p --model best"),
    "quick": Agent("quick", "python agent.py {prompt_file}"),
}


def plan(title: str = "Tidy up", *tasks: Task) -> Plan:
    return Plan(name="tidy-up", title=title, path="plan.md", batches=(Batch(1, "One", tasks),))


def command(text: str) -> Check:
    return Check(text, Step(StepKind.VERIFY, text.splitlines()[0], ("sh", "-e", "-c", text)))


def test_a_name_is_declared_or_built_in_and_else_a_command() -> None:
    assert resolve_agent("claude", AGENTS) == AGENTS["claude"]
    assert resolve_agent("claude", {}) == BUILT_IN["claude"]
    assert resolve_agent("codex exec -", AGENTS) == Agent("codex exec -", "codex exec -")
    assert resolve_agent("Claude", AGENTS) == Agent("Claude", "Claude")


@pytest.mark.parametrize(
    ("name", "usable"),
    [
        ("claude", True),
        ("quick", True),
        ("codex", True),
        ("mini-swe-agent", True),
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
def test_usable_agents(tmp_path: Path, name: str, usable: bool) -> None:  # noqa: FBT001 - a table's column
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
    assert agent_step("long && longer", "", title="mine").title == "mine"


def test_the_built_in_agents() -> None:
    assert list(BUILT_IN) == ["claude", "codex", "aider", "gemini", "opencode", "mini-swe-agent", "mini"]
    for name, agent in BUILT_IN.items():
        assert agent.name == name
        assert agent.image, f"{name} has no image"
        assert agent.setup, f"{name} is not installed"
        assert agent.secrets, f"{name} has no secret"
        assert agent.version, f"{name} does not say its version"


def test_the_first_line_that_says_something() -> None:
    assert first_line("\n  \n 1.2.3 (Agent) \nmore") == "1.2.3 (Agent)"
    assert first_line(" \n") is None


def test_in_a_container_an_agent_needs_one_of_its_secrets() -> None:
    agent = Agent("mine", "mine", secrets=("KEY", "TOKEN"))
    assert missing_requirement(agent, {"TOKEN": "x"}, contained=True) is None
    assert agent_secrets(agent, {"TOKEN": "x", "KEY": "", "OTHER": "y"}) == {"TOKEN": "x"}
    assert missing_requirement(agent, {"KEY": ""}, contained=True) == (
        "agent mine needs a secret, and none is set: set KEY or TOKEN in the environment"
    )
    assert missing_requirement(Agent("mine", "mine"), {}, contained=True) is None


def test_on_this_machine_a_built_in_agent_needs_its_program(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    assert missing_requirement(BUILT_IN["mini-swe-agent"], environ, contained=False) == (
        "agent mini-swe-agent: the program mini is not on PATH; "
        "install it, or run it in a container with --mode dagger"
    )
    (tmp_path / "mini").touch(0o755)
    assert missing_requirement(BUILT_IN["mini-swe-agent"], environ, contained=False) is None
    assert missing_requirement(Agent("other", "other -p", version="other -v"), environ, contained=False) is None
    elsewhere = replace(BUILT_IN["claude"], command="/opt/claude -p")
    assert missing_requirement(elsewhere, environ, contained=False) is None


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


def test_prompt_of_an_agent_is_complete() -> None:
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
separate git worktree.

## What to do

Say **hello** to `{everyone}`.

```python
print(1)
```

## Files

- Create: `src/hello.py`
- Modify: ``odd`name.md``
- Read: `README.md`

## Make sure that

- The greeting is
  polite
- README names it

## Commands that run afterwards and must succeed

- `python src/hello.py`
- ```
  test -f a

  test `cat a` = 1
  ```
- `` echo `date` ``

Leave your changes in the current directory: they are collected from there. Do not push, and do not open a
pull request.
"""
    )


def test_empty_parts_of_a_plan_have_no_section() -> None:
    task = Task(id="1", title="", batch=1)
    assert prompt(task, plan("", task)) == (
        """\
# Task 1

This task is part of the plan "tidy-up". Do this task alone, and do it in the current directory, which is a
separate git worktree.

Leave your changes in the current directory: they are collected from there. Do not push, and do not open a
pull request.
"""
    )


def test_an_agent_need_not_commit_where_the_plan_gives_a_message() -> None:
    task = Task("1", "A", 1, commit="feat: a")
    native = plan("A", task)
    sentence = "Do not commit either: the commit is made from your changes"

    assert sentence not in prompt(task, native)  # as it has always been: results of earlier runs are kept by it
    assert sentence in prompt(task, replace(native, version=2))
    assert sentence in prompt(task, replace(native, dialect="kiro"))
    assert sentence not in prompt(replace(task, commit=None), replace(native, version=2))


def test_what_the_plan_says_of_a_group_has_its_title_if_there_is_one() -> None:
    task = Task("1", "A", 1, group="Server:", group_text="First.")

    assert "\n## About the part of the plan: Server:\n\nFirst.\n" in prompt(task, plan("A", task))
    untitled = replace(task, group="")
    assert "\n## About the part of the plan\n\nFirst.\n" in prompt(untitled, plan("A", untitled))

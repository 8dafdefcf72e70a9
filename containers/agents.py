"""Coding agents as data: the command, and the text that an agent is given."""

import re
import shutil
from collections.abc import Mapping
from textwrap import indent

from tasks.model import Check, Plan, Step, StepKind, Task

PROMPT_FILE = "{prompt_file}"
TITLE_LENGTH = 80
INTRODUCTION = """\
This task is part of the plan "{plan}". Do this task alone, and do it in the current directory, which is a
git worktree of its own."""
CONCLUSION = """\
Leave your changes in the current directory: they are taken from there. Do not push, and do not open a pull
request."""


def resolve(name: str, agents: Mapping[str, str]) -> str:
    """Return the command of the agent that is declared as `name`, else `name`: it is a command itself."""
    return agents.get(name, name)


def is_usable(name: str, agents: Mapping[str, str], path: str) -> bool:
    """Whether `name` can be an agent: declared, a command of several words or with a path, or a program.

    Args:
        name: What the plan or a setting says.
        agents: The declared agents, name to command.
        path: Where programs are looked for, in the form of PATH.
    """
    if not name.strip():
        return False
    several_words = len(name.split()) > 1
    return name in agents or several_words or "/" in name or shutil.which(name, path=path) is not None


def agent_step(command: str, prompt: str) -> Step:
    """Return the step that runs an agent, with `prompt` on standard input and in the file where named."""
    return Step(
        kind=StepKind.AGENT,
        title=_one_line(command),
        argv=("sh", "-c", command),
        stdin=prompt,
        prompt_file=PROMPT_FILE in command,
    )


def prompt(task: Task, plan: Plan) -> str:
    """Return what an agent is told of a task, as Markdown."""
    prose = [check for check in task.verification if check.step is None]
    commands = [check for check in task.verification if check.step is not None]
    sections = [
        f"# Task {task.id}: {task.title}" if task.title else f"# Task {task.id}",
        INTRODUCTION.format(plan=plan.title or plan.name),
        _section("What to do", task.implementation.strip()),
        _section("Files", "\n".join(f"- {file.action.title()}: {_code(file.path)}" for file in task.files)),
        _section("Make sure that", "\n".join(f"- {_indented(check.text)}" for check in prose)),
        _section("What is run afterwards, and has to succeed", "\n".join(map(_command, commands))),
        CONCLUSION,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _command(check: Check) -> str:
    text = check.text.strip()
    return "- " + _indented(_fence(text) if "\n" in text else _code(text))


def _code(text: str) -> str:
    """Return `text` as inline code, also when it holds backticks."""
    quote = "`" * (_longest_backticks(text) + 1)
    space = " " if "`" in text else ""
    return f"{quote}{space}{text}{space}{quote}"


def _fence(text: str) -> str:
    quote = "`" * max(3, _longest_backticks(text) + 1)
    return f"{quote}\n{text}\n{quote}"


def _longest_backticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _indented(text: str) -> str:
    """Return `text` as the content of a list item."""
    return indent(text.strip(), "  ").lstrip()


def _one_line(command: str) -> str:
    """Return the first line of a command that says something, cut to what fits."""
    lines = command.strip().splitlines() or [""]
    line = lines[0].strip()
    if len(line) > TITLE_LENGTH:
        return line[: TITLE_LENGTH - 1].rstrip() + "…"
    return f"{line} …" if len(lines) > 1 else line

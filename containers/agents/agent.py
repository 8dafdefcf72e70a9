"""Coding agents: which one is meant, what it needs, what it is told, and what it says that it cost."""

import re
import shutil
from collections.abc import Container, Mapping
from textwrap import indent
from typing import Protocol, runtime_checkable

from containers.agents.builtin import BUILT_IN, Agent
from tasks.model import Check, Plan, Step, StepKind, Task

PROMPT_FILE = "{prompt_file}"
TITLE_LENGTH = 80
INTRODUCTION = """\
This task is part of the plan "{plan}". Do this task alone, and do it in the current directory, which is a
git worktree of its own."""
CONCLUSION = """\
Leave your changes in the current directory: they are taken from there. Do not push, and do not open a pull
request."""


@runtime_checkable
class Versions(Protocol):
    """A place that can say which version of an agent it has."""

    async def version(self, agent: Agent, image: str | None) -> str | None:
        """Return the first line that the agent's `version` command prints; `None` where it does not run.

        Args:
            agent: The agent; it has a `version`.
            image: The image of the container that it would run in.
        """
        ...


def resolve_agent(name: str, agents: Mapping[str, Agent]) -> Agent:
    """Return the agent that is declared as `name`, else the built-in one, else `name` as a command itself."""
    return agents.get(name) or BUILT_IN.get(name) or Agent(name, command=name)


def is_usable(name: str, agents: Container[str], path: str) -> bool:
    """Whether `name` can be an agent: known, a command of several words or with a path, or a program.

    Args:
        name: What the plan or a setting says.
        agents: The names of declared agents; the built-in ones are known without them.
        path: Where programs are looked for, in the form of PATH.
    """
    if not name.strip():
        return False
    is_known = name in agents or name in BUILT_IN
    several_words = len(name.split()) > 1
    return is_known or several_words or "/" in name or shutil.which(name, path=path) is not None


def missing_requirement(agent: Agent, environ: Mapping[str, str], *, contained: bool) -> str | None:
    """Return what the environment lacks for an agent to work, as a sentence; `None` where it lacks nothing.

    Args:
        agent: The agent.
        environ: The user's environment.
        contained: Whether it runs in a container, where only what it is handed is there. On the user's own
            machine its program has to be installed, and may be logged in without any secret.
    """
    if contained:
        if not agent.secrets or agent_secrets(agent, environ):
            return None
        names = " or ".join(agent.secrets)
        return f"agent {agent.name} needs a secret, and none is set: set {names} in the environment"
    known = BUILT_IN.get(agent.name)
    if known is None or known.version is None or agent.command != known.command:
        return None  # what another command starts is the user's to know
    program = known.version.split()[0]
    if shutil.which(program, path=environ.get("PATH", "")):
        return None
    return (
        f"agent {agent.name}: the program {program} is not on PATH; "
        "install it, or let it run in a container with --mode dagger"
    )


def agent_secrets(agent: Agent, environ: Mapping[str, str]) -> dict[str, str]:
    """Return those of an agent's secrets that are set."""
    return {name: value for name in agent.secrets if (value := environ.get(name))}


def read_cost(agent: Agent, output: str) -> float | None:
    """Return what an agent says last of its cost, in US dollars; `None` where it says nothing."""
    if agent.cost is None:
        return None
    found = [match["cost"] for match in re.finditer(agent.cost, output)]
    try:
        return float(found[-1]) if found else None
    except (TypeError, ValueError):
        return None


def first_line(output: str) -> str | None:
    """Return the first line of some output that says something, cut to what a report has room for."""
    lines = (line.strip() for line in output.splitlines())
    return next((line[:TITLE_LENGTH] for line in lines if line), None)


def agent_step(command: str, prompt: str, *, title: str | None = None) -> Step:
    """Return the step that runs an agent, with `prompt` on standard input and in the file where named."""
    return Step(
        kind=StepKind.AGENT,
        title=title or _one_line(command),
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

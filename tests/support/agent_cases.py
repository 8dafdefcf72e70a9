"""How each built-in agent is made to use the scripted model, and what it then does and costs."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from model_server import Turn

from containers.agents.builtin import BUILT_IN

NONE = "the program of an agent is not installed"
"""Prefix of the reason of a skipped test."""
PROGRAMS = "PATCHYARD_TEST_AGENTS"
"""Variable with directories of programs of agents, in the form of PATH, which are searched before PATH."""
NODE = os.environ.get("PATCHYARD_TEST_NODE_IMAGE", "node:22")
PYTHON = os.environ.get("PATCHYARD_TEST_PYTHON_IMAGE", "python:3.13")
OLDER_PYTHON = os.environ.get("PATCHYARD_TEST_OLDER_PYTHON_IMAGE", "python:3.12")
KEY = "sk-scripted-0123456789abcdef"
WRITE = Turn("I write it.", "printf 'Hello\\n' > greeting.txt")
DONE = Turn("Done.")
SUBMIT = Turn("", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT")
WHOLE_FILE = Turn("Here it is.\n\ngreeting.txt\n```\nHello\n```\n")
PLAN = """\
---
environment: {environment}
---
# Greetings
"""
TASK = """
### Task 1.{number}: Greet
**Implementation:**
Write greeting.txt with the one line Hello, and mind «quotes» and `backticks`.

**Verification:**
- The greeting is polite
- `cat greeting.txt; grep -x Hello greeting.txt`
"""


UNATTENDED = {"IS_SANDBOX": "1", "NO_PROXY": "*"}
"""What a container has: Claude Code runs unattended as root only there."""


@dataclass(frozen=True)
class Case:
    """An agent, the settings that make it use the scripted model, the script, and what it reports then.

    `cost` is in US dollars, by the public prices of the model; `None` if the agent does not say it.
    `login` is the variable of a plan's login, where only its limits have a time.
    Without `needs_key` it uses its own provider if it has none.
    `counts` are the tokens that it says, `said` is how its last message begins.
    """

    agent: str
    image: str
    key: str
    environment: Mapping[str, str]
    turns: tuple[Turn, ...] = (WRITE, DONE)
    setup: tuple[str, ...] = ()
    login: str | None = None
    needs_key: bool = True
    cost: float | None = None
    counts: tuple[str, ...] = ("input", "output", "cached")
    said: str = "Done."

    def configuration(self, port: int) -> str:
        """Return a configuration file with the model as a service on a port of this machine."""
        setup = json.dumps([*BUILT_IN[self.agent].setup, *self.setup])
        return (
            f'[container.services]\nmodel = "127.0.0.1:{port}"\n'
            f"[agents.{self.agent}]\nimage = {json.dumps(self.image)}\nsetup = {setup}\n"
        )

    def variables(self, port: int, host: str = "model") -> dict[str, str]:
        """Return the variables that make the agent use the model at a port of `host`."""
        return {name: value.format(url=f"http://{host}:{port}") for name, value in self.environment.items()}

    def plan(self, port: int, host: str = "model", count: int = 1) -> str:
        """Return a plan of some tasks for the agent, with the model at a port of `host`."""
        front = PLAN.format(environment=json.dumps(self.variables(port, host)))
        return front + "".join(TASK.format(number=number) for number in range(1, count + 1))

    @property
    def wrong(self) -> tuple[Turn, ...]:
        """The script of a conversation after which the verification fails."""
        return tuple(Turn(turn.text.replace("Hello", "Hullo"), _wrong(turn.command)) for turn in self.turns)


CASES = (
    Case(
        agent="mini-swe-agent",
        image=PYTHON,
        key="OPENAI_API_KEY",
        environment={"OPENAI_BASE_URL": "{url}/v1", "MSWEA_MODEL_NAME": "openai/gpt-4o"},
        turns=(WRITE, SUBMIT),
        cost=0.0065,
        said="I write it.",
    ),
    Case(
        agent="aider",
        image=OLDER_PYTHON,
        key="OPENAI_API_KEY",
        environment={
            "OPENAI_API_BASE": "{url}/v1",
            "AIDER_MODEL": "openai/gpt-4o",
            "AIDER_EDIT_FORMAT": "whole",
        },
        turns=(WHOLE_FILE,),
        cost=0.00325,
        counts=("input", "output"),
        said="Here it is.",
    ),
    Case(
        agent="codex",
        image=NODE,
        key="OPENAI_API_KEY",
        environment={"OPENAI_BASE_URL": "{url}/v1"},
        setup=("mkdir -p ~/.codex && echo 'model = \"scripted\"' > ~/.codex/config.toml",),
    ),
    Case(
        agent="claude",
        image=NODE,
        key="ANTHROPIC_API_KEY",
        environment={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_MODEL": "claude-opus-4-5"},  # else its newest
        login="CLAUDE_CODE_OAUTH_TOKEN",
        cost=0.0132,
    ),
    Case(
        agent="gemini",
        image=NODE,
        key="GEMINI_API_KEY",
        environment={"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_MODEL": "gemini-2.5-pro"},
        setup=(
            "mkdir -p ~/.gemini",
            """echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}, \
            "general": {"maxAttempts": 2}}' > ~/.gemini/settings.json""",
        ),
    ),
    Case(
        agent="opencode",
        image=NODE,
        key="ANTHROPIC_API_KEY",
        environment={"ANTHROPIC_BASE_URL": "{url}/v1"},
        needs_key=False,
        cost=0.00792,
    ),
)


def _wrong(command: str | None) -> str | None:
    return command and command.replace("Hello", "Hullo")


def path() -> str:
    """Return where programs of agents are searched for, in the form of PATH."""
    return os.pathsep.join(filter(None, (os.environ.get(PROGRAMS), os.environ["PATH"])))


def require(case: Case) -> None:
    """Skip the test if the program of an agent is not installed."""
    program = (BUILT_IN[case.agent].version or "").split()[0]
    if not shutil.which(program, path=path()):
        pytest.skip(f"{NONE}: {program}")

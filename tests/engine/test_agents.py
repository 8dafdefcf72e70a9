"""Real agents from their package registries, in containers, with a scripted model."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from model_server import ModelServer, Turn
from project import Project
from repositories import Clone

from containers.agents.builtin import BUILT_IN

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

PATIENCE = 1100.0
"""In seconds: the first time, an agent of several hundred megabytes is downloaded."""
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

### Task 1.1: Greet
**Implementation:**
Write greeting.txt with the one line Hello, and mind «quotes» and `backticks`.

**Verification:**
- The greeting is polite
- `grep -x Hello greeting.txt`
"""


@dataclass(frozen=True)
class Case:
    """An agent, the settings that make it use the scripted model, and the script."""

    agent: str
    image: str
    key: str
    environment: Mapping[str, str]
    turns: tuple[Turn, ...] = (WRITE, DONE)
    setup: tuple[str, ...] = ()
    cost: float | None = None
    known: Mapping[str, str] = field(default_factory=dict)

    def configuration(self, port: int) -> str:
        """Return a configuration file with the model as a service on a port of this machine."""
        setup = json.dumps([*BUILT_IN[self.agent].setup, *self.setup])
        return (
            f'[container.services]\nmodel = "127.0.0.1:{port}"\n'
            f"[agents.{self.agent}]\nimage = {json.dumps(self.image)}\nsetup = {setup}\n"
        )

    def plan(self, port: int) -> str:
        """Return a plan of one task for the agent."""
        environment = {
            name: value.format(url=f"http://model:{port}") for name, value in self.environment.items()
        }
        return PLAN.format(environment=json.dumps(environment))


CASES = (
    Case(
        agent="mini-swe-agent",
        image=PYTHON,
        key="OPENAI_API_KEY",
        environment={"OPENAI_BASE_URL": "{url}/v1", "MSWEA_MODEL_NAME": "openai/gpt-4o"},
        turns=(WRITE, SUBMIT),
        cost=0.01,
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
        cost=0.0035,
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
        environment={"ANTHROPIC_BASE_URL": "{url}"},
        cost=0.015,
    ),
    Case(
        agent="gemini",
        image=NODE,
        key="GEMINI_API_KEY",
        environment={"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_MODEL": "gemini-2.5-pro"},
        setup=(
            "mkdir -p ~/.gemini",
            """echo '{"security": {"auth": {"selectedType": "gemini-api-key"}}}' > ~/.gemini/settings.json""",
        ),
    ),
    Case(
        agent="opencode",
        image=NODE,
        key="ANTHROPIC_API_KEY",
        environment={"ANTHROPIC_BASE_URL": "{url}/v1"},
    ),
)


@pytest.fixture
def project(clone: Clone, engine_environ: Mapping[str, str]) -> Project:
    """A user's project on a machine with an engine."""
    return Project(clone, dict(engine_environ))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.agent)
def test_agent_is_installed_gets_the_prompt_and_changes_files(project: Project, case: Case) -> None:
    with ModelServer(case.turns) as model:
        project.configure(case.configuration(model.port))
        plan = project.plan(case.plan(model.port))
        arguments = ("--json", "--mode", "dagger", "--agent", case.agent)
        done = project.call("run", plan, *arguments, environ={case.key: KEY}, patience=PATIENCE).expect()
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["files"]) == ("changed", ["greeting.txt"]), done
    assert project.show(f"{outcome['branch']}:greeting.txt") == "Hello"
    assert outcome.get("cost") == pytest.approx(case.cost, rel=0.5) if case.cost else "cost" not in outcome

    assert any("mind «quotes» and `backticks`" in request.text for request in model.requests)
    assert any("The greeting is polite" in request.text for request in model.requests)
    assert {request.key.removeprefix("Bearer ") for request in model.requests} == {KEY}
    assert KEY not in project.log(done.run, "1.1")
    assert KEY not in done.out + done.err

    report = json.loads(project.call("report", done.run, "--format", "json").expect().out)
    agent = report["tasks"][0]["agent"]
    assert agent["name"] == case.agent
    assert re.search(r"\d+\.\d+", agent["version"] or ""), agent


OWN = f"""\
[agents.mine]
image = {json.dumps(PYTHON)}
setup = ["date +%s%N > /made", "test ! -e /work/README.md", 'test -z "$MINE_KEY"']
command = 'cat /made > "$PATCHYARD_TASK.txt"; cat >> /tmp/prompt; test "$MINE_KEY" = {KEY} && echo "cost: 0.25"'
secrets = ["MINE_KEY"]
version = "echo mine 1.0"
cost = 'cost: (?P<cost>[0-9.]+)'
"""
TASKS = """\
# Layers

### Task 1.1: One
Do one.

### Task 1.2: Two
Do two.

### Task 1.3: Without an agent
**Run:**
- `echo "${MINE_KEY:-none}" > 1.3.txt`
"""


def test_tasks_of_an_agent_share_its_layers_and_only_they_have_its_secret(project: Project) -> None:
    project.configure(OWN)
    arguments = ("--json", "--mode", "dagger", "--agent", "mine", "--image", PYTHON, "--fresh")
    done = project.call("run", project.plan(TASKS), *arguments, environ={"MINE_KEY": KEY}, patience=PATIENCE)
    assert done.expect().statuses == dict.fromkeys(("1.1", "1.2", "1.3"), "changed")
    texts = {task: project.show(f"{done.outcome(task)['branch']}:{task}.txt") for task in done.statuses}
    assert texts["1.1"] == texts["1.2"]
    assert texts["1.1"].isdigit()
    assert texts["1.3"] == "none"
    assert [done.outcome(task).get("cost") for task in done.statuses] == [0.25, 0.25, None]
    report = json.loads(project.call("report", done.run, "--format", "json").expect().out)
    versions = [task["agent"] and task["agent"]["version"] for task in report["tasks"]]
    assert versions == ["mine 1.0", "mine 1.0", None]


def test_cached_agent_result_is_not_paid_for_twice(project: Project) -> None:
    project.configure(OWN)
    arguments = ("--json", "--mode", "dagger", "--agent", "mine", "--task", "1.1")
    plan, environ = project.plan(TASKS), {"MINE_KEY": KEY}
    first = project.call("run", plan, *arguments, environ=environ, patience=PATIENCE).expect()
    again = project.call("run", plan, *arguments, environ=environ, patience=PATIENCE).expect()
    assert again.outcome("1.1")["files"] == first.outcome("1.1")["files"] == ["1.1.txt"]
    assert "cost" not in again.outcome("1.1")


def test_failed_agent_setup_fails_the_task(project: Project) -> None:
    project.configure(
        f'[agents.mine]\nimage = {json.dumps(PYTHON)}\nsetup = ["no-such-installer x"]\ncommand = "true"'
    )
    arguments = ("--json", "--mode", "dagger", "--agent", "mine", "--task", "1.1")
    done = project.call("run", project.plan(TASKS), *arguments, patience=PATIENCE).expect(1)
    assert done.statuses["1.1"] == "failed"
    assert "no-such-installer x" in done.outcome("1.1")["error"]
    assert "not found" in done.outcome("1.1")["error"]

"""Real agents from their package registries, in containers, with a scripted model."""

import json
import re
from collections.abc import Mapping

import pytest
from agent_cases import CASES, KEY, PYTHON, Case
from agent_scenarios import ANYWHERE, Place, Scenario, name_of
from model_server import ModelServer
from project import Project
from repositories import Clone

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

PATIENCE = 1100.0
"""In seconds: the first time, an agent of several hundred megabytes is downloaded."""


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
    assert outcome.get("cost") == (pytest.approx(case.cost) if case.cost else None)
    charged = model.charged.known
    assert outcome["tokens"] == {name: charged[name] for name in charged if name in case.counts}
    assert outcome["said"].startswith(case.said)

    assert any("mind «quotes» and `backticks`" in request.text for request in model.requests)
    assert any("The greeting is polite" in request.text for request in model.requests)
    assert {request.key.removeprefix("Bearer ") for request in model.requests} == {KEY}
    assert KEY not in project.log(done.run, "1.1")
    assert KEY not in done.out + done.err

    report = json.loads(project.call("report", done.run, "--format", "json").expect().out)
    agent = report["tasks"][0]["agent"]
    assert agent["name"] == case.agent
    assert re.search(r"\d+\.\d+", agent["version"] or ""), agent


@pytest.mark.parametrize(("case", "scenario"), ANYWHERE, ids=name_of)
def test_agent_that_fails_or_is_not_served(project: Project, case: Case, scenario: Scenario) -> None:
    scenario(Place(project, case, contained=True))


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

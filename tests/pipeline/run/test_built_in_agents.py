"""The built-in agents that are installed here, with a scripted model: what they report of themselves."""

import subprocess

import pytest
from agent_cases import CASES, KEY, UNATTENDED, Case, path, require
from agent_scenarios import ANYWHERE, ONLY_HERE, Place, Scenario, name_of
from model_server import ModelServer
from project import Project
from sandboxes import require_sandbox

PATIENCE = 200.0


@pytest.mark.parametrize("sandbox", ["off", "on"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.agent)
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_agent_reports_what_the_model_charged(project: Project, case: Case, sandbox: str) -> None:
    require(case)
    if sandbox == "on":
        require_sandbox()
    project.environ["PATCHYARD_SANDBOX"] = sandbox
    environ = {**UNATTENDED, "PATH": path(), case.key: KEY}
    for command in case.setup:
        subprocess.run(["sh", "-c", command], env={**project.environ, **environ}, check=True)
    with ModelServer(case.turns) as model:
        plan = project.plan(case.plan(model.port, "127.0.0.1"))
        arguments = ("--json", "--agent", case.agent)
        done = project.call("run", plan, *arguments, environ=environ, patience=PATIENCE).expect()
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["files"]) == ("changed", ["greeting.txt"]), done
    assert outcome.get("cost") == (pytest.approx(case.cost) if case.cost else None)
    charged = model.charged.known
    assert outcome["tokens"] == {name: charged[name] for name in charged if name in case.counts}
    assert outcome["said"].startswith(case.said)

    lines = project.log(done.run, "1.1").splitlines()
    assert case.said in lines
    assert not [line for line in lines if line.startswith("{")]
    assert any(line.startswith("[the agent used ") for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("case", "scenario"), [*ANYWHERE, *ONLY_HERE], ids=name_of)
def test_agent_that_fails_or_is_not_served(project: Project, case: Case, scenario: Scenario) -> None:
    require(case)
    scenario(Place(project, case, contained=False))

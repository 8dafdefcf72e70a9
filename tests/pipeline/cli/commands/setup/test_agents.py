"""Agents in runs, on the real command: what they are given, what they cost, and what they need."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from project import Project

KEY = "key-0123456789"
CONFIGURATION = """\
secrets = ["SHARED_KEY"]
[agents.mine]
command = '''
    cat > prompt.md; env | grep -x LEVEL=3 > seen.txt
    echo "key $MINE_KEY"; echo "cost: 0.5, cost: $SPENT"
'''
secrets = ["MINE_KEY", "OTHER_KEY"]
environment = { LEVEL = "3", SPENT = "1.25" }
version = "echo; echo mine 4.5; exit 1"
cost = 'cost: (?P<cost>[0-9.]+)'
"""
TEXT = """\
# Agents

### Task 1.1: For an agent
**Implementation:**
Write it.

**Verification:**
- `echo cost: 99`

### Task 1.2: For nobody
**Run:**
- `echo "key $MINE_KEY" "cost: 7" > run.txt`
"""


@pytest.fixture
def given() -> Mapping[str, str]:
    """A user's environment in which the secrets are set."""
    return {"MINE_KEY": KEY, "SHARED_KEY": "shared-0123456789"}


def test_cost_and_version_of_an_agent_are_stored(project: Project, given: Mapping[str, str]) -> None:
    project.configure(CONFIGURATION)
    done = project.run(project.plan(TEXT), "--agent", "mine", "--task", "1.1", environ=given).expect()
    outcome = done.outcome("1.1")
    assert outcome["cost"] == 1.25
    assert project.show(f"{outcome['branch']}:seen.txt") == "LEVEL=3"
    assert "key ***" in project.log(done.run, "1.1")
    step = next(event for event in done.events("step_started") if event["kind"] == "agent")
    assert step["command"] == "mine"

    assert json.loads(project.call("status", "--json").out)["tasks"][0]["cost"] == 1.25
    assert "$1.25" in project.call("status").out
    task = json.loads(project.call("report", done.run, "--format", "json").out)["tasks"][0]
    assert (task["agent"]["name"], task["agent"]["version"]) == ("mine", "mine 4.5")
    assert (task["cost"], task["secrets"]) == (1.25, ["MINE_KEY", "SHARED_KEY"])


SAYS = r"""
[agents.mine]
format = "codex"
limit = "quota of (?P<seconds>[0-9]+)"
command = '''
    echo made > made.txt; echo starting
    echo '{"type":"item.completed","item":{"type":"agent_message","text":"I used \u006bey-0123456789, @you."}}'
    echo '{"type":"turn.completed","usage":{"input_tokens":12345,"cached_input_tokens":400,"output_tokens":20}}'
'''
secrets = ["MINE_KEY"]
"""


def test_tokens_and_last_message_of_an_agent_are_stored_and_shown(
    project: Project, given: Mapping[str, str]
) -> None:
    project.configure(SAYS)
    done = project.run(project.plan(TEXT), "--agent", "mine", "--task", "1.1", environ=given).expect()
    tokens, said = {"input": 12345, "output": 20, "cached": 400}, "I used ***, @you."
    assert (done.outcome("1.1")["tokens"], done.outcome("1.1")["said"]) == (tokens, said)
    assert project.log(done.run, "1.1").startswith(
        "$ mine\nstarting\nI used ***, @you.\n"
        "[the agent used 12,345 tokens in, 400 of them cached, 20 tokens out]\n[exit code 0"
    )
    raw = project.call("logs", done.run, "1.1", "--raw").expect().out
    assert raw.startswith("starting\n{")
    assert project.log(done.run, "1.1.raw") == raw

    stored = json.loads(project.call("status", "--json").out)["tasks"][0]
    assert (stored["tokens"], stored["said"]) == (tokens, said)
    assert "12k in, 20 out" in project.call("status").out
    report = project.call("report", done.run, "--format", "json").expect().out
    task = json.loads(report)["tasks"][0]
    assert (task["tokens"], task["said"]) == (tokens, said)


def test_environment_of_the_plan_overrides_that_of_the_agent(
    project: Project, given: Mapping[str, str]
) -> None:
    project.configure(CONFIGURATION)
    plan = project.plan(f"---\nenvironment:\n  SPENT: 2.5\n---\n{TEXT}")
    done = project.run(plan, "--agent", "mine", "--task", "1.1", environ=given).expect()
    assert done.outcome("1.1")["cost"] == 2.5


def test_a_task_without_an_agent_has_no_cost(project: Project) -> None:
    plan = project.tasks({"1.1": "echo 'cost: 7' > run.txt"})
    done = project.run(plan).expect()
    assert "cost" not in done.outcome("1.1")
    assert "cost" not in project.call("status").out


def test_agent_secret_is_not_in_any_patch(project: Project, given: Mapping[str, str]) -> None:
    project.configure(CONFIGURATION)
    done = project.run(project.plan(TEXT), "--agent", "mine", environ=given).expect(1)
    assert done.statuses == {"1.1": "changed", "1.2": "failed"}
    assert "MINE_KEY" in done.outcome("1.2")["error"]
    assert KEY not in done.out + done.err


def test_missing_agent_program_is_reported_before_any_task(project: Project) -> None:
    done = project.call("run", project.plan(TEXT), "--agent", "gemini", environ={"PATH": "/usr/bin:/bin"})
    assert done.expect(2).err == (
        "patchyard: task 1.1: agent gemini: the program gemini is not on PATH; "
        "install it, or run it in a container with --mode dagger\n"
    )
    assert not project.worktrees.exists()


def test_unset_agent_secret_is_reported_before_any_container(project: Project) -> None:
    done = project.call("run", project.plan(TEXT), "--agent", "claude", "--mode", "dagger")
    assert done.expect(2).err == (
        "patchyard: task 1.1: agent claude needs a secret, and none is set: "
        "set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN or CLAUDE_CODE_OAUTH_TOKEN in the environment\n"
    )
    assert not project.worktrees.exists()


def test_agents_lists_all_agents(project: Project) -> None:
    project.configure(
        '[agents.mine]\ncommand = "mine -p"\n[agents.codex]\nimage = "node:24"\nsecrets = ["OWN_KEY"]\n'
    )
    done = project.call("agents", "--json", environ={"OWN_KEY": KEY, "GEMINI_API_KEY": ""}).expect()
    assert KEY not in done.out
    known = {record["agent"]: record for record in done.records}
    assert [name for name, record in known.items() if record["origin"] == "built-in"] == [
        *("claude", "aider", "gemini", "opencode", "mini-swe-agent", "mini")
    ]
    assert known["mine"] == {
        "agent": "mine",
        "origin": "configuration",
        "installed": False,
        "path": None,
        "found_version": None,
        "logged_in": False,
        "command": "mine -p",
        "image": None,
        "setup": [],
        "secrets": {},
        "environment": {},
        "version": None,
        "cost": None,
        "format": None,
        "limit": None,
    }
    assert (known["codex"]["origin"], known["codex"]["image"]) == ("changed", "node:24")
    assert known["codex"]["secrets"] == {"OWN_KEY": True}
    assert known["gemini"]["secrets"] == {"GEMINI_API_KEY": False, "GOOGLE_API_KEY": False}

    table = project.call("agents", "-v", environ={"OWN_KEY": KEY}).expect().out
    assert "OWN_KEY: yes" in table
    assert "GEMINI_API_KEY: no" in table
    assert KEY not in table


def test_a_line_per_agent_says_what_is_installed_and_logged_in(project: Project) -> None:
    (programs := project.shared / "bin").mkdir()
    for name, script in {
        "claude": "echo 2.0.1",
        "codex": "echo codex-cli 0.5",
        "aider": "exit 1",
        "gemini": "",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    home = Path(project.environ["HOME"])
    (home / ".codex").mkdir()
    (home / ".codex/auth.json").write_text("{}")
    project.configure('[agents.mine]\ncommand = "FOO=1 x | y"\n')
    given = {"PATH": f"{programs}:/usr/bin:/bin", "ANTHROPIC_API_KEY": KEY, "COLUMNS": "120"}
    out = project.call("agents", environ=given).expect().out
    assert KEY not in out
    *lines, rights = out.splitlines()
    assert rights == "tasks have your rights: the sandbox is off"
    rows = [tuple(" ".join(cell.split()) for cell in re.split(r"\s{2,}", line.strip())) for line in lines]
    assert rows[0] == ("agent", "installed", "version", "login or key")
    assert rows[1:] == [
        ("claude", "yes", "2.0.1", "ANTHROPIC_API_KEY set"),
        ("codex", "yes", "0.5", "logged in"),
        ("aider", "yes", "ANTHROPIC_API_KEY set"),
        ("gemini", "yes", "none found: log in, or set GEMINI_API_KEY"),
        ("opencode", "no", "ANTHROPIC_API_KEY set"),
        ("mini-swe-agent", "no", "ANTHROPIC_API_KEY set"),
        ("mini", "no", "ANTHROPIC_API_KEY set"),
        ("mine", "?"),
    ]


def test_agents_outside_of_a_repository(project: Project) -> None:
    done = project.call("agents", "--json", cwd=project.shared).expect()
    assert {record["origin"] for record in done.records} == {"built-in"}

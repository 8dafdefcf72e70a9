"""The plans that people are shown: the examples, and those in the documentation."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.model import Plan
from tasks.plan.blocks import FIELDS
from tasks.plan.parser import parse

ROOT = Path(__file__).parents[3]
FORMAT = (ROOT / "docs" / "plan-format.md").read_text(encoding="utf-8")
FENCES = [match[2] for match in re.finditer(r"(?ms)^(`{3,})markdown\n(.*?)^\1$", FORMAT)]


def parsed(text: str, path: str, agent: str | None = None) -> Plan:
    found = parse(text, path, agent=agent, is_agent=lambda _: False)
    assert [str(diagnostic) for diagnostic in found.diagnostics] == []
    assert found.plan is not None
    return found.plan


def example(name: str) -> Plan:
    return parsed((ROOT / "examples" / name).read_text(encoding="utf-8"), name)


def test_every_example_is_read() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.md")} == {"agent.md", "plan.md"}
    assert [len(batch.tasks) for batch in example("plan.md").batches] == [3, 3]
    assert [task.agent for task in example("agent.md").tasks] == [None, "local"]


def test_example_runs_without_an_agent(tmp_path: Path) -> None:
    work = tmp_path / "repository"
    shutil.copytree(ROOT / "examples" / "repository", work, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    for task in example("plan.md").tasks:
        assert task.run
        checks = [check.step for check in task.verification if check.step]
        assert checks
        for step in (*task.run, *checks):
            done = subprocess.run(
                step.argv, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, (task.id, step.title, done.stdout + done.stderr)
        for file in task.files:
            assert (work / file.path).is_file()


@pytest.mark.parametrize("text", FENCES, ids=range(len(FENCES)))
def test_the_plans_of_the_documentation_are_read(text: str) -> None:
    parsed(text, "plan.md", agent=None if "\nagent:" in text else "agent")


def test_the_documentation_shows_plans_and_names_every_field() -> None:
    assert len(FENCES) >= 6
    words = {name.lower() for name in re.findall(r"\*\*([A-Z][A-Za-z ]+):\*\*", FORMAT)}
    assert {name for name in FIELDS if not re.match(r"files? to ", name)} <= words


def test_documented_commands_are_recognised() -> None:
    plan = parsed(next(text for text in FENCES if "The forms of a check" in text), "plan.md")
    assert [(check.text, check.step is not None) for check in plan.tasks[0].verification] == [
        ("anything in backticks", True),
        ("./check.sh --all", True),
        ("test -f build/report.txt", True),
        ("The report has a line for every file", False),
        ('test "$(wc -l < build/report.txt)" -gt 3', True),
    ]

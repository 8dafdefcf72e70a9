"""Commands, options, runs, tasks and plans are completed in the shell."""

import shutil
import subprocess

import pytest
from project import Project


def completed(project: Project, *words: str) -> list[str]:
    environ = {
        "_PATCHYARD_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["patchyard", *words]),
        "COMP_CWORD": str(len(words)),
    }
    out = project.call(environ=environ, cwd=project.root).expect(0).out
    return [line.partition(",")[2] for line in out.splitlines() if line]


def test_what_is_completed(project: Project) -> None:
    assert completed(project, "logs", "") == []
    plan = project.tasks({"1.1": "touch a", "1.2": "touch b", "2.1": "true"})
    run = project.run(plan).expect(0).run

    assert "status" in completed(project, "st")
    assert completed(project, "status", run[:4]) == [run]
    assert completed(project, "retry", "latest", "1.") == ["1.1", "1.2"]
    assert completed(project, "retry", run, "1.2", "--onto", "1") == ["1.1", "1.2"]
    assert completed(project, "discard", run, "1.") == ["1.1", "1.2"]
    assert completed(project, "run", str(plan), "--task", "2") == ["2.1"]
    assert completed(project, "run", str(plan), "--mode", "d") == ["dagger"]
    assert completed(project, "run", str(plan), "--agent", "c") == ["claude", "codex"]
    assert {run, "latest"} <= {*completed(project, "publish", "")}
    assert completed(project, "retry", "no-such-run", "1") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_valid(project: Project, shell: str) -> None:
    script = project.call("completion", shell).expect(0).out
    assert "_PATCHYARD_COMPLETE" in script
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=script, text=True, check=True)

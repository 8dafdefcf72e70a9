"""The commands `check` and `run --dry-run`: errors of a plan, and what would run."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from project import COMMAND, PATIENCE, Project, fingerprint, one_sentence

GOOD = {"1.1": "touch a", "2.1": "touch b"}

WRONG = """---
pool_size: many
---
# Wrong
## Batch 1: One
**Execution Mode:** sideways
### Task 1.1: A
**Run:** `true`
**Timeout:** soon
### Task 1.1: Again
**Run:** `true`
### Task 1.2: No agent
**Implementation:**
Do it.
### Task 1.3: Round
**Run:** `true`
**Dependencies:** Task 1.4
### Task 1.4: And round
**Run:** `true`
**Dependencies:** Task 1.3, Task 9.9
"""


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize("command", ["run", "check"])
def test_all_errors_of_a_plan_are_reported_at_once(project: Project, command: str, *, json: bool) -> None:
    plan = project.plan(WRONG)

    done = project.call(command, plan, *(["--json"] if json else []), cwd=project.root).expect(2)

    if command == "check" and json:
        reported = [(record["line"], record["severity"], record["message"]) for record in done.records]
        assert done.err == ""
    else:
        pattern = rf"^{re.escape(str(plan))}:(\d+):\d+: (error|warning): (.+)$"
        found = [re.match(pattern, line) for line in done.err.splitlines()]
        assert all(found), done.err
        reported = [(int(match[1]), match[2], match[3]) for match in found if match]
        assert done.out == ""
    errors = {line: message for line, severity, message in reported if severity == "error"}
    expected = {2: "many", 6: "sideways", 9: "soon", 10: "1.1"}
    for line, word in expected.items():
        assert word in errors[line], errors
    assert any("cycle" in message for _, _, message in reported)
    assert any("9.9" in message for _, _, message in reported)
    assert [line for line, _, _ in reported] == sorted(line for line, _, _ in reported)
    assert not project.state.exists()


def test_diagnostic_shows_the_path_as_given(project: Project) -> None:
    project.plan("# Nothing\n")

    done = project.call("run", "../plans/plan.md")

    assert done.expect(2).err.startswith("../plans/plan.md:1:1: error: this is not a plan of a known dialect: ")


NOBODY = "# Demo\n\n### Task 1.1: Write\nWrite it.\n\n### Task 1.2: Run\n**Run:** `true`\n"
NONE_NAMED = (
    "plan.md:3:1: warning: 1 task (1.1) is for an agent, and none is named: name one with `--agent NAME`, as "
    '`agent = "NAME"` in patchyard.toml, or in the plan (`agent: NAME` in its front matter, or **Agent:** of a '
    "task); "
)


def test_every_task_is_shown_where_no_agent_is_named_yet(project: Project) -> None:
    (project.root / "plan.md").write_text(NOBODY)
    (bin_ := project.shared / "bin").mkdir()
    for command in (("check", "plan.md"), ("run", "--dry-run", "plan.md")):
        done = project.call(*command, environ={"PATH": "/usr/bin:/bin"}).expect(0)
        assert done.err.count("none is named") == 1
        assert (
            f"{NONE_NAMED}none is installed of claude, codex, aider, gemini, opencode, mini-swe-agent"
            in done.err
        )
        assert "task 1.1: Write\n" in done.out
        assert "  agent  none is named yet\n" in done.out
        assert "task 1.2: Run\n" in done.out
    for name in ("codex", "mini"):
        (bin_ / name).write_text("#!/bin/sh\n")
        (bin_ / name).chmod(0o755)
    path = {"PATH": f"{bin_}:/usr/bin:/bin"}
    assert (
        f"{NONE_NAMED}installed here: codex, mini-swe-agent\n"
        in project.call("check", "plan.md", environ=path).err
    )
    refused = project.call("run", "plan.md").expect(2).err
    assert "patchyard: plan.md:3: 1 task (1.1) is for an agent, and none is named" in refused


def test_a_misspelt_agent_has_a_proposal(project: Project) -> None:
    plan = project.plan(NOBODY)
    assert (
        "did you mean claude? Else declare it as"
        in project.call("check", plan, "--agent", "cluade").expect(2).err
    )
    named = project.plan(NOBODY.replace("Write it.", "**Agent:** codx"))
    assert (
        "unknown agent `codx`: did you mean codex? Else declare" in project.call("check", named).expect(2).err
    )


def test_prompt_of_a_task_is_printed_before_a_run(project: Project) -> None:
    (project.root / "plan.md").write_text(NOBODY)
    for command in ("check", "run"):
        done = project.call(command, "plan.md", "--prompt", "1.1").expect(0)
        assert done.out.startswith("# Task 1.1: Write\n")
        assert done.out.endswith("open a\npull request.\n")
    assert (
        "task 1.2 runs commands of its own" in project.call("check", "plan.md", "--prompt", "1.2").expect(2).err
    )
    unknown = project.call("check", "plan.md", "--prompt", "1.3").expect(2).err
    assert "--prompt 1.3: plan.md has no task 1.3; did you mean 1." in unknown
    assert "try `patchyard check plan.md`" in project.call("check").expect(2).err


def test_dry_run_shows_what_would_run_and_changes_nothing(project: Project) -> None:
    project.clone.write({"README.md": "dirty\n", "untracked.txt": "u"})
    plan = project.tasks({**GOOD, "2.2": "touch c"}, fields={"2.2": "**Status:** completed"})
    os.utime(project.root / "src/app.py")
    before = fingerprint(project.root.parent)

    done = project.call("run", plan, "--dry-run").expect(0)
    as_json = project.run(plan, "--dry-run").expect(0)

    assert fingerprint(project.root.parent) == before
    assert "would run 3 tasks of" in done.out
    for message in ("batch 1: Batch 1 (parallel)", "builds on batch 1", "touch a", "branch patchyard/demo/2.1"):
        assert message in done.out
    assert "task 2.2: Do 2.2 (skipped: marked as completed in the plan)" in done.out
    assert [(record["task"], record["skipped"]) for record in as_json.records] == [
        ("1.1", False),
        ("2.1", False),
        ("2.2", True),
    ]


def test_dry_run_reports_the_same_errors(project: Project) -> None:
    assert "--task 9: " in one_sentence(project.run(project.tasks(GOOD), "--dry-run", "--task", "9"))


def test_check_shows_what_is_run_and_what_goes_to_the_agent(project: Project, tmp_path: Path) -> None:
    plan = project.plan(
        "# Checked\n### Task 1: A\n**Files:**\n- Create: ../x\n**Run:** `echo a`\n"
        "**Verification:**\n- cat a.txt\n- Test file exists\n- `ls`\n"
    )
    before = fingerprint(project.root)

    inside = project.call("check", plan).expect(0)
    outside = project.call("check", plan, cwd=tmp_path).expect(0)

    said = "tasks have your rights: the sandbox is off\n"
    assert inside.out.replace(said, "") == outside.out
    assert said in inside.out
    assert [line.split(maxsplit=1) for line in inside.out.splitlines()[1:5]] == [
        ["run", "echo a"],
        ["verify", "cat a.txt"],
        ["verify", "ls"],
        ["prose", "Test file exists"],
    ]
    assert "warning: " in inside.err
    assert fingerprint(project.root) == before


@pytest.mark.parametrize("source", ["/dev/zero", "-"])
def test_a_plan_without_an_end_is_reported(project: Project, source: str) -> None:
    """A device or a pipe may have no end; it is not read into memory."""
    feed = "yes | " if source == "-" else ""
    script = f"ulimit -v 2000000; {feed}{shlex.join(COMMAND)} check {source}"

    command = ["bash", "-c", script]
    done = subprocess.run(
        command,
        cwd=project.root,
        env=project.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert done.returncode == 2, done.stderr
    assert done.stderr.endswith("1:1: error: the plan is larger than 16 MiB\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "clean", "run"])
@pytest.mark.parametrize("name", ["patchyard.toml", "patchyard.lock"])
@pytest.mark.parametrize("kind", ["nested", "large"])
def test_a_file_of_the_repository_that_cannot_be_read_is_reported(
    project: Project, command: str, name: str, kind: str
) -> None:
    plan = project.tasks(GOOD, front="image: debian\nmode: dagger")
    path = project.root / name
    if kind == "nested":
        path.write_text(f"a = {'[' * 5000}{']' * 5000}\n")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 32)

    done = project.call(command, *([] if command == "clean" else [plan]))

    if name == "patchyard.lock" and command != "run":
        done.expect(0)
    else:
        assert one_sentence(done, 2).startswith(f"{path}: ")

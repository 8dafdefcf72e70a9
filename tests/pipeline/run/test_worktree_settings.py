"""`[worktree]`, the environment of tasks, agents, and precedence of settings: on the real command."""

import re
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from project import Project, wait_for
from repositories import Clone

AGENT = """
import os, pathlib, sys
shared = pathlib.Path(os.environ["SHARED"])
text = pathlib.Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else sys.stdin.read()
(shared / ("prompt-" + os.environ["PATCHYARD_TASK"])).write_text(text)
pathlib.Path("agent.txt").write_text("done by " + os.environ.get("WHO", "nobody"))
"""
TEXT_TASK = """# Agents
### Task 1: Write it
**Files:**
- Create: `agent.txt`
**Implementation:**
Write the file, with **Note:** everything in it.

```sh
echo not run
```
**Verification:**
- The text reads well
- `test -s agent.txt`
"""


@pytest.fixture
def agent(project: Project) -> str:
    """A command that is an agent: it keeps its prompt in `$SHARED`, and writes `agent.txt`."""
    path = project.shared / "agent.py"
    path.write_text(AGENT)
    return f"{sys.executable} {path}"


def test_copied_files_are_present_and_not_in_patch(project: Project) -> None:
    project.clone.commit({".gitignore": "*.log\nbuild/\n.env\n"})
    project.clone.write({".env": "TOKEN=1\n", "local/settings.json": "{}", "README.md": "dirty\n"})
    project.configure('[worktree]\ncopy = [".env", "local", "README.md", "absent.txt"]\n')
    script = (
        "cat .env local/settings.json; echo changed >> local/settings.json; cp .env copy-of-env; cat README.md"
    )

    done = project.run(project.tasks({"1.1": script})).expect(0)

    assert done.outcome("1.1")["files"] == ["copy-of-env"]
    assert "TOKEN=1" in project.log(done.run, "1.1")
    assert "# Sample" in project.log(done.run, "1.1"), "what the commit has is not replaced"
    assert (project.root / "local" / "settings.json").read_text() == "{}", "it was a copy"


def test_setup_runs_first_and_is_not_in_patch(project: Project) -> None:
    first, second = "echo generated > lock.json; echo setup >> README.md", "mkdir -p vendor; touch vendor/x"
    project.configure(f'[worktree]\nsetup = ["{first}", "{second}"]\n')
    script = "cat lock.json; test -e vendor/x; echo mine > mine.txt; echo more >> README.md"

    done = project.run(project.tasks({"1.1": script, "1.2": "cat lock.json"})).expect(0)

    assert done.statuses == {"1.1": "changed", "1.2": "unchanged"}
    kinds = [record["kind"] for record in done.events("step_started") if record["task"] == "1.1"]
    assert kinds == ["setup", "setup", "run"]
    assert done.outcome("1.1")["files"] == ["README.md", "mine.txt"]
    assert "lock.json" not in project.clone.git("ls-tree", "-r", "--name-only", "patchyard/demo/1.1")


def test_setup_can_be_one_string_with_commas(project: Project) -> None:
    project.configure('[worktree]\nsetup = "echo a, b > made.txt"\n')

    done = project.run(project.tasks({"1.1": "test \"$(cat made.txt)\" = 'a, b'"})).expect(0)

    assert done.events("step_started")[0]["command"] == "echo a, b > made.txt"


def test_failed_setup_fails_the_task(project: Project) -> None:
    project.configure('[worktree]\nsetup = ["echo no network >&2; exit 5"]\n')

    done = project.run(project.tasks({"1.1": 'touch "$SHARED/ran"'})).expect(1)

    assert done.outcome("1.1")["exit_code"] == 5
    assert done.outcome("1.1")["error"].splitlines()[-1] == "no network"
    assert not (project.shared / "ran").exists()


def test_kept_files_stay_in_worktree_and_out_of_patches(project: Project) -> None:
    project.configure('[worktree]\nkeep = ["node_modules"]\n')
    script = "mkdir -p node_modules; ls node_modules; touch node_modules/$PATCHYARD_RUN other; echo x > x"
    plan = project.tasks({"1.1": script})

    first = project.run(plan, "--mode", "local").expect(0)
    second = project.run(plan, "--mode", "local", "--no-cache").expect(0)

    assert [done.outcome("1.1")["files"] for done in (first, second)] == [["other", "x"]] * 2
    assert first.run in project.log(second.run, "1.1"), "the second run found what the first one made"


def test_task_gets_its_environment(project: Project) -> None:
    plan = project.tasks(
        {"1.1": "env > env.txt; git rev-parse --show-toplevel > top.txt"},
        front="environment:\n  FROM_PLAN: plan wins\n  ONLY_PLAN: 1\n  PATCHYARD_TASK: faked",
    )
    project.configure('[environment]\nFROM_PLAN = "file"\nONLY_FILE = "yes"\n')
    more = {"USERS_OWN": "kept", "GIT_DIR": "/nowhere", "GITHUB_TOKEN": "ghp_x", "GH_TOKEN": "ghp_y"}

    done = project.call("run", plan, "--json", environ=more).expect(0)

    lines = project.show("patchyard/demo/1.1:env.txt").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    assert found["PATCHYARD_TASK"] == "1.1"
    assert found["PATCHYARD_RUN"] == done.run
    assert found["FROM_PLAN"] == "plan wins"
    assert (found["ONLY_PLAN"], found["ONLY_FILE"], found["USERS_OWN"]) == ("1", "yes", "kept")
    assert not {"GITHUB_TOKEN", "GH_TOKEN", "GIT_DIR"} & set(found)
    assert "ghp_" not in "\n".join(lines)
    assert project.show("patchyard/demo/1.1:top.txt") == str(project.worktrees / "wt-1")


SAY = 'echo "$PATCHYARD_SLOT $PATCHYARD_PORT $PATCHYARD_ATTEMPT $PATCHYARD_WORKTREE"'


def test_every_step_knows_slot_ports_attempt_and_worktree(project: Project) -> None:
    say = f'{SAY} >> "$SHARED/said"'
    project.configure(f"[worktree]\nsetup = '{say}'\nport_base = 24000\nport_width = 20\n")
    plan = f'# Say\n### Task 1: Say\nWrite.\n**Verification:**\n- `{say}; test -e "$SHARED/ok"`\n'
    agent = f"cat > /dev/null; touch agent.txt; {say}"

    failed = project.run(project.plan(plan), "--agent", agent, "--repairs", "0").expect(1)
    (project.shared / "ok").touch()
    project.call("retry", failed.run, "--json").expect(0)

    said = [line.split(maxsplit=3) for line in (project.shared / "said").read_text().splitlines()]
    assert [attempt for _, _, attempt, _ in said] == ["1"] * 3 + ["2"] * 3, "setup, agent and verification"
    assert {(slot, path) for slot, _, _, path in said} == {("1", str(project.worktrees / "wt-1"))}
    assert len({port for _, port, _, _ in said[:3]}) == 1
    assert all(int(port) >= 24000 and int(port) % 20 == 0 for _, port, _, _ in said)


def test_two_runs_at_once_have_other_ports(project: Project, make_repository: Callable[..., Clone]) -> None:
    other = Project(make_repository("other", {"README.md": "other"}))
    script = f'{SAY} >> "{project.shared}/said"; until test -e "{project.shared}/go"; do sleep 0.02; done'
    scripts = {"1.1": script, "1.2": f"{script}; true"}
    plans = [
        (project, project.tasks(scripts)),
        (project, project.tasks(scripts, "2.md")),
        (other, other.tasks(scripts)),
    ]

    said = project.shared / "said"
    with ExitStack() as stack:
        started = [stack.enter_context(one.start("run", plan, "--json", "--no-cache")) for one, plan in plans]
        wait_for(lambda: said.exists() and len(said.read_text().splitlines()) == 6, "six tasks")
        (project.shared / "go").touch()
        for run in started:
            run.done().expect(0)

    lines = [line.split() for line in said.read_text().splitlines()]
    assert len({port for _, port, _, _ in lines}) == 6
    assert len({path for _, _, _, path in lines}) == 6


def test_a_run_without_free_ports_says_so(project: Project) -> None:
    project.configure("[worktree]\nport_base = 65520\n")

    done = project.call("run", project.tasks({"1.1": "touch a", "1.2": "touch b"})).expect(2)

    assert "no 10 ports in a row from 65520 on are free for slot 2; set a lower `port_base`" in done.err
    project.configure("[worktree]\nport_width = 0\n")
    project.run(project.tasks({"1.1": 'test -z "$PATCHYARD_PORT"'})).expect(0)


def test_declared_agent_gets_prompt_on_standard_input(project: Project, agent: str) -> None:
    project.configure(f'agent = "writer"\n[agents.writer]\ncommand = "WHO=writer {agent}"\n')

    done = project.run(project.plan(TEXT_TASK)).expect(0)

    prompt = (project.shared / "prompt-1").read_text()
    for text in ("Task 1: Write it", "**Note:** everything in it", "`agent.txt`", "The text reads well"):
        assert text in prompt
    assert project.show("patchyard/agents/1:agent.txt") == "done by writer"
    kinds = [record["kind"] for record in done.events("step_started")]
    assert kinds == ["agent", "verify"]


def test_agent_can_read_prompt_from_file(project: Project, agent: str) -> None:
    done = project.run(project.plan(TEXT_TASK), "--agent", f"{agent} {{prompt_file}}").expect(0)

    assert "The text reads well" in (project.shared / "prompt-1").read_text()
    assert done.outcome("1")["files"] == ["agent.txt"]


def test_agents_of_plan_and_task_are_used(project: Project, agent: str) -> None:
    front = f"agent: one\nagents:\n  one: WHO=one {agent}\n  two:\n    command: WHO=two {agent}\n"
    text = TEXT_TASK + TEXT_TASK.replace("# Agents", "").replace("Task 1", "Task 2").replace(
        "**Files:**", "**Agent:** two\n**Files:**"
    )
    plan = project.plan(f"---\n{front}---\n{text}")

    project.run(plan, "--trust").expect(0)

    assert project.show("patchyard/agents/1:agent.txt") == "done by one"
    assert project.show("patchyard/agents/2:agent.txt") == "done by two"


def test_agent_option_overrides_plan(project: Project, agent: str) -> None:
    plan = project.plan(TEXT_TASK.replace("**Files:**", "**Agent:** two\n**Files:**"))
    project.configure(f'[agents]\ntwo = "false"\nthree = "WHO=three {agent}"\n')

    project.run(plan, "--agent", "three").expect(0)

    assert project.show("patchyard/agents/1:agent.txt") == "done by three"


@pytest.mark.parametrize("where", ["option", "front", "task", "file", "none"])
def test_unknown_agent_is_a_plan_error(project: Project, where: str) -> None:
    text = TEXT_TASK
    if where == "task":
        text = text.replace("**Files:**", "**Agent:** nosuch\n**Files:**")
    elif where == "front":
        text = f"---\nagent: nosuch\n---\n{text}"
    elif where == "file":
        project.configure('agent = "nosuch"\n')

    done = project.run(project.plan(text), *(["--agent", "nosuch"] if where == "option" else []))

    assert done.expect(2).out == ""
    assert ("nosuch" in done.err) is (where != "none")
    assert "agent" in done.err
    assert not project.state.exists()


def test_failed_agent_fails_the_task(project: Project) -> None:
    done = project.run(project.plan(TEXT_TASK), "--agent", "echo cannot; exit 4").expect(1)

    assert done.outcome("1")["exit_code"] == 4
    assert done.outcome("1")["error"].splitlines()[-1] == "cannot"


def pool_size(project: Project, *options: str, environ: dict[str, str] | None = None, front: str = "") -> int:
    """Return the size of the pool that a run would have."""
    plan = project.tasks({f"1.{n}": "true" for n in range(1, 11)}, front=front)
    done = project.call("run", plan, "--dry-run", *options, environ=environ).expect(0)
    found = re.search(r"in a pool of (\d+) worktrees", done.out)
    assert found, done
    return int(found[1])


def test_precedence_is_flag_environment_plan_file_default(project: Project) -> None:
    assert pool_size(project) == 3
    (project.root / "pyproject.toml").write_text("[tool.patchyard]\npool_size = 9\n")
    assert pool_size(project) == 9
    project.configure("pool_size = 4\n")
    assert pool_size(project) == 4
    assert pool_size(project, front="pool_size: 5") == 5
    environ = {"PATCHYARD_POOL_SIZE": "6"}
    assert pool_size(project, front="pool_size: 5", environ=environ) == 6
    assert pool_size(project, "--pool-size", "7", front="pool_size: 5", environ=environ) == 7


@pytest.mark.parametrize(
    ("option", "environ", "field", "front", "seconds"),
    [
        ("", {}, "", "", 0.3),
        ("", {}, "", "timeout: 0.4s", 0.4),
        ("", {}, "**Timeout:** 0.5s", "timeout: 40s", 0.5),
        ("", {"PATCHYARD_TIMEOUT": "0.6s"}, "**Timeout:** 50s", "", 0.6),
        ("0.7s", {"PATCHYARD_TIMEOUT": "60s"}, "**Timeout:** 50s", "", 0.7),
    ],
)
def test_precedence_of_timeouts(  # noqa: PLR0913, PLR0917 - a table
    project: Project, option: str, environ: dict[str, str], field: str, front: str, seconds: float
) -> None:
    project.configure('timeout = "0.3s"\n')
    plan = project.tasks({"1.1": "sleep 30"}, fields={"1.1": field}, front=front)

    done = project.call("run", plan, "--json", *(["--timeout", option] if option else []), environ=environ)

    assert done.expect(1).outcome("1.1")["error"].startswith(f"timed out after {seconds} s")


def test_run_without_timeout(project: Project) -> None:
    plan = project.tasks({"1.1": "true"})

    (would,) = project.run(plan, "--timeout", "none", "--dry-run").expect(0).records

    assert would["timeout"] is None


def test_configuration_is_read_from_users_checkout(project: Project, tmp_path: Path) -> None:
    project.configure("pool_size = 2\n")
    plan = project.tasks({"1.1": "true"})

    done = project.call("run", plan, "--json", "--repo", project.root / "src", cwd=tmp_path).expect(0)

    assert done.events("run_started")[0]["pool_size"] == 2


@pytest.mark.parametrize("named", [".", "pool", "a/b/../pool"])
def test_worktrees_visible_in_checkout_are_refused(project: Project, named: str) -> None:
    project.configure(f'worktrees = "{named}"\n')

    done = project.run(project.tasks({"1.1": "touch x"})).expect(2)

    assert f"worktrees: {project.root / named} is inside the checkout" in done.err
    assert not list(project.root.glob("**/wt-1"))


def test_worktrees_can_be_in_ignored_directory_of_checkout(project: Project) -> None:
    project.clone.commit({".gitignore": "/pool/\n"})
    project.configure('worktrees = "pool"\n')

    done = project.run(project.tasks({"1.1": "touch x"})).expect(0)

    assert done.outcome("1.1")["files"] == ["x"]
    assert (project.root / "pool" / "wt-1").is_dir()

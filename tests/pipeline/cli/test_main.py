"""The command line: invalid calls, output with and without a terminal, help and version."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from project import COMMAND, Project, one_sentence, plan_text
from repositories import User, make_repository

GOOD = {"1.1": "touch a", "2.1": "touch b"}


def test_unreadable_plan(project: Project) -> None:
    assert one_sentence(project.call("run", "absent.md", "--json")) == (
        "absent.md: cannot be read: No such file or directory"
    )
    assert one_sentence(project.call("run", project.shared, "--json")) == (
        f"{project.shared}: no plan in this directory; name the file of the plan"
    )
    assert (
        one_sentence(project.call("check", "absent.md"))
        == "absent.md: cannot be read: No such file or directory"
    )


def test_no_plan_and_two_plans(project: Project) -> None:
    for arguments in (["run"], ["run", "a.md", "--plan", "b.md"], ["check"]):
        done = project.call(*arguments).expect(2)
        assert done.out == ""
        assert "Error: " in done.err


def test_not_a_repository(project: Project, tmp_path: Path) -> None:
    plan, plain = project.tasks(GOOD), tmp_path / "plain"
    plain.mkdir()
    places = {
        plain: "is not in a git repository",
        tmp_path / "nowhere": "is not a directory",
        plan: "is not a directory",
    }

    for place, message in places.items():
        for command in (["run", plan, "--json"], ["status"], ["clean"], ["runs"], ["diff", "x"]):
            assert message in one_sentence(project.call(*command, "--repo", place))
    assert "is not in a git repository" in one_sentence(project.call("run", plan, "--json", cwd=plain))


def test_a_repository_without_a_commit(user: User, tmp_path: Path) -> None:
    project = Project(make_repository(user, tmp_path / "empty"))

    assert "has no commit yet" in one_sentence(project.run(project.tasks(GOOD)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start-batch", "7"], "--start-batch 7: "),
        (["--end-batch", "0"], "--end-batch 0: "),
        (["--start-batch", "2", "--end-batch", "1"], "nothing to run: "),
        (["--task", "9.9"], "--task 9.9: "),
        (["--base", "nosuch"], "'nosuch' does not name a commit"),
        (["--base", "-x"], "'-x' does not name a commit"),
        (["--timeout", "soon"], "--timeout: "),
        (["--timeout", "-1s"], "--timeout: "),
        (["--branch", "same"], "--branch: it needs {task}"),
        (["--branch", "{nosuch}/{task}"], "--branch: {nosuch} is unknown"),
        (["--branch", "{task"], "--branch: "),
        (["--branch", "x/{task:d}"], "--branch: "),
        (["--branch", "x/{task!z}"], "--branch: "),
        (["--branch", "x/{task[0}"], "--branch: "),
        (["--branch", "a b/{task}"], "branch: 'a b/1.1' is not a name"),
        (["--agent", ""], "--agent: "),
        (["--worktrees", "/dev/null/x"], "cannot create /dev/null/x for worktrees"),
    ],
)
def test_invalid_option_value(project: Project, options: list[str], message: str) -> None:
    assert message in one_sentence(project.run(project.tasks(GOOD), *options))
    assert set(project.branches()) == {"main"}


@pytest.mark.parametrize(
    "options", [["--mode", "quick"], ["--pool-size", "0"], ["--pool-size", "x"], ["--nosuch"], ["a", "b", "c"]]
)
def test_invalid_option(project: Project, options: list[str]) -> None:
    done = project.run(project.tasks(GOOD), *options).expect(2)

    assert done.out == ""
    assert done.err.startswith("Usage: ")
    assert re.search(r"^Error: .+$", done.err, re.MULTILINE)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"PATCHYARD_POOL_SIZE": "many"},
            "the environment variable PATCHYARD_POOL_SIZE: expected a whole number",
        ),
        ({"PATCHYARD_MODE": "quick"}, "the environment variable PATCHYARD_MODE: expected one of local"),
        (
            {"PATCHYARD_PUBLISH": "perhaps"},
            "the environment variable PATCHYARD_PUBLISH: expected true or false",
        ),
        ({"PATCHYARD_TIMEOUT": "x"}, "the environment variable PATCHYARD_TIMEOUT: "),
    ],
)
def test_invalid_environment_variable(project: Project, environ: Mapping[str, str], message: str) -> None:
    done = project.call("run", project.tasks(GOOD), "--json", environ=environ)

    assert one_sentence(done).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool_size = ", "not valid TOML"),
        ("pool_sise = 3", "pool_sise: no such setting; did you mean pool_size?"),
        ("pool_size = 0", "pool_size: expected a whole number from 1 to 1000"),
        ("pool_size = true", "pool_size: expected a whole number from 1 to 1000"),
        ("mode = 3", "mode: expected one of"),
        ("agents = 3", "agents: expected tables such as"),
        ("[agents.x]\ncomand = 'x'", "agents: x.comand: "),
        ("worktree = 1", "worktree: expected a table with copy, setup, teardown, teardown_timeout, keep"),
        ("[worktree]\ncopie = []", "worktree.copie: no such setting; did you mean copy?"),
        ("[worktree]\ncopy = ['../x']", "worktree.copy: '../x' leaves the repository"),
        ("[worktree]\nkeep = ['/abs']", "worktree.keep: '/abs' leaves the repository"),
        ("[worktree]\nsetup = [3]", "worktree.setup: expected a list of strings"),
        ("secrets = 'A', 'B'", "not valid TOML"),
        ("environment = ['A']", "environment: expected a table of names and strings"),
    ],
)
def test_invalid_configuration(project: Project, text: str, message: str) -> None:
    project.configure(text)

    done = project.run(project.tasks(GOOD)).expect(2)

    assert re.match(rf"{re.escape(str(project.root))}/patchyard\.toml:\d+:\d+: error: ", done.err)
    assert message in done.err
    assert (done.out, len(done.err.splitlines())) == ("", 1)


def test_invalid_configuration_in_pyproject(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("[tool.patchyard]\nmode = 'quick'\n")

    done = project.run(project.tasks(GOOD)).expect(2)

    assert "pyproject.toml:2:8: error: tool.patchyard.mode: expected one of" in done.err


def test_without_a_terminal_one_line_per_event_and_a_final_table(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a", "1.2": "echo why; exit 2", "2.1": "true"})

    done = project.call("run", plan).expect(1)

    lines = done.out.splitlines()
    events = [line for line in lines if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert re.search(r"\d run \d{8}-\d{6}-\w+: Demo: 3 tasks, pool of 3, base [0-9a-f]{12}$", events[0])
    for message in (
        " 1.1 started: Do 1.1",
        " 1.1 run 1: touch a",
        "1.1 changed in ",
        "- 2.1 skipped: it builds on batch 1, and task 1.2 failed",
    ):
        assert any(message in line for line in events), done.out
    table = lines[len(events) :]
    assert re.search(r"1\.2 +Do 1\.2 +failed", "\n".join(table))
    assert "  why" in table
    last = r"2 tasks in \d+\.\d s: (\d+\.\d times faster than one by one, )?\d+ % of a pool of 2; \+0 .0 lines"
    assert re.fullmatch(last, table[-1])
    verdict, why, *commands = table[-6:-1]
    assert re.fullmatch(r"failed: 1 changed, 1 failed \(1\.2\), 1 skipped, in \d+\.\d s", verdict)
    assert why == "  1.2 Do 1.2: why"
    assert [command.split()[1] for command in commands] == ["logs", "retry", "publish"]
    assert done.err == ""


def test_characters_outside_of_the_stream_encoding_are_escaped(project: Project) -> None:
    plan = project.tasks({"1.1": "touch 日本; exit 1"}, title="Übung — 日本")

    done = project.call("run", plan, environ={"PYTHONIOENCODING": "ascii:strict"})

    assert done.expect(1).out.count("\\u65e5\\u672c") >= 3
    assert " % of a pool of " in done.out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_tolerated(project: Project, closed: str) -> None:
    plan = project.tasks({"1.1": "test -e /dev/fd/0; echo out; echo err >&2; touch a"})

    for command in (f"run '{plan}'", "diff latest"):
        line = f"{shlex.join(COMMAND)} {command} {closed}"
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=project.root,
            env=project.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
    assert "out\nerr\n" in project.call("logs", "latest", "1.1").expect(0).out


def test_a_plan_with_a_name_that_is_not_utf_8(project: Project) -> None:
    plan = os.fsdecode(os.fsencode(project.plans / "plan-") + b"\xff.md")
    Path(plan).write_text(plan_text(GOOD))

    done = project.run(Path(plan)).expect(0)

    assert done.statuses == {"1.1": "changed", "2.1": "changed"}
    for command in (["runs"], ["status"], ["status", "--json"], ["runs", "--json"]):
        project.call(*command).expect(0)


@pytest.mark.parametrize("blocked", ["patchyard", "patchyard/runs", "patchyard/patchyard.db"])
def test_unwritable_state_directory_is_reported_in_one_sentence(project: Project, blocked: str) -> None:
    path = project.root / ".git" / blocked
    path.parent.mkdir(exist_ok=True)
    if blocked.endswith(".db"):
        path.mkdir()
    else:
        path.write_text("in the way")

    done = project.call("run", project.tasks(GOOD))

    assert done.code in {1, 2}
    assert re.fullmatch(r"patchyard: .+\n", done.err), done.err
    assert set(project.branches()) == {"main"}


def test_run_ended_by_an_error_is_reported_and_closed(project: Project) -> None:
    block = f"mkdir -p '{project.state}'/runs/$PATCHYARD_RUN/2.1.log; touch a"

    done = project.run(project.tasks({"1.1": block, "2.1": "true", "3.1": "true"})).expect(1)

    assert re.fullmatch(r"patchyard: the log .+/2\.1\.log cannot be written: Is a directory\n", done.err)
    assert done.finished["status"] == "failed"
    assert done.statuses == {"1.1": "changed", "2.1": "cancelled", "3.1": "cancelled"}
    assert done.outcome("3.1")["error"] == "it did not start: the run could not continue"
    assert project.call("status", "--json").records[0]["status"] == "failed"
    assert "patchyard/demo/1.1" in project.branches()


def test_path_of_a_worktree_is_occupied(project: Project) -> None:
    (project.worktrees / "wt-1").mkdir(parents=True)
    (project.worktrees / "wt-1" / "precious.txt").write_text("mine")

    done = project.call("run", project.tasks(GOOD)).expect(0)

    assert "wt-1 exists and is not a patchyard worktree, so another number is used" in done.out + done.err
    assert (project.worktrees / "wt-1" / "precious.txt").read_text() == "mine"


def test_help_and_version(project: Project) -> None:
    text = project.call("--help").expect(0).out
    for command in ("run", "check", "status", "logs", "diff", "patches", "publish", "runs", "clean"):
        assert re.search(rf"^  {command} ", text, re.MULTILINE)
        assert project.call(command, "--help").expect(0).out.startswith("Usage: ")
    assert re.fullmatch(r"patchyard, version \d+\.\d+\.\d+\n", project.call("--version").expect(0).out)


def test_run_without_publish_says_how_to_publish(project: Project) -> None:
    done = project.run(project.tasks(GOOD)).expect(0)

    assert done.events("notice") == []
    (finished,) = done.events("run_finished")
    assert finished["unpublished"] == ["1.1", "2.1"]
    expected = [f"patchyard {command} {done.run}" for command in ("diff", "apply", "publish")]
    assert [one["command"] for one in finished["commands"]] == expected


def test_publish_without_a_token_fails_before_any_task(project: Project) -> None:
    project.clone.git("remote", "add", "origin", "https://github.com/o/r.git")

    done = project.run(project.tasks({"1.1": 'touch "$SHARED/ran"'}), "--publish")

    assert "GITHUB_TOKEN" in one_sentence(done, 3)
    assert not (project.shared / "ran").exists()

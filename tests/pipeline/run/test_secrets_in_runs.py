"""Secrets reach tasks and nothing else: no log, output, patch, message, store or branch."""

import base64
import os
from pathlib import Path

import pytest
from project import SAVE_ENVIRONMENTS, Done, Project

VALUE = "s3cr3t-Value/+&42"
GIVEN = {"API_KEY": VALUE}
CONFIG = 'secrets = ["API_KEY"]\n'


def found_in(root: Path) -> list[Path]:
    """Return the files below a directory that hold the value, in plain or compressed as git does."""
    needles = (VALUE.encode(), base64.b64encode(VALUE.encode()))
    files = (Path(parent, name) for parent, _, names in os.walk(root) for name in names)
    return [path for path in files if any(needle in path.read_bytes() for needle in needles)]


def assert_nowhere(project: Project, done: Done) -> None:
    """Fail if the value is in any output, in the state, or in any object of the repository."""
    assert VALUE not in done.out + done.err
    assert found_in(project.root / ".git") == []
    assert VALUE not in project.clone.git("cat-file", "--batch-all-objects", "--batch")
    for command in (["status", "--json"], ["diff", done.run]):
        assert VALUE not in project.call(*command).out


def test_secret_reaches_task_and_is_masked_in_log_and_errors(project: Project) -> None:
    project.configure(CONFIG)
    script = f'test "$API_KEY" = "{VALUE[:6]}""{VALUE[6:]}"; echo "key: $API_KEY"; echo >&2 "$API_KEY"; exit 3'

    done = project.call("run", project.tasks({"1.1": script}), "--json", environ=GIVEN).expect(1)

    assert done.outcome("1.1")["exit_code"] == 3, "the task had the value"
    assert done.outcome("1.1")["error"].splitlines()[1:] == ["key: ***", "***"]
    assert "key: ***\n***" in project.log(done.run, "1.1")
    assert_nowhere(project, done)


def test_patch_with_secret_is_withheld(project: Project) -> None:
    project.configure(CONFIG)
    plan = project.tasks(
        {"1.1": 'echo "key=$API_KEY" > .env.new; echo x > x', "1.2": "touch fine", "2.1": "true"}
    )

    done = project.call("run", plan, "--json", environ=GIVEN).expect(1)

    assert done.statuses == {"1.1": "failed", "1.2": "changed", "2.1": "skipped"}
    assert done.outcome("1.1")["error"] == "the patch holds the value of API_KEY in .env.new, so it is withheld"
    assert (done.outcome("1.1")["files"], done.outcome("1.1")["commit"]) == ([], None)
    assert set(project.branches()) == {"main", "patchyard/demo/1.2"}
    assert_nowhere(project, done)


def test_secret_in_patch_does_not_hide_failure(project: Project) -> None:
    project.configure(CONFIG)

    plan = project.tasks({"1.1": 'echo "$API_KEY" > key; echo why; exit 5'})
    done = project.call("run", plan, "--json", environ=GIVEN).expect(1)

    assert done.outcome("1.1")["exit_code"] == 5
    first, *rest = done.outcome("1.1")["error"].splitlines()
    assert "exit code 5" in first
    assert "the patch holds the value of API_KEY" in first
    assert rest == ["why"]
    assert_nowhere(project, done)


def test_commit_message_or_title_with_secret_is_withheld(project: Project) -> None:
    project.configure(CONFIG)
    plan = project.tasks(
        {"1.1": 'touch "$SHARED/ran"', "1.2": "touch b"}, fields={"1.1": f"**Commit:** use {VALUE}"}
    )
    plan.write_text(plan.read_text().replace("# Demo", f"# Demo {VALUE}").replace("Do 1.2", f"Do {VALUE}"))

    done = project.call("run", plan, "--json", environ=GIVEN).expect(1)

    error = "its commit message holds the value of API_KEY, so it is withheld"
    assert [done.outcome(task)["error"] for task in ("1.1", "1.2")] == [error, error]
    assert done.outcome("1.2")["title"] == "Do ***"
    assert done.events("run_started")[0]["title"] == "Demo ***"
    assert not (project.shared / "ran").exists()
    assert_nowhere(project, done)


def test_secret_in_command_of_plan_is_masked(project: Project) -> None:
    project.configure(CONFIG + f"[worktree]\nsetup = [\"echo '{VALUE}'\"]\n")
    plan = project.tasks({"1.1": f"echo '{VALUE}'; exit 2"})

    done = project.call("run", plan, "--json", environ=GIVEN).expect(1)

    assert done.outcome("1.1")["step"] == "echo '***'; exit 2"
    would = project.call("run", plan, "--json", "--dry-run", environ=GIVEN).expect(0)
    assert VALUE not in would.out
    assert_nowhere(project, done)


def test_secret_printed_by_agent_is_masked(project: Project) -> None:
    project.configure(CONFIG)
    plan = project.plan("# Demo\n### Task 1.1: A\n**Implementation:**\nDo it.\n")

    done = project.call("run", plan, "--json", "--agent", 'echo "$API_KEY"; false', environ=GIVEN).expect(1)

    assert done.outcome("1.1")["error"].splitlines()[1:] == ["***"]
    assert_nowhere(project, done)


def test_unset_secret_is_reported_before_anything_runs(project: Project) -> None:
    project.configure(CONFIG)

    done = project.run(project.tasks({"1.1": "true"}))

    assert done.expect(2).out == ""
    assert done.err == (
        "patchyard: secrets: the environment variable API_KEY is not set; set it, or remove it from the list\n"
    )


OWN = {
    **dict.fromkeys(
        ("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN"), "ghp_t0ken"
    ),
    "PATCHYARD_NOTIFY": "http://127.0.0.1:9/ghp_t0ken",
    "PATCHYARD_TOKEN": "ghp_t0ken",
}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the system has no /proc")
def test_own_secrets_are_in_no_environment_that_a_task_can_read(project: Project, tmp_path: Path) -> None:
    database = {"PATCHYARD_DATABASE": f"sqlite:///{tmp_path}/ghp_t0ken.db"}
    plan = project.tasks({"1.1": SAVE_ENVIRONMENTS})

    project.call("run", plan, environ={**OWN, **database}, preloaded=False).expect(0)

    seen = (project.shared / "environments").read_bytes()
    assert b"process" in seen
    assert b"ghp_t0ken" not in seen
    assert Path(f"{tmp_path}/ghp_t0ken.db").exists(), "the program has them still"


def test_own_secrets_reach_no_filter_of_git(project: Project) -> None:
    smudge, clean = (f"env > '{project.shared}/{name}'; cat" for name in ("smudge", "clean"))
    project.clone.user.configure(filter_spy_smudge=smudge, filter_spy_clean=clean)
    project.clone.commit({".gitattributes": "*.txt filter=spy\n", "a.txt": "a\n"})

    project.run(project.tasks({"1.1": "echo b > a.txt"}), environ=OWN).expect(0)

    for name in ("smudge", "clean"):
        assert "ghp_t0ken" not in (project.shared / name).read_text()


def test_github_tokens_do_not_reach_tasks_but_other_variables_do(project: Project) -> None:
    names = ("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")
    script = "".join(f'test -z "${{{name}+set}}"\n' for name in names) + 'test "$OTHER" = kept\nenv > env.txt\n'

    done = project.call(
        "run",
        project.tasks({"1.1": script}),
        "--json",
        environ={**dict.fromkeys(names, "ghp_t0ken"), "OTHER": "kept"},
    ).expect(0)

    assert "ghp_t0ken" not in project.show(f"{done.outcome('1.1')['branch']}:env.txt")

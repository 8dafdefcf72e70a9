"""A branch in the way of a task's branch is found before the task runs, and no work is done twice."""

import pytest
from github_server import GitHubServer
from project import Project, one_sentence

COUNTED = 'echo called >> "$SHARED/calls"; cat > /dev/null; echo "$PATCHYARD_TASK" > "$PATCHYARD_TASK.txt"'


def calls(project: Project) -> int:
    path = project.shared / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


def block(project: Project, name: str) -> str:
    """Return a script that creates a branch while the task runs, unless it did before."""
    create = f'git --git-dir="{project.root}/.git" branch {name} main; touch "$SHARED/blocked"'
    return f'[ -e "$SHARED/blocked" ] || {{ {create}; }}'


@pytest.mark.parametrize("other", ["patchyard", "patchyard/demo", "patchyard/demo/1.1/mine"])
def test_task_does_not_run(project: Project, other: str) -> None:
    project.clone.git("branch", other)
    plan = project.tasks({"1.1": COUNTED})

    done = project.run(plan).expect(1)

    assert calls(project) == 0
    assert f"because there is a branch {other};" in done.outcome("1.1")["error"]
    project.clone.git("branch", "-D", other)
    assert project.call("resume", done.run, "--json").expect(0).statuses == {"1.1": "changed"}
    assert calls(project) == 1


@pytest.mark.parametrize("other", ["patchyard", "patchyard/demo", "patchyard/demo/1.1/theirs"])
def test_branch_on_the_remote_is_seen_before_any_task_runs(
    hosted: Project, github: GitHubServer, other: str
) -> None:
    github.repository("octo/demo").git("branch", other, "main")

    said = one_sentence(hosted.run(hosted.tasks({"1.1": COUNTED}), "--publish"), 3)

    assert said == (
        f"branch patchyard/demo/1.1 cannot be pushed, because origin has a branch {other}; rename or delete "
        "that, or name others with --branch"
    )
    assert calls(hosted) == 0
    hosted.run(hosted.tasks({"1.1": COUNTED}), "--publish", "--branch", "bot/{task}").expect(0)


def test_kept_patch_is_committed_without_running_the_task_again(project: Project) -> None:
    plan = project.tasks({"1.1": f"{COUNTED}; {block(project, 'patchyard')}", "2.1": "cat 1.1.txt > 2.1.txt"})

    first = project.run(plan).expect(1)

    error = first.outcome("1.1")["error"]
    assert error.endswith(
        f"its patch is kept, and `patchyard resume {first.run}` commits it without running the task"
    )
    still = project.call("resume", first.run, "--json").expect(1)
    assert "because there is a branch patchyard" in still.outcome("1.1")["error"]
    project.clone.git("branch", "-D", "patchyard")
    again = project.call("resume", first.run, "--json").expect(0)
    assert again.statuses == {"1.1": "changed", "2.1": "changed"}
    assert calls(project) == 1
    assert project.show("patchyard/demo/1.1:1.1.txt") == "1.1"
    assert project.show("patchyard/demo/2.1:2.1.txt") == "1.1"
    logs = project.call("logs", first.run, "1.1").expect(0)
    assert "Traceback" not in logs.err


def test_kept_patch_survives_lost_objects(project: Project) -> None:
    plan = project.tasks({"1.1": f"{COUNTED}; {block(project, 'patchyard')}"})
    first = project.run(plan, "--no-cache").expect(1)
    project.clone.git("branch", "-D", "patchyard")
    project.clone.git("gc", "-q", "--prune=now")

    project.call("resume", first.run, "--json").expect(0)

    assert calls(project) == 1
    assert project.show("patchyard/demo/1.1:1.1.txt") == "1.1"


def test_retry_runs_the_task_again(project: Project) -> None:
    plan = project.tasks({"1.1": f"{COUNTED}; {block(project, 'patchyard')}"})
    first = project.run(plan, "--no-cache").expect(1)
    project.clone.git("branch", "-D", "patchyard")

    project.call("retry", first.run, "1.1", "--json").expect(0)

    assert calls(project) == 2


def test_failed_step_with_a_patch_is_not_committed(project: Project) -> None:
    """A task whose step could not run has no exit code either, but its work is not done."""
    plan = project.tasks({"1.1": f"{COUNTED}; [ -e $SHARED/once ] || {{ touch $SHARED/once; kill -9 $PPID; }}"})
    with project.start("run", plan, "--json") as started:
        started.done()
    run = project.call("runs", "--json").records[0]["run"]

    project.call("resume", run, "--json").expect(0)

    assert calls(project) == 2

"""What a killed run leaves of its temporary files is gone after the next `run`, `resume` or `clean`."""

import fcntl
import shutil
import signal
from pathlib import Path

import pytest
from project import PATIENCE, Project, Started, wait_for

SECRET = "sw0rdf1sh-0123456789"
GIT = """#!/bin/sh
case "{when}" in
  quarantine) [ -n "$GIT_OBJECT_DIRECTORY" ] && case " $* " in *" write-tree "*) stop=1;; esac;;
  apply) case " $* " in *" apply "*) stop=1;; esac;;
esac
if [ -n "$stop" ]; then touch "$SHARED/stopped"; exec sleep {patience}; fi
exec {git} "$@"
"""
"""A git that never comes back from the call during which the program is killed."""


def stopping_git(project: Project, tmp_path: Path, when: str) -> dict[str, str]:
    """Return a PATH on which git stops at a call."""
    directory = tmp_path / "bin"
    directory.mkdir()
    git = directory / "git"
    git.write_text(GIT.format(when=when, git=shutil.which("git"), patience=PATIENCE))
    git.chmod(0o755)
    return {"PATH": f"{directory}:{project.environ['PATH']}"}


def leftovers(project: Project) -> list[str]:
    """Return what is there of the program's temporary files, in the git directory and beside the worktrees."""
    places = (project.state, *project.state.glob("*/*"), project.worktrees)
    return sorted(str(path) for place in places for path in place.glob(".*.patchyard"))


def kill(project: Project, started: Started) -> None:
    """Kill the program when git has stopped."""
    wait_for((project.shared / "stopped").exists, "the call of git")
    started.signal(signal.SIGKILL)
    started.done()


@pytest.mark.parametrize("command", ["run", "resume", "clean"])
@pytest.mark.parametrize("when", ["quarantine", "apply"])
def test_temporary_directory_of_a_killed_run_is_swept(
    project: Project, tmp_path: Path, when: str, command: str
) -> None:
    plan = project.tasks({"1.1": "echo one > one.txt"})
    project.configure('secrets = ["API_KEY"]')
    project.environ |= {"API_KEY": SECRET}
    if when == "apply":  # a cache hit is made again from its patch
        project.run(plan).expect()
    with project.start("run", plan, environ=stopping_git(project, tmp_path, when)) as started:
        kill(project, started)
    assert [Path(path).name.split(".")[1] for path in leftovers(project)] == [when]
    called: dict[str, list[str | Path]] = {
        "run": ["run", plan],
        "resume": ["resume", "latest"],
        "clean": ["clean"],
    }
    project.call(*called[command]).expect()
    assert leftovers(project) == []


def test_what_a_living_run_holds_stays(project: Project) -> None:
    """The prompt of a running agent is not removed by another run, however often that sweeps."""
    agent = 'touch "$SHARED/in"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done; cp {prompt_file} out.md'
    plan = project.plan("# Ask\n\n### Task 1: ask\n\nDo it.\n", "ask.md")
    other = project.tasks({"1.1": "echo one > one.txt"}, title="Other")
    with project.start("run", plan, "--json", "--agent", agent) as started:
        wait_for((project.shared / "in").exists, "the agent")
        assert len(leftovers(project)) == 1
        project.run(other).expect()
        project.call("clean").expect()
        assert len(leftovers(project)) == 1
        (project.shared / "go").touch()
        assert started.done().expect().statuses == {"1": "changed"}
    assert leftovers(project) == []


def test_prompt_of_a_killed_run_is_swept(project: Project) -> None:
    plan = project.plan("# Ask\n\n### Task 1: ask\n\nDo it.\n", "ask.md")
    agent = 'cp {prompt_file} out.md; if [ ! -e "$SHARED/in" ]; then touch "$SHARED/in"; sleep 600; fi'
    with project.start("run", plan, "--json", "--agent", agent) as started:
        wait_for((project.shared / "in").exists, "the agent")
        started.signal(signal.SIGKILL)
        started.done()
    assert len(leftovers(project)) == 1
    project.call("resume", "latest", "--json").expect()
    assert leftovers(project) == []


def test_lock_of_a_killed_git_and_what_was_set_aside_do_not_stay(project: Project) -> None:
    plan = project.tasks({"1.1": "echo one > one.txt"})
    project.run(plan).expect()
    for name in ("wt-1.staged.lock", "wt-1.index.lock"):
        (project.state / name).touch()
    (project.worktrees / ".wt-1.aside").mkdir()
    (project.worktrees / ".wt-1.aside" / "0").mkdir()
    project.call("clean").expect()
    assert not project.worktrees.exists()
    assert list(project.state.glob("wt-*")) == []


@pytest.mark.parametrize("command", ["run", "clean"])
def test_ref_of_a_killed_run_is_removed_and_one_of_a_living_run_stays(project: Project, command: str) -> None:
    """A commit that a container starts from is held by a ref while its task runs."""
    plan = project.tasks({"1.1": "echo one > one.txt"})
    project.clone.git("update-ref", "refs/patchyard/killed/1.1", "HEAD")
    project.clone.git("update-ref", "refs/patchyard/living/1.1", "HEAD")
    for run in ("killed", "living"):
        (project.state / "runs" / run).mkdir(parents=True)
        (project.state / "runs" / run / "lock").touch()
    with (project.state / "runs" / "living" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        project.call(*(["run", plan] if command == "run" else ["clean"])).expect()
    assert project.clone.git("for-each-ref", "--format=%(refname)", "refs/patchyard") == (
        "refs/patchyard/living/1.1"
    )

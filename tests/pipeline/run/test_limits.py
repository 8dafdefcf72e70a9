"""What a task may leave has limits: the task fails or is cut with a note, and the run continues."""

import shutil

import pytest
from project import Project

from containers.task_log import LOG_END


def test_task_with_a_patch_past_the_limit_fails_and_the_others_go_on(project: Project) -> None:
    """Its worktree is set aside with its work; with a higher limit, `resume` takes the patch from there."""
    project.configure('max_patch = "1MB"')
    once = "echo ran >> $SHARED/ran; "
    scripts = {"1.1": f"{once}head -c 3000000 /dev/urandom > big.bin", "1.2": "echo small > small.txt"}
    done = project.run(project.tasks(scripts), "--keep-going").expect(1)
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}
    error = str(done.outcome("1.1")["error"])
    assert "it has 3 MB of files, and max_patch allows 1 MB: big.bin (3 MB)" in error
    kept = project.worktrees / str(done.outcome("1.1")["worktree"])
    assert str(kept) in error
    assert (kept / "big.bin").stat().st_size == 3_000_000

    again = project.call("resume", done.run, "--json").expect(1)
    assert again.statuses == {"1.1": "failed", "1.2": "changed"}
    assert again.outcome("1.1")["error"] == error
    project.configure('max_patch = "4MB"')
    taken = project.call("resume", done.run, "--json").expect(0)
    assert taken.statuses == {"1.1": "changed", "1.2": "changed"}
    assert project.clone.git("cat-file", "-s", "patchyard/demo/1.1:big.bin") == "3000000"
    assert (project.shared / "ran").read_text() == "ran\n"
    assert [mark.name for mark in project.worktrees.glob("*.kept")] == []


def test_task_whose_set_aside_worktree_is_gone_runs_again(project: Project) -> None:
    project.configure('max_patch = "1MB"')
    script = "echo ran >> $SHARED/ran; head -c 3000000 /dev/urandom > big.bin"
    done = project.run(project.tasks({"1.1": script})).expect(1)
    project.call("resume", done.run).expect(1)
    assert (project.shared / "ran").read_text() == "ran\n"
    project.call("retry", done.run).expect(1)
    assert (project.shared / "ran").read_text() == "ran\n" * 2
    for path in project.worktrees.glob("wt-?"):
        shutil.rmtree(path)
    project.call("resume", done.run).expect(1)
    assert (project.shared / "ran").read_text() == "ran\n" * 3


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "script", ["truncate -s 1T hole.bin", "truncate -s 1T README.md"], ids=["new", "tracked"]
)
def test_files_with_holes_count_with_their_sizes(project: Project, script: str) -> None:
    """They take no space on the disk, but git would read them for hours."""
    done = project.run(project.tasks({"1.1": script})).expect(1)
    assert "it has 1099.5 GB of files, and max_patch allows 100 MB" in str(done.outcome("1.1")["error"])


def test_log_past_the_limit_is_cut_and_the_task_continues(project: Project) -> None:
    """Its process is never blocked, and what is shown of a failure is the last that it printed."""
    project.configure('max_log = "200KB"')
    script = "yes | head -c 5000000\ntouch after\necho last words >&2\nexit 3"
    done = project.run(project.tasks({"1.1": script})).expect(1)
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["exit_code"], outcome["files"]) == ("failed", 3, ["after"])
    assert "last words" in outcome["error"]
    (log,) = (project.state / "runs").glob("*/1.1.log")
    text = log.read_text()
    assert 200_000 < len(text) < 201_000 + LOG_END
    assert text.count("at the limit of max_log, 200 KB") == 1
    assert "y\nlast words\n[exit code 3" in text


@pytest.mark.parametrize(("value", "reason"), [("lots", "is not a size"), ("2GB", "expected at most 300 MB")])
def test_limit_that_cannot_be_is_refused_in_one_sentence(project: Project, value: str, reason: str) -> None:
    """With where it was set."""
    project.environ["PATCHYARD_MAX_PATCH"] = value
    done = project.run(project.tasks({"1.1": "true"}))
    assert done.code == 2
    assert reason in done.err
    assert "PATCHYARD_MAX_PATCH" in done.err

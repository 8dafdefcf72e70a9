"""The program is killed at random moments, repeatedly, and resumed each time."""

import os
import random
import signal
import subprocess
import time

import pytest
from github_server import GitHubServer
from project import PATIENCE, Process, Project

from pipeline.store.store import Store

KILLS = int(os.environ.get("PATCHYARD_TEST_KILLS", "50"))
SEED = os.environ.get("PATCHYARD_TEST_SEED")
SCRIPT = """
echo begun > $PATCHYARD_TASK.txt
sleep 0.0{wait}
echo $PATCHYARD_TASK >> $PATCHYARD_TASK.txt
"""
TASKS = [f"{batch}.{number}" for batch in (1, 2, 3) for number in (1, 2, 3, 4)]


def resumed(project: Project, run: str | None, plan: object) -> Process:
    """Start the run, or resume it."""
    arguments = ["resume", run] if run else ["run", str(plan), "--publish"]
    started = project.start(*arguments, "--json", environ={"PATCHYARD_NO_CACHE": "1"})
    return started.process


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_task_completes_exactly_once_despite_random_kills(hosted: Project, github: GitHubServer) -> None:
    """50 kills: the moments are spread over the time that a run takes here, whatever the machine's speed."""
    seed = SEED or str(time.time_ns())
    chance = random.Random(seed)  # noqa: S311 - no secret is made of it
    scripts = {task: SCRIPT.format(wait=chance.randrange(1, 9)) for task in TASKS}
    plan = hosted.tasks(scripts, title="Kill")
    hosted.clone.write({"mine.txt": "not committed\n"})
    head, status = hosted.clone.git("rev-parse", "HEAD"), hosted.clone.git("status", "--porcelain")
    kills, run, longest, finished = 0, None, 3.0, 0
    while kills < KILLS or not finished:
        process = resumed(hosted, run, plan)
        try:
            process.communicate(timeout=chance.uniform(0.05, longest) if kills < KILLS else PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
        else:
            assert process.returncode == 0, f"seed {seed}"
            if kills < KILLS:  # it finished too early: start again, with the same branches
                _once(hosted, github, run or _newest(hosted) or "", seed)
                run = None
                continue
            finished += 1
        run = run or _newest(hosted)

    _once(hosted, github, run or "", seed)
    assert hosted.clone.git("rev-parse", "HEAD") == head
    assert hosted.clone.git("status", "--porcelain") == status
    fsck = subprocess.run(
        ["git", "fsck", "--strict"], cwd=hosted.root, env=hosted.environ, check=False, capture_output=True
    )
    assert (fsck.returncode, b"error" in fsck.stderr) == (0, False), (seed, fsck)


def _newest(project: Project) -> str | None:
    records = project.call("runs", "--json").expect(0).records
    return str(records[-1]["run"]) if records else None


def _once(project: Project, github: GitHubServer, run: str, seed: str) -> None:
    """Every task has its outcome, its commit and its pull request exactly once."""
    (status,) = project.call("status", run, "--json").expect(0).records
    assert [item["task"] for item in status["tasks"]] == TASKS, seed
    assert {item["status"] for item in status["tasks"]} == {"changed"}, seed
    with Store.beside(project.root / ".git") as store:
        records = [event.record for event in store.events(run, limit=10_000)]
    ends = sorted(str(record["task"]) for record in records if record["event"] == "task_finished")
    assert ends == TASKS, seed
    heads = sorted(pull.head for pull in github.pull_requests("octo/demo"))
    assert heads == [f"patchyard/kill/{task}" for task in TASKS], seed
    for item in status["tasks"]:
        assert item["pull_request"] is not None, (seed, item)
        count = project.clone.git(
            "rev-list", "--count", f"{item['branch']}", f"--grep=^Plan-Task: {item['task']}$"
        )
        assert count == "1", (seed, item["task"])
        shown = project.show(f"{item['branch']}:{item['task']}.txt")
        assert shown == f"begun\n{item['task']}", seed
        pushed = project.clone.user.git("rev-parse", item["branch"], cwd=github.repository("octo/demo").path)
        assert pushed == item["commit"], seed

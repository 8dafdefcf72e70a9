"""`resume`, `retry` and `cancel`: nothing is lost, and nothing is done twice."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from github_server import GitHubServer
from output_page import documented
from project import COMMAND, Done, Project, meet, runs, wait_for

from pipeline.store.store import FILE, Store

COUNTED = 'echo x >> "$SHARED/$PATCHYARD_TASK.count"\n'
SLOW = COUNTED + 'echo half > half; touch "$SHARED/begun"; test -e "$SHARED/go" || sleep 60; echo whole > whole'
SCRIPTS = {"1.1": COUNTED + "echo a > a", "1.2": SLOW, "2.1": COUNTED + "cat a whole > c"}


def count(project: Project, task: str) -> int:
    """How often a task ran."""
    path = project.shared / f"{task}.count"
    return path.read_text().count("x") if path.exists() else 0


def ended(project: Project) -> list[str]:
    """Which tasks of the newest run are stored with an outcome."""
    done = project.call("status", "--json")
    return [item["task"] for item in done.records[0]["tasks"]] if done.code == 0 else []


def is_stored(project: Project) -> bool:
    """Whether there is a run."""
    return bool(project.call("runs", "--json").expect(0).out)


def killed(project: Project, number: int = signal.SIGKILL) -> str:
    """Run the plan until 1.1 is done and 1.2 is in the middle, end the program; returns the run."""
    with project.start("run", project.tasks(SCRIPTS), "--json") as started:
        wait_for((project.shared / "begun").exists, "task 1.2")
        wait_for(lambda: "1.1" in ended(project), "task 1.1")
        started.signal(number)
        started.done()
    (project.shared / "go").touch()
    (found,) = project.call("runs", "--json").expect(0).records
    return str(found["run"])


def resume(project: Project, run: str) -> Done:
    """Go on with a run."""
    return project.call("resume", run, "--json")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_run_is_resumed_after_the_last_finished_task(project: Project, number: int) -> None:
    run = killed(project, number)
    before = project.branches()["patchyard/demo/1.1"]

    done = resume(project, run).expect(0)

    assert done.run == run
    assert done.statuses == dict.fromkeys(SCRIPTS, "changed")
    assert [count(project, task) for task in SCRIPTS] == [1, 2, 1]
    assert [record["task"] for record in done.events("task_started")] == ["1.2", "2.1"]
    assert project.branches()["patchyard/demo/1.1"] == before
    assert project.show("patchyard/demo/2.1:c") == "a\nwhole"
    assert [record["status"] for record in project.call("runs", "--json").records] == ["succeeded"]
    for record in done.records:
        assert set(record) - {"event", "time"} == documented()[record["event"]]


def test_patch_of_an_interrupted_task_is_kept(project: Project) -> None:
    run = killed(project)

    resume(project, run).expect(0)

    (status,) = project.call("status", run, "--json").expect(0).records
    attempts = [item for item in status["attempts"] if item["task"] == "1.2"]
    assert [(item["attempt"], item["status"]) for item in attempts] == [(1, "cancelled"), (2, "changed")]
    assert "+half" in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out
    assert "+whole" not in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out
    assert "+whole" in project.call("diff", run, "1.2").expect(0).out


def test_another_run_stores_the_patch_before_it_reuses_the_worktree(project: Project) -> None:
    run = killed(project)

    project.run(project.tasks({"1.1": "touch b"}, "other.md", title="Other"), "--pool-size", "3").expect(0)

    assert "+half" in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out
    assert resume(project, run).expect(0).statuses == dict.fromkeys(SCRIPTS, "changed")


def test_clean_stores_the_patch_before_it_removes_the_worktree(project: Project) -> None:
    run = killed(project)

    project.call("clean").expect(0)

    assert not (project.worktrees / "wt-2").exists()
    assert "+half" in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out


@pytest.mark.parametrize(
    "start",
    ["{}", '(env -i PATH="$PATH" SHARED="$SHARED" setsid sh -c \'{}\' &); test -e "$SHARED/go" || sleep 60'],
    ids=["its own", "a daemon without its environment"],
)
def test_processes_of_a_dead_run_are_killed_before_their_worktree_is_reused(
    project: Project, start: str
) -> None:
    loop = 'echo $$ > "$SHARED/pid"; test -e "$SHARED/go" || while :; do touch half; sleep 0.01; done'
    script = start.format(loop)
    with project.start("run", project.tasks({"1.1": script}), "--json") as started:
        wait_for(lambda: (project.shared / "pid").exists() and (project.shared / "pid").read_text(), "it")
        wait_for(lambda: is_stored(project), "the run")
        started.signal(signal.SIGKILL)
        started.done()
    (project.shared / "go").touch()
    pid = int((project.shared / "pid").read_text())
    assert runs([pid]) == [pid]

    resume(project, "latest").expect(0)

    assert runs([pid]) == []


def test_run_killed_before_it_is_in_the_database_can_be_resumed(project: Project) -> None:
    script = 'touch "$SHARED/begun"; test -e "$SHARED/go" || kill -9 $PPID; touch a'
    with project.start("run", project.tasks({"1.1": script, "2.1": "touch b"}), "--json") as started:
        assert started.done().code == -9
    (project.shared / "go").touch()
    assert (project.shared / "begun").exists()

    done = resume(project, "latest").expect(0)

    assert done.statuses == {"1.1": "changed", "2.1": "changed"}
    assert list((project.state / "runs").glob("*/run.json")) == []


def test_resume_uses_the_options_and_the_base_of_the_run(project: Project) -> None:
    plan = project.tasks({"1.1": COUNTED + SLOW, "1.2": "touch b"})
    with project.start("run", plan, "--branch", "mine/{run}/{task}", "--task", "1.1", "--json") as started:
        wait_for((project.shared / "begun").exists, "the task")
        wait_for(lambda: is_stored(project), "the run")
        started.signal(signal.SIGKILL)
        started.done()
    base = project.branches()["main"]
    project.clone.write({"later": "x"})
    project.clone.git("add", "later")
    project.clone.git("commit", "--quiet", "-m", "later")
    plan.unlink()
    (project.shared / "go").touch()

    done = resume(project, "latest").expect(0)

    assert done.statuses == {"1.1": "changed"}
    assert done.outcome("1.1")["branch"] == f"mine/{done.run}/1.1"
    assert project.clone.git("rev-parse", f"mine/{done.run}/1.1^") == base


def test_running_or_complete_run_is_not_resumed(project: Project) -> None:
    script = 'touch "$SHARED/begun"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done; touch a'
    with project.start("run", project.tasks({"1.1": script}), "--json") as started:
        wait_for((project.shared / "begun").exists, "the task")
        busy = resume(project, "latest").expect(2)
        again = project.call("retry", "latest", "1.1").expect(2)
        (project.shared / "go").touch()
        done = started.done().expect(0)
    run = done.run
    complete = resume(project, run).expect(0)

    assert f"run {run} is running; `patchyard cancel {run}` ends it" in busy.err
    assert f"run {run} is still running" in again.err
    assert [record["event"] for record in complete.records] == ["run_finished"]
    assert complete.finished == {**done.finished, "time": complete.finished["time"]}
    assert f"run {run} is complete: nothing left to do" in complete.err


def test_run_interrupted_while_publishing_is_published_on_resume(hosted: Project, github: GitHubServer) -> None:
    plan = hosted.tasks({"1.1": "touch a", "1.2": "touch b", "1.3": "touch c"})
    with hosted.start("run", plan, "--publish", "--json") as started:
        wait_for(lambda: github.pull_requests("octo/demo"), "a pull request")
        started.signal(signal.SIGKILL)
        started.done()

    done = resume(hosted, "latest").expect(0)

    assert sorted(pull.head for pull in github.pull_requests("octo/demo")) == [
        f"patchyard/demo/1.{number}" for number in (1, 2, 3)
    ]
    assert done.events("task_started") == []


def test_failed_tasks_are_retried_with_their_dependents(project: Project) -> None:
    flaky = COUNTED + 'echo try; echo $PATCHYARD_TASK > f; test -e "$SHARED/ok"'
    scripts = {"1.1": COUNTED + "touch a", "1.2": flaky, "2.1": COUNTED + "touch c"}
    first = project.run(project.tasks(scripts)).expect(1)
    (project.shared / "ok").touch()

    done = project.call("retry", first.run, "--json").expect(0)

    assert done.run == first.run
    assert done.statuses == dict.fromkeys(scripts, "changed")
    assert [count(project, task) for task in scripts] == [1, 2, 1]
    logs = sorted(path.name for path in (project.state / "runs" / done.run).glob("1.2*.log"))
    assert logs == ["1.2.attempt-2.log", "1.2.log"]
    assert project.call("logs", done.run, "1.2").expect(0).out.count("try\n") == 1
    assert "+1.2" in project.call("diff", done.run, "1.2", "--attempt", "1").expect(0).out


def test_branches_that_are_gone_are_set_again(project: Project) -> None:
    """The tasks of a batch start from the same branch, and all of them find it gone at once."""
    scripts = {"1.1": "echo a > a", "1.2": "echo b > b", **{f"2.{n}": f"echo > {n}" for n in range(1, 7)}}
    plan = project.tasks({**scripts, "2.7": 'test -e "$SHARED/go"'})
    run = project.call("run", plan, "--json", "--pool-size", "8").expect(1).run
    branches = project.branches()
    own = [name for name in branches if name.startswith("patchyard/")]
    project.clone.git("branch", "--quiet", "-D", *own)
    (project.shared / "go").touch()
    project.call("retry", run, "--json").expect(0)
    assert "patchyard/demo/batch-1" in own
    assert branches.items() <= project.branches().items()


def test_named_task_is_retried_with_its_dependents(project: Project) -> None:
    scripts = {"1.1": COUNTED + 'cat "$SHARED/1.1.count" > a', "1.2": COUNTED + "touch b", "2.1": "cat a > c"}
    first = project.run(project.tasks(scripts)).expect(0)

    done = project.call("retry", first.run, "1.1", "--json").expect(0)

    assert [record["task"] for record in done.events("task_started")] == ["1.1", "2.1"]
    assert project.show("patchyard/demo/2.1:c") == "x\nx"
    assert count(project, "1.2") == 1


def test_indirect_dependents_are_retried(project: Project) -> None:
    scripts = {
        "1.1": 'echo x >> "$SHARED/n"; cp "$SHARED/n" a',
        "1.2": "cp a b",
        "1.3": "cp b c",
        "1.4": COUNTED + "touch d",
        "2.1": "cat a b c > e",
    }
    fields = {"1.2": "**Dependencies:** Task 1.1", "1.3": "**Dependencies:** Task 1.2"}
    first = project.run(project.tasks(scripts, fields=fields)).expect(0)

    done = project.call("retry", first.run, "1.1", "--json").expect(0)

    assert [record["task"] for record in done.events("task_started")] == ["1.1", "1.2", "1.3", "2.1"]
    assert project.show("patchyard/demo/2.1:e") == "\n".join(["x"] * 6)
    assert count(project, "1.4") == 1


def test_refused_retry_changes_nothing(project: Project) -> None:
    first = project.run(project.tasks({"1.1": "touch a", "2.1": "touch b"})).expect(0)
    before = project.call("status", first.run, "--json").expect(0).out
    project.clone.write({"patchyard.toml": 'pool_size = "x"\n'})

    project.call("retry", first.run, "1.1").expect(2)

    (project.root / "patchyard.toml").unlink()
    assert project.call("status", first.run, "--json").expect(0).out == before


def test_renamed_host_keeps_the_patch_of_an_interrupted_task(project: Project) -> None:
    """As a container has that is started again, and finds its files as they were."""
    project.environ |= {"PATCHYARD_HOST": "one", "PATCHYARD_LEASE": "1"}
    run = killed(project)
    project.environ |= {"PATCHYARD_HOST": "two"}
    wait_for(lambda: project.call("runs", "--json").expect(0).records[0]["status"] == "interrupted")

    resume(project, run).expect(0)

    assert "+half" in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out


def test_patch_is_kept_if_another_host_resumed_the_run(project: Project) -> None:
    run = killed(project)
    attempts = "update attempts set status = 'cancelled', error = 'the process that ran it was ended'"
    with sqlite3.connect(project.state / "patchyard.db") as database:  # what that host stored
        assert database.execute(f"{attempts} where status is null").rowcount == 1

    project.run(project.tasks({"1.1": "touch z"}, title="Another")).expect(0)

    assert "+half" in project.call("diff", run, "1.2", "--attempt", "1").expect(0).out


ORPHAN = """
import subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(process.pid, flush=True)
sys.stdin.read()  # and never waits for it
"""


def test_zombie_process_does_not_block_resume(project: Project) -> None:
    command = [sys.executable, "-c", ORPHAN, *COMMAND, "run", str(project.tasks(SCRIPTS))]
    with subprocess.Popen(
        command, cwd=project.root, env=project.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_for((project.shared / "begun").exists, "task 1.2")
        wait_for(lambda: "1.1" in ended(project), "task 1.1")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not runs([pid]))
        (project.shared / "go").touch()

        done = project.call("resume", "latest", "--json").expect(0)

        assert done.statuses == dict.fromkeys(SCRIPTS, "changed")
        parent.communicate("")


def test_retry_without_failed_tasks_is_reported(project: Project) -> None:
    done = project.run(project.tasks({"1.1": "touch a"})).expect(0)

    assert "has no failed task" in project.call("retry", done.run).expect(2).err
    assert "has no task 9.9" in project.call("retry", done.run, "9.9").expect(2).err
    assert "not both" in project.call("retry", done.run, "1.1", "--failed").expect(2).err


def test_cancel_from_another_terminal(project: Project) -> None:
    script = 'echo $$ > "$SHARED/pid"; echo half > half; touch "$SHARED/begun"; exec sleep 60'
    with project.start("run", project.tasks({"1.1": script, "2.1": "touch b"}), "--json") as started:
        wait_for((project.shared / "begun").exists, "the task")
        wait_for(lambda: is_stored(project), "the run")
        (found,) = project.call("runs", "--json").expect(0).records
        reported = project.call("cancel", found["run"]).expect(0)
        done = started.done().expect(130)

    assert done.statuses == {"1.1": "cancelled", "2.1": "cancelled"}
    assert done.outcome("1.1")["error"].startswith("the run was cancelled")
    assert f"run {done.run}: cancelled, 2 tasks with an outcome" in reported.out
    assert "+half" in project.call("diff", done.run, "1.1").expect(0).out
    assert runs([int((project.shared / "pid").read_text())]) == []
    assert "has ended: cancelled" in project.call("cancel", done.run).expect(2).err


def test_dead_run_is_cancelled_at_once(project: Project) -> None:
    run = killed(project)

    project.call("cancel", run).expect(0)

    assert project.call("status", run, "--json").records[0]["status"] == "cancelled"


def test_status_shows_running_tasks(project: Project) -> None:
    script = meet(2) + 'touch "$SHARED/$PATCHYARD_TASK.in"; while [ ! -e "$SHARED/go" ]; do sleep 0.02; done'
    with project.start("run", project.tasks({"1.1": script, "1.2": script}), "--json") as started:
        wait_for((project.shared / "1.2.in").exists, "the tasks")
        wait_for(lambda: is_stored(project), "the run")
        wait_for(lambda: len(_attempts(project)) == 2, "the attempts")
        assert [item["status"] for item in _attempts(project)] == [None, None]
        assert "1.1   Do 1.1  running " in project.call("status").expect(0).out
        (project.shared / "go").touch()
        started.done().expect(0)
    assert [item["status"] for item in _attempts(project)] == ["unchanged", "unchanged"]


def _attempts(project: Project) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(project.call("status", "--json").expect(0).out)["attempts"]
    return found


def test_events_are_stored_in_order(project: Project) -> None:

    done = project.run(project.tasks({"1.1": "touch a", "2.1": "false"})).expect(1)

    with Store.beside(project.root / ".git") as store:
        kept = store.events(done.run)
    assert [item.sequence for item in kept] == list(range(1, len(done.records) + 1))
    assert [dict(item.record) for item in kept] == done.records


def test_end_of_a_task_is_reported_after_a_crash_before_the_event(project: Project) -> None:

    run = killed(project)
    with sqlite3.connect(project.root / ".git" / "patchyard" / FILE) as database:
        # As if the power had gone when the outcome of 1.1 was on the disk, and what followed was not.
        finished = "select sequence from events where record like '%\"task_finished\"%'"
        database.execute(f"delete from events where sequence >= ({finished})")  # noqa: S608
    assert ended(project) == ["1.1"]

    resume(project, run).expect(0)

    with Store.beside(project.root / ".git") as store:
        kept = store.events(run)
    assert [item.sequence for item in kept] == list(range(1, len(kept) + 1))
    ends = [item.record for item in kept if item.record["event"] == "task_finished"]
    assert [(end["task"], end["status"]) for end in ends] == [(task, "changed") for task in SCRIPTS]


def test_retry_killed_after_setting_its_branch_can_be_resumed(project: Project) -> None:
    first = project.run(project.tasks({"1.1": 'date +%N > a; echo x >> "$SHARED/n"'})).expect(0)
    moved = project.clone.git("rev-parse", "main")
    with project.start("retry", first.run, "1.1", "--json", environ={"PATCHYARD_NO_CACHE": "1"}) as started:
        wait_for(lambda: (project.shared / "n").read_text().count("x") == 2, "the second attempt")
        started.signal(signal.SIGKILL)
        started.done()
    # As if the program had been killed after it set the branch, and before that was stored.
    message = f"Do 1.1\n\nPlan-Task: 1.1\nPatchyard-Run: {first.run}\n"
    made = project.clone.git("commit-tree", f"{moved}^{{tree}}", "-p", moved, "-m", message)
    with Store.beside(project.root / ".git") as store:
        store.announce_branches(first.run, {"patchyard/demo/1.1": made})
    project.clone.git("update-ref", "refs/heads/patchyard/demo/1.1", made)

    done = project.call("resume", first.run, "--json", environ={"PATCHYARD_NO_CACHE": "1"}).expect(0)

    assert done.statuses == {"1.1": "changed"}


def test_plan_with_a_secret_can_be_resumed_while_its_file_is_unchanged(project: Project) -> None:
    project.configure('secrets = ["WORD"]\n')
    project.environ["WORD"] = "open-sesame"
    script = 'test "$WORD" = open-sesame; touch "$SHARED/in"; test -e "$SHARED/go" || sleep 60; touch a'
    plan = project.tasks({"1.1": script})
    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "in").exists, "the task")
        wait_for(lambda: is_stored(project), "the run")
        started.signal(signal.SIGKILL)
        started.done()
    (project.shared / "go").touch()
    text = plan.read_text()
    plan.write_text(text.replace("touch a", "touch b"))

    refused = resume(project, "latest").expect(2)
    plan.write_text(text)
    done = resume(project, "latest").expect(0)

    assert "contains a secret, which is not stored" in refused.err
    assert done.statuses == {"1.1": "changed"}
    assert b"open-sesame" not in (project.state / "patchyard.db").read_bytes()

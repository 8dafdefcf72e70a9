"""`[worktree] teardown`: after every task, in its worktree, with its variables; no result depends on it."""

import os
import signal

from project import Done, Project, wait_for

VARIABLES = " ".join(f"$PATCHYARD_{name}" for name in ("TASK", "SLOT", "PORT", "ATTEMPT", "ROUND", "WORKTREE"))
NOTE = f'echo "{VARIABLES} $PWD" >> "$SHARED/'


def warnings(done: Done) -> list[str]:
    """Return the warnings of a run."""
    return [record["message"] for record in done.events("notice") if record["level"] == "warning"]


def torn_down(project: Project) -> list[str]:
    """Return the tasks whose teardown ran, in order."""
    return [line.split()[0] for line in (project.shared / "after").read_text().splitlines()]


def test_it_runs_after_every_task_that_was_started_however_that_ended(project: Project) -> None:
    project.configure(f"[worktree]\nsetup = 'echo set-up > made'\nteardown = '{NOTE}after\"'\n")
    scripts = {
        "1.1": f'{NOTE}before"; touch a',
        "1.2": f'{NOTE}before"; exit 3',
        "1.3": f'{NOTE}before"; sleep 60',
        "1.4": f'{NOTE}before"; sleep 30 & echo $! > "$SHARED/pid"',
        "2.1": "touch never",
    }
    plan = project.tasks(scripts, fields={"1.3": "**Timeout:** 0.4s"})

    done = project.run(plan, "--pool-size", "2").expect(1)

    assert done.statuses == {
        "1.1": "changed", "1.2": "failed", "1.3": "timed_out", "1.4": "unchanged", "2.1": "skipped",
    }  # fmt: skip
    before, after = (sorted((project.shared / name).read_text().splitlines()) for name in ("before", "after"))
    assert after == before, "with the same variables, in the same directory"
    assert warnings(done) == []


def test_the_patch_has_nothing_of_it_and_the_log_has_its_output(project: Project) -> None:
    project.configure("[worktree]\nteardown = ['echo bye; rm a; echo more > b', 'cat b']\n")

    done = project.run(project.tasks({"1.1": "echo a > a", "2.1": "cat a"})).expect(0)

    assert done.outcome("1.1")["files"] == ["a"]
    assert project.show("patchyard/demo/1.1:a") == "a"
    assert "$ echo bye; rm a; echo more > b\nbye\n[exit code 0" in project.log(done.run, "1.1")
    assert "$ cat b\nmore\n[exit code 0" in project.log(done.run, "1.1")
    assert done.statuses["2.1"] == "unchanged", "the next task has the file, and not the other"


def test_its_failure_is_a_warning_and_the_other_commands_run(project: Project) -> None:
    commands = ["echo broken; exit 4", "echo $KEY; no-such-program", f'{NOTE}after"', "sleep 60", "touch never"]
    project.configure(f"secrets = ['KEY']\n[worktree]\nteardown = {commands}\nteardown_timeout = '1s'\n")

    done = project.call(
        "run", project.tasks({"1.1": "touch a"}), "--json", environ={"KEY": "a-secret-value"}
    ).expect(0)

    assert done.statuses == {"1.1": "changed"}
    assert torn_down(project) == ["1.1"]
    see = "; its output is in the task's log"
    assert warnings(done) == [
        f"teardown of task 1.1: `echo broken; exit 4` ended with exit code 4{see}",
        f"teardown of task 1.1: `echo $KEY; no-such-program` ended with exit code 127{see}",
        f"teardown of task 1.1: `sleep 60` did not end within 1 s (teardown_timeout), and was ended{see}",
    ]
    log = project.log(done.run, "1.1")
    assert "broken" in log
    assert "a-secret-value" not in log
    assert "touch never" not in log


def test_it_runs_after_an_interrupted_task(project: Project) -> None:
    project.configure(f"[worktree]\nteardown = ['sleep 0.3', '{NOTE}after\"']\n")
    plan = project.tasks({"1.1": 'touch "$SHARED/begun" a; sleep 60', "2.1": "touch never"})

    with project.start("run", plan, "--json") as started:
        wait_for((project.shared / "begun").exists, "the task")
        os.kill(started.process.pid, signal.SIGINT)
        done = started.done().expect(130)

    assert done.outcome("1.1")["status"] == "cancelled"
    assert done.outcome("1.1")["files"] == ["a"]
    assert torn_down(project) == ["1.1"]


def test_it_does_not_run_for_results_of_the_cache(project: Project) -> None:
    project.configure(f"[worktree]\nteardown = '{NOTE}after\"'\n")
    plan = project.tasks({"1.1": "touch a"})

    project.run(plan).expect(0)
    project.configure(f"[worktree]\nteardown = '{NOTE}after\"; true'\n")
    done = project.run(plan).expect(0)

    assert done.outcome("1.1")["cached"], "it is not part of the key"
    assert torn_down(project) == ["1.1"]


def test_each_round_of_an_agent_has_it_once_at_the_end(project: Project) -> None:
    project.configure(f"[worktree]\nteardown = '{NOTE}after\"'\n")
    plan = project.plan('# A\n### Task 1: T\nWrite.\n**Verification:**\n- `test "$PATCHYARD_ROUND" = 2`\n')

    project.run(plan, "--agent", 'cat > /dev/null; echo "$PATCHYARD_ROUND" > a', "--repairs", "1").expect(0)

    (line,) = (project.shared / "after").read_text().splitlines()
    assert line.split()[4] == "2"


def test_it_does_not_touch_work_that_is_stored_nowhere_else(project: Project) -> None:
    project.configure("max_patch = 1000\n[worktree]\nteardown = 'rm large'\n")

    done = project.run(project.tasks({"1.1": "head -c 5000 /dev/zero > large"})).expect(1)

    assert (project.worktrees / "wt-1" / "large").stat().st_size == 5000
    where = project.worktrees / "wt-1"
    assert warnings(done) == [
        f"teardown of task 1.1: its commands did not run, since what the task changed stays in {where}"
    ]

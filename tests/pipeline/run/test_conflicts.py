"""Tasks whose patches conflict run again on top of each other: the real command, with real git."""

import random
import signal
from pathlib import Path
from time import sleep

import pytest
from project import Done, Project, wait_for

from pipeline.store.store import Store

ADD = 'echo "$PATCHYARD_TASK" >> CHANGELOG.md; echo "$PATCHYARD_TASK" >> "$SHARED/ran"'
"""Adds a line at the end of a file: two such patches conflict."""


def ran(project: Project) -> list[str]:
    return (project.shared / "ran").read_text().split()


def attempts(project: Project, run: str) -> list[tuple[str, int, str | None, str | None]]:
    with Store.beside(project.root / ".git") as store:
        return [
            (one.task, one.number, one.status, str(one.cause) if one.cause else None)
            for one in store.attempts(run)
        ]


def parent(project: Project, task: str) -> str:
    return project.clone.git("rev-parse", f"patchyard/demo/{task}^")


def tip(project: Project, task: str) -> str:
    return project.branches()[f"patchyard/demo/{task}"]


def test_later_task_runs_again_on_top_of_the_earlier_one(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": "touch fine", "1.3": ADD, "2.1": "cp CHANGELOG.md seen; test -e fine"}

    done = project.run(project.tasks(scripts)).expect(0)

    assert sorted(ran(project)) == ["1.1", "1.3", "1.3"]
    assert project.show("patchyard/demo/1.3:CHANGELOG.md").splitlines()[-2:] == ["1.1", "1.3"]
    assert parent(project, "1.3") == tip(project, "1.1")
    assert project.show("patchyard/demo/2.1:seen").splitlines()[-2:] == ["1.1", "1.3"]
    assert done.events("conflict") == []
    (event,) = done.events("task_rerun")
    reason = "conflict with 1.1 in CHANGELOG.md"
    assert (event["task"], event["attempt"], event["tasks"], event["files"], event["reason"]) == (
        "1.3",
        2,
        ["1.1"],
        ["CHANGELOG.md"],
        reason,
    )
    made = [one for one in attempts(project, done.run) if one[0] == "1.3"]
    assert made == [("1.3", 1, "changed", None), ("1.3", 2, "changed", reason)]
    status = project.call("status", "--json").expect(0).records[0]
    assert status["conflicts"] == []
    assert [one["reason"] for one in status["attempts"] if one["task"] == "1.3"] == [None, reason]
    assert f"task 1.3, attempt 2: {reason}" in project.call("status").expect(0).out


def test_each_of_many_runs_again_once(project: Project) -> None:
    tasks = [f"1.{number}" for number in range(1, 5)]

    done = project.run(project.tasks(dict.fromkeys(tasks, ADD))).expect(0)

    assert sorted(ran(project)) == sorted(tasks + tasks[1:])
    assert project.show("patchyard/demo/1.4:CHANGELOG.md").splitlines()[-4:] == tasks
    assert [parent(project, task) for task in tasks[1:]] == [tip(project, task) for task in tasks[:-1]]
    assert [event["task"] for event in done.events("task_rerun")] == tasks[1:]


def test_start_is_the_merge_of_several(project: Project) -> None:
    scripts = {
        "1.1": "echo 1 > a",
        "1.2": "echo 2 > b",
        "1.3": "cat a b > c || true; echo 3 > a; echo 3 > b",
        "1.4": "echo 4 > d",
    }
    done = project.run(project.tasks(scripts)).expect(0)

    assert project.show("patchyard/demo/1.3:c") == "1\n2"
    assert parent(project, "1.3") == tip(project, "1.3-base")
    assert done.events("task_rerun")[0]["reason"] == "conflict with 1.1 and 1.2 in a, b"


def test_stop_reports_the_conflict(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": ADD, "2.1": "touch more", "2.2": ADD}
    plan = project.tasks(scripts, batches={"1": "**On conflict:** stop", "2": "**Dependencies:** None"})

    done = project.run(plan).expect(1)
    resumed = project.call("resume", done.run).expect(1)
    again = project.run(plan, "--on-conflict", "rerun", "--no-cache").expect(0)

    (conflict,) = done.events("conflict")
    assert conflict["message"] == "tasks 1.1 and 1.2 conflict in CHANGELOG.md"
    assert done.events("task_rerun") == []
    assert resumed.err == (
        f"run {done.run} is complete: nothing left to do, but 1 in conflict; "
        f"`patchyard retry {done.run} 1.2 --onto 1.1` solves it\n"
    )
    assert again.events("conflict") == []


def test_task_that_conflicts_again_is_reported(project: Project) -> None:
    """It may run again once more, because of a task that was not there; not a third time."""
    scripts = {
        "1.1": "echo 1 > a",
        "1.2": "echo 2 > b",
        "1.3": "echo 3 > c",
        # Each time it changes one more file, which another task has changed as well.
        "1.4": 'echo x >> "$SHARED/ran"; for n in a b c; do test -e $n || { echo 4 > $n; break; }; done',
    }
    done = project.run(project.tasks(scripts)).expect(1)

    assert [event["tasks"] for event in done.events("task_rerun")] == [["1.1"], ["1.2"]]
    (conflict,) = done.events("conflict")
    assert conflict["tasks"] == ["1.3", "1.4"]
    assert len(ran(project)) == 3


def test_what_builds_on_a_task_runs_again_with_it(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": ADD, "1.3": "wc -l < CHANGELOG.md > count", "1.4": "touch other"}

    done = project.run(project.tasks(scripts, fields={"1.3": "**Dependencies:** Task 1.2"})).expect(0)

    assert parent(project, "1.3") == tip(project, "1.2")
    assert int(project.show("patchyard/demo/1.3:count")) == 2
    assert [event["reason"] for event in done.events("task_rerun")] == [
        "conflict with 1.1 in CHANGELOG.md",
        "it builds on 1.2, which ran again",
    ]


def test_task_that_needs_both_sides_of_a_conflict_runs(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": ADD, "1.3": "cp CHANGELOG.md seen", "1.4": "cp seen more"}
    fields = {"1.3": "**Dependencies:** Task 1.1, Task 1.2", "1.4": "**Dependencies:** Task 1.3"}

    done = project.run(project.tasks(scripts, fields=fields)).expect(0)

    assert set(done.statuses.values()) == {"changed"}
    assert project.show("patchyard/demo/1.4:more").splitlines()[-2:] == ["1.1", "1.2"]


def test_task_that_fails_on_top_has_failed(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": f"{ADD}; ! grep -q 1.1 CHANGELOG.md", "2.1": "touch more"}

    done = project.run(project.tasks(scripts)).expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "failed", "2.1": "skipped"}
    assert done.events("conflict") == []
    retried = project.call("retry", done.run, "--json").expect(1)
    assert retried.statuses["1.2"] == "failed"
    assert ran(project).count("1.2") == 3, "a retry begins on top as well"


def test_result_on_top_is_cached(project: Project) -> None:
    plan = project.tasks({"1.1": ADD, "1.2": ADD})
    project.run(plan).expect(0)
    before = ran(project)

    done = project.run(plan).expect(0)

    assert ran(project) == before
    assert [done.outcome(task)["cached"] for task in ("1.1", "1.2")] == [True, True]
    assert parent(project, "1.2") == tip(project, "1.1")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_rerun_that_was_cut_off_is_made_again(project: Project, number: int) -> None:
    there, go = project.shared / "there", project.shared / "go"
    wait = f'; grep -q 1.2 CHANGELOG.md && {{ [ -e "{go}" ] || {{ touch "{there}"; sleep 60; }}; }}'
    plan = project.tasks({"1.1": ADD, "1.2": ADD, "1.3": f"{ADD}{wait}; true", "2.1": "touch more"})
    with project.start("run", plan, "--json") as started:
        wait_for(there.exists, "the second rerun")
        started.signal(number)
        started.done()
    go.touch()

    done = project.call("resume", "--json").expect(0)

    assert ran(project) == [*ran(project)[:3], "1.2", "1.3", "1.3"]
    assert sorted(ran(project)[:3]) == ["1.1", "1.2", "1.3"]
    assert set(done.statuses.values()) == {"changed"}
    assert parent(project, "1.3") == tip(project, "1.2")
    made = [one[2] for one in attempts(project, done.run) if one[0] == "1.3"]
    assert made == ["changed", "cancelled", "changed"]
    assert [event["attempt"] for event in done.events("task_rerun")] == [3]
    assert project.call("status", "--json").records[0]["conflicts"] == []


def test_tasks_with_the_same_declared_file_wait_for_each_other(project: Project) -> None:
    files = dict.fromkeys(("1.1", "1.2"), "**Files:**\n- Modify: `CHANGELOG.md`\n")
    plan = project.tasks({"1.1": f"sleep 0.2; {ADD}", "1.2": ADD, "1.3": "touch other"}, fields=files)
    warning = "warning: tasks 1.1, 1.2 of batch 1 change the same file: CHANGELOG.md\n"
    for command in (("check",), ("run", "--dry-run")):
        assert project.call(*command, plan).expect(0).err.count(warning) == 1
    (record,) = project.call("check", plan, "--json").expect(0).events("overlap")
    assert (record["batch"], record["path"], record["tasks"]) == (1, "CHANGELOG.md", ["1.1", "1.2"])

    done = project.run(plan, "--serialize", "declared").expect(0)

    assert ran(project) == ["1.1", "1.2"]
    assert done.events("task_rerun") == []
    assert parent(project, "1.2") == tip(project, "1.1")
    project.configure('serialize = "declared"\n')
    assert "change the same file" not in project.call("check", plan).expect(0).err


def test_plan_says_what_follows_a_conflict_and_which_tasks_wait(project: Project) -> None:
    files = dict.fromkeys(("1.1", "1.2"), "**Files:**\n- Modify: `CHANGELOG.md`\n")
    scripts = {"1.1": f"sleep 0.2; {ADD}", "1.2": ADD, "1.3": ADD}
    plan = project.tasks(scripts, fields=files, front="on_conflict: stop\nserialize: declared")
    assert "change the same file" not in project.call("check", plan).expect(0).out
    project.configure('on_conflict = "rerun"\nserialize = "none"\n')

    done = project.run(plan)

    assert parent(project, "1.2") == tip(project, "1.1")
    assert done.events("task_rerun") == []
    (conflict,) = done.events("conflict")
    assert conflict["files"] == ["CHANGELOG.md"]
    done = project.run(plan, "--on-conflict", "rerun").expect(0)
    assert [event["task"] for event in done.events("task_rerun")] == ["1.3"]


AGENT = """\
n=$(ls "$SHARED" | grep -c "^$PATCHYARD_TASK-prompt-")
cat > "$SHARED/$PATCHYARD_TASK-prompt-$((n + 1))"
sh "$SHARED/work"
"""


@pytest.fixture
def asked(project: Project) -> Project:
    """A project with an agent that keeps its prompts, and does what a script says."""
    (project.shared / "agent").write_text(AGENT)
    (project.shared / "work").write_text(ADD)
    project.configure(f'agent = "mine"\n[agents.mine]\ncommand = "sh \'{project.shared}/agent\'"\n')
    return project


def agents_plan(project: Project) -> Path:
    tasks = ("### Task 1.1: First\n\nWrite of the first.", "### Task 1.2: Second\n\nWrite of the second.")
    return project.plan("\n\n".join(["# Demo", *tasks]) + "\n")


def prompts(project: Project, task: str) -> list[str]:
    return [path.read_text() for path in sorted(project.shared.glob(f"{task}-prompt-*"))]


def test_agent_is_given_what_it_conflicts_with(asked: Project) -> None:
    asked.run(agents_plan(asked)).expect(0)

    first, second = prompts(asked, "1.2")
    assert "conflicts with task 1.1, in `CHANGELOG.md`" in second
    assert "## Task 1.1: First\n\nWrite of the first." in second
    assert "\n+1.2\n" in second
    assert second.endswith(first)
    assert parent(asked, "1.2") == tip(asked, "1.1")
    assert len(prompts(asked, "1.1")) == 1


SOLVE = f"if grep -q '<<<' CHANGELOG.md; then sed -i '/^[<=>]\\{{7\\}}/d' CHANGELOG.md; else {ADD}; fi"


def solved(project: Project, script: str) -> Done:
    (project.shared / "work").write_text(script)
    return project.run(agents_plan(project), "--on-conflict", "agent", "--repairs", "0")


def test_agent_begins_with_conflict_marks(asked: Project) -> None:
    solved(asked, SOLVE).expect(0)

    assert "with conflict marks in `CHANGELOG.md`" in prompts(asked, "1.2")[1]
    assert asked.show("patchyard/demo/1.2:CHANGELOG.md").splitlines()[-2:] == ["1.1", "1.2"]
    assert parent(asked, "1.2") == tip(asked, "1.1")


def test_conflict_marks_that_are_left_fail_the_task(asked: Project) -> None:
    done = solved(asked, f"grep -q '<<<' CHANGELOG.md || {{ {ADD}; }}").expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "failed"}
    assert "conflict marks are left in CHANGELOG.md" in done.outcome("1.2")["error"]


def test_conflict_marks_that_are_left_are_repaired(asked: Project) -> None:
    (asked.shared / "work").write_text(f"[ $PATCHYARD_ATTEMPT$PATCHYARD_ROUND = 21 ] || {{ {SOLVE}; }}")
    done = asked.run(agents_plan(asked), "--on-conflict", "agent").expect(0)

    assert done.outcome("1.2")["rounds"] == 2
    _, again, repair = prompts(asked, "1.2")
    assert "CHANGELOG.md" in repair.partition("## The task")[0]
    assert repair.endswith(again)
    assert asked.show("patchyard/demo/1.2:CHANGELOG.md").splitlines()[-2:] == ["1.1", "1.2"]


def test_agent_is_not_called_again_when_the_budget_is_spent(asked: Project) -> None:
    (asked.shared / "work").write_text(ADD + "; echo 'cost: 2.5'")
    with (asked.root / "patchyard.toml").open("a") as file:
        file.write('cost = "cost: (?P<cost>[0-9.]+)"\n')
    done = asked.run(agents_plan(asked), "--budget", "4").expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "changed"}
    assert len(prompts(asked, "1.2")) == 1
    assert [one["tasks"] for one in done.events("conflict")] == [["1.1", "1.2"]]
    resumed = asked.call("retry", done.run, "1.2", "--json").expect(1)
    assert resumed.statuses["1.2"] == "skipped"


@pytest.mark.parametrize("seed", [1, 2])
def test_random_interruptions(project: Project, seed: int) -> None:
    """Whatever the moment: each rerun that has ended is made once, and the result is the same."""
    chance, slow = random.Random(seed), f"sleep 0.1; {ADD}; sleep 0.1"  # noqa: S311 - no secret
    scripts = {"1.1": slow, "1.2": slow, "1.3": slow, "1.4": "cp CHANGELOG.md seen", "2.1": "touch more"}
    plan = project.tasks(scripts, fields={"1.4": "**Dependencies:** Task 1.2"})
    command: tuple[str | Path, ...] = ("run", plan, "--json", "--no-cache")
    for _ in range(5):
        with project.start(*command) as started:
            sleep(chance.uniform(0.3, 0.8))
            started.signal(chance.choice([signal.SIGKILL, signal.SIGINT]))
            started.done()
        command = ("resume", "--json")
    project.call("resume", "--json")

    (status,) = project.call("status", "--json").expect(0).records
    assert (status["status"], status["conflicts"]) == ("succeeded", [])
    assert project.show("patchyard/demo/1.3:CHANGELOG.md").splitlines()[-3:] == ["1.1", "1.2", "1.3"]
    assert parent(project, "1.4") == tip(project, "1.2")
    ended = [one["task"] for one in status["attempts"] if one["status"] == "changed"]
    assert sorted(ended) == ["1.1", "1.2", "1.2", "1.3", "1.3", "1.4", "1.4", "2.1"]


def test_what_builds_on_a_rerun_is_skipped_when_the_budget_is_spent(asked: Project) -> None:
    """It does not stay on top of a patch that its dependency has no more; `resume` runs it again."""
    (asked.shared / "work").write_text(
        f'if [ "$PATCHYARD_TASK" = 1.3 ]; then wc -l < CHANGELOG.md > count; else {ADD}; fi; echo "cost: 1"'
    )
    with (asked.root / "patchyard.toml").open("a") as file:
        file.write('cost = "cost: (?P<cost>[0-9.]+)"\n')
    text = agents_plan(asked).read_text() + "\n### Task 1.3: Third\n\nCount.\n\n**Dependencies:** Task 1.2\n"
    done = asked.run(asked.plan(text), "--budget", "4").expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "changed", "1.3": "skipped"}
    old = tip(asked, "1.3")
    assert done.outcome("1.3")["error"] == (
        "it did not run again, although it builds on 1.2, which ran again: the budget of the run, $4.00, is "
        f"spent ($4.00); its branch patchyard/demo/1.3 stays at the patch of an earlier attempt ({old[:12]})"
    )
    assert done.events("conflict") == []
    more = asked.call("resume", done.run, "--budget", "none", "--json").expect(0)
    assert (more.statuses["1.3"], more.outcome("1.3")["cost"]) == ("changed", 2.0)
    assert parent(asked, "1.3") == tip(asked, "1.2")
    assert int(asked.show("patchyard/demo/1.3:count")) == 2


def test_branch_that_stays_at_an_earlier_patch_is_named(project: Project) -> None:
    scripts = {"1.1": ADD, "1.2": f"{ADD}; ! grep -q 1.1 CHANGELOG.md", "1.3": '[ -e "$SHARED/no" ] || touch c'}
    done = project.run(project.tasks(scripts)).expect(1)

    stays = "its branch patchyard/demo/{} stays at the patch of an earlier attempt ({})".format
    first = done.outcome("1.2")["error"].partition("\n")[0]
    assert first.endswith(f"ended with exit code 1; {stays('1.2', tip(project, '1.2')[:12])}")
    (project.shared / "no").touch()
    retried = project.call("retry", done.run, "1.3", "--json").expect(1)
    assert retried.statuses["1.3"] == "unchanged"
    notices = [one["message"] for one in retried.events("notice")]
    assert f"task 1.3 changed nothing; {stays('1.3', tip(project, '1.3')[:12])}" in notices


def test_what_builds_on_a_conflict_that_stays_is_skipped(asked: Project) -> None:
    """Its own result was made before one of the two ran again."""
    (asked.shared / "work").write_text("echo 3 > c; echo 'cost: 1'")
    with (asked.root / "patchyard.toml").open("a") as file:
        file.write('cost = "cost: (?P<cost>[0-9.]+)"\n')
    done = asked.run(
        asked.plan(
            "# Demo\n\n### Task 1.1: A\n\n**Run:** `echo 1 > a`\n\n"
            "### Task 1.2: B\n\n**Run:** `if [ -e a ]; then echo 2 > c; else echo 2 > a; fi`\n\n"
            "### Task 1.3: C\n\nWrite c.\n\n"
            "### Task 1.4: D\n\n**Run:** `cat a c > d`\n\n**Dependencies:** Task 1.2, Task 1.3\n"
        ),
        "--budget",
        "1",
    ).expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "changed", "1.3": "changed", "1.4": "skipped"}
    assert done.outcome("1.4")["error"].startswith("tasks 1.2 and 1.3 conflict in c; its branch ")
    assert [one["tasks"] for one in done.events("conflict")] == [["1.2", "1.3"]]
    more = asked.call("resume", done.run, "--budget", "none", "--json").expect(0)
    assert set(more.statuses.values()) == {"changed"}
    assert asked.show("patchyard/demo/1.4:d") == "1\n3"

"""Batches, modes, pools and start points: the real command, with processes that wait for each other."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from project import Done, Project, meet, plan_text, runs, wait_for

COUNT = 'echo "+ $PATCHYARD_TASK" >> "$SHARED/log"; sleep 0.05; echo "- $PATCHYARD_TASK" >> "$SHARED/log"\n'
"""A script that says in `$SHARED/log` when it begins and ends; a line is appended at once."""


def side_by_side(project: Project) -> tuple[int, list[str]]:
    """Return how many tasks ran at once at most, and the order in which they began."""
    now = most = 0
    order = []
    for line in (project.shared / "log").read_text().splitlines():
        sign, task = line.split(" ")
        now += 1 if sign == "+" else -1
        most = max(most, now)
        if sign == "+":
            order.append(task)
    return most, order


def test_parallel_mode_runs_tasks_of_a_batch_concurrently(project: Project) -> None:
    plan = project.tasks({f"1.{n}": meet(3) for n in (1, 2, 3)})

    done = project.run(plan).expect(0)

    assert {record["worktree"] for record in done.events("task_started")} == {"wt-1", "wt-2", "wt-3"}


def test_local_mode_runs_tasks_in_order_of_the_plan(project: Project) -> None:
    tasks = [f"1.{n}" for n in range(1, 9)]
    plan = project.tasks(dict.fromkeys(tasks, COUNT))

    done = project.run(plan, "--mode", "local").expect(0)

    assert side_by_side(project) == (1, tasks)
    assert {record["worktree"] for record in done.events("task_started")} == {"wt-1"}
    assert done.events("run_started")[0]["pool_size"] == 1


def test_pool_size_limits_concurrent_tasks(project: Project) -> None:
    scripts = {f"1.{n}": (meet(2) if n <= 2 else "") + COUNT for n in range(1, 8)}

    done = project.run(project.tasks(scripts), "--pool-size", "2").expect(0)

    most, order = side_by_side(project)
    assert most == 2
    assert len(order) == 7
    assert sorted(path.name for path in project.worktrees.glob("wt-*") if path.is_dir()) == ["wt-1", "wt-2"]
    assert {outcome["worktree"] for outcome in done.finished["outcomes"]} == {"wt-1", "wt-2"}


def test_execution_mode_of_a_batch_is_used(project: Project) -> None:
    scripts = {"1.1": COUNT, "1.2": COUNT, "1.3": COUNT, "2.1": meet(2), "2.2": meet(2)}
    modes = {"1": "**Execution Mode:** local", "2": "**Execution Mode:** parallel"}

    done = project.run(project.tasks(scripts, batches=modes)).expect(0)

    assert side_by_side(project) == (1, ["1.1", "1.2", "1.3"])
    assert [record["mode"] for record in done.events("batch_started")] == ["local", "parallel"]


def test_mode_option_overrides_plan(project: Project) -> None:
    scripts = {"1.1": meet(2), "1.2": meet(2)}
    plan = project.tasks(scripts, batches={"1": "**Execution Mode:** local"}, front="mode: local")

    done = project.run(plan, "--mode", "parallel").expect(0)

    assert done.events("batch_started")[0]["mode"] == "parallel"


def test_batches_run_in_order_and_build_on_each_other(project: Project) -> None:
    scripts = {
        "1.1": "sleep 0.2; echo a > a.txt",
        "1.2": "echo b > b.txt; rm src/app.py",
        "2.1": "cat a.txt b.txt > c.txt; test ! -e src/app.py",
        "3.1": "cat c.txt > d.txt",
    }

    done = project.run(project.tasks(scripts)).expect(0)

    assert project.show("patchyard/demo/2.1:c.txt") == "a\nb"
    assert done.outcome("2.1")["files"] == ["c.txt"], "a patch holds its own task's changes alone"
    batch_1 = project.branches()["patchyard/demo/batch-1"]
    assert done.events("batch_started")[1]["start"] == batch_1
    assert project.clone.git("rev-parse", "patchyard/demo/2.1^") == batch_1
    assert project.clone.git("rev-list", "--count", "--merges", "main..patchyard/demo/batch-1") == "1"
    assert project.show("patchyard/demo/3.1:d.txt") == "a\nb"
    assert project.clone.git("fsck", "--strict", "--no-dangling") == ""


def test_batch_without_dependencies_starts_from_base(project: Project) -> None:
    scripts = {"1.1": "echo a > a.txt; exit 1", "2.1": "ls > list.txt", "3.1": "ls > list3.txt"}
    batches = {"2": "**Dependencies:** None", "3": "**Dependencies:** Batch 2"}

    done = project.run(project.tasks(scripts, batches=batches)).expect(1)

    assert done.statuses == {"1.1": "failed", "2.1": "changed", "3.1": "changed"}
    assert done.events("batch_started")[1]["start"] == project.clone.head
    assert "list.txt" in project.show("patchyard/demo/3.1:list3.txt")


def test_batch_can_build_on_two_batches(project: Project) -> None:
    scripts = {"1.1": "echo 1 > a", "2.1": "echo 2 > b; test ! -e a", "3.1": "cat a b > c"}
    batches = {"2": "**Dependencies:** None", "3": "**Dependencies:** Batch 1, Batch 2"}

    project.run(project.tasks(scripts, batches=batches)).expect(0)

    assert project.show("patchyard/demo/3.1:c") == "1\n2"
    assert "patchyard/demo/batch-1-2" in project.branches()


def test_task_starts_from_patch_of_its_dependency(project: Project) -> None:
    scripts = {
        "1.1": "echo 1 > a; sleep 0.1",
        "1.2": "echo 2 > b",
        "1.3": "cat a > c; test ! -e b",
        "1.4": "cat a b > d",
    }
    fields = {"1.3": "**Dependencies:** Task 1.1", "1.4": "**Dependencies:** Task 1.1, Task 1.2"}

    done = project.run(project.tasks(scripts, fields=fields)).expect(0)

    assert done.outcome("1.3")["files"] == ["c"]
    assert project.clone.git("rev-parse", "patchyard/demo/1.3^") == done.outcome("1.1")["commit"]
    assert project.show("patchyard/demo/1.4:d") == "1\n2"
    assert done.outcome("1.4")["files"] == ["d"]
    assert (
        project.clone.git("rev-parse", "patchyard/demo/1.4^") == project.branches()["patchyard/demo/1.4-base"]
    )


def test_dependency_chain_does_not_delay_other_tasks(project: Project) -> None:
    scripts = {"1.1": "echo 1 > a", "1.2": meet(2), "1.3": meet(2)}

    done = project.run(project.tasks(scripts, fields={"1.2": "**Dependencies:** Task 1.1"})).expect(0)

    assert done.statuses == {"1.1": "changed", "1.2": "unchanged", "1.3": "unchanged"}


CONFLICT = {
    "1.1": "echo one > same.txt; echo x > x.txt",
    "1.2": "echo fine > fine.txt",
    "1.3": "echo three > same.txt",
    "2.1": "touch two",
}


def test_conflict_names_tasks_and_files_and_dependents_are_skipped(project: Project) -> None:
    batches = {"3": "**Dependencies:** None"}
    done = project.run(
        project.tasks({**CONFLICT, "3.1": "touch three"}, batches=batches), "--on-conflict", "stop"
    ).expect(1)

    (conflict,) = done.events("conflict")
    assert (conflict["batch"], conflict["tasks"], conflict["files"]) == (1, ["1.1", "1.3"], ["same.txt"])
    assert conflict["message"] == "tasks 1.1 and 1.3 conflict in same.txt"
    assert done.statuses == {
        "1.1": "changed",
        "1.2": "changed",
        "1.3": "changed",
        "2.1": "skipped",
        "3.1": "changed",
    }
    assert "tasks 1.1 and 1.3 conflict in same.txt" in done.outcome("2.1")["error"]
    status = project.call("status", done.run).expect(0).out
    assert "batch 1: tasks 1.1 and 1.3 conflict in same.txt" in status
    assert project.call("status", "--json").records[0]["conflicts"] == [
        {"batch": 1, "tasks": ["1.1", "1.3"], "files": ["same.txt"]}
    ]


def test_conflict_is_reported_before_next_batch(project: Project) -> None:
    done = project.run(project.tasks(CONFLICT), "--on-conflict", "stop")

    names = [record["event"] for record in done.records]
    assert names.index("conflict") < [i for i, name in enumerate(names) if name == "batch_started"][1]


def test_keep_going_builds_on_patches_that_merge(project: Project) -> None:
    done = project.run(project.tasks(CONFLICT), "--keep-going", "--on-conflict", "stop").expect(1)

    assert done.statuses["2.1"] == "changed"
    assert project.show("patchyard/demo/2.1:same.txt") == "one"


def test_task_depending_on_both_sides_of_a_conflict_is_skipped(project: Project) -> None:
    scripts = {"1.1": "echo 1 > same", "1.2": "echo 2 > same", "1.3": "touch both", "2.1": "touch more"}
    fields = {"1.3": "**Dependencies:** Task 1.1, Task 1.2", "2.1": "**Dependencies:** Task 1.2"}

    plan = project.tasks(scripts, fields=fields)
    done = project.run(plan, "--keep-going", "--on-conflict", "stop").expect(1)

    assert done.statuses == {"1.1": "changed", "1.2": "changed", "1.3": "skipped", "2.1": "skipped"}
    assert "tasks 1.1 and 1.2 conflict in same" in done.outcome("1.3")["error"]
    assert "tasks 1.1 and 1.2 conflict in same" in done.outcome("2.1")["error"]


FAILING = {"1.1": "exit 1", "1.2": "touch b", "2.1": "touch c", "2.2": "touch d"}


def test_batch_that_builds_on_failed_task_is_skipped(project: Project) -> None:
    done = project.run(project.tasks(FAILING)).expect(1)

    assert done.statuses == {"1.1": "failed", "1.2": "changed", "2.1": "skipped", "2.2": "skipped"}
    assert done.outcome("2.1")["error"].startswith("it builds on batch 1, and task 1.1 failed")


def test_keep_going_skips_only_dependents_of_failed_task(project: Project) -> None:
    plan = project.tasks(FAILING, fields={"2.2": "**Dependencies:** Task 1.1"})

    done = project.run(plan, "--keep-going").expect(1)

    assert done.statuses == {"1.1": "failed", "1.2": "changed", "2.1": "changed", "2.2": "skipped"}
    assert done.outcome("2.2")["error"] == "it depends on task 1.1, which failed"
    assert project.clone.git("ls-tree", "--name-only", "patchyard/demo/2.1").splitlines()[-2:] == ["c", "src"]


def test_fail_fast_ends_run_on_first_failure(project: Project) -> None:
    scripts = {"1.1": meet(2) + "exit 4", "1.2": "touch half; " + meet(2) + "sleep 30", "2.1": "touch c"}

    done = project.run(project.tasks(scripts), "--fail-fast").expect(1)

    assert done.statuses == {"1.1": "failed", "1.2": "cancelled", "2.1": "skipped"}
    assert done.finished["status"] == "failed"
    assert "--fail-fast" in done.outcome("1.2")["error"]
    assert "--fail-fast" in done.outcome("2.1")["error"]
    assert done.outcome("1.2")["files"] == ["half"]
    assert done.finished["seconds"] < 25


SELECTED = {"1.1": "touch a", "1.2": "touch b", "2.1": "touch c", "3.1": "ls > list.txt", "3.2": "touch d"}


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        (("--start-batch", "2"), ["2.1", "3.1", "3.2"]),
        (("--end-batch", "1"), ["1.1", "1.2"]),
        (("--start-batch", "2", "--end-batch", "2"), ["2.1"]),
        (("--only", "3.1", "--only", "1.2"), ["1.2", "3.1"]),
        (("--task", "2.1"), ["1.1", "1.2", "2.1"]),
    ],
)
def test_selected_part_of_plan_runs(project: Project, options: tuple[str, ...], tasks: list[str]) -> None:
    done = project.run(project.tasks(SELECTED), *options).expect(0)

    assert list(done.statuses) == tasks


def test_selected_task_does_not_wait_for_unselected_ones(project: Project) -> None:
    plan = project.tasks({"1.1": "exit 1", "2.1": "touch b"}, fields={"2.1": "**Dependencies:** Task 1.1"})

    assert project.run(plan, "--only", "2.1").expect(0).statuses == {"2.1": "changed"}
    assert project.run(plan, "--task", "2.1").expect(1).statuses == {"1.1": "failed", "2.1": "skipped"}


def test_what_a_selected_task_builds_on_comes_from_the_cache(project: Project) -> None:
    plan = project.tasks({"1.1": "date +%N > a", "1.2": "touch b", "2.1": "cat a > c"})
    project.run(plan, "--only", "1.1").expect(0)

    done = project.run(plan, "--task", "2.1").expect(0)

    assert [done.outcome(task).get("cached", False) for task in ("1.1", "1.2", "2.1")] == [True, False, False]
    assert "--task, or with --only" in project.run(plan, "--task", "2.1", "--only", "1.1").expect(2).err


def test_worktrees_are_beside_repository_and_reused(project: Project) -> None:
    plan = project.tasks({"1.1": "touch left-over; mkdir -p build; touch build/out debug.log; exit 1"})
    first = project.run(plan).expect(1)
    made = (project.worktrees / "wt-1").stat().st_ino
    clean = project.tasks(
        {"1.1": "ls -A; test ! -e left-over; test ! -e build; test ! -e debug.log"}, "second.md"
    )

    second = project.run(clean).expect(0)

    assert (project.worktrees / "wt-1").stat().st_ino == made
    assert [done.events("run_started")[0]["worktrees"] for done in (first, second)] == [
        str(project.worktrees)
    ] * 2
    assert project.clone.git("worktree", "list").count("\n") == 1


def at_once(project: Project, plans: Sequence[Path]) -> list[Done]:
    """Run plans at the same time."""
    with ThreadPoolExecutor(len(plans)) as threads:
        return list(threads.map(project.run, plans))


def test_concurrent_runs_never_share_a_worktree(project: Project) -> None:
    plans = [
        project.tasks({"1.1": meet(4), "1.2": meet(4), "2.1": "touch c"}, f"{name}.md", title=name)
        for name in ("left", "right")
    ]
    for number, plan in enumerate(plans):
        plan.write_text(plan.read_text().replace("$PATCHYARD_TASK", f"{number}$PATCHYARD_TASK"))

    done = at_once(project, plans)

    used = [{record["worktree"] for record in one.expect(0).events("task_started")} for one in done]
    assert not used[0] & used[1]
    assert [len(names) for names in used] == [2, 2]


def test_concurrent_runs_of_one_plan_both_succeed(project: Project) -> None:
    script = 'echo "$PATCHYARD_RUN" > "$PATCHYARD_TASK.txt"'
    plan = project.tasks({**{f"1.{n}": script for n in range(1, 5)}, "2.1": "touch b"})

    for one in at_once(project, [plan, plan]):
        assert set(one.expect(0).statuses.values()) == {"changed"}
        assert project.call("diff", one.run, "1.1").out.count(one.run) == 1


def test_worktrees_of_killed_run_are_reused(project: Project) -> None:
    work = 'echo $$ > "$SHARED/pid"; while :; do touch half; sleep 0.01; done'
    plan = project.plan(f"# Killed\n### Task 1.1: A\n**Run:**\n- `true`\n- `{work}`\n")
    pid = project.shared / "pid"
    with project.start("run", plan, "--json") as killed:
        wait_for(lambda: pid.exists() and pid.read_text().strip(), "the task")
        killed.signal(9)
        assert killed.done().code == -9
    assert [record["status"] for record in project.call("runs", "--json").expect(0).records] == ["interrupted"]
    assert project.call("status", "--json").expect(0).records[0]["status"] == "interrupted"

    done = project.run(project.tasks({"1.1": "sleep 0.2; ls -A; test ! -e half; touch b"}, "next.md")).expect(0)

    assert done.outcome("1.1")["worktree"] == "wt-1"
    assert done.outcome("1.1")["files"] == ["b"]
    assert runs([int(pid.read_text())]) == [], "what the killed run left in the worktree has been ended"


def test_directory_of_worktrees_can_be_set(project: Project, tmp_path: Path) -> None:
    plan = project.plan(plan_text({"1.1": "touch a"}))
    project.configure('worktrees = "../pool"\n')

    by_file = project.call("run", plan, "--json", cwd=project.root / "src").expect(0)
    by_flag = project.call(
        "run", plan, "--json", "--no-cache", "--worktrees", "here", "--repo", project.root, cwd=tmp_path
    )

    assert by_file.events("run_started")[0]["worktrees"] == str(tmp_path / "pool")
    assert by_flag.expect(0).events("run_started")[0]["worktrees"] == str(tmp_path / "here")
    assert "wt-1" in project.call("clean", cwd=project.root / "src").expect(0).out
    assert not (tmp_path / "pool").exists()
    assert (tmp_path / "here" / "wt-1").is_dir()

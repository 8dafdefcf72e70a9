"""No call of an agent begins once what was reported reaches the budget."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from project import Done, Project

from pipeline.store.store import Store

AGENT = """\
echo x >> "$SHARED/calls"
echo "$PATCHYARD_TASK" > "$PATCHYARD_TASK.txt"
[ -e "$SHARED/fine" ] || code=1
echo "session cost: \\$0.40"
exit ${code:-0}
"""


@pytest.fixture
def paid(project: Project) -> Project:
    """A project whose agent says that each call cost 0.40 US dollars."""
    (project.shared / "fine").write_text("")
    project.declare_agent(AGENT, cost=r"cost: \$(?P<cost>[0-9.]+)")
    return project


def calls(project: Project) -> int:
    path = project.shared / "calls"
    return path.read_text().count("x") if path.exists() else 0


def plan(project: Project, count: int = 5) -> Path:
    return project.plan(
        "# Demo\n\n" + "".join(f"### Task 1.{n}: T{n}\n\nDo {n}.\n\n" for n in range(1, count + 1))
    )


def test_budget_of_a_run(paid: Project) -> None:
    done = paid.run(plan(paid), "--budget", "1", "--pool-size", "1").expect(1)

    assert calls(paid) == 3  # 0.80 is below one dollar; the third call passes it
    assert list(done.statuses.values()) == ["changed"] * 3 + ["skipped"] * 2
    sentence = "it did not start: the budget of the run, $1.00, is spent ($1.20)"
    assert done.outcome("1.5")["error"] == sentence
    assert done.finished["cost"] == 1.2

    paid.call("resume", done.run).expect(1)
    assert calls(paid) == 3  # what was spent before counts
    more = paid.call("resume", done.run, "--budget", "1.5", "--json").expect(1)
    assert (calls(paid), list(more.statuses.values())) == (4, ["changed"] * 4 + ["skipped"])
    last = paid.call("resume", done.run, "--budget", "none", "--json").expect(0)
    assert set(last.statuses.values()) == {"changed"}
    assert calls(paid) == 5
    assert last.finished["cost"] == 2.0


def test_running_calls_finish(paid: Project) -> None:
    """The budget is passed by no more than the calls that are running."""
    done = paid.run(plan(paid), "--budget", "0.1", "--pool-size", "2").expect(1)
    assert 1 <= calls(paid) <= 2
    assert list(done.statuses.values()).count("changed") == calls(paid)


def test_budget_that_is_spent_during_a_wait(paid: Project) -> None:
    """A task that waited for its provider is not called again once others have spent the budget."""
    limited = """\
echo x >> "$SHARED/calls"
[ "$PATCHYARD_TASK" = 1.1 ] || {
    while ! [ -e "$SHARED/limited" ]; do sleep 0.05; done
    echo "cost: \\$1.00"
    exit
}
[ -e "$SHARED/limited" ] || { touch "$SHARED/limited"; echo "wait 3"; exit 1; }
"""
    paid.declare_agent(limited, cost=r"cost: \$(?P<cost>[0-9.]+)", limit="wait (?P<seconds>[0-9]+)")
    done = paid.run(plan(paid, 2), "--budget", "1").expect(1)
    assert calls(paid) == 2
    assert done.statuses == {"1.1": "failed", "1.2": "unchanged"}
    error = done.outcome("1.1")["error"]
    assert error.endswith("it was not called again: the budget of the run, $1.00, is spent ($1.00)")
    assert f"patchyard resume {done.run} --budget USD" in paid.call("status").expect(0).out
    paid.call("resume", done.run, "--budget", "2").expect(0)
    assert calls(paid) == 3


def test_budget_of_a_task_ends_its_repairs(paid: Project) -> None:
    (paid.shared / "fine").unlink()
    done = paid.run(plan(paid, 1), "--task-budget", "0.8", "--repairs", "9").expect(1)
    assert calls(paid) == 2
    outcome = done.outcome("1.1")
    assert outcome["status"] == "failed"
    assert "it was not repaired: the budget of the task, $0.80, is spent ($0.80)" in outcome["error"]

    (paid.shared / "fine").write_text("")
    same = paid.call("resume", done.run, "--json").expect(1)
    assert (calls(paid), same.statuses) == (2, {"1.1": "skipped"})
    more = paid.call("resume", done.run, "--task-budget", "2", "--json").expect(0)
    assert (calls(paid), more.outcome("1.1")["rounds"]) == (3, 3)
    assert more.outcome("1.1")["cost"] == pytest.approx(1.2)


def test_plan_sets_a_budget(paid: Project) -> None:
    path = paid.plan("---\nbudget: 0.40\n---\n# Demo\n\n### Task 1.1: A\n\nDo.\n\n### Task 1.2: B\n\nDo.\n")
    done = paid.run(path, "--pool-size", "1").expect(1)
    assert list(done.statuses.values()) == ["changed", "skipped"]
    bad = paid.call("check", paid.plan("---\nbudget: much\n---\n# Demo\n\n### Task 1.1: A\n\nDo.\n", "bad.md"))
    assert "bad.md:2:9: error: expected an amount of US dollars such as 20 or 2.50, not `much`" in bad.err


def test_commands_cost_nothing(paid: Project) -> None:
    path = paid.tasks({"1.1": "touch a", "1.2": "touch b"})
    paid.run(path, "--budget", "0").expect(0)


def test_agent_without_cost_is_named_once(paid: Project) -> None:
    paid.declare_agent(AGENT)
    done = paid.run(plan(paid, 2), "--budget", "1").expect(0)
    said = [record["message"] for record in done.events("notice") if "budget" in record["message"]]
    assert said == [
        (
            "agent mine did not report what it cost, so the budget cannot be kept for it; set [prices.mine] "
            "if it reports tokens"
        )
    ]


def test_cost_and_time_are_those_of_all_attempts(paid: Project) -> None:
    (paid.shared / "fine").unlink()
    path = paid.plan(
        "# Demo\n\n## Batch 1: Set up\n\n### Task 1.1: A\n\nDo.\n\n"
        "## Batch 2: More\n\n**Dependencies:** None\n\n### Task 2.1: B\n\n**Run:** `sleep 0.2`\n"
    )
    done = paid.run(path, "--repairs", "1").expect(1)
    assert (done.outcome("1.1")["cost"], done.outcome("1.1")["rounds"]) == (0.8, 2)
    (paid.shared / "fine").write_text("")
    retried = paid.call("retry", done.run, "--json").expect(0)

    outcome, before = retried.outcome("1.1"), done.outcome("1.1")
    assert (outcome["cost"], outcome["rounds"]) == (1.2, 1)
    assert outcome["seconds"] > before["seconds"]
    assert "cost" not in retried.outcome("2.1")
    assert retried.finished["cost"] == 1.2
    assert retried.finished["groups"] == [{"number": 1, "title": "Set up", "cost": 1.2}]
    with Store.beside(paid.root / ".git") as store:
        attempts = store.attempts(done.run, "1.1")
    assert [one.seconds for one in attempts] == [
        pytest.approx(seconds, abs=0.002)
        for seconds in (before["seconds"], outcome["seconds"] - before["seconds"])
    ]
    check_reports(paid, done.run)
    status = paid.call("status", done.run, "--json").expect(0).records[0]
    assert [one.get("cost") for one in status["attempts"] if one["task"] == "1.1"] == [0.8, 0.4]
    spent = "it did not start: the budget of the task, $1.00, is spent ($1.20)"
    again = paid.call("retry", done.run, "1.1", "--task-budget", "1", "--json").expect(1)
    assert again.outcome("1.1")["error"].startswith(f"{spent}; its branch patchyard/demo/1.1 stays at ")
    assert again.outcome("1.1")["cost"] == 1.2


def check_reports(project: Project, run: str) -> None:
    """Each report has what the run, its groups and its tasks cost, and the attempts."""
    json_report, markdown, junit, html = (
        project.call("report", run, "--format", name).expect(0).out
        for name in ("json", "markdown", "junit", "html")
    )
    report = json.loads(json_report)
    (task, command), (group,) = report["tasks"], report["groups"]
    assert (report["cost"], group["title"], group["cost"]) == (1.2, "Set up", 1.2)
    assert (task["cost"], command["cost"]) == (1.2, None)
    first, second = task["attempts"]
    assert (first["why"], first["status"], first["cost"]) == ("first", "failed", 0.8)
    assert (second["why"], second["status"], second["cost"]) == ("retry", "changed", 0.4)
    assert second["rounds"] == []
    assert [(one["number"], one["cost"]) for one in first["rounds"]] == [(1, 0.4), (2, 0.4)]
    assert first["rounds"][1]["why"].startswith("repair after agent `")
    assert "agents: $1.20" in markdown
    assert "- batch 1: Set up: $1.20" in markdown
    assert "- **1.1** attempt 2 (retry, from " in markdown
    assert "  - try 2 (repair after agent " in markdown
    assert '<property name="cost" value="1.200000" />' in junit
    assert "attempt 2 (retry, from " in junit
    assert "$1.20" in html
    assert "attempt 2 (retry, from " in html


@dataclass(frozen=True)
class Work:
    """What an agent does for a task: what a call costs, in cents, and how many of them fail at first."""

    cost: int
    failures: int
    conflicts: bool


@dataclass(frozen=True)
class Situation:
    """A run with a budget; in cents."""

    tasks: list[Work]
    pool: int
    budget: int
    task_budget: int


SITUATIONS = st.builds(
    Situation,
    st.lists(st.builds(Work, st.integers(1, 90), st.integers(0, 2), st.booleans()), min_size=2, max_size=7),
    st.integers(1, 4),
    st.integers(0, 300),
    st.integers(50, 200),
)
CALL = """\
set -- $(sed -n 's/.*cents \\([0-9]*\\) failures \\([0-9]*\\) file \\(.*\\)/\\1 \\2 \\3/p' | tail -n 1)
echo "$PATCHYARD_TASK" >> "$3"
sleep 0.0$1
printf 'cost: %d.%02d\\n' $(($1 / 100)) $(($1 % 100))
[ "$PATCHYARD_ROUND" -gt "$2" ]
"""


def situation_plan(project: Project, situation: Situation) -> Path:
    tasks = [
        f"### Task 1.{number}: T{number}\n\n"
        f"cents {work.cost} failures {work.failures} file {'same' if work.conflicts else number}\n"
        for number, work in enumerate(situation.tasks, 1)
    ]
    return project.plan("\n".join(["# Demo\n", *tasks]))


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(situation=SITUATIONS)
@pytest.mark.slow
def test_budget_is_passed_by_no_more_than_the_running_calls(project: Project, situation: Situation) -> None:
    """Whatever the tasks cost, fail and conflict; also after the run was resumed with a higher budget."""
    project.declare_agent(CALL, cost="cost: (?P<cost>[0-9.]+)")
    cost = {f"1.{number}": work.cost for number, work in enumerate(situation.tasks, 1)}
    limits = ("--budget", f"{situation.budget / 100}", "--task-budget", f"{situation.task_budget / 100}")
    arguments = ("--pool-size", str(situation.pool), "--no-cache", *limits)
    done = project.run(situation_plan(project, situation), *arguments)
    spent = check_budget(done, cost, situation, situation.budget)
    more = project.call("resume", done.run, "--json", "--budget", f"{(situation.budget + 60) / 100}")
    if more.events("run_started"):
        check_budget(more, cost, situation, situation.budget + 60, spent)


def check_budget(
    done: Done, cost: dict[str, int], situation: Situation, budget: int, before: dict[str, int] | None = None
) -> dict[str, int]:
    """Check the order of the calls of a run; return what was spent by task, in cents.

    When a call begins, others may be about to report theirs: as many as there are worktrees, with its own.
    """
    spent = dict.fromkeys(cost, 0) | (before or {})
    running: set[str] = set()
    ended: list[int] = []
    for event in done.records:
        if event["event"] == "step_started":
            assert sum(spent.values()) - sum(ended[1 - situation.pool :] if situation.pool > 1 else []) < budget
            assert spent[event["task"]] < situation.task_budget
            running.add(event["task"])
            assert len(running) <= situation.pool
        elif event["event"] == "step_finished":
            running.remove(event["task"])
            spent[event["task"]] += cost[event["task"]]
            ended.append(cost[event["task"]])
    total = sum(spent.values())
    assert total < budget + situation.pool * max(cost.values()) or not ended
    assert (done.finished.get("cost") or 0) == pytest.approx(total / 100)
    return spent

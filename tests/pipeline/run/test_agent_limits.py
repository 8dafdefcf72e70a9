"""An agent at a limit of its provider waits and continues; one that is refused stops at once."""

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from project import PATIENCE, Project, wait_for

from pipeline.events import local_time
from pipeline.run.agent_limits import PAUSES, AgentLimits
from pipeline.store.store import Store
from tasks.agent_report import Limit, LimitKind
from tasks.model import Step, StepKind
from tasks.outcome import StepResult

AGENT = """\
n=$(grep -c . "$SHARED/calls" 2> /dev/null)
echo "$PATCHYARD_TASK $PATCHYARD_ROUND" >> "$SHARED/calls"
echo "begun" >> "$PATCHYARD_TASK.txt"
if [ "${n:-0}" -lt {fails} ]; then echo "usage limit reached, wait for {seconds} seconds"; exit 1; fi
"""

REFUSED = (
    '{"type": "result", "subtype": "success", "is_error": true, "session_id": "x", '
    '"total_cost_usd": 0, "usage": {}, "result": "Invalid API key · Please run /login"}'
)


@pytest.fixture
def limited(project: Project) -> Project:
    """A project whose agent is at a limit for its first call."""
    write_agent(project)
    return project


def write_agent(project: Project, fails: int = 1, seconds: int = 2, code: int = 1) -> None:
    text = (
        AGENT.replace("{fails}", str(fails))
        .replace("{seconds}", str(seconds))
        .replace("exit 1", f"exit {code}")
    )
    project.declare_agent(text, limit="usage limit reached, wait for (?P<seconds>[0-9]+) seconds")


def plan(project: Project, count: int = 1) -> Path:
    return project.plan(
        "# Demo\n\n" + "".join(f"### Task 1.{n}: T{n}\n\nDo {n}.\n\n" for n in range(1, count + 1))
    )


def calls(project: Project) -> list[str]:
    return (project.shared / "calls").read_text().splitlines()


def test_task_waits_and_continues_in_its_worktree(limited: Project) -> None:
    done = limited.run(plan(limited, 2), "--repairs", "0", "--pool-size", "1").expect(0)

    assert calls(limited) == ["1.1 1", "1.1 1", "1.2 1"]  # the same round again, and no repair spent
    assert limited.show("patchyard/demo/1.1:1.1.txt") == "begun\nbegun"
    assert done.outcome("1.1")["rounds"] == 1
    wait, end = done.events("task_waiting")
    assert (wait["task"], end["until"]) == ("1.1", None)
    assert wait["reason"].startswith("agent mine is at its usage limit: usage limit reached")
    until = datetime.fromisoformat(wait["until"])
    assert timedelta(0) < until - datetime.fromisoformat(wait["time"]) <= timedelta(seconds=2)
    assert datetime.fromisoformat(end["time"]) >= until - timedelta(milliseconds=5)


def test_task_that_has_not_started_does_not_wait_longer_than_it_may() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    limits = AgentLimits(
        60.0, {"a": noon + timedelta(seconds=61), "b": noon + timedelta(seconds=60)}, lambda: noon
    )
    reason = limits.why_not_waited("a")
    assert reason is not None
    assert reason.startswith("agent a is at a limit until ")
    assert reason.endswith(", and wait_for_limits is 1m")
    assert limits.why_not_waited("b") is limits.why_not_waited("c") is None


def test_waiting_run_uses_no_processor_and_makes_one_event_for_each_change(limited: Project) -> None:
    """In a minute it is 1 % of a core (`benchmarks/waiting.py`); a wait without pauses uses all of one."""
    write_agent(limited, fails=2, seconds=3)
    with limited.start("run", plan(limited, 2), "--json") as run:
        lines = iter(run.process.stdout or ())
        before: list[str] = []
        while sum('"task_waiting"' in line for line in before) < 2:
            before.append(next(lines))
        used, began = processor_seconds(run.process.pid), time.monotonic()
        time.sleep(1)
        share = (processor_seconds(run.process.pid) - used) / (time.monotonic() - began)
        after = [json.loads(line) for line in lines]
        assert run.process.wait(PATIENCE) == 0
    assert share < 0.2
    kinds = [event["event"] for event in after]
    first = kinds.index("step_started")  # until then nothing but the ends of the waits
    assert set(kinds[:first]) == {"task_waiting"}
    ends = [event["until"] for event in after if event["event"] == "task_waiting"]
    assert ends == [None, None]
    assert len(calls(limited)) == 4


def processor_seconds(process: int) -> float:
    """Return the processor time of a process, in seconds."""
    values = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def test_agent_that_ends_with_0_at_a_limit(limited: Project) -> None:
    write_agent(limited, code=0)
    limited.run(plan(limited)).expect(0)
    assert len(calls(limited)) == 2
    write_agent(limited, fails=9, code=0)
    done = limited.run(plan(limited), "--wait-for-limits", "0", "--no-cache").expect(1)
    assert done.outcome("1.1")["status"] == "failed"
    assert done.outcome("1.1")["error"].startswith("agent mine is at its usage limit: usage limit reached")


def test_wait_is_not_part_of_the_time_limit(limited: Project) -> None:
    write_agent(limited, seconds=3)
    limited.run(plan(limited), "--timeout", "2s").expect(0)


def test_time_limit_ends_an_agent_that_waits_by_itself(limited: Project) -> None:
    """That does not fail the task either: it is resumed, and the next one of the agent waits."""
    (limited.shared / "agent").write_text((limited.shared / "agent").read_text().replace("exit 1", "sleep 60"))
    done = limited.run(plan(limited, 2), "--timeout", "1s", "--pool-size", "1").expect(1)
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}
    assert calls(limited) == ["1.1 1", "1.2 1"]
    error = done.outcome("1.1")["error"]
    assert error.startswith("timed out after 1 s")
    assert "agent mine is at its usage limit: usage limit reached, wait for 2 seconds" in error
    started = {event["task"]: datetime.fromisoformat(event["time"]) for event in done.events("task_started")}
    ended = next(event for event in done.events("task_finished") if event["task"] == "1.1")
    assert started["1.2"] - datetime.fromisoformat(ended["time"]) > timedelta(seconds=1)
    again = limited.call("resume", "--json").expect(0)
    assert again.statuses == {"1.1": "changed", "1.2": "changed"}


@pytest.mark.parametrize(
    ("longest", "words"), [("0", "(wait_for_limits is 0)"), ("1s", "(wait_for_limits is 1s)")]
)
def test_wait_that_takes_too_long(limited: Project, longest: str, words: str) -> None:
    done = limited.run(plan(limited), "--wait-for-limits", longest).expect(1)
    assert calls(limited) == ["1.1 1"]
    error = done.outcome("1.1")["error"]
    assert "agent mine is at its usage limit: usage limit reached" in error
    assert error.endswith(f"it may not wait longer {words}")
    limited.call("resume").expect(0)
    assert len(calls(limited)) == 2


def test_wait_survives_a_kill(limited: Project) -> None:
    write_agent(limited, seconds=6)
    with limited.start("run", plan(limited), "--json") as started:
        wait_for(lambda: is_waiting(limited), "the limit")
        assert open_task(limited)["waiting_until"]
        started.signal(signal.SIGKILL)
        started.done()
    began = datetime.now(UTC)
    with limited.start("resume", "--json") as resumed:
        wait_for(lambda: open_task(limited)["status"] == "pending", "the resume")
        until = open_task(limited)["waiting_until"]
        shown = limited.call("status").expect(0).out
        done = resumed.done().expect(0)
    at = local_time(until)
    assert f"waiting until {at}" in shown
    said = [record["message"] for record in done.events("notice")]
    assert f"agent mine waits for its provider until {at}; its tasks start then" in said
    assert len(calls(limited)) == 2
    (start,) = done.events("task_started")
    assert datetime.fromisoformat(start["time"]) - began > timedelta(seconds=1)


def open_task(project: Project) -> dict[str, Any]:
    (task,) = json.loads(project.call("status", "--json").expect(0).out)["open"]
    return dict(task)


def is_waiting(project: Project) -> bool:
    path = project.state / "patchyard.db"
    if not path.exists():
        return False
    with Store.beside(project.root / ".git") as store:
        return any(one.waits_until for run in store.runs() for one in store.attempts(run.id))


def test_agent_that_is_refused_fails_once(project: Project) -> None:
    """Later tasks of the agent do not start, others do; the sentence says what to do."""
    (project.shared / "claude").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exit 0\necho x >> "$SHARED/calls"\necho \'{REFUSED}\'\nexit 1\n'
    )
    (project.shared / "claude").chmod(0o755)
    project.environ["PATH"] = f"{project.shared}:{project.environ['PATH']}"
    text = (
        "# Demo\n\n### Task 1.1: A\n\nDo.\n\n### Task 1.2: B\n\nDo.\n\n### Task 1.3: C\n\n**Run:** `touch c`\n"
    )
    done = project.run(project.plan(text), "--agent", "claude", "--pool-size", "1").expect(1)

    assert calls(project) == ["x"]
    assert done.statuses == {"1.1": "failed", "1.2": "skipped", "1.3": "changed"}
    sentence = "set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN or CLAUDE_CODE_OAUTH_TOKEN, or log in"
    assert sentence in done.outcome("1.1")["error"]
    assert sentence in done.outcome("1.2")["error"]
    (notice,) = [one for one in done.events("notice") if one["level"] == "error"]
    assert sentence in notice["message"]


class TestPauses:
    def test_pauses_grow_and_start_again(self) -> None:
        moment = [datetime(2026, 1, 1, tzinfo=UTC)]
        limits = AgentLimits(3600, clock=lambda: moment[0])
        limit = Limit(LimitKind.OVERLOADED, None, "busy")
        found = []
        for _ in range(len(PAUSES) + 1):
            until = limits.add("a", limit)
            assert limits.add("a", limit) == until  # of another task, at the same time
            found.append((until - moment[0]).total_seconds())
            moment[0] = until
        assert found == [*PAUSES, PAUSES[-1]]
        limits.clear("a")
        assert limits.add("a", limit) - moment[0] == timedelta(seconds=PAUSES[0])
        assert limits.remaining("b") == 0

    def test_time_that_is_named(self) -> None:
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        limits = AgentLimits(3600, clock=lambda: moment)
        later = moment + timedelta(hours=2)
        assert limits.add("a", Limit(LimitKind.USAGE, later, "")) == later
        assert limits.remaining("a") == 7200


@pytest.mark.parametrize(("options", "called"), [(["--repairs", "0"], 3), (["--repairs", "1"], 5)])
def test_an_agent_that_always_fails_at_once_gets_no_more_tasks(
    project: Project, options: list[str], called: int
) -> None:
    project.declare_agent('echo "$PATCHYARD_TASK" >> "$SHARED/calls"; echo "Please log in: $PWD/$$"; exit 4')

    done = project.run(plan(project, 6), "--pool-size", "1", *options).expect(1)

    assert len(calls(project)) == called
    assert list(done.statuses.values()) == ["failed"] * 3 + ["skipped"] * 3
    (notice,) = [record["message"] for record in done.events("notice") if record["level"] == "error"]
    assert notice.startswith("agent mine ended the same way for its first 3 tasks, within seconds (exit code 4")
    assert done.outcome("1.6")["error"] == f"it did not start: {notice}"
    (project.shared / "agent").write_text('echo done > "$PATCHYARD_TASK.txt"')
    assert set(project.call("retry", done.run, "--json").expect(0).statuses.values()) == {"changed"}


def test_an_agent_that_changes_something_still_gets_tasks(project: Project) -> None:
    project.declare_agent('echo half > half; echo "cannot finish"; exit 4')

    done = project.run(plan(project, 5), "--pool-size", "1", "--repairs", "0").expect(1)

    assert list(done.statuses.values()) == ["failed"] * 5


@pytest.mark.parametrize(
    ("tails", "seconds", "is_useless"),
    [
        (["no key in /home/a/1", "no key in /tmp/b", "no key in /c"], 1.0, True),
        (["try 3 of 4", "try 1 of 4", "try 2 of 4"], 1.0, True),
        (["", "", ""], 1.0, True),
        (["one", "two", "two", "two"], 1.0, False),
        (["same", "same"], 1.0, False),
        (["same", "same", "same"], 60.0, False),
    ],
)
def test_ends_of_first_calls(tails: list[str], seconds: float, *, is_useless: bool) -> None:
    limits, step = AgentLimits(0.0), Step(StepKind.AGENT, "agent", ("agent",))
    reasons = [
        limits.failed_at_once("mine", f"1.{number}", result)
        for number, tail in enumerate(tails, 1)
        if limits.may_be_useless("mine", result := StepResult(step, 1, seconds, tail=f"{tail}\n"))
    ]

    assert bool(reasons and reasons[-1]) is is_useless
    limits.worked("mine")
    assert not limits.may_be_useless("mine", StepResult(step, 1, 1.0))

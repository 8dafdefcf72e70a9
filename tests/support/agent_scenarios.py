"""What becomes of a task of a real agent whose work fails, or whose provider does not serve it.

The same here and in containers: a test gives the place where it happens.
"""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from threading import Event

import pytest
from agent_cases import CASES, KEY, UNATTENDED, Case, path
from model_server import ModelServer, Refusal
from project import Done, Project, Record
from provider_answers import limited, overloaded, refused_key

from pipeline.store.store import Store

PATIENCE = 1100.0
"""In seconds: agents try again for a minute or two; an agent of several hundred megabytes may be downloaded."""
MOST_REQUESTS = 8
"""Of an agent whose key is refused: it tries again a few times."""
SECONDS = 5
"""For how long a provider says that a limit is."""


@dataclass
class Place:
    """Where a real agent runs: as processes of this machine, or `contained` in containers of an engine."""

    project: Project
    case: Case
    contained: bool

    def __post_init__(self) -> None:
        environ = {} if self.contained else {**UNATTENDED, "PATH": path(), "TZ": "UTC"}
        self.project.environ |= environ
        for command in () if self.contained else self.case.setup:
            subprocess.run(["sh", "-c", command], env=self.project.environ, check=True)

    def run(
        self, model: ModelServer, *arguments: str, key: str | None = KEY, login: bool = False, count: int = 1
    ) -> Done:
        """Run a plan of some tasks for the agent; `login`: with a plan's login, if it has one.

        Args:
            model: The provider.
            arguments: More of the command line.
            key: The agent's key; `None` for none.
            login: Whether the key is that of a plan's login, where an agent has one.
            count: The number of tasks.
        """
        case, project = self.case, self.project
        if self.contained:
            project.configure(case.configuration(model.port))
        plan = project.plan(case.plan(model.port, "model" if self.contained else "127.0.0.1", count))
        name = (login and case.login) or case.key
        project.environ |= {name: key} if key else {}
        where = ("--mode", "dagger") if self.contained else ()
        return project.call("run", plan, "--json", "--agent", case.agent, *where, *arguments, patience=PATIENCE)

    def has_waited(self) -> bool:
        """Whether a task waits for its agent, or has."""
        if not (self.project.state / "patchyard.db").exists():
            return False
        with Store.beside(self.project.root / ".git") as store:
            events = [event.record for run in store.runs() for event in store.events(run.id)]
        return any(record["event"] == "task_waiting" for record in events)

    def refusals(self, refusal: Refusal) -> Iterator[Refusal]:
        """Refuse every request until the task waits."""
        while not self.has_waited():
            yield refusal


def check_paid(outcome: Record, case: Case, model: ModelServer, calls: int = 1) -> None:
    """The outcome of a task has what the server charged for all calls of its agent."""
    assert outcome.get("cost") == (pytest.approx(calls * case.cost) if case.cost else None)
    charged = model.charged.known
    assert outcome["tokens"] == {name: charged[name] for name in charged if name in case.counts}


def repair(place: Place) -> None:
    """A first try fails its verification; the repair passes, and is given what failed."""
    case = place.case
    with ModelServer(case.wrong, scripts={"# Try 2 of 3": case.turns}) as model:
        done = place.run(model).expect()
    outcome = done.outcome("1.1")
    assert (outcome["status"], outcome["rounds"], outcome["files"]) == ("changed", 2, ["greeting.txt"])
    assert place.project.show(f"{outcome['branch']}:greeting.txt") == "Hello"
    check_paid(outcome, case, model, 2)
    assert done.finished.get("cost") == (pytest.approx(outcome["cost"]) if case.cost else None)
    with Store.beside(place.project.root / ".git") as store:
        rounds = store.rounds(done.run)
    assert [(one.number, one.failure is None) for one in rounds] == [(1, False), (2, True)]
    assert [one.cost for one in rounds] == [pytest.approx(case.cost) if case.cost else None] * 2
    assert len({one.tokens for one in rounds}) == 1
    (event,) = done.events("repair_started")
    assert (event["round"], event["rounds"], event["exit_code"]) == (2, 3, 1)
    given = [request.text for request in model.requests if "# Try 2 of 3" in request.text]
    assert all("Hullo" in text and "greeting.txt | 1 +" in text for text in given)
    assert given


def limit(place: Place) -> None:
    """At a limit that has a time the task waits until then, and continues without a repair."""
    case = place.case
    until = (datetime.now(UTC) + timedelta(seconds=75)).replace(second=0, microsecond=0)
    refusal = limited(case.agent, SECONDS, until)
    with ModelServer(case.turns, place.refusals(refusal)) as model:
        done = place.run(model, "--pool-size", "1", login=True, count=2).expect()
    wait = done.events("task_waiting")[0]
    end = datetime.fromisoformat(wait["until"])
    if case.agent in {"claude", "codex"}:
        assert end == until
    else:
        assert end - datetime.fromisoformat(wait["time"]) <= timedelta(seconds=SECONDS)
    assert wait["reason"].startswith(f"agent {case.agent} is at ")
    again = [event for event in done.events("step_started") if event["kind"] == "agent"]
    later = [event for event in again if datetime.fromisoformat(event["time"]) >= end]
    assert len(later) == 2
    assert done.events("repair_started") == []
    outcomes = done.finished["outcomes"]
    assert {outcome["rounds"] for outcome in outcomes} == {1}
    if case.cost:  # a login may have another model
        assert done.finished["cost"] == pytest.approx(sum(outcome["cost"] for outcome in outcomes))
    charged = model.charged.known
    assert done.finished["tokens"] == {name: charged[name] for name in charged if name in case.counts}


def overload(place: Place) -> None:
    """An overloaded provider does not fail the task: `resume` runs it, without a repair."""
    case, serves = place.case, Event()
    busy = iter(lambda: None if serves.is_set() else overloaded(case.agent), None)
    with ModelServer(case.turns, busy) as model:
        done = place.run(model, "--wait-for-limits", "0").expect(1)
        serves.set()
        resumed = place.project.call("resume", "--json", patience=PATIENCE).expect()
    assert done.statuses == {"1.1": "failed"}
    assert f"agent {case.agent} has an overloaded provider" in done.outcome("1.1")["error"]
    assert done.events("repair_started") == resumed.events("repair_started") == []
    assert (resumed.statuses, resumed.outcome("1.1")["rounds"]) == ({"1.1": "changed"}, 1)
    check_paid(resumed.outcome("1.1"), case, model)


def refusal(place: Place, key: str | None = KEY) -> None:
    """A key that is refused, or none, fails one task, once; no other of the agent starts."""
    case = place.case
    with ModelServer(case.turns, repeat(refused_key(case.agent))) as model:
        done = place.run(model, "--pool-size", "1", key=key, count=3).expect(1)
    assert done.statuses == {"1.1": "failed", "1.2": "skipped", "1.3": "skipped"}
    sentence = f"agent {case.agent} cannot be used ("
    assert all(sentence in outcome["error"] for outcome in done.finished["outcomes"])
    assert case.key in done.outcome("1.1")["error"]
    assert [event["kind"] for event in done.events("step_started")].count("agent") == 1
    assert len(model.requests) <= MOST_REQUESTS
    (notice,) = [event for event in done.events("notice") if event["level"] == "error"]
    assert sentence in notice["message"]


def no_key(place: Place) -> None:
    """Without a key."""
    refusal(place, key=None)


Scenario = Callable[[Place], None]
SCENARIOS: tuple[Scenario, ...] = (repair, limit, overload, refusal)
ANYWHERE = [(case, scenario) for scenario in SCENARIOS for case in CASES]
ONLY_HERE = [(case, no_key) for case in CASES if case.needs_key]
"""Without a key, a run in containers ends before any task."""


def name_of(value: object) -> str | None:
    """Return how a case or a scenario is named in the id of a test."""
    return value.agent if isinstance(value, Case) else getattr(value, "__name__", None)

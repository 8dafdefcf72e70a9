"""The program is killed at random moments of repairs, waits and reruns of agents, and resumed each time."""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from project import PATIENCE, Done, Project, Started, started

from pipeline.store.store import Store

KILLS = int(os.environ.get("PATCHYARD_TEST_KILLS", "9"))
SEED = os.environ.get("PATCHYARD_TEST_SEED")
AGENT = """\
cost=0.$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
cat > /dev/null
echo "line of $PATCHYARD_TASK" >> {file}
sleep 0.3
echo "$PATCHYARD_TASK $cost" >> "$SHARED/ledger"
echo "cost: $cost"
if [ "$PATCHYARD_TASK" = 1.4 ] && [ "$(grep -c ^1.4 "$SHARED/ledger")" -le 2 ]; then
  echo "limit: 2 seconds"
  exit 1
fi
"""
"""An agent each of whose calls has another cost; the first two for task 1.4 end at a limit."""
PLAN = """\
# Demo

### Task 1.1: First

Add a line.

### Task 1.2: Second

Add a line, which conflicts with the first one.

### Task 1.3: Third
**Agent:** grower

Let a file grow.

**Verification:**
- [ ] `sleep 0.1; test $(wc -l < grown.txt) -ge 3`

### Task 1.4: Fourth
**Agent:** limited

Wait.
"""
PHASES = ("repair", "wait", "rerun")


@pytest.fixture
def tried(project: Project) -> Project:
    """A project with an agent whose work conflicts, one that needs repairs, and one that is at a limit."""
    tables = []
    for name, file in (("mine", "README.md"), ("grower", "grown.txt"), ("limited", "waited.txt")):
        path = project.shared / name
        path.write_text(AGENT.replace("{file}", file))
        tables.append(
            f"[agents.{name}]\ncommand = \"sh '{path}'\"\n"
            "cost = 'cost: (?P<cost>[0-9.]+)'\nlimit = 'limit: (?P<seconds>[0-9]+) seconds'\n"
        )
    project.configure('agent = "mine"\n' + "".join(tables))
    return project


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rounds_are_stored_and_paid_once_despite_random_kills(tried: Project) -> None:
    """The kills are spread over the phases; each run that is done is checked, and another one begins."""
    seed = SEED or str(time.time_ns())
    chance, kills = random.Random(seed), Counter[str]()  # noqa: S311 - no secret is made of it
    plan = tried.plan(PLAN)
    try:
        while kills.total() < KILLS:
            check(tried, killed_until_done(tried, plan, chance, kills))
        assert {kills[phase] for phase in PHASES} <= {KILLS // 3, -(-KILLS // 3)}
    except BaseException as error:
        error.add_note(f"after {dict(kills)}; PATCHYARD_TEST_SEED={seed} repeats it")
        raise


def killed_until_done(project: Project, plan: Path, chance: random.Random, kills: Counter[str]) -> Done:
    """Run a plan, kill it in each phase in turn, and resume it, until it is done; count the kills."""
    (project.shared / "ledger").write_text("")
    known = set(runs(project))
    while True:
        run = next((run for run in runs(project) if run not in known), None)
        arguments = ["resume", run] if run else ["run", str(plan), "--no-cache"]
        phase = min(PHASES, key=lambda phase: (kills[phase], chance.random()))
        out = project.shared / "events"
        with out.open("wb") as to:
            process = started([*arguments, "--json"], project.root, project.environ, stdout=to, session=True)
            with Started(process) as program:
                is_killed = kills.total() < KILLS and killed(project, program, known, phase, chance)
                done = program.done()
        if is_killed:
            kills[phase] += 1
        else:
            return Done(done.code, out.read_text(), done.err).expect(0)


def killed(project: Project, program: Started, known: set[str], phase: str, chance: random.Random) -> bool:
    """Kill the program in a phase; return whether it was not over before."""
    pause, end = chance.uniform(0.0, 0.7), time.monotonic() + PATIENCE
    while program.process.poll() is None and time.monotonic() < end:
        if phase in phases(project, known):
            time.sleep(pause)
            if phase in phases(project, known) and program.process.poll() is None:
                program.signal(signal.SIGKILL)
                return True
        time.sleep(0.02)
    return False


def runs(project: Project) -> list[str]:
    """Return the runs that are stored."""
    if not (project.state / "patchyard.db").exists():
        return []
    with Store.beside(project.root / ".git") as store:
        return [run.id for run in store.runs()]


def phases(project: Project, known: set[str]) -> set[str]:
    """Return what the tasks of the present run are in the middle of."""
    run = next((run for run in runs(project) if run not in known), None)
    if run is None:
        return set()
    with Store.beside(project.root / ".git") as store:
        attempts, rounds = {one.task: one for one in store.attempts(run)}, store.rounds(run)
    last = {task: one for task, one in attempts.items() if one.status is None}
    found = {
        "repair": "1.3" in last and len(rounds) in {1, 2},
        "wait": "1.4" in last and last["1.4"].waits_until is not None,
        "rerun": "1.2" in last and last["1.2"].cause is not None,
    }
    return {phase for phase, is_there in found.items() if is_there}


def check(project: Project, done: Done) -> None:
    """Every round and every rerun ended once, and every call that ended is paid once."""
    run = done.run
    assert done.statuses == dict.fromkeys(("1.1", "1.2", "1.3", "1.4"), "changed")
    assert project.show("patchyard/demo/1.2:README.md").splitlines()[-2:] == ["line of 1.1", "line of 1.2"]
    assert project.show("patchyard/demo/1.3:grown.txt").splitlines() == ["line of 1.3"] * 3
    with Store.beside(project.root / ".git") as store:
        rounds = [(one.task, one.number) for one in store.rounds(run)]
        ended = [one for one in store.attempts(run) if one.status == "changed"]
        stored = store.steps_of_run(run)
        spent = sum(work.usage.cost or 0 for work in store.work(run).values())
    assert sorted(rounds) == [("1.3", 1), ("1.3", 2), ("1.3", 3)]
    assert sorted((one.task, one.cause is not None) for one in ended) == [
        ("1.1", False),
        ("1.2", False),
        ("1.2", True),
        ("1.3", False),
        ("1.4", False),
    ]
    ledger = [line.split() for line in (project.shared / "ledger").read_text().splitlines()]
    known = {(task, float(cost)) for task, cost in ledger}
    paid = [(key[0], step.cost) for key, steps in stored.items() for step in steps if step.cost is not None]
    assert len(set(paid)) == len(paid)
    assert set(paid) <= known
    assert spent == pytest.approx(sum(cost for _, cost in paid))
    assert done.finished["cost"] == pytest.approx(spent, abs=1e-4)
    for task in done.statuses:
        of_task = sum(cost for name, cost in paid if name == task)
        assert done.outcome(task)["cost"] == pytest.approx(of_task, abs=1e-4)

"""Two hosts, each with a clone of its own, and one PostgreSQL database between them."""

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import Done, Project, Started, wait_for
from repositories import Clone, User
from repositories import make_repository as make

from pipeline.store import Store
from tasks.model import RunStatus

pytestmark = pytest.mark.postgres
SHORT, LONG = 6, 600
"""Leases in seconds: one that tests wait for, though long for a busy machine, and one without an end."""
BLOCKED = """
echo "$PATCHYARD_HOST_OF_TEST" >> "$SHARED/$PATCHYARD_TASK.began"
touch "$SHARED/began"
[ -e "$SHARED/go" ] || sleep 600
echo two > two.txt
"""
"""Goes on at once where the file `go` is there, and otherwise not before its host is dead."""
NOTED = 'echo "$PATCHYARD_HOST_OF_TEST" >> "$SHARED/$PATCHYARD_TASK.began"; '


@dataclass
class Host:
    """A machine: a clone of the repository, and its name."""

    name: str
    project: Project


@pytest.fixture
def host(user: User, tmp_path: Path, postgres: str) -> Callable[..., Host]:
    """Make a host: `host("one", lease)`; all have the same remote."""
    seed = make(user, tmp_path / "seed", {"README.md": "# Sample\n"})
    user.git("clone", "--quiet", "--bare", seed.path, tmp_path / "remote.git", cwd=tmp_path)

    def build(name: str, lease: int = SHORT) -> Host:
        user.git("clone", "--quiet", tmp_path / "remote.git", tmp_path / name, cwd=tmp_path)
        environ = {
            "PATCHYARD_DATABASE": postgres,
            "PATCHYARD_HOST": name,
            "PATCHYARD_HOST_OF_TEST": name,
            "PATCHYARD_LEASE": str(lease),
            "PATCHYARD_GRACE": "0.2s",
        }
        return Host(name, Project(Clone(user, tmp_path / name), environ))

    return build


def plan_on(host: Host) -> Path:
    """Write the plan of these tests: four tasks, the second of which is blocked on the first host."""
    return host.project.tasks(
        {
            "1.1": NOTED + "echo one > one.txt",
            "1.2": BLOCKED,
            "2.1": NOTED + "cat one.txt two.txt > both.txt",
            "2.2": NOTED + "echo four > four.txt",
        }
    )


def began(host: Host) -> dict[str, list[str]]:
    """Return on which hosts each task was begun, in order."""
    return {
        path.name.removesuffix(".began"): path.read_text().split()
        for path in sorted(host.project.shared.glob("*.began"))
    }


def start_on(host: Host, postgres: str) -> tuple[Started, str]:
    """Start the plan; returns when its first task is over and its second one under way, with the run's id."""
    started = host.project.start("run", plan_on(host), "--json")
    wait_for((host.project.shared / "began").exists, "the second task")
    with Store(postgres) as store:
        wait_for(lambda: "1.1" in finished(store), "the first task")
        return started, store.run().id


def finished(store: Store) -> list[str]:
    """Return the tasks whose end is among the events of the only run."""
    records = [event.record for run in store.runs() for event in store.events(run.id)]
    return [str(record["task"]) for record in records if record["event"] == "task_finished"]


def taken_over(host: Host, run: str) -> Done:
    """Take a run over as soon as its lease is over, and let nothing block any more."""
    (host.project.shared / "go").touch()
    done: list[Done] = []

    def resumed() -> bool:
        done.append(host.project.call("resume", run, "--json"))
        return done[-1].code == 0

    wait_for(resumed, "the end of the lease")
    return done[-1]


def check_end(host: Host, postgres: str, run: str) -> None:
    """Check that every task of the run ended exactly once, and what there is of it."""
    with Store(postgres) as store:
        assert store.run(run).status is RunStatus.SUCCEEDED
        assert [(item.outcome.task, item.outcome.status) for item in store.tasks(run)] == [
            ("1.1", "changed"),
            ("1.2", "changed"),
            ("2.1", "changed"),
            ("2.2", "changed"),
        ]
        numbers = [event.sequence for event in store.events(run)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert sorted(finished(store)) == ["1.1", "1.2", "2.1", "2.2"]
    assert host.project.show("patchyard/demo/2.1:both.txt") == "one\ntwo"


def test_the_run_of_a_host_that_died_is_taken_over(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGKILL)
        started.process.wait()
        taken_over(two, run)

    check_end(two, postgres, run)
    assert began(two) == {"1.1": ["one"], "1.2": ["one", "two"], "2.1": ["two"], "2.2": ["two"]}
    (listed,) = one.project.call("runs", "--json").expect(0).records
    assert (listed["run"], listed["status"]) == (run, "succeeded")


def test_a_host_that_was_paused_writes_nothing_more(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one"), host("two")
    started, run = start_on(one, postgres)
    with started:
        started.signal(signal.SIGSTOP)
        taken_over(two, run)
        check_end(two, postgres, run)
        with Store(postgres) as store:
            before = (
                store.run(run),
                store.tasks(run),
                store.attempts(run),
                store.events(run),
                store.branches(),
            )
        started.signal(signal.SIGCONT)
        done = started.done()

    assert done.code == 1
    assert "Traceback" not in done.err
    assert len(done.err.splitlines()) == 1
    assert re.match(
        rf"patchyard: (another process works on run {run} now"
        rf"|run {run} was not looked after for \d+ s, so another process may have it"
        r"|the database .* cannot be used: terminating connection due to idle-in-transaction timeout)",
        done.err,
    )
    with Store(postgres) as store:
        assert before == (
            store.run(run),
            store.tasks(run),
            store.attempts(run),
            store.events(run),
            store.branches(),
        )
    check_end(two, postgres, run)


def test_a_run_that_a_host_works_on_is_refused_to_others(host: Callable[..., Host], postgres: str) -> None:
    one, two = host("one", LONG), host("two", LONG)
    started, run = start_on(one, postgres)
    with started:
        refused = two.project.call("resume", run).expect(2)
        assert refused.err == (f"patchyard: run {run} is under way on one; `patchyard cancel {run}` ends it\n")
        (listed,) = two.project.call("runs", "--json").expect(0).records
        assert (listed["run"], listed["status"]) == (run, "running")
        two.project.call("cancel", run).expect(0)
        done = started.done().expect(130)
    assert done.finished["status"] == "cancelled"

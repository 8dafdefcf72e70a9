"""Test that one process at a time has a run: claims, leases and lost leases."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from databases import transaction_of
from project import wait_for
from sqlalchemy import text

from pipeline.store.records import Run, StoredAttempt
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.store import LeaseLostError, Store
from tasks.model import Step, StepKind
from tasks.outcome import Conflict, Outcome, PullRequest, RunStatus, Status, StepResult

CLAIM = Path(__file__).parents[2] / "support" / "claim.py"
NAME = "20260102-030405-abcd"


def make_run(name: str = NAME, **values: object) -> Run:
    given: dict[str, object] = {
        "id": name,
        "plan_path": "plan.md",
        "plan_name": "plan",
        "plan_title": "Plan",
        "plan_text": "# Plan\n",
        "base": "a" * 40,
        "base_name": "main",
        "pool_size": 3,
        "status": RunStatus.PENDING,
        "started_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Run(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A store with one run."""
    with Store(database) as store:
        store.open_run(make_run())
        yield store


@pytest.fixture
def other(database: str) -> Iterator[Store]:
    """The same database, opened by another host."""
    with Store(database) as store:
        yield store


def let_the_lease_end(database: str) -> None:
    """Make the lease of every run expire."""
    with transaction_of(database) as connection:
        connection.execute(text("UPDATE runs SET lease_until = '2026-01-01T00:00:00.000000+00:00'"))


def test_one_of_many_processes_claims_a_run(database: str, tmp_path: Path) -> None:
    names = [f"run-{number:02}" for number in range(20)]
    with Store(database) as store:
        for name in names:
            store.open_run(make_run(name))
    gate = tmp_path / "gate"
    owners = [f"host-{number}" for number in range(6)]
    processes = [
        subprocess.Popen(
            [sys.executable, CLAIM, database, gate, owner, *names], stdout=subprocess.PIPE, text=True
        )
        for owner in owners
    ]
    wait_for(lambda: all((tmp_path / f"gate.{owner}").exists() for owner in owners), "all processes")
    gate.touch()
    got = {
        owner: process.communicate(timeout=60)[0].split()
        for owner, process in zip(owners, processes, strict=True)
    }

    assert [process.returncode for process in processes] == [0] * len(processes)
    assert sorted(name for each in got.values() for name in each) == names
    with Store(database) as store:
        assert {run.id: run.owner for run in store.runs()} == {
            name: owner for owner, each in got.items() for name in each
        }


def test_claim_is_valid_until_its_lease_expires(store: Store, other: Store, database: str) -> None:
    assert not store.is_leased(NAME)
    assert store.claim(NAME, "one", "host", 60)
    assert store.is_leased(NAME)
    assert not other.claim(NAME, "two", "other host", 60)
    run = other.run()
    assert (run.owner, run.host, run.status) == ("one", "host", RunStatus.RUNNING)
    assert run.lease_until is not None
    assert timedelta(seconds=30) < run.lease_until - datetime.now(UTC) < timedelta(seconds=90)

    let_the_lease_end(database)

    assert not store.is_leased(NAME)
    assert other.claim(NAME, "two", "other host", 60)
    assert store.run().owner == "two"


def test_claim_can_be_renewed_and_released(store: Store, other: Store, database: str) -> None:
    assert store.claim(NAME, "one", "host", 60)
    let_the_lease_end(database)
    store.renew(NAME, "one", 60)
    assert not other.claim(NAME, "two", "other host", 60)
    store.release(NAME, "one")
    assert other.claim(NAME, "two", "other host", 60)
    store.release(NAME, "one")
    assert store.run().owner == "two"


def test_lease_of_a_dead_owner_does_not_count(store: Store, other: Store) -> None:
    assert store.claim(NAME, "one", "host", 60)
    assert not other.claim(NAME, "two", "host", 60, dead_owner="somebody else")
    assert other.claim(NAME, "two", "host", 60, dead_owner="one")


STEP = Step(StepKind.RUN, "true", ("true",))
OUTCOME = Outcome("1.1", "T", 1, Status.UNCHANGED)
ATTEMPT = StoredAttempt("1.1", 1, "T", 1, datetime(2026, 1, 2, tzinfo=UTC))
WRITES = {
    "keep_outcome": lambda store: store.keep_outcome(NAME, 0, OUTCOME, branches={"b": "c"}),
    "keep_step": lambda store: store.keep_step(NAME, "1.1", 1, StepResult(STEP, 0, 0.1)),
    "begin_attempt": lambda store: store.begin_attempt(NAME, ATTEMPT),
    "end_attempt": lambda store: store.end_attempt(NAME, ATTEMPT),
    "keep_conflicts": lambda store: store.keep_conflicts(NAME, [Conflict(1, ("1.1", "1.2"), ("a",))]),
    "keep_events": lambda store: store.keep_events(NAME, [{"event": "notice"}]),
    "keep_pull_request": lambda store: store.keep_pull_request(NAME, PullRequest("1.1", 1, "u", "b", "main")),
    "keep_branch": lambda store: store.keep_branch("b", commit="c"),
    "set_status": lambda store: store.set_status(NAME, RunStatus.PAUSED),
    "close_run": lambda store: store.close_run(NAME, RunStatus.SUCCEEDED, seconds=1, speedup=1, efficiency=1),
    "relocate_run": lambda store: store.relocate_run(NAME, "/elsewhere", PublishOptions(), StoredCall()),
    "renew": lambda store: store.renew(NAME, "one", 60),
}
"""All methods with which the owner of a run writes to it."""


def everything(database: str) -> dict[str, list[tuple[object, ...]]]:
    """Return every row of every table."""
    tables = ("runs", "tasks", "attempts", "steps", "events", "conflicts", "branches", "inputs")
    with transaction_of(database) as connection:
        return {
            name: sorted(map(tuple, connection.execute(text(f"SELECT * FROM {name}")).all()), key=repr)  # noqa: S608 - names of this test
            for name in tables
        }


@pytest.mark.parametrize("write", WRITES)
def test_writes_fail_after_the_lease_was_lost(store: Store, other: Store, database: str, write: str) -> None:
    assert store.claim(NAME, "one", "host", 60)
    store.act_as(NAME, "one")
    store.keep_outcome(NAME, 0, Outcome("1.0", "T", 1, Status.UNCHANGED))
    WRITES[write](store)  # while it has the lease
    let_the_lease_end(database)
    assert other.claim(NAME, "two", "other host", 60)
    before = everything(database)

    with pytest.raises(LeaseLostError, match=f"run {NAME} was claimed by another process"):
        WRITES[write](store)

    assert everything(database) == before

"""The store, on a real database."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from pipeline.store import BranchRecord, Run, Store, StoredStep, StoreError, UnknownRunError, new_run_id
from tasks.model import Conflict, Outcome, Patch, PullRequest, RunStatus, Status, Step, StepKind, StepResult

STARTED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def make_run(name: str = "20260102-030405-abcd", **values: object) -> Run:
    given: dict[str, object] = {
        "id": name,
        "plan_path": "plan.md",
        "plan_name": "plan",
        "plan_title": "Plan",
        "plan_text": "# Plan\n",
        "base": "a" * 40,
        "base_name": "main",
        "pool_size": 3,
        "status": RunStatus.RUNNING,
        "started_at": STARTED,
        "settings": {"remote": "origin", "labels": ["x"]},
    }
    return Run(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


def make_outcome(task: str = "1.1", **values: object) -> Outcome:
    given: dict[str, object] = {"task": task, "title": "T", "batch": 1, "status": Status.CHANGED}
    return Outcome(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


def test_a_run_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
    with Store.beside(tmp_path) as store:
        assert store.run() == make_run()
        store.close_run(make_run().id, RunStatus.FAILED, seconds=1.5, speedup=2.5, efficiency=0.9)
        closed = store.run()
    assert (closed.status, closed.seconds, closed.speedup, closed.efficiency) == (
        RunStatus.FAILED,
        1.5,
        2.5,
        0.9,
    )
    assert closed.finished_at is not None
    assert closed.finished_at.tzinfo is not None


def test_an_outcome_comes_back_with_its_patch_and_any_file_name(tmp_path: Path) -> None:
    names = ("a b", "line\nbreak", "\udcff\udcfe", "é")
    patch = Patch("b" * 40, "c" * 40, b"diff \xff\x00\n", names)
    outcome = make_outcome(
        worktree="wt-1",
        seconds=1.25,
        started_at=STARTED,
        start="b" * 40,
        branch="patchyard/plan/1.1",
        commit="d" * 40,
        files=names,
        exit_code=0,
        patch=patch,
    )
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
        store.keep_outcome(make_run().id, 0, outcome, start_branch="x", builds_on=["0.1"], log=tmp_path / "log")
        (stored,) = store.tasks(make_run().id)
        assert stored.outcome == outcome
        assert stored.outcome.patch == patch
        assert (stored.start_branch, stored.builds_on, stored.log) == ("x", ("0.1",), tmp_path / "log")
        assert stored.request is None
        request = PullRequest("1.1", 7, "https://example.org/7", "patchyard/plan/1.1", "main", "opened")
        store.keep_request(make_run().id, request)
        assert store.tasks(make_run().id)[0].request == request


def test_tasks_come_in_the_plans_order_and_steps_in_theirs(tmp_path: Path) -> None:
    step = Step(StepKind.RUN, "exit 3", ("sh", "-c", "exit 3"))
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
        for position, task in ((2, "1.10"), (0, "1.2"), (1, "1.1")):
            store.keep_outcome(make_run().id, position, make_outcome(task))
        store.keep_step(make_run().id, "1.1", 2, StepResult(step, 3, 0.5))
        store.keep_step(make_run().id, "1.1", 1, StepResult(step, None, 0.0, error="not found"))
        assert [item.outcome.task for item in store.tasks(make_run().id)] == ["1.2", "1.1", "1.10"]
        assert store.steps(make_run().id, "1.1") == (
            StoredStep(1, "run", "exit 3", None, 0.0, "not found"),
            StoredStep(2, "run", "exit 3", 3, 0.5, None),
        )


def test_conflicts_and_branches_are_kept(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
        store.keep_conflict(make_run().id, Conflict(1, ("1.1", "1.2"), ("a",)))
        assert store.conflicts(make_run().id) == (Conflict(1, ("1.1", "1.2"), ("a",)),)
        assert store.branch("x") is None
        store.keep_branch("x", commit="1")
        store.keep_branch("x", pushed="1")
        store.keep_branch("x", commit="2")
        assert store.branch("x") == BranchRecord("x", "2", "1")


def test_a_run_is_found_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        with pytest.raises(UnknownRunError, match="there is no run yet"):
            store.run()
        store.open_run(make_run("20260101-000000-aaaa"))
        store.open_run(make_run("20260102-000000-bbbb", started_at=datetime(2027, 1, 1, tzinfo=UTC)))
        assert store.run("20260101").id == "20260101-000000-aaaa"
        assert store.run("latest").id == store.run(None).id == "20260102-000000-bbbb"
        with pytest.raises(UnknownRunError, match="2026010 is the beginning of 2 runs"):
            store.run("2026010")
        with pytest.raises(UnknownRunError, match="there is no run 2025"):
            store.run("2025")


def test_ids_sort_by_time() -> None:
    early, late = new_run_id(STARTED), new_run_id(datetime(2026, 2, 1, tzinfo=UTC))
    assert early < late
    assert early.startswith("20260102-030405-")


def test_a_finished_write_survives_without_closing(tmp_path: Path) -> None:
    store = Store.beside(tmp_path)
    store.open_run(make_run())
    with sqlite3.connect(tmp_path / "patchyard" / "patchyard.db") as other:
        assert other.execute("SELECT id FROM runs").fetchall() == [(make_run().id,)]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_a_database_that_is_none_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "patchyard").mkdir()
    (tmp_path / "patchyard" / "patchyard.db").write_bytes(b"no database" * 200)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        Store.beside(tmp_path)


def test_a_directory_that_cannot_be_made_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "patchyard").write_text("a file in its place")
    with pytest.raises(StoreError, match="cannot make"):
        Store.beside(tmp_path)


def test_a_database_of_an_older_release_gets_what_it_lacks(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
        store.keep_outcome(make_run().id, 0, make_outcome(branch="b"))
    with closing(sqlite3.connect(tmp_path / "patchyard" / "patchyard.db")) as old, old:
        old.execute("ALTER TABLE tasks DROP COLUMN branch")
        old.execute("DROP TABLE conflicts")

    with Store.beside(tmp_path) as store:
        assert [item.outcome.branch for item in store.tasks(make_run().id)] == [None]
        store.keep_outcome(make_run().id, 1, make_outcome("1.2", branch="new"))
        assert store.tasks(make_run().id)[1].outcome.branch == "new"
        assert store.conflicts(make_run().id) == ()


def test_many_open_a_new_database_at_once(tmp_path: Path) -> None:
    gate = Barrier(8)

    def open_it(number: int) -> int:
        gate.wait()
        with Store.beside(tmp_path) as store:
            store.open_run(make_run(f"run-{number}"))
            return len(store.runs())

    with ThreadPoolExecutor(8) as threads:
        counts = list(threads.map(open_it, range(8)))

    assert max(counts) == 8
    with Store.beside(tmp_path) as store:
        assert len(store.runs()) == 8


def test_text_with_bytes_that_are_not_utf_8_is_kept_as_an_escape(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        store.open_run(make_run(plan_path="plan-\udcff.md"))
        assert store.run().plan_path == "plan-\\udcff.md"


def test_the_directory_may_have_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "a?b#c%20d"
    with Store.beside(odd) as store:
        store.open_run(make_run())
    assert (odd / "patchyard" / "patchyard.db").is_file()


def test_commits_that_a_run_set_a_branch_to(tmp_path: Path) -> None:
    with Store.beside(tmp_path) as store:
        store.open_run(make_run())
        run = make_run().id
        store.keep_outcome(run, 0, make_outcome(branch="t", commit="c1"))
        store.keep_outcome(
            run, 1, make_outcome("2.1", branch="u", commit="c2", start="m"), start_branch="batch-1"
        )
        failed = make_outcome("2.2", status=Status.FAILED, start="other")
        store.keep_outcome(run, 2, failed, start_branch="batch-1")

        assert store.commits_of(run, "t") == {"c1"}
        assert store.commits_of(run, "batch-1") == {"m"}
        assert store.commits_of("nosuch", "t") == set()
        assert store.has_ended(run, "2.1")
        assert not store.has_ended(run, "2.3")

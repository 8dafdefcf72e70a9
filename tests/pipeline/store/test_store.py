"""Test the store with SQLite and PostgreSQL."""

import sqlite3
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest
from databases import transaction_of
from sqlalchemy import text

from pipeline.store.records import BranchRecord, Run, SharedBranch, StoredAttempt, StoredStep, new_run_id
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.store import Store, StoreError, UnknownRunError
from tasks.agent_report import MOST_TOKENS, Tokens
from tasks.keys import AgentUse, InputHashes
from tasks.lineage import Lineage
from tasks.model import Mode, Step, StepKind
from tasks.outcome import (
    Conflict,
    Outcome,
    Patch,
    PullRequest,
    PullRequestScope,
    Request,
    RunStatus,
    Status,
    StepResult,
)
from tasks.patch_data import InlineData

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
        "settings": PublishOptions(remote="origin", labels=("x",)),
    }
    return Run(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


def make_outcome(task: str = "1.1", **values: object) -> Outcome:
    given: dict[str, object] = {"task": task, "title": "T", "batch": 1, "status": Status.CHANGED}
    return Outcome(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


def test_run_is_read_as_it_was_stored(database: str) -> None:
    with Store(database) as store:
        store.open_run(make_run())
    with Store(database) as store:
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


def test_outcome_is_read_with_its_patch_and_unusual_file_names(database: str, tmp_path: Path) -> None:
    names = ("a b", "line\nbreak", "\udcff\udcfe", "é")
    patch = Patch("b" * 40, "c" * 40, InlineData(b"diff \xff\x00\n"), names)
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
    with Store(database) as store:
        store.open_run(make_run())
        store.keep_outcome(make_run().id, 0, outcome, start_branch="x", builds_on=["0.1"], log=tmp_path / "log")
        (stored,) = store.tasks(make_run().id)
        assert stored.outcome == outcome
        assert stored.outcome.patch == patch
        assert (stored.start_branch, tuple(stored.builds_on), stored.log) == ("x", ("0.1",), tmp_path / "log")
        assert stored.pull_request is None
        request = PullRequest("1.1", 7, "https://example.org/7", "patchyard/plan/1.1", "main", "opened")
        store.keep_pull_request(make_run().id, request)
        assert store.tasks(make_run().id)[0].pull_request == request


def test_tasks_and_steps_are_ordered(database: str) -> None:
    step = Step(StepKind.RUN, "exit 3", ("sh", "-c", "exit 3"))
    with Store(database) as store:
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


def test_conflicts_and_branches_are_stored(database: str) -> None:
    with Store(database) as store:
        store.open_run(make_run())
        store.keep_conflicts(make_run().id, [Conflict(1, ("1.1", "1.2"), ("a",))])
        assert store.conflicts(make_run().id) == (Conflict(1, ("1.1", "1.2"), ("a",)),)
        assert store.branch("x") is None
        store.keep_branch("x", commit="1")
        store.keep_branch("x", pushed="1")
        store.keep_branch("x", commit="2")
        assert store.branch("x") == BranchRecord("x", "2", "1")


def test_run_is_found_by_a_prefix_of_its_id(database: str) -> None:
    with Store(database) as store:
        with pytest.raises(UnknownRunError, match="this repository has no runs yet"):
            store.run()
        store.open_run(make_run("20260101-000000-aaaa"))
        store.open_run(make_run("20260102-000000-bbbb", started_at=datetime(2027, 1, 1, tzinfo=UTC)))
        assert store.run("20260101").id == "20260101-000000-aaaa"
        assert store.run("latest").id == store.run(None).id == "20260102-000000-bbbb"
        with pytest.raises(UnknownRunError, match="2026010 matches 2 runs"):
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


def test_invalid_database_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "patchyard").mkdir()
    (tmp_path / "patchyard" / "patchyard.db").write_bytes(b"no database" * 200)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        Store.beside(tmp_path)


def test_directory_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "patchyard").write_text("a file in its place")
    with pytest.raises(StoreError, match="cannot create"):
        Store.beside(tmp_path)


def test_concurrent_threads_create_a_database_once(tmp_path: Path) -> None:
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


def test_bytes_that_are_not_utf_8_are_escaped(database: str) -> None:
    with Store(database) as store:
        store.open_run(make_run(plan_path="plan-\udcff.md"))
        assert store.run().plan_path == "plan-\\udcff.md"


def test_directory_with_special_characters(tmp_path: Path) -> None:
    odd = tmp_path / "a?b#c%20d"
    with Store.beside(odd) as store:
        store.open_run(make_run())
    assert (odd / "patchyard" / "patchyard.db").is_file()


def test_shared_branches_and_their_pull_request(database: str) -> None:
    plan = SharedBranch("plan", "p", "base", None, ("1.1", "1.2"), ("c1", "c2"), "tip", ("c3",))
    group = SharedBranch("group-1", "g", "base")
    with Store(database) as store:
        store.open_run(make_run())
        run = make_run().id
        for position, task in enumerate(("1.1", "1.2", "1.3")):
            store.keep_outcome(run, position, make_outcome(task, branch=f"b{task}", commit=f"c{position}"))

        store.keep_shared_branches(run, [plan, group])
        assert store.shared_branches(run) == {"plan": plan, "group-1": group}
        assert (plan.scope, group.scope) == (PullRequestScope.PLAN, PullRequestScope.GROUP)
        store.keep_branch("p", pushed="tip")
        assert store.branch("p") == BranchRecord("p", None, "tip")

        one = PullRequest("plan", 7, "url", "p", "main", tasks=("1.1", "1.2"))
        store.keep_pull_request(run, one)
        stored = replace(one, tasks=())
        assert [item.pull_request for item in store.tasks(run)] == [stored, stored, None]
        store.keep_pull_request(run, replace(one, tasks=("1.3", "1.2")))
        assert [item.pull_request for item in store.tasks(run)] == [None, stored, stored]
        store.keep_pull_request(run, PullRequest("1.2", 8, "url8", "b1.2", "main"))
        alone = PullRequest("1.2", 8, "url8", "b1.2", "main")
        assert [item.pull_request for item in store.tasks(run)] == [None, alone, stored]

        store.keep_shared_branches(run, ())
        assert store.shared_branches(run) == {}
        store.keep_shared_branches(run, [plan])
        store.forget_run(run)
        assert store.shared_branches(run) == {}


def test_commits_of_a_branch(database: str) -> None:
    with Store(database) as store:
        store.open_run(make_run())
        run = make_run().id
        store.keep_outcome(run, 0, make_outcome(branch="t", commit="c1"))
        store.keep_outcome(
            run, 1, make_outcome("2.1", branch="u", commit="c2", start="m"), start_branch="batch-1"
        )
        failed = make_outcome("2.2", status=Status.FAILED, start="other")
        store.keep_outcome(run, 2, failed, start_branch="batch-1")

        store.announce_branches(run, {"t": "c3"})
        store.keep_branch("u", pushed="elsewhere")

        assert store.commits_of(["t"])["t"] == {"c1": make_run().plan_title, "c3": None}
        assert store.commits_of(["u"])["u"] == {"c2": make_run().plan_title}
        assert store.commits_of(["batch-1"])["batch-1"] == {"m": make_run().plan_title}
        assert store.commits_of(["nosuch"])["nosuch"] == {}
        shared = SharedBranch("group-b", "shared", "m2", "group-base", ("1.1",), ("c1",), "tip")
        store.keep_shared_branches(run, [shared])
        assert store.commits_of(["shared"])["shared"] == {"tip": make_run().plan_title}
        assert store.commits_of(["group-base"])["group-base"] == {"m2": make_run().plan_title}
        many = [f"other-{number}" for number in range(1200)]
        assert store.commits_of(["t", *many, "u"]) == {
            "t": {"c1": make_run().plan_title, "c3": None},
            "u": {"c2": make_run().plan_title},
            **{name: {} for name in many},
        }
        assert store.has_ended(run, "2.1")
        assert not store.has_ended(run, "2.3")


def make_attempt(task: str = "1.1", number: int = 1, **values: object) -> StoredAttempt:
    given: dict[str, object] = {"task": task, "number": number, "title": "T", "batch": 1, "started_at": STARTED}
    return StoredAttempt(**{**given, **values})  # type: ignore[arg-type]  # a table of fields


ANY_TEXT = "a\0b \udcff \ud800 é \U0001f600 'x'; -- \\ % ? :name \r\n"
AS_KEPT = "a\\x00b \\udcff \\ud800 é \U0001f600 'x'; -- \\ % ? :name \r\n"


def test_any_text_is_stored_readably(database: str) -> None:
    """PostgreSQL rejects NUL and surrogates; SQLite must return the same text."""
    run = make_run(
        plan_path=ANY_TEXT,
        plan_name=ANY_TEXT,
        plan_title=ANY_TEXT,
        plan_text=ANY_TEXT,
        base_name=ANY_TEXT,
        settings=PublishOptions(remote=ANY_TEXT, labels=(ANY_TEXT,)),
        call=StoredCall(flags={ANY_TEXT: [ANY_TEXT]}),
        host=ANY_TEXT,
        directory=ANY_TEXT,
    )
    step = StepResult(Step(StepKind.RUN, ANY_TEXT, ("true",)), 1, 0.5, error=ANY_TEXT)
    with Store(database) as store:
        store.open_run(run)
        stored = store.run()
        assert (stored.plan_path, stored.plan_title, stored.plan_text) == (AS_KEPT, AS_KEPT, AS_KEPT)
        assert (stored.plan_name, stored.base_name, stored.host, stored.directory) == (AS_KEPT,) * 4
        assert (stored.settings, stored.call) == (run.settings, run.call)
        store.keep_outcome(
            run.id, 0, make_outcome(title=ANY_TEXT, error=ANY_TEXT, step=ANY_TEXT, files=(ANY_TEXT,))
        )
        (task,) = store.tasks(run.id)
        assert (task.outcome.title, task.outcome.error, task.outcome.step) == (AS_KEPT,) * 3
        assert task.outcome.files == (ANY_TEXT,)
        store.keep_step(run.id, "1.1", 1, step)
        assert store.steps(run.id, "1.1") == (StoredStep(1, "run", AS_KEPT, 1, 0.5, AS_KEPT),)
        store.keep_conflicts(run.id, [Conflict(1, ("1.1",), (ANY_TEXT,))])
        assert store.conflicts(run.id) == (Conflict(1, ("1.1",), (ANY_TEXT,)),)
        store.keep_events(run.id, [{"message": ANY_TEXT}])
        assert [event.record for event in store.events(run.id)] == [{"message": ANY_TEXT}]


def test_large_patch_is_read_byte_for_byte(database: str) -> None:
    diff = bytes(range(256)) * 40_000
    with Store(database) as store:
        store.open_run(make_run())
        patch = Patch("b" * 40, "c" * 40, InlineData(diff), ("a",))
        outcome = make_outcome(start="b" * 40, files=("a",), patch=patch)
        store.keep_outcome(make_run().id, 0, outcome)
        store.keep_outcome(make_run().id, 0, outcome)
        found = store.tasks(make_run().id)[0].outcome.patch
        assert found == patch
        assert found.diff.read() == diff


def test_what_is_written_together_is_stored_as_a_whole(database: str) -> None:
    run, built_on = make_run(), Lineage(["1.0"])
    patch = Patch("b" * 40, "c" * 40, InlineData(bytes(range(256)) * 40_000), ("a",))
    outcome = make_outcome(start="b" * 40, files=("a",), patch=patch)

    def write(store: Store) -> None:
        with store.together(run.id):
            store.begin_attempt(run.id, make_attempt())
            assert store.attempts(run.id, "1.1")
            store.keep_outcome(run.id, 0, outcome, builds_on=built_on.with_names(["1.1"]))
            with Store(database) as other:
                assert other.attempts(run.id, "1.1") == ()
                assert other.tasks(run.id) == ()
            if not is_kept:
                raise RuntimeError

    with Store(database) as store:
        store.open_run(run)
        is_kept = False
        with pytest.raises(RuntimeError):
            write(store)
        assert store.attempts(run.id, "1.1") == ()
        assert store.tasks(run.id) == ()
        is_kept = True
        write(store)
    with Store(database) as store:
        assert [attempt.status for attempt in store.attempts(run.id, "1.1")] == [Status.CHANGED]
        task = store.tasks(run.id)[0]
        assert task.outcome.patch == patch
        assert task.builds_on == built_on.with_names(["1.1"])


def test_what_is_written_together_may_be_part_of_more(database: str) -> None:
    with Store(database) as store, Store(database) as other:
        store.open_run(make_run())
        with store.together(make_run().id):
            with store.together(make_run().id):
                store.begin_attempt(make_run().id, make_attempt("1.1"))
            store.begin_attempt(make_run().id, make_attempt("1.2"))
            assert other.attempts(make_run().id) == ()
        assert [attempt.task for attempt in other.attempts(make_run().id)] == ["1.1", "1.2"]


def test_a_thread_waits_for_what_another_writes_together(database: str) -> None:
    order = list[str]()

    def write() -> None:
        store.keep_step(make_run().id, "1.1", 1, StepResult(Step(StepKind.RUN, "a", ("a",)), 0, 0.1))
        order.append("step")

    with Store(database) as store, ThreadPoolExecutor(1) as threads:
        store.open_run(make_run())
        with store.together(make_run().id):
            store.begin_attempt(make_run().id, make_attempt())
            waiting = threads.submit(write)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.1)
            order.append("together")
        waiting.result(timeout=30)
        assert order == ["together", "step"]


def test_stored_outcomes_keep_no_text_of_a_patch_in_memory(database: str) -> None:
    """A run holds the outcomes of all its tasks: ten thousand small patches are a gigabyte."""
    size, count = 60_000, 40
    with Store(database) as store:
        store.open_run(make_run())

        def keep(number: int) -> Outcome:
            diff = InlineData(number.to_bytes(2, "big") * (size // 2))
            patch = Patch("b" * 40, "c" * 40, diff, ("a",))
            outcome = make_outcome(f"1.{number}", start="b" * 40, files=("a",), patch=patch)
            return store.keep_outcome(make_run().id, number, outcome)

        keep(0)  # what is made once
        tracemalloc.start()
        try:
            kept = [keep(number) for number in range(1, count)]
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert used < size * count / 4
        assert kept[4].patch
        assert kept[4].patch.diff.read() == b"\0\5" * (size // 2)


@pytest.mark.parametrize("harm", ["DELETE FROM patch_chunks", "UPDATE patch_chunks SET data = ''"])
def test_damaged_patch_is_reported_in_one_sentence(database: str, harm: str) -> None:
    run = make_run().id
    with Store(database) as store:
        store.open_run(make_run())
        patch = Patch("b" * 40, "c" * 40, InlineData(bytes(3_000_000)), ("a",))
        store.keep_outcome(run, 0, make_outcome(start="b" * 40, files=("a",), patch=patch))
        with transaction_of(database) as connection:
            connection.execute(text(f"{harm} WHERE number = 1"))

        found = store.tasks(run)[0].outcome.patch

        assert found is not None
        with pytest.raises(StoreError, match=f"does not have a patch of run {run} as it was stored"):
            found.diff.read()


def test_patches_are_removed_with_their_run(database: str) -> None:
    run = make_run().id
    with Store(database) as store:
        store.open_run(make_run())
        patch = Patch("b" * 40, "c" * 40, InlineData(bytes(3_000_000)), ("a",))
        store.keep_outcome(run, 0, make_outcome(start="b" * 40, files=("a",), patch=patch))
        assert len(store.read_chunk(run, patch.diff.sha256, 2)) == 3_000_000 - 2 * (1 << 20)
        store.forget_run(run)
        assert store.read_chunk(run, patch.diff.sha256, 0) == b""


def test_extreme_numbers_are_stored(database: str) -> None:
    with Store(database) as store:
        store.open_run(make_run())
        store.keep_outcome(
            make_run().id,
            0,
            make_outcome(
                exit_code=-(2**31),
                seconds=1e9 + 0.25,
                cost=0.1 + 0.2,
                cached=True,
                tokens=Tokens(MOST_TOKENS, None, 0),
                said="Done.\n" * 4000,
            ),
        )
        outcome = store.tasks(make_run().id)[0].outcome
        assert (outcome.tokens, outcome.said) == (Tokens(MOST_TOKENS, None, 0), "Done.\n" * 4000)
        assert (outcome.exit_code, outcome.seconds, outcome.cost) == (-(2**31), 1e9 + 0.25, 0.1 + 0.2)
        assert outcome.cached is True


def test_inputs_are_read_as_they_were_stored(database: str) -> None:
    inputs = InputHashes(
        "k", Mode.DAGGER, "t", "image@sha256:1", AgentUse("a", "a -p", None), ("A",), ("B", "C")
    )
    plain = InputHashes("l", Mode.LOCAL, "t", None, None, (), ())
    with Store(database) as store:
        store.open_run(make_run())
        store.keep_outcome(make_run().id, 0, make_outcome("1.1"), inputs=inputs)
        store.keep_outcome(make_run().id, 1, make_outcome("1.2"), inputs=plain)
        store.keep_outcome(make_run().id, 1, make_outcome("1.2"), inputs=plain)
        assert store.inputs(make_run().id) == {"1.1": inputs, "1.2": plain}


def test_each_attempt_has_its_own_steps_patch_and_end(database: str, tmp_path: Path) -> None:
    run, step = make_run().id, Step(StepKind.RUN, "true", ("true",))
    half = Patch("b" * 40, "c" * 40, InlineData(b"half\0"), ("a",))
    whole = Patch("b" * 40, "d" * 40, InlineData(b"whole"), ("a", "b"))
    log = tmp_path / "log"
    with Store(database) as store:
        store.open_run(make_run())
        first = make_attempt(worktree="wt-1", path=tmp_path, host="one", start="b" * 40, log=log)
        store.begin_attempt(run, first)
        store.begin_attempt(run, first)
        assert store.attempts(run) == (first,)
        store.keep_step(run, "1.1", 1, StepResult(step, 1, 0.5))
        store.end_attempt(
            run, replace(first, status=Status.CANCELLED, seconds=2.5, error="cut off", patch=half)
        )
        assert store.tasks(run) == ()
        store.begin_attempt(run, make_attempt(number=2, start="b" * 40))
        store.keep_step(run, "1.1", 1, StepResult(step, 0, 0.25), attempt=2)
        outcome = make_outcome(start="b" * 40, seconds=1.5, exit_code=0, files=whole.files, patch=whole)
        store.keep_outcome(run, 0, outcome, attempt=2, seconds=1.5)

        old, new = store.attempts(run, "1.1")
        assert (old.status, old.seconds, old.error, old.patch) == (Status.CANCELLED, 2.5, "cut off", half)
        assert (old.worktree, old.path, old.host, old.log) == ("wt-1", tmp_path, "one", log)
        assert (new.number, new.status, new.seconds, new.patch) == (2, Status.CHANGED, 1.5, whole)
        assert old.finished_at is not None
        assert new.finished_at is not None
        assert [item.seconds for item in store.steps(run, "1.1")] == [0.25]
        assert [item.exit_code for item in store.steps(run, "1.1", 1)] == [1]
        assert store.tasks(run)[0].attempt == 2


def test_task_marked_for_redo_has_no_outcome(database: str) -> None:
    run = make_run().id
    patch = Patch("b" * 40, "c" * 40, InlineData(b"first"), ("a",))
    with Store(database) as store:
        store.open_run(make_run())
        store.begin_attempt(run, make_attempt())
        failed = make_outcome(status=Status.FAILED, start="b" * 40, files=("a",), patch=patch)
        store.keep_outcome(run, 0, failed)
        store.keep_outcome(run, 1, make_outcome("1.2"))
        store.keep_pull_request(run, PullRequest("1.1", 7, "u", "b", "main"))
        store.keep_conflicts(run, [Conflict(1, ("1.1", "1.2"), ("a",))])

        store.mark_for_redo(run, ["1.1"])

        assert [item.outcome.task for item in store.tasks(run)] == ["1.2"]
        assert not store.has_ended(run, "1.1")
        assert store.conflicts(run) == ()
        assert [item.patch for item in store.attempts(run)] == [patch]
        store.begin_attempt(run, make_attempt(number=2))
        store.keep_outcome(run, 0, make_outcome(branch="b"), attempt=2)
        assert [item.outcome.status for item in store.tasks(run)] == [Status.CHANGED, Status.CHANGED]
        assert store.tasks(run)[0].pull_request == PullRequest("1.1", 7, "u", "b", "main")
        assert [item.patch for item in store.attempts(run)] == [patch, None]


def test_events_of_several_writers_are_numbered_without_gaps(database: str) -> None:
    writers, each = 4, 25
    gate = Barrier(writers)
    with Store(database) as store:
        store.open_run(make_run())
        store.open_run(make_run("other"))

    def write(writer: int) -> None:
        with Store(database) as store:
            gate.wait()
            for number in range(each):
                store.keep_events(make_run().id, [{"by": writer, "number": number}, {"by": writer}])
                store.keep_events("other", [{"by": writer}])

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(write, range(writers)))

    with Store(database) as store:
        events = store.events(make_run().id)
        assert [event.sequence for event in events] == list(range(1, 2 * writers * each + 1))
        for writer in range(writers):
            numbers = [e.record["number"] for e in events if e.record["by"] == writer and "number" in e.record]
            assert numbers == list(range(each))
        assert store.events(make_run().id, after=10, limit=3) == events[10:13]
        assert store.events(make_run().id, after=len(events)) == ()
        assert len(store.events("other")) == writers * each


def test_requests_are_sent_and_withdrawn(database: str) -> None:
    run = make_run().id
    with Store(database) as store, Store(database) as other:
        store.open_run(make_run())
        assert store.pending_request(run) is None
        other.send_request(run, Request.PAUSE)
        assert store.pending_request(run) is Request.PAUSE
        assert store.run().request is Request.PAUSE
        other.send_request(run, None)
        assert store.pending_request(run) is None


def test_repositories_in_a_shared_database_are_separate(database: str) -> None:
    with Store(database, "one") as one, Store(database, "two") as two, Store(database) as both:
        one.open_run(make_run("run-1", repository="one"))
        two.open_run(make_run("run-2", repository="two"))
        one.keep_branch("b", commit="1")
        two.keep_branch("b", commit="2", pushed="2")
        assert [run.id for run in one.runs()] == ["run-1"]
        assert one.run("run").id == "run-1"
        assert [run.id for run in both.runs()] == ["run-1", "run-2"]
        assert one.branches() == (BranchRecord("b", "1", None),)
        assert two.branch("b") == BranchRecord("b", "2", "2")
        one.forget_branches(["b"])
        assert one.branches() == ()
        assert two.branches() == (BranchRecord("b", "2", "2"),)
        with pytest.raises(UnknownRunError):
            one.run("run-2")


def test_forgotten_run_leaves_only_its_branches(database: str) -> None:
    run, step = make_run().id, Step(StepKind.RUN, "true", ("true",))
    with Store(database) as store:
        store.open_run(make_run())
        store.begin_attempt(run, make_attempt())
        store.keep_step(run, "1.1", 1, StepResult(step, 0, 0.5))
        inputs = InputHashes("k", Mode.LOCAL, "t", None, None, (), ())
        store.keep_outcome(run, 0, make_outcome(), branches={"b": "1"}, inputs=inputs)
        store.keep_conflicts(run, [Conflict(1, ("1.1",), ("a",))])
        store.keep_events(run, [{"event": "notice"}])

        store.forget_run(run)

        assert store.runs() == ()
        assert (store.tasks(run), store.attempts(run), store.steps(run, "1.1")) == ((), (), ())
        assert (store.events(run), store.conflicts(run), store.inputs(run)) == ((), (), {})
        assert store.branch("b") == BranchRecord("b", "1", None)


def test_concurrent_runs_store_the_same_branches(database: str) -> None:
    writers, names = 4, [f"branch-{number}" for number in range(20)]
    gate = Barrier(writers)
    with Store(database) as store:
        for writer in range(writers):
            store.open_run(make_run(f"run-{writer}"))

    def write(writer: int) -> None:
        with Store(database) as store:
            gate.wait()
            for number, name in enumerate(names if writer % 2 else reversed(names)):
                branches = {name: f"{writer}", "common": f"{writer}"}
                store.keep_outcome(f"run-{writer}", number, make_outcome(f"1.{number}"), branches=branches)

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(write, range(writers)))

    with Store(database) as store:
        assert {branch.name for branch in store.branches()} == {*names, "common"}
        assert [len(store.tasks(f"run-{writer}")) for writer in range(writers)] == [len(names)] * writers

"""Test the order and the transactions in which the progress of a run is written."""

from pathlib import Path

import pytest
from every_column import RUN

from pipeline.run.recording import recorder as recording
from pipeline.run.recording.recorder import Recorder
from pipeline.store.records import StoredAttempt
from pipeline.store.store import Store, StoreUnavailableError
from tasks.model import Step, StepKind
from tasks.outcome import Outcome, Patch, Status, StepResult
from tasks.patch_data import InlineData

pytestmark = pytest.mark.anyio
RESULT = StepResult(Step(StepKind.RUN, "make", ("make",)), 0, 0.1)


def attempt(task: str) -> StoredAttempt:
    return StoredAttempt(
        task, 1, "T", 1, RUN.started_at, worktree="wt-1", path=Path("/wt-1"), host="h", start="a"
    )


async def test_what_is_queued_is_written_with_the_next_call(tmp_path: Path) -> None:
    commits = list[str]()
    with Store.beside(tmp_path) as other, Recorder(lambda: Store.beside(tmp_path), RUN) as recorder:
        await recorder.open()
        store = recorder.wait()
        assert store
        store._connection.driver.set_trace_callback(  # noqa: SLF001 - to see the statements
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
        for task in ("1.1", "1.2", "1.3"):
            recorder.queue(Store.begin_attempt, RUN.id, attempt(task))
        assert other.attempts(RUN.id) == ()
        await recorder.call(Store.keep_step, RUN.id, "1.2", 1, RESULT)
        assert len(commits) == 1
        assert [one.task for one in other.attempts(RUN.id)] == ["1.1", "1.2", "1.3"]
        assert len(other.steps(RUN.id, "1.2")) == 1
        await recorder.call(Store.keep_step, RUN.id, "1.1", 1, RESULT)
        assert len(commits) == 2


async def test_a_long_call_does_not_share_its_transaction_with_what_is_queued(tmp_path: Path) -> None:
    """Else the parts of a large patch were one, for which other runs would wait."""
    commits = list[str]()

    def outcome(task: str, line: bytes) -> Outcome:
        patch = Patch("b" * 40, "c" * 40, InlineData(line * 1_000_000), ("a",))
        return Outcome(task, "T", 1, Status.CHANGED, start="b" * 40, files=("a",), patch=patch)

    with Recorder(lambda: Store.beside(tmp_path), RUN) as recorder:
        await recorder.open()
        store = recorder.wait()
        assert store
        store._connection.driver.set_trace_callback(  # noqa: SLF001 - to see the statements
            lambda statement: commits.append(statement) if statement == "COMMIT" else None
        )
        await recorder.call(Store.keep_outcome, RUN.id, 0, outcome("1.1", b"one\n"))
        alone = len(commits)
        recorder.queue(Store.begin_attempt, RUN.id, attempt("1.2"))
        await recorder.call(Store.keep_outcome, RUN.id, 1, outcome("1.2", b"two\n"))
        assert len(commits) == 2 * alone + 1
        assert alone > 2


async def test_all_is_written_again_after_the_database_was_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "RETRY_PAUSE", 0)
    failures = [StoreUnavailableError("gone"), StoreUnavailableError("gone again")]

    def fail_twice(store: Store, result: StepResult) -> None:
        store.keep_step(RUN.id, "1.1", 1, result)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(recording, "_SHORT", frozenset({fail_twice}))
    with Store.beside(tmp_path) as other, Recorder(lambda: Store.beside(tmp_path), RUN) as recorder:
        await recorder.open()
        recorder.queue(Store.begin_attempt, RUN.id, attempt("1.1"))
        await recorder.call(fail_twice, RESULT)
        assert failures == []
        assert len(other.attempts(RUN.id)) == len(other.steps(RUN.id, "1.1")) == 1

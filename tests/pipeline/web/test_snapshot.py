"""The read model of a run: the same answers for the API and the page."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from containers.git.repository import Repository
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.store import Store
from pipeline.web import snapshot as module
from pipeline.web.api.serializers import execution_status
from pipeline.web.snapshot import RunActivity, RunReader, Snapshot, local_log
from pipeline.web.workers import Work, WorkerEnd, Workers
from tasks.model import Plan
from tasks.outcome import RunStatus

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENVIRON = {"PATCHYARD_HOST": "here"}


@dataclass
class FakeWorkers:
    """Workers with fixed answers."""

    ends: Mapping[Work, WorkerEnd] = field(default_factory=dict)

    def ended(self, _run: str, work: Work = Work.RESUME) -> WorkerEnd | None:
        """Return how the last worker ended."""
        return self.ends.get(work)

    def has(self, _run: str, _work: Work = Work.RESUME) -> bool:
        """Return that no worker has the run."""
        return False

    is_running = has


class FakeRepository:
    """The part of a repository that a log path needs."""

    common = Path("/srv/demo/.git")


def run(status: RunStatus, *, served: bool = False, publish: bool = False) -> Run:
    """Return a stored run."""
    made = Run("r1", "plan.md", "demo", "Demo", "", "0" * 40, "main", 2, status=status, started_at=MOMENT)
    settings = replace(made.settings, publish=publish)
    return replace(made, call=replace(made.call, served=served), settings=settings)


def activity(made: Run, *, shared: bool = False, ends: Mapping[Work, WorkerEnd] | None = None) -> RunActivity:
    """Return the activity of a run without running workers."""
    reader = RunReader(cast("Workers", FakeWorkers(ends or {})), ENVIRON, shared=shared)
    return reader.activity(cast("Store", object()), made)


def seen(made: Run, state: RunActivity, *attempts: StoredAttempt) -> Snapshot:
    """Return a snapshot of a run."""
    repository = cast("Repository", FakeRepository())
    return Snapshot(made, repository, Plan("demo", "Demo", "plan.md", ()), state, {}, attempts)


@pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.INTERRUPTED])
def test_idle_served_run_of_a_shared_database_is_left_to_another_server(status: RunStatus) -> None:
    made = run(status, served=True)
    state = activity(made, shared=True)
    assert state.has_worker
    assert state.expects_changes
    assert state.displayed_status is RunStatus.PENDING, "the page offers no resume"
    assert execution_status(seen(made, state)) in {"started", "executing"}
    assert not activity(made).has_worker
    failed = activity(made, shared=True, ends={Work.RESUME: WorkerEnd(1, "no token")})
    assert (failed.has_worker, failed.failure, failed.problem) == (False, "no token", "no token")


def test_failed_publishing_of_the_run_itself_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_unpublished", lambda _store, _run: True)
    ends = {Work.RESUME: WorkerEnd(1, "refused")}
    state = activity(run(RunStatus.SUCCEEDED, publish=True), ends=ends)
    assert (state.publishing, state.problem) == ("refused", "It could not be published: refused")
    monkeypatch.setattr(module, "is_unpublished", lambda _store, _run: False)
    state = activity(run(RunStatus.SUCCEEDED, publish=True), ends=ends)
    assert (state.publishing, state.problem) == ("done", None)


def test_log_of_an_attempt_is_the_stored_path_on_this_host() -> None:
    first = StoredAttempt("1.1", 1, "", 1, MOMENT, "wt-1", host="here", log=Path("/logs/one"))
    second = StoredAttempt("1.1", 2, "", 1, MOMENT, "wt-1", host="there", log=Path("/logs/two"))
    made = run(RunStatus.RUNNING)
    view = seen(made, RunActivity(RunStatus.RUNNING), first, second)
    assert local_log(view, "1.1", 1, ENVIRON) == Path("/logs/one")
    assert local_log(view, "1.1", 2, ENVIRON) is None
    assert local_log(view, "1.1", None, ENVIRON) is None
    assert local_log(view, "1.1", 3, ENVIRON) == Path("/srv/demo/.git/patchyard/runs/r1/1.1.attempt-3.log")

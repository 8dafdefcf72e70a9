"""Keeps what a dead run left in a worktree: the patch of an attempt whose end nobody saw. Blocks."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from containers.git.repository import GitError, SecretFoundError
from containers.worktrees.worktree import AttemptRecord, StoreWork, Worktree
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.store import Store, UnknownRunError
from tasks.model import Status
from tasks.secrets import Secrets

CUT_OFF = "the process that ran it was ended"


def salvager(opener: Callable[[], Store], environ: Mapping[str, str]) -> StoreWork:
    """Return what keeps the patch of an attempt that a dead process left in a worktree.

    Args:
        opener: Opens the store; asked only when there is something to keep.
        environ: Has the values of the run's secrets, which no patch may hold.
    """

    def salvage(worktree: Worktree, record: AttemptRecord) -> bool:
        with opener() as store:
            try:
                run = store.run(record.run)
                return _keep(store, run, worktree, record, environ)
            except UnknownRunError:
                return not _changes(worktree, record)
            except (GitError, SecretFoundError):
                return False

    return salvage


def _keep(
    store: Store, run: Run, worktree: Worktree, record: AttemptRecord, environ: Mapping[str, str]
) -> bool:
    known = {item.number: item for item in store.attempts(run.id, record.task)}
    attempt = known.get(record.attempt)
    # That it was cut off may be the word of another host, which did not have its files.
    if attempt and attempt.status is not None and (attempt.patch or attempt.error != CUT_OFF):
        return True  # it had ended; only the worktree was not given back
    moment = datetime.now(UTC)
    attempt = attempt or StoredAttempt(record.task, record.attempt, record.task, 0, moment)
    secrets = {name: environ[name] for name in run.settings.secrets if name in environ}
    patch = worktree.checkout.patch(
        record.start, baseline=record.baseline, exclude=record.exclude, secrets=Secrets(secrets)
    )
    ended = replace(
        attempt,
        worktree=worktree.name,
        path=worktree.path,
        start=record.start,
        status=Status.CANCELLED,
        error=CUT_OFF,
        patch=patch if patch.files else None,
        seconds=(moment - attempt.started_at).total_seconds(),
    )
    store.end_attempt(run.id, ended)
    return True


def _changes(worktree: Worktree, record: AttemptRecord) -> bool:
    try:
        return bool(
            worktree.checkout.patch(record.start, baseline=record.baseline, exclude=record.exclude).files
        )
    except GitError:
        return True

"""Recover what the process of a killed run left: its row of the database, and the patches in its worktrees.

The file `run.json` in a run's directory is a write-ahead record of its row, since the database is opened while
the first steps run:

1. `write_run_file` writes it before the first step, under the lock of the directory.
2. `remove_run_file` removes it once the row is in the database.
3. If the process is killed in between, the next `open_store` finds the file, unlocked, and adds the row.
"""

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from containers.git.repository import GitError, Repository
from containers.git.working_tree.errors import SecretFoundError
from containers.temporary import sweep, write_atomically
from containers.worktrees.worktree import AttemptRecord, StoreWork, Worktree
from pipeline.run.paths import runs_directory
from pipeline.store.records import Run, StoredAttempt, format_time, parse_time
from pipeline.store.run_options import PublishOptions, StoredCall
from pipeline.store.store import Store, UnknownRunError
from tasks.outcome import Patch, RunStatus, Status
from tasks.secrets import Secrets

CUT_OFF = "the process that ran it was ended"
"""The error of an attempt whose process was killed. Stored in databases, so it must not change."""
RUN_FILE = "run.json"
_LATER = {"finished_at", "seconds", "speedup", "efficiency", "request", "owner", "lease_until"}
"""Fields of a run that it does not have when it starts."""


def write_run_file(run: Run) -> None:
    """Write the file of a run that starts. Blocking.

    Raises:
        OSError: The file cannot be written.
    """
    path = Path(run.directory or "", RUN_FILE)
    write_atomically(path, json.dumps(_encode(run)).encode("ascii"))


def remove_run_file(run: Run) -> None:
    """Remove the file of a run that is in the database. Blocking."""
    # A file that remains is harmless: `add_missing_runs` finds its run in the database.
    with suppress(OSError):
        Path(run.directory or "", RUN_FILE).unlink()


def add_missing_runs(store: Store, runs: Path) -> None:
    """Add runs to the database whose process was killed before it could. Blocking.

    Only into directories of runs that the database does not have is looked, since there may be thousands.

    Args:
        store: The database.
        runs: The directory of the repository's runs.
    """
    try:
        names = set(os.listdir(runs))  # noqa: PTH208 - names are compared, and there may be thousands
    except OSError:
        return
    for name in sorted(names.difference(store.run_ids()) if names else ()):
        path = runs / name / RUN_FILE
        if is_locked(path.parent):
            continue
        sweep(path.parent)
        with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            run = _decode(json.loads(path.read_bytes()))
            store.add_missing_run(run)
            path.unlink(missing_ok=True)


def release_commits(repository: Repository) -> None:
    """Remove the refs by which killed processes held commits. Blocking."""
    runs = runs_directory(repository.common)
    repository.held.release(lambda run: not is_locked(runs / run))


def _encode(run: Run) -> dict[str, Any]:
    """Return the JSON object of a run; `settings` and `call` are JSON strings, as in release 0.1.0."""
    values = {field.name: getattr(run, field.name) for field in fields(run) if field.name not in _LATER}
    started_at = format_time(run.started_at)
    return values | {"started_at": started_at, "settings": run.settings.as_json, "call": run.call.as_json}


def _decode(values: Mapping[str, Any]) -> Run:
    decoded = {
        "status": RunStatus(values["status"]),
        "started_at": parse_time(values["started_at"]),
        "settings": PublishOptions.from_json(values["settings"]),
        "call": StoredCall.from_json(values["call"]),
    }
    return Run(**{**values, **decoded})


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock in a run's directory. Blocking."""
    try:
        with (directory / "lock").open("rb") as file:
            # A shared lock, so that processes that only check do not mistake each other for the owner.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # missing, or not readable
        return False
    return False


def make_store_work(opener: Callable[[], Store], environ: Mapping[str, str], limit: int) -> StoreWork:
    """Return a function that stores the patch of an attempt that a dead process left in a worktree. Blocking.

    Args:
        opener: Opens the store; called only when there is a patch to store.
        environ: Has the values of the run's secrets, which patches must not contain.
        limit: How large the files of a patch may be together, in bytes.
    """

    def store_work(worktree: Worktree, record: AttemptRecord) -> bool:
        with opener() as store:
            try:
                run = store.run(record.run)
                secrets = {name: environ[name] for name in run.settings.secrets if name in environ}
                return _store_patch(store, worktree, record, secrets=Secrets(secrets), limit=limit)
            except UnknownRunError:
                return not _has_changes(worktree, record, limit)
            except (GitError, SecretFoundError):
                return False

    return store_work


def take_patch(worktree: Worktree, record: AttemptRecord, secrets: Secrets, limit: int) -> Patch:
    """Return the patch of an attempt that a worktree still has. Blocking.

    Args:
        worktree: The worktree.
        record: The attempt.
        secrets: The patch must not contain them.
        limit: How large its files may be together, in bytes.

    Raises:
        GitError: It cannot be taken.
        SecretFoundError: It contains a secret.
    """
    return worktree.checkout.patch(
        record.start, baseline=record.baseline, exclude=record.exclude, secrets=secrets, limit=limit
    )


def _store_patch(
    store: Store, worktree: Worktree, record: AttemptRecord, *, secrets: Secrets, limit: int
) -> bool:
    known = {item.number: item for item in store.attempts(record.run, record.task)}
    attempt = known.get(record.attempt)
    # Another host may have closed the attempt with CUT_OFF, without access to its worktree.
    if attempt and attempt.status is not None and (attempt.patch or attempt.error != CUT_OFF):
        return True  # it had ended; only its worktree was not released
    moment = datetime.now(UTC)
    attempt = attempt or StoredAttempt(record.task, record.attempt, record.task, 0, moment)
    patch = take_patch(worktree, record, secrets, limit)
    ended = replace(
        attempt,
        worktree=worktree.name,
        path=worktree.path,
        start=record.start,
        status=Status.CANCELLED,
        error=CUT_OFF,
        patch=patch if patch.files else None,
        seconds=store.seconds_of_steps(record.run, record.task, record.attempt),
    )
    store.end_attempt(record.run, ended)
    return True


def _has_changes(worktree: Worktree, record: AttemptRecord, limit: int) -> bool:
    try:
        return bool(
            worktree.checkout.patch(
                record.start, baseline=record.baseline, exclude=record.exclude, limit=limit
            ).files
        )
    except GitError:
        return True

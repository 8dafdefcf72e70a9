"""Removal of old runs, cached results and merged branches: what `clean --older-than` removes."""

import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from containers.git.repository import Repository
from pipeline.run.paths import run_directory
from pipeline.run.results.result_cache import older_than
from pipeline.run.stored.branch_removal import delete_in_parts
from pipeline.run.stored.recovery import is_locked
from pipeline.run.stored.status import RunStateError, current_status
from pipeline.store.damage import DamagedRowError
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import RunStatus
from tasks.text import plural


@dataclass(frozen=True)
class Retention:
    """Removes what is older than a maximum age, of one repository.

    `max_age` is in seconds; `None` for no limit. With `dry_run` nothing is removed.
    """

    repository: Repository
    store: Store
    environ: Mapping[str, str]
    max_age: float | None
    dry_run: bool

    def remove(self) -> Iterator[str]:
        """Remove old runs, merged branches and cached results, and yield a description of each. Blocking."""
        if self.max_age is None:
            return
        runs = self.store.runs()
        limit = datetime.fromtimestamp(time.time(), UTC) - timedelta(seconds=self.max_age)
        old = [run for run in runs if self._is_older(run, limit)]
        old_ids = {run.id for run in old}
        yield from self._remove_branches(old, [run for run in runs if run.id not in old_ids])
        for run in old:
            yield f"run {run.id}: {run.plan_title or run.plan_path}, ended {self._ended_at(run):%Y-%m-%d}"
            if not self.dry_run:
                shutil.rmtree(run_directory(self.repository.common, run.id), ignore_errors=True)
                self.store.forget_run(run.id)
        count = 0
        for path in older_than(self.repository.common, self.max_age):
            count += 1
            if not self.dry_run:
                path.unlink(missing_ok=True)
        if count:
            yield plural(count, "cached result")

    def remove_run(self, run: str) -> str:
        """Remove one run, by its whole id, whatever its row holds, and return a description. Blocking.

        Its branches and cached results are kept.

        Raises:
            UnknownRunError: There is no such run.
            RunStateError: A process works on it.
        """
        self.store.require_run(run)
        directory = run_directory(self.repository.common, run)
        if is_locked(directory) or self._is_leased(run):
            raise RunStateError(f"run {run} is being worked on; wait for its end, or cancel it first")
        if not self.dry_run:
            shutil.rmtree(directory, ignore_errors=True)
            self.store.forget_run(run)
        return f"run {run}"

    def _is_leased(self, run: str) -> bool:
        try:
            return self.store.is_leased(run)
        except DamagedRowError:
            return False  # the lease cannot be read

    def _is_older(self, run: Run, limit: datetime) -> bool:
        status = current_status(self.store, run, self.environ)
        return (status.is_over or status is RunStatus.INTERRUPTED) and self._ended_at(run) < limit

    def _ended_at(self, run: Run) -> datetime:
        """Return when a run ended; for an interrupted run, when it was last known to be running."""
        if run.finished_at:
            return run.finished_at
        attempts = self.store.attempts(run.id)
        known = [run.started_at, run.lease_until, *(item.started_at for item in attempts)]
        known += [item.finished_at for item in attempts]
        return max(moment for moment in known if moment)

    def _remove_branches(self, old: Collection[Run], newer: Collection[Run]) -> Iterator[str]:
        """Remove the merged branches that no newer run needs, unless they were moved since a run set them."""
        needed = {name for run in newer for name in _branch_names(self._tasks(run))}
        merged = {
            item.outcome.branch
            for run in old
            for item in self._tasks(run)
            if item.pull_request and item.pull_request.action == "merged"
        }
        recorded = {record.name: record.commit for record in self.store.branches() if record.commit}
        existing = self.repository.branches("")
        others = {commit for name, commit in existing.items() if name not in recorded}
        merged |= self.repository.branches_merged_into(others).keys()
        kept = needed | self.repository.checked_out().keys()
        unmoved = {name: commit for name, commit in recorded.items() if existing.get(name) == commit}
        removed = {name: commit for name, commit in unmoved.items() if name in merged and name not in kept}
        for deleted, failed in delete_in_parts(self.repository, removed, dry_run=self.dry_run):
            if not self.dry_run:
                self.store.forget_branches(deleted)
            yield from (f"nothing of branch {name}: {error}" for name, error in failed.items())
            yield from (f"branch {name}" for name in deleted)

    def _tasks(self, run: Run) -> tuple[StoredTask, ...]:
        return self.store.tasks(run.id)


def _branch_names(tasks: Collection[StoredTask]) -> Iterator[str]:
    """Yield the branches of tasks, and those that they started from."""
    for item in tasks:
        yield from (name for name in (item.outcome.branch, item.start_branch) if name)

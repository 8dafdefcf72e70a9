"""The read model of a run for the API and the page: its stored state, and what workers do with it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from time import monotonic

import anyio

from containers.git.repository import Repository
from pipeline.run.control import host_name
from pipeline.run.paths import log_path, run_directory
from pipeline.run.stored.status import current_status, is_unpublished, plan_of, unpublished_tasks
from pipeline.run.stored.verdicts import make_verdict
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from pipeline.verdict.model import Verdict
from pipeline.web.workers import Work, Workers
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.outcome import Conflict, RunStatus

MAX_AGE = 0.1
"""Seconds for which a snapshot is served again; clients that poll at the same time share one read."""
MAX_AGE_OVER = 2.0
"""The same for a run of a list that is over."""
CACHED_SNAPSHOTS = 100
"""Number of cached snapshots from which on old ones are removed."""
CACHED_PLANS = 200
"""Number of parsed plans in the cache; a plan of a run never changes."""
PUBLISHING = "publishing"
PUBLISHED = "done"


@dataclass(frozen=True, slots=True)
class LocatedRun:
    """A run with its store and its repository on this machine."""

    run: Run
    store: Store
    repository: Repository


@dataclass(frozen=True, slots=True)
class RunActivity:
    """Current status of a run, and what workers do with it.

    `has_worker` is true when a worker of this server runs the run or is queued for it, and when another server
    that shares the database is about to claim it. `failure` is the reason why the last worker of this server
    could not run it. `publishing` is `publishing`, `done`, the reason why publishing failed, or `None`.
    """

    status: RunStatus
    has_worker: bool = False
    failure: str | None = None
    publishing: str | None = None

    @property
    def is_publishing(self) -> bool:
        """Whether a worker of this server publishes the run."""
        return self.publishing == PUBLISHING

    @property
    def is_active(self) -> bool:
        """Whether a process runs the run, or will without a new request."""
        return self.has_worker or self.status.is_active

    @property
    def expects_changes(self) -> bool:
        """Whether the run will change without a new request."""
        return self.is_active or self.is_publishing

    @property
    def displayed_status(self) -> RunStatus:
        """The status on the page: `pending` for a run that a worker is about to claim."""
        claims = self.has_worker and not self.is_publishing and not self.status.is_active
        return RunStatus.PENDING if claims else self.status

    @property
    def problem(self) -> str | None:
        """Why the run does not continue, or why it could not be published."""
        if self.publishing in {None, PUBLISHING, PUBLISHED}:
            return self.failure
        return f"It could not be published: {self.publishing}"


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. `attempts` are in the order of their start; those that still run have no status.

    `unpublished` are tasks whose changes are in no pull request; they are known when the run is over.
    """

    run: Run
    repository: Repository
    plan: Plan
    activity: RunActivity
    tasks: Mapping[str, StoredTask]
    attempts: tuple[StoredAttempt, ...]
    conflicts: tuple[Conflict, ...] = ()
    unpublished: Collection[str] = ()

    @cached_property
    def verdict(self) -> Verdict:
        """How the run went, or goes."""
        return make_verdict(
            self.run,
            self.status,
            plan=self.plan,
            tasks=tuple(self.tasks.values()),
            attempts=self.attempts,
            conflicts=self.conflicts,
            unpublished=self.unpublished,
        )

    @property
    def status(self) -> RunStatus:
        """The current status of the run."""
        return self.activity.status


class RunReader:
    """Reads runs and what workers do with them.

    Args:
        workers: The workers of this server.
        environ: Environment that names this host.
        shared: Whether other servers share the database.
    """

    def __init__(self, workers: Workers, environ: Mapping[str, str], *, shared: bool) -> None:
        self._workers = workers
        self._environ = environ
        self._shared = shared
        self._plans: dict[str, Plan] = {}

    def plan(self, run: Run) -> Plan:
        """Return the parsed plan of a run, from the cache if possible.

        Raises:
            CallError: The stored plan cannot be parsed.
        """
        plan = self._plans.get(run.id)
        if plan is None:
            plan = plan_of(run)
            if len(self._plans) >= CACHED_PLANS:
                self._plans.clear()
            self._plans[run.id] = plan
        return plan

    def activity(self, store: Store, run: Run) -> RunActivity:
        """Return the current status of a run, and what workers do with it. Blocks."""
        ended = self._workers.ended(run.id)  # before the status: a worker that ends in between is read again
        status = current_status(store, run, self._environ)
        running = self._workers.is_running(run.id)
        # A queued worker does not start any more when the run was cancelled through another process.
        has_worker = running or (self._workers.has(run.id) and status is not RunStatus.CANCELLED)
        idle = not has_worker and status.is_waiting
        if idle and not ended and self._shared and run.call.served:
            has_worker, idle = True, False  # a server that shares the database is about to claim it
        publishes = running and status.is_finished and run.settings.publish
        return RunActivity(
            status=status,
            has_worker=has_worker,
            failure=ended.reason if ended and idle else None,
            publishing=PUBLISHING
            if publishes or self._workers.has(run.id, Work.PUBLISH)
            else self._publish_result(store, run, status),
        )

    def _publish_result(self, store: Store, run: Run, status: RunStatus) -> str | None:
        """Return how the last worker of this server that published a run ended; `None` if there was none."""
        if published := self._workers.ended(run.id, Work.PUBLISH):
            return published.reason or PUBLISHED
        ended = self._workers.ended(run.id)
        if ended is None or not status.is_finished or not run.settings.publish:
            return None
        return (ended.reason or "it was interrupted") if is_unpublished(store, run) else PUBLISHED

    def snapshot(self, located: LocatedRun) -> Snapshot:
        """Read a run. Blocks."""
        run, store = located.run, located.store
        # The status comes first: a run that is over then has the outcomes of all its tasks.
        activity = self.activity(store, run)
        tasks, is_over = store.tasks(run.id), not run.status.is_active
        return Snapshot(
            run=run,
            repository=located.repository,
            plan=self.plan(run),
            activity=activity,
            tasks={item.outcome.task: item for item in tasks},
            attempts=store.attempts(run.id),
            conflicts=store.conflicts(run.id),
            unpublished=unpublished_tasks(store, run, tasks) if is_over else (),
        )


@dataclass(slots=True)
class CachedSnapshot:
    """The last snapshot of a run, and what was rendered from it. `seconds` is how long the read took."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    snapshot: Snapshot | None = None
    rendered: dict[str, bytes] = field(default_factory=dict)
    read_at: float = float("-inf")
    seconds: float = 0.0

    def is_stale(self, max_age: float) -> bool:
        """Whether the snapshot is older than `max_age` seconds, or than twice the time that the read took."""
        return monotonic() - self.read_at > max(max_age, 2 * self.seconds)

    def render(self, kind: str, serialize: Callable[[Snapshot], bytes], snapshot: Snapshot) -> bytes:
        """Return a snapshot in a serialized form, which is made once."""
        if kind not in self.rendered:
            self.rendered[kind] = serialize(snapshot)
        return self.rendered[kind]


def find_attempt(snapshot: Snapshot, task: str, number: int | None) -> StoredAttempt | None:
    """Return an attempt of a task, the last one without a number; `None` if there is none."""
    found = [item for item in snapshot.attempts if item.task == task and number in {None, item.number}]
    return found[-1] if found else None


def local_log(snapshot: Snapshot, task: str, number: int | None, environ: Mapping[str, str]) -> Path | None:
    """Return the path of the log of an attempt, the last one without a number; `None` if another host has it.

    An attempt that is not stored yet has the path that this host would give it.
    """
    attempt, stored = find_attempt(snapshot, task, number), snapshot.tasks.get(task)
    number = attempt.number if attempt else number or (stored.attempt if stored else 1)
    if attempt and attempt.host not in {None, host_name(environ)}:
        return None
    if attempt and attempt.log:
        return attempt.log
    if stored and stored.log and stored.attempt == number:  # of a release that did not store attempts
        return stored.log
    return log_path(run_directory(snapshot.repository.common, snapshot.run.id), task, number)

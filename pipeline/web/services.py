"""State that the routes of the server share: settings, stores, workers, snapshots and event streams."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ParamSpec, Self, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from containers.git.repository import Repository
from pipeline.run.control import host_name, lease_seconds
from pipeline.run.paths import run_directory
from pipeline.run.stored.open_store import open_store
from pipeline.run.stored.status import current_status, is_dead, is_unpublished
from pipeline.store.records import StoredEvent
from pipeline.store.store import AmbiguousRunError, Store, UnknownRunError
from pipeline.web.roots import Repositories, Roots
from pipeline.web.snapshot import (
    CACHED_SNAPSHOTS,
    MAX_AGE,
    MAX_AGE_OVER,
    CachedSnapshot,
    LocatedRun,
    RunReader,
    Snapshot,
)
from pipeline.web.streams.feeds import PAGE, IsOver, Read, Subscribers
from pipeline.web.workers import Work, WorkerJob, Workers
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Request, RunStatus

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8
"""Number of threads for calls of the store, of git and of the file system."""
CLAIM_SECONDS = 60.0
"""Seconds that a new run of a shared database is left to the server that created it."""
POLL = 0.1
"""Seconds between two checks whether a run has stopped."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of a server.

    `names` are host names of the server, besides its addresses. `runs` is the number of concurrent runs.
    `environ` is the environment of the tasks, so it holds neither the token nor the database.
    """

    roots: tuple[Path, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    database: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    runs: int = 8


class Services:
    """State that the routes of one app share, from `open` until its end. Blocking calls go through `call`."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        environ, database = settings.environ, settings.database
        self.roots = Roots(settings.roots)
        self.repositories = Repositories(
            self.roots, environ, lambda repository: open_store(repository, environ, database)
        )
        self.subscribers = Subscribers()
        worker_environ = {**environ, **({"PATCHYARD_DATABASE": database} if database else {})}
        self.workers = Workers(worker_environ, settings.runs, self._request_stop, self.expire)
        self.run_reader = RunReader(self.workers, environ, shared=database is not None)
        self._limiter = CapacityLimiter(THREADS)
        self._event_limiter = CapacityLimiter(THREADS)
        self._locations: dict[str, tuple[Store, Repository]] = {}
        self._snapshots: dict[str, CachedSnapshot] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Resume interrupted runs, and let the routes use the services while the context is open."""
        async with self.workers.open(), self.subscribers.open(), anyio.create_task_group() as group:
            await self.resume_interrupted()
            group.start_soon(self._resume_abandoned)
            try:
                yield self
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self.call(self.repositories.close)

    async def call(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
        """Call a blocking function in a thread."""
        return await to_thread.run_sync(partial(function, *arguments, **options), limiter=self._limiter)

    # Runs

    async def find(self, name: str) -> LocatedRun:
        """Return a run by its id, a prefix of its id, or `latest`.

        Raises:
            UnknownRunError: There is no such run below the roots.
            AmbiguousRunError: Several runs match.
        """
        return await self.call(self._find, name)

    def _find(self, name: str) -> LocatedRun:
        if name in self._locations:
            store, repository = self._locations[name]
            return LocatedRun(store.run(name), store, repository)
        found: dict[str, LocatedRun] = {}
        ambiguous: AmbiguousRunError | None = None
        for repository, store in self.repositories.stores():
            try:
                run = store.run(name)
            except AmbiguousRunError as error:
                ambiguous = error
                continue
            except UnknownRunError:
                continue
            found[run.id] = LocatedRun(run, store, repository)
        if name == "latest" and found:
            found = dict([max(found.items(), key=lambda item: item[1].run.started_at)])
        if ambiguous or len(found) > 1:
            raise ambiguous or AmbiguousRunError(f"{name} matches {len(found)} runs; use a longer prefix")
        if not found:
            raise UnknownRunError(
                f"there is no run {name} below the roots; `GET /api/v1/autonomous` lists them"
            )
        (located,) = found.values()
        return self.add_location(located)

    def add_location(self, located: LocatedRun) -> LocatedRun:
        """Remember the store and the repository of a run, and return it."""
        self._locations[located.run.id] = (located.store, located.repository)
        return located

    async def runs(self, *, skip_damaged: bool = False) -> list[LocatedRun]:
        """Return every run of the repositories below the roots, the newest first.

        With `skip_damaged`, runs whose rows cannot be read are left out: they keep no other from its work.

        Raises:
            DamagedRowError: A run cannot be read.
        """
        return await self.call(self._runs, skip_damaged=skip_damaged)

    def _runs(self, *, skip_damaged: bool) -> list[LocatedRun]:
        found = [
            LocatedRun(run, store, repository)
            for repository, store in self.repositories.stores()
            for run in store.runs(skip_damaged=skip_damaged)
        ]
        return sorted(found, key=lambda located: (located.run.started_at, located.run.id), reverse=True)

    # Snapshots

    async def snapshot(self, name: str, max_age: float = MAX_AGE) -> Snapshot:
        """Return a snapshot of a run that is at most `max_age` seconds old; concurrent callers share one read.

        Raises:
            UnknownRunError: There is no such run below the roots.
        """
        return (await self._cached_snapshot(name, max_age))[1]

    async def listed(
        self,
        offset: int = 0,
        limit: int = 50,
        *,
        repository: str | None = None,
        status: RunStatus | None = None,
    ) -> tuple[list[Snapshot], int]:
        """Return snapshots of runs, the newest first, and the number of all that match.

        Args:
            offset: How many are skipped.
            limit: How many there are at most.
            repository: Only those of this repository, by the path of its root.
            status: Only those with this current status.
        """
        found = await self.runs()
        if repository is not None:
            found = [located for located in found if str(located.repository.root) == repository]
        if status is not None:
            found = [located for located in found if await self._status(located) is status]
        snapshots = [
            await self.snapshot(located.run.id, MAX_AGE_OVER if located.run.status.is_over else MAX_AGE)
            for located in found[offset : offset + limit]
        ]
        return snapshots, len(found)

    async def _status(self, located: LocatedRun) -> RunStatus:
        """Return the current status of a run; that of one that is over is stored."""
        if located.run.status.is_over:
            return located.run.status
        return (await self.snapshot(located.run.id)).status

    async def rendered(self, name: str, kind: str, serialize: Callable[[Snapshot], bytes]) -> bytes:
        """Return a snapshot of a run in a serialized form, which is made once per snapshot.

        Raises:
            UnknownRunError: There is no such run below the roots.
        """
        cached, snapshot = await self._cached_snapshot(name)
        return cached.render(kind, serialize, snapshot)

    async def _cached_snapshot(self, name: str, max_age: float = MAX_AGE) -> tuple[CachedSnapshot, Snapshot]:
        cached = self._snapshots.get(name)
        if cached is None:
            name = (await self.find(name)).run.id
            if len(self._snapshots) >= CACHED_SNAPSHOTS:
                self._snapshots = {
                    run: item for run, item in self._snapshots.items() if not item.is_stale(MAX_AGE_OVER)
                }
            cached = self._snapshots.setdefault(name, CachedSnapshot())
        async with cached.lock:
            while cached.snapshot is None or cached.is_stale(max_age):
                began = cached.read_at = monotonic()
                cached.snapshot = await self.call(self._read_snapshot, name)
                cached.seconds = monotonic() - began
                cached.rendered.clear()
            return cached, cached.snapshot

    def _read_snapshot(self, name: str) -> Snapshot:
        return self.run_reader.snapshot(self._find(name))

    def expire(self, run: str) -> None:
        """Let the next request for a run read it again."""
        if cached := self._snapshots.get(run):
            cached.read_at = float("-inf")

    # Workers

    def job(
        self,
        located: LocatedRun,
        work: Work = Work.RESUME,
        *,
        keep: bool = False,
        tasks: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> WorkerJob:
        """Return the job of a worker for a run."""
        log = run_directory(located.repository.common, located.run.id) / f"{work}.log"
        return WorkerJob(work, located.run.id, located.repository.root, log, keep, tuple(tasks), tuple(options))

    async def resume_interrupted(self) -> None:
        """Start workers for interrupted runs that a server started."""
        for located in await self.runs(skip_damaged=True):
            run = located.run
            served = run.call.served or run.status is RunStatus.PENDING  # only servers create pending runs
            if not served or self.workers.ended(run.id) or self.workers.has(run.id):
                continue
            if await self._needs_worker(located):
                self.add_location(located)
                self.workers.start(self.job(located))

    async def _needs_worker(self, located: LocatedRun) -> bool:
        """Whether a served run was interrupted, while it ran or while it was published."""
        run, store, environ = located.run, located.store, self.settings.environ
        if run.status.is_finished:
            # A worker that published to the end has released the run.
            return (
                run.owner is not None
                and await self.call(is_unpublished, store, run)
                and await self.call(is_dead, store, run, environ)
            )
        status = await self.call(current_status, store, run, environ)
        if status is RunStatus.PENDING and self.settings.database:
            age = (datetime.now(UTC) - run.started_at).total_seconds()
            return age > CLAIM_SECONDS  # until then, the server that created it claims it
        return status.is_waiting

    async def stop(self) -> None:
        """Stop every served run of this host, so that it can be resumed later."""
        self.workers.closing = True
        found = await self.runs(skip_damaged=True)
        abandoned = [located for located in found if self._is_abandoned_here(located)]
        for located in abandoned:
            with suppress(PatchyardError):
                await self.call(located.store.send_request, located.run.id, Request.STOP)
        await self.workers.stop()
        for located in abandoned:
            while not await self.call(is_dead, located.store, located.run, self.settings.environ):  # noqa: ASYNC110 - the end of another process cannot be awaited
                await anyio.sleep(POLL)

    def _is_abandoned_here(self, located: LocatedRun) -> bool:
        """Whether a worker on this host runs a run, and its server ended."""
        run = located.run
        if not run.status.is_active or not run.call.served:
            return False
        return run.host == host_name(self.settings.environ) and not self.workers.has(run.id)

    async def _resume_abandoned(self) -> None:
        """Resume, periodically, the runs of servers that ended, which is known by their expired leases."""
        while True:
            await anyio.sleep(lease_seconds(self.settings.environ) / 4)
            with suppress(PatchyardError):  # a database that cannot be read now may be readable later
                await self.resume_interrupted()

    def _request_stop(self, run: str) -> None:
        store, _ = self._locations[run]
        store.send_request(run, Request.STOP)

    # Event streams

    async def follow(self, name: str, after: int) -> AsyncIterator[bytes]:
        """Return the events of a run after a sequence number, as server-sent events for `Subscribers.stream`.

        Raises:
            UnknownRunError: There is no such run below the roots.
            TooManyError: The server has the maximum number of subscribers.
        """
        located = await self.find(name)
        self.subscribers.check_limit()
        run = located.run.id
        return self.subscribers.messages(run, after, self.event_reader(located), self.end_check(run))

    async def has_seen_all(self, name: str, number: int) -> bool:
        """Whether a run is over and has no event after a sequence number.

        Raises:
            UnknownRunError: There is no such run below the roots.
        """
        located = await self.find(name)
        is_over = self.end_check(located.run.id)
        if not await is_over():
            return False
        async with self.subscribers.feed(located.run.id, self.event_reader(located), is_over) as feed:
            return await feed.resume_position(number) == number and await feed.is_complete_at(number)

    def event_reader(self, located: LocatedRun) -> Read:
        """Return a function that reads a page of the events of a run."""

        async def read(after: int) -> Sequence[StoredEvent]:
            events = partial(located.store.events, located.run.id, after, PAGE)
            return await to_thread.run_sync(events, limiter=self._event_limiter)

        return read

    def end_check(self, run: str) -> IsOver:
        """Return a function that returns whether a run changes no more without a new request."""

        async def is_over() -> bool:
            return not (await self.snapshot(run)).activity.expects_changes

        return is_over

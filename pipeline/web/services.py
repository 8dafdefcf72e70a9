"""What the routes of the server share: settings, repositories with their stores, workers, and who follows.

The app holds one `Services` for its life. Everything that blocks goes through `Services.call`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import ParamSpec, Self, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from containers.git.repository import Repository
from pipeline.run.control import host_name, lease_seconds
from pipeline.run.lifecycle import current_status, is_dead, is_unpublished, open_store, plan_of
from pipeline.run.paths import run_directory
from pipeline.store.records import Run, StoredAttempt, StoredEvent, StoredTask
from pipeline.store.store import AmbiguousRunError, Store, UnknownRunError
from pipeline.web.feeds import PAGE, IsOver, Read, Subscribers
from pipeline.web.roots import Repositories, Roots
from pipeline.web.workers import Work, WorkerJob, Workers
from tasks.errors import PatchyardError
from tasks.model import Plan, Request, RunStatus

P = ParamSpec("P")
T = TypeVar("T")
THREADS = 8
"""Calls of the store, of git and of the file system at once."""
FRESH = 0.1
"""Seconds that a snapshot counts as the present: clients that poll together share one look."""

FRESH_OVER = 2.0
"""Likewise, for a run of a list that is over."""
BEGINNING = 60.0
"""Seconds in which the server that a run was asked of begins it, before others do."""
LOOKS = 100
"""Runs that were looked at, after which those are let go that nobody asked for of late."""
LOOK = 0.1
"""Seconds between two looks at whether a run has come to its stop."""
PUBLISHING = "publishing"
PLANS = 200
"""Plans that are kept as they were parsed."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What a server was started with.

    `names` are host names that it is reached by, besides its addresses. `runs` is how many runs it works on at
    once. `environ` has neither the token nor the database: it is what tasks are given.
    """

    roots: tuple[Path, ...]
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    database: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    runs: int = 8


@dataclass(frozen=True, slots=True)
class LocatedRun:
    """Where a run is: its store, and its repository on this machine."""

    run: Run
    store: Store
    repository: Repository


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment.

    `standing` is what it is, whatever its row says. `attempts` are in the order of their start; those under way
    have no status. `taken_up` says that a server's worker has the run or will have it, `failure` why the last
    one could do nothing, and `publishing` where the publishing stands that a worker of this server does.
    """

    run: Run
    repository: Repository
    plan: Plan
    standing: RunStatus
    tasks: Mapping[str, StoredTask]
    attempts: tuple[StoredAttempt, ...]
    taken_up: bool = False
    failure: str | None = None
    publishing: str | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether something works on the run, or will without being asked to."""
        return self.taken_up or self.standing.is_active


@dataclass(slots=True)
class _Look:
    """What was seen of a run last; `seconds` is how long looking took, `at` when it began."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    snapshot: Snapshot | None = None
    rendered: dict[str, bytes] = field(default_factory=dict)
    at: float = float("-inf")
    seconds: float = 0.0


class Services:
    """Everything that the routes of a server share. `open` gives it its life."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        environ, database = settings.environ, settings.database
        self.roots = Roots(settings.roots)
        self.repositories = Repositories(
            self.roots, environ, lambda repository: open_store(repository, environ, database)
        )
        self.subscribers = Subscribers()
        worker_environ = {**environ, **({"PATCHYARD_DATABASE": database} if database else {})}
        self.workers = Workers(worker_environ, settings.runs, self._ask_to_stop, self.forget)
        self._limiter = CapacityLimiter(THREADS)
        self._watching = CapacityLimiter(THREADS)
        self._places: dict[str, tuple[Store, Repository]] = {}
        self._plans: dict[str, Plan] = {}
        self._looks: dict[str, _Look] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Self]:
        """Go on with the runs that were cut off, and serve until the context is left."""
        async with self.workers.open(), self.subscribers.open(), anyio.create_task_group() as group:
            await self.take_up()
            group.start_soon(self._take_over)
            try:
                yield self
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self.call(self.repositories.close)

    async def call(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
        """Call something that blocks, in a thread."""
        return await to_thread.run_sync(partial(function, *arguments, **options), limiter=self._limiter)

    # Runs

    async def find(self, name: str) -> LocatedRun:
        """Return where a run is: by its id, the beginning of it, or `latest`.

        Raises:
            UnknownRunError: There is none below the roots.
        """
        return await self.call(self._find, name)

    def _find(self, name: str) -> LocatedRun:
        if name in self._places:
            store, repository = self._places[name]
            return LocatedRun(store.run(name), store, repository)
        found: dict[str, LocatedRun] = {}
        several: UnknownRunError | None = None
        for repository, store in self.repositories.stores():
            try:
                run = store.run(name)
            except AmbiguousRunError as error:
                several = error
                continue
            except UnknownRunError:
                continue
            found[run.id] = LocatedRun(run, store, repository)
        if name == "latest" and found:
            found = dict([max(found.items(), key=lambda item: item[1].run.started_at)])
        if several or len(found) > 1:
            raise several or AmbiguousRunError(f"{name} matches {len(found)} runs; use a longer prefix")
        if not found:
            raise UnknownRunError(
                f"there is no run {name} below the roots; `GET /api/v1/autonomous` lists them"
            )
        (place,) = found.values()
        self._places[place.run.id] = (place.store, place.repository)
        return place

    def adopt(self, place: LocatedRun) -> LocatedRun:
        """Know where a new run is."""
        self._places[place.run.id] = (place.store, place.repository)
        return place

    async def runs(self) -> list[LocatedRun]:
        """Return every run of the repositories below the roots, the newest first."""
        return await self.call(self._runs)

    def _runs(self) -> list[LocatedRun]:
        places = [
            LocatedRun(run, store, repository)
            for repository, store in self.repositories.stores()
            for run in store.runs()
        ]
        return sorted(places, key=lambda place: (place.run.started_at, place.run.id), reverse=True)

    async def snapshot(self, name: str, fresh: float = FRESH) -> Snapshot:
        """Return a run as it is now, or was a moment ago: whoever asks at the same time shares one look.

        `fresh` is how many seconds ago that moment may be.

        Raises:
            UnknownRunError: There is none below the roots.
        """
        return (await self._seen(name, fresh))[1]

    async def listed(self, offset: int = 0, limit: int = 50) -> tuple[list[Snapshot], int]:
        """Return runs, the newest first, and how many there are; those that are over may be of a while ago."""
        places = await self.runs()
        chosen = [
            await self.snapshot(place.run.id, FRESH_OVER if place.run.status.is_over else FRESH)
            for place in places[offset : offset + limit]
        ]
        return chosen, len(places)

    async def rendered(self, name: str, kind: str, render: Callable[[Snapshot], bytes]) -> bytes:
        """Return what is made of a snapshot, which is made once for all who ask for it.

        Raises:
            UnknownRunError: There is none below the roots.
        """
        look, snapshot = await self._seen(name)
        if kind not in look.rendered:
            look.rendered[kind] = render(snapshot)
        return look.rendered[kind]

    async def _seen(self, name: str, fresh: float = FRESH) -> "tuple[_Look, Snapshot]":
        look = self._looks.get(name)
        if look is None:
            name = (await self.find(name)).run.id
            if len(self._looks) >= LOOKS:  # what nobody asks for takes no memory
                old = monotonic() - FRESH_OVER
                self._looks = {run: look for run, look in self._looks.items() if look.at > old}
            look = self._looks.setdefault(name, _Look())
        async with look.lock:
            while look.snapshot is None or monotonic() - look.at > max(fresh, 2 * look.seconds):
                began = look.at = monotonic()
                look.snapshot = await self.call(self._look, name)
                look.seconds = monotonic() - began
                look.rendered.clear()
            return look, look.snapshot

    def _look(self, name: str) -> Snapshot:
        place = self._find(name)
        run = place.run
        if run.id not in self._plans:
            if len(self._plans) > PLANS:
                self._plans.clear()
            self._plans[run.id] = plan_of(run)
        ended = self.workers.ended(run.id)
        now = current_status(place.store, run, self.settings.environ)
        taken_up, publishes = self.at_work(run, now)
        idle = not taken_up and now.is_waiting
        if idle and not ended and self.settings.database and run.call.served:
            taken_up, idle = True, False  # some server that shares the database is about to
        return Snapshot(
            run=run,
            repository=place.repository,
            plan=self._plans[run.id],
            standing=now,
            tasks={item.outcome.task: item for item in place.store.tasks(run.id)},
            attempts=place.store.attempts(run.id),
            taken_up=taken_up,
            failure=ended.reason if ended and idle else None,
            publishing=PUBLISHING if publishes else self._published(place, now),
        )

    def at_work(self, run: Run, now: RunStatus) -> tuple[bool, bool]:
        """Return whether a worker has a run, or will have it, and whether one publishes it."""
        begun = self.workers.is_at_work(run.id)
        own = begun and now.is_finished and run.settings.publish
        # One that waits for its turn does not begin any more when it was cancelled from elsewhere.
        has = begun or (self.workers.has(run.id) and now is not RunStatus.CANCELLED)
        return has, own or self.workers.has(run.id, Work.PUBLISH)

    def _published(self, place: LocatedRun, now: RunStatus) -> str | None:
        """Return what became of the publishing of a run that a worker did last. Blocks."""
        if published := self.workers.ended(place.run.id, Work.PUBLISH):
            return published.reason or "done"
        ended = self.workers.ended(place.run.id)
        if ended is None or not now.is_finished or not place.run.settings.publish:
            return None
        return (ended.reason or "it was cut off") if is_unpublished(place.store, place.run) else "done"

    def forget(self, run: str) -> None:
        """Look anew at a run of which something changed."""
        if look := self._looks.get(run):
            look.at = float("-inf")

    # Workers

    def job(self, place: LocatedRun, work: Work = Work.RESUME) -> WorkerJob:
        """Return what a worker does with a run."""
        log = run_directory(place.repository.common, place.run.id) / f"{work}.log"
        return WorkerJob(work, place.run.id, place.repository.root, log)

    async def take_up(self) -> None:
        """Go on with the runs that a server began and that were cut off.

        Where servers share a database, one that nobody works on yet is left a while to the one that began it.
        """
        for place in await self.runs():
            run = place.run
            ours = run.call.served or run.status is RunStatus.PENDING  # which only servers make
            if self.workers.ended(run.id) or self.workers.has(run.id) or not ours:
                continue
            if run.status.is_finished and await self._was_cut_off_publishing(place):
                self.adopt(place)
                self.workers.start(self.job(place))
            if run.status.is_over:
                continue
            now = await self.call(current_status, place.store, run, self.settings.environ)
            begun = (datetime.now(UTC) - run.started_at).total_seconds()
            if now is RunStatus.INTERRUPTED or (
                now is RunStatus.PENDING and (begun > BEGINNING or not self.settings.database)
            ):
                self.adopt(place)
                self.workers.start(self.job(place))

    async def _was_cut_off_publishing(self, place: LocatedRun) -> bool:
        """Whether the worker of a run was ended while it published: it had the run, and let nobody have it."""
        if place.run.owner is None or not await self.call(is_unpublished, place.store, place.run):
            return False
        return await self.call(is_dead, place.store, place.run, self.settings.environ)

    async def stop(self) -> None:
        """Let every run of this host that a server began come to a stop, to be gone on with later."""
        self.workers.closing = True
        left = [place for place in await self.runs() if self._is_left_to_us(place)]
        for place in left:
            with suppress(PatchyardError):
                await self.call(place.store.send_request, place.run.id, Request.STOP)
        await self.workers.stop()
        for place in left:
            while not await self.call(is_dead, place.store, place.run, self.settings.environ):  # noqa: ASYNC110 - another process's end
                await anyio.sleep(LOOK)

    def _is_left_to_us(self, place: LocatedRun) -> bool:
        """Whether a worker of a server that is gone works on a run here."""
        run = place.run
        if not run.status.is_active or not run.call.served:
            return False
        return run.host == host_name(self.settings.environ) and not self.workers.has(run.id)

    async def _take_over(self) -> None:
        """Go on, from time to time, with runs whose server went: a lease that ended tells."""
        while True:
            await anyio.sleep(lease_seconds(self.settings.environ) / 4)
            with suppress(PatchyardError):  # a database that cannot be read now may be later
                await self.take_up()

    def _ask_to_stop(self, run: str) -> None:
        store, _ = self._places[run]
        store.send_request(run, Request.STOP)

    # Following

    async def follow(self, name: str, after: int) -> AsyncIterator[bytes]:
        """Return the events of a run after a number, as server-sent events; `Subscribers.stream` sends them.

        Raises:
            UnknownRunError: There is no such run.
            TooManyError: Too many event streams are open.
        """
        place = await self.find(name)
        self.subscribers.check_limit()
        return self.subscribers.messages(place.run.id, after, self.reader(place), self.over(place.run.id))

    async def has_seen_all(self, name: str, number: int) -> bool:
        """Whether a run is over, and whoever has seen a number has seen everything.

        Raises:
            UnknownRunError: There is no such run.
        """
        place = await self.find(name)
        over = self.over(place.run.id)
        if not await over():
            return False
        async with self.subscribers.feed(place.run.id, self.reader(place), over) as feed:
            return await feed.resume_position(number) == number and await feed.is_complete_at(number)

    def reader(self, place: LocatedRun) -> Read:
        """Return what reads the events of a run."""

        async def read(after: int) -> Sequence[StoredEvent]:
            look = partial(place.store.events, place.run.id, after, PAGE)
            return await to_thread.run_sync(look, limiter=self._watching)

        return read

    def over(self, run: str) -> IsOver:
        """Return what tells whether a run is over, and nobody will work on it unless asked to."""

        async def is_over() -> bool:
            snapshot = await self.snapshot(run)
            return not snapshot.is_under_way and snapshot.publishing != PUBLISHING

        return is_over

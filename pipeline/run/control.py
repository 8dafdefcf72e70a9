"""Lease renewal of a running run, and the requests that others send it."""

import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from math import inf
from time import monotonic

import anyio
from anyio import CancelScope

from pipeline.run.recorder import Recorder
from pipeline.store.store import Store, StoreUnavailableError
from tasks.model import Request, RunStatus

POLL = 0.25
"""Seconds between two looks at what is asked of a run; also how long it may take to be seen."""
LEASE = 20.0
"""Seconds after which others may take over a run whose process was not heard of."""
STARTING = 60.0
"""Seconds in which a process that has claimed a run is to begin its tasks."""
ENDS = frozenset({Request.CANCEL, Request.STOP})
"""Requests that end a run."""
LEASE_VARIABLE = "PATCHYARD_LEASE"
HOST_VARIABLE = "PATCHYARD_HOST"


def host_name(environ: Mapping[str, str]) -> str:
    """Return the name by which this machine is told from others that share its database."""
    return environ.get(HOST_VARIABLE) or socket.gethostname()


def new_owner(environ: Mapping[str, str]) -> str:
    """Return a name for this process's claim of one run."""
    return f"{host_name(environ)}:{os.getpid()}:{secrets.token_hex(4)}"


def lease_seconds(environ: Mapping[str, str]) -> float:
    """Return how long a claim holds without being renewed, in seconds."""
    try:
        return max(1.0, float(environ.get(LEASE_VARIABLE, "")))
    except ValueError:
        return LEASE


def first_lease_seconds(environ: Mapping[str, str]) -> float:
    """Return how long a new claim holds: it is renewed once the tasks begin, which an engine may hold up."""
    return max(STARTING, lease_seconds(environ))


@dataclass(slots=True)
class Control:
    """Watches what is asked of one run, and renews the claim of it.

    `paused` is whether no task is to begin, at first because the run was taken up so; `request` is what was
    seen last. A claim that cannot be renewed in time ends the run, since another process may have it by then.
    """

    owner: str | None = None
    lease: float = LEASE
    paused: bool = False
    request: Request | None = field(init=False, default=None)
    _going: anyio.Event = field(default_factory=anyio.Event)
    _working: int = 0  # tasks that have a worktree
    _still: float = 0.0  # seconds, up to the last change
    _still_since: float | None = None
    _silent: float = 0.0

    def __post_init__(self) -> None:
        """Begin as the run stood."""
        self.request = Request.PAUSE if self.paused else None
        self._look()

    async def go_on(self) -> None:
        """Wait while the run is paused."""
        while self.paused:
            await self._going.wait()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Count a task as under way while the context is open."""
        self._working += 1
        self._look()
        try:
            yield
        finally:
            self._working -= 1
            self._look()

    @property
    def stood_still(self) -> float:
        """How long the run was paused and no task was under way, in seconds."""
        return self._still + (monotonic() - self._still_since if self._still_since is not None else 0.0)

    def _look(self) -> None:
        """Begin or end the time in which the run stands still."""
        self._still = self.stood_still
        self._still_since = monotonic() if self.paused and not self._working else None

    @asynccontextmanager
    async def watch(self, recorder: Recorder, stop: CancelScope) -> AsyncIterator[None]:
        """Watch while the context is open; cancel `stop` when the run is to end.

        Raises:
            LeaseLostError: Another process has the run.
            StoreUnavailableError: The lease could not be renewed, so another process may soon have it.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, recorder, stop)
            group.start_soon(self._guard, recorder)
            yield
            group.cancel_scope.cancel()

    async def _watch(self, recorder: Recorder, stop: CancelScope) -> None:
        run, renewed = recorder.run.id, -inf
        while True:
            await recorder.flush()
            if self.owner and monotonic() - renewed > self.lease / 4:
                asked = monotonic()
                await recorder.keep(Store.renew, run, self.owner, self.lease)
                renewed, self._silent = asked, 0.0
            request = await recorder.keep(Store.pending_request, run)
            if request is not self.request:
                await self._handle_request(request, recorder, stop)
            await anyio.sleep(POLL)

    async def _guard(self, recorder: Recorder) -> None:
        """End the tasks before another host may begin them, when a shared database says nothing.

        Only the time in which this process runs counts: after a pause (`SIGSTOP`, a laptop's lid) the database
        says whether the claim still holds.
        """
        while True:
            await anyio.sleep(POLL)
            self._silent += POLL
            if self.owner and recorder.is_shared and self._silent > self.lease * 3 / 4:
                raise StoreUnavailableError(
                    f"the database did not answer for {self._silent:.0f} s, so another process may soon take "
                    f"run {recorder.run.id} over; its tasks were ended here"
                )

    async def _handle_request(self, request: Request | None, recorder: Recorder, stop: CancelScope) -> None:
        if self.request in ENDS and request is not Request.CANCEL:
            return  # it ends already
        self.request = request
        paused = request is Request.PAUSE or (request in ENDS and self.paused)
        if paused is not self.paused:
            self.paused = paused
            self._look()
            await recorder.keep(
                Store.set_status, recorder.run.id, RunStatus.PAUSED if paused else RunStatus.RUNNING
            )
            if not paused:
                self._going.set()
                self._going = anyio.Event()
        if request in ENDS:
            stop.cancel()

"""Lease renewal of a running run, and the requests that others send it."""

import os
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import field
from math import inf
from time import monotonic

import anyio
from anyio import CancelScope

from pipeline.broadcast import Listener
from pipeline.events import Notice
from pipeline.run.recording.recorder import Recorder
from pipeline.store.store import Store, StoreUnavailableError
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Request, RunStatus

POLL_INTERVAL = 0.25
"""Seconds between two reads of the pending request of a run."""
LEASE = 20.0
"""Seconds that a lease lasts without being renewed, by default; then another process may claim the run."""
FIRST_LEASE = 60.0
"""Seconds that a process has between its claim of a run and the first renewal, at least."""
ENDING_REQUESTS = frozenset({Request.CANCEL, Request.STOP})
"""Requests that end a run."""
LEASE_VARIABLE = "PATCHYARD_LEASE"
HOST_VARIABLE = "PATCHYARD_HOST"


def host_name(environ: Mapping[str, str]) -> str:
    """Return the name of this machine, which is unique among the hosts that share its database."""
    return environ.get(HOST_VARIABLE) or socket.gethostname()


def new_owner(environ: Mapping[str, str]) -> str:
    """Return a name for this process's claim of one run."""
    return f"{host_name(environ)}:{os.getpid()}:{os.urandom(4).hex()}"


def lease_seconds(environ: Mapping[str, str]) -> float:
    """Return how long a lease lasts without being renewed, in seconds."""
    try:
        return max(1.0, float(environ.get(LEASE_VARIABLE, "")))
    except ValueError:
        return LEASE


def first_lease_seconds(environ: Mapping[str, str]) -> float:
    """Return the first lease of a new claim, in seconds; starting an engine may delay its first renewal."""
    return max(FIRST_LEASE, lease_seconds(environ))


@dataclass(slots=True)
class Control:
    """Renews the lease of one run, and acts on the requests that it receives.

    If the lease cannot be renewed in time, the run ends, since another process may claim it.

    Attributes:
        owner: The owner of the claim.
        lease: Seconds that the lease lasts without being renewed.
        paused: Whether no task may start; set at first for a run that was claimed while paused.
        request: The request that was read last.
        listener: Receives a notice when the run is paused, and when it continues.
    """

    owner: str | None = None
    lease: float = LEASE
    paused: bool = False
    request: Request | None = field(init=False, default=None)
    listener: Listener | None = None
    _resumed: anyio.Event = field(default_factory=anyio.Event)
    _running_tasks: int = 0
    _idle: float = 0.0  # seconds, up to the last change
    _idle_since: float | None = None
    _unanswered: float = 0.0  # seconds since the last renewal was sent

    def __post_init__(self) -> None:
        """Start in the state that the run was stored in."""
        self.request = Request.PAUSE if self.paused else None
        self._update_idle_time()

    async def wait_while_paused(self) -> None:
        """Wait until the run is not paused."""
        while self.paused:
            await self._resumed.wait()

    @contextmanager
    def task_running(self) -> Iterator[None]:
        """Count a task as running while the context is open."""
        self._running_tasks += 1
        self._update_idle_time()
        try:
            yield
        finally:
            self._running_tasks -= 1
            self._update_idle_time()

    @property
    def idle_seconds(self) -> float:
        """How long the run was paused without a running task, in seconds."""
        return self._idle + (monotonic() - self._idle_since if self._idle_since is not None else 0.0)

    def _update_idle_time(self) -> None:
        """Start or stop the clock of `idle_seconds` after a change of its conditions."""
        self._idle = self.idle_seconds
        self._idle_since = monotonic() if self.paused and not self._running_tasks else None

    @asynccontextmanager
    async def watch(self, recorder: Recorder, stop: CancelScope) -> AsyncIterator[None]:
        """Renew the lease and read requests while the context is open; cancel `stop` when one ends the run.

        Raises:
            LeaseLostError: Another process has the run.
            StoreUnavailableError: The lease could not be renewed, so another process may soon have it.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._renew_and_poll, recorder, stop)
            group.start_soon(self._check_lease, recorder)
            yield
            group.cancel_scope.cancel()

    async def _renew_and_poll(self, recorder: Recorder, stop: CancelScope) -> None:
        run, renewed = recorder.run.id, -inf
        while True:
            await recorder.flush()
            if self.owner and monotonic() - renewed > self.lease / 4:
                sent = monotonic()
                await recorder.call(Store.renew, run, self.owner, self.lease)
                renewed, self._unanswered = sent, 0.0
            request = await recorder.call(Store.pending_request, run)
            if request is not self.request:
                await self._handle_request(request, recorder, stop)
            await anyio.sleep(POLL_INTERVAL)

    async def _check_lease(self, recorder: Recorder) -> None:
        """End the tasks before another host may claim the run, if a shared database does not answer.

        Only time in which this process runs counts: after a pause (`SIGSTOP`, suspend) the database decides
        whether the claim is still valid.

        Raises:
            StoreUnavailableError: The database did not answer for three quarters of the lease.
        """
        while True:
            await anyio.sleep(POLL_INTERVAL)
            self._unanswered += POLL_INTERVAL
            if self.owner and recorder.is_shared and self._unanswered > self.lease * 3 / 4:
                raise StoreUnavailableError(
                    f"the database did not answer for {self._unanswered:.0f} s, so another process may soon "
                    f"claim run {recorder.run.id}; its tasks were ended here"
                )

    async def _handle_request(self, request: Request | None, recorder: Recorder, stop: CancelScope) -> None:
        if self.request in ENDING_REQUESTS and request is not Request.CANCEL:
            return  # the run is ending already
        self.request = request
        paused = request is Request.PAUSE or (request in ENDING_REQUESTS and self.paused)
        if paused is not self.paused:
            self.paused = paused
            self._update_idle_time()
            await recorder.call(
                Store.set_status, recorder.run.id, RunStatus.PAUSED if paused else RunStatus.RUNNING
            )
            if self.listener:
                paused_words = "the run is paused: running tasks finish, and no others start"
                message = paused_words if paused else "the run continues"
                self.listener.notify(Notice(message=message))
            if not paused:
                self._resumed.set()
                self._resumed = anyio.Event()
        if request in ENDING_REQUESTS:
            stop.cancel()

"""Worker processes of a server: one process per run, each in its own session.

The state of a run is in the store, so another worker resumes the run of a dead one. Requests go through the
store, so they reach a worker of any server.
"""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from containers.environment import hand_over
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

POLL = 0.05
"""Seconds between two checks whether a process has ended."""
STOP_REPEAT = 1.0
"""Seconds between two stop requests to the same run."""
RESTARTS = 2
"""Number of restarts of a worker that was killed; after that, a run waits for a resume request."""
LOG_TAIL = 4_096
"""Bytes at the end of the standard error of a worker that are searched for the reason of its failure."""
COMMAND = (sys.executable, "-P", "-m", "pipeline")


class Work(StrEnum):
    """Kind of job of a worker."""

    RESUME = "resume"
    PUBLISH = "publish"


ARGUMENTS = {Work.RESUME: ("resume", "--served"), Work.PUBLISH: ("publish",)}


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """Job of a worker for one run. `log` is the file for standard error.

    `keep` is whether tasks that are retried start from what their last attempts left. `tasks` are those to
    publish; without any, all. `options` are more of the command line.
    """

    work: Work
    run: str
    repository: Path
    log: Path
    keep: bool = False
    tasks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerEnd:
    """Exit code of a worker; `reason` is the last line of its standard error if it failed."""

    code: int
    reason: str | None = None


class Workers:
    """The running and queued workers of a server.

    Args:
        environ: The environment of every worker; the secrets of patchyard in it are handed over unseen.
        limit: Maximum number of running workers; other jobs are queued.
        request_stop: Sends a stop request to a run through the store. Blocks.
        on_change: Called with the id of a run when a worker of it starts or ends.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        limit: int,
        request_stop: Callable[[str], None],
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environ = dict(environ)
        self._limiter = CapacityLimiter(limit)
        self._request_stop = request_stop
        self._on_change = on_change
        self._group: TaskGroup | None = None
        self._jobs: dict[tuple[Work, str], WorkerJob] = {}
        self._processes: dict[tuple[Work, str], subprocess.Popen[bytes] | None] = {}  # `None`: it starts
        self._ended: dict[tuple[Work, str], WorkerEnd] = {}
        self._queued: set[tuple[Work, str]] = set()
        self._withdrawn: set[str] = set()
        self.closing = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let workers be started while the context is open; workers that still run then keep running."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self.closing = True
                group.cancel_scope.cancel()

    def start(self, job: WorkerJob) -> bool:
        """Start or queue a job; return whether it was neither queued nor running, and the server is open."""
        key = (job.work, job.run)
        if job.run in self._withdrawn and key in self._queued:
            self._withdrawn.discard(job.run)
            return True
        if self._group is None or self.closing or key in self._jobs:
            return False
        self._jobs[key] = job
        self._queued.add(key)
        self._ended.pop(key, None)
        self._group.start_soon(self._work, job)
        self._on_change(job.run)
        return True

    def withdraw(self, run: str) -> bool:
        """Remove the queued worker of a run; return whether there was one."""
        if (Work.RESUME, run) not in self._queued:
            return False
        self._withdrawn.add(run)
        return True

    def is_running(self, run: str) -> bool:
        """Whether a worker process of a run exists, or is just starting or ending."""
        return self.has(run) and (Work.RESUME, run) not in self._queued

    def has(self, run: str, work: Work = Work.RESUME) -> bool:
        """Whether a worker of a run is running or queued."""
        return (work, run) in self._jobs

    def ended(self, run: str, work: Work = Work.RESUME) -> WorkerEnd | None:
        """Return how the last worker of this server for a run ended; `None` if there was none."""
        return self._ended.get((work, run))

    async def stop(self) -> None:
        """Start no more workers, send stop requests to the running ones, and wait until they have ended."""
        self.closing = True
        while self._jobs:
            # Repeated, because a worker that has just started did not see an earlier request.
            for work, run in list(self._processes):
                if work is Work.RESUME:
                    await self._stop_worker(run)
            with anyio.move_on_after(STOP_REPEAT):
                while self._jobs:  # noqa: ASYNC110 - other tasks await the processes
                    await anyio.sleep(POLL)

    async def _stop_worker(self, run: str) -> None:
        try:
            await to_thread.run_sync(self._request_stop, run)
        except PatchyardError:  # without the store, a signal still reaches the process
            if process := self._processes.get((Work.RESUME, run)):
                process.terminate()

    async def _work(self, job: WorkerJob) -> None:
        key = (job.work, job.run)
        try:
            async with self._limiter:
                self._queued.discard(key)
                for _ in range(1 + RESTARTS):
                    if self.closing or job.run in self._withdrawn:
                        return
                    ended = await self._run(job)
                    if ended.code >= 0:  # a negative code is a signal, which says nothing about the run
                        break
            self._ended[key] = ended
        finally:
            self._jobs.pop(key, None)
            self._queued.discard(key)
            self._withdrawn.discard(job.run)
            self._on_change(job.run)

    async def _run(self, job: WorkerJob) -> WorkerEnd:
        key = (job.work, job.run)
        self._processes[key] = None
        try:
            with CancelScope(shield=True):
                process = await to_thread.run_sync(partial(_spawn, job, self._environ))
            self._processes[key] = process
            while process.poll() is None:  # noqa: ASYNC110 - there is no event for the end of a process
                await anyio.sleep(POLL)
        except OSError as error:
            return WorkerEnd(1, f"no worker could be started: {error.strerror}")
        finally:
            self._processes.pop(key, None)
        code = process.returncode
        return WorkerEnd(code, await to_thread.run_sync(_last_line, job.log) if code else None)


def _spawn(job: WorkerJob, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    job.log.parent.mkdir(parents=True, exist_ok=True)
    readable, secrets = hand_over(environ)
    # Not a pipe: another process of the same user could open that one in /proc/PID/fd, and read it first.
    ours, theirs = socket.socketpair()
    options = [*job.options, *(["--keep"] if job.keep else [])]
    with ours, theirs, job.log.open("wb") as log:
        process = subprocess.Popen(
            [
                *COMMAND,
                *ARGUMENTS[job.work],
                *options,
                "--repo",
                str(job.repository),
                "--json",
                "--",
                job.run,
                *job.tasks,
            ],
            cwd=job.repository,
            env=readable,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,  # its events are in the store
            stderr=log,
            start_new_session=True,  # Ctrl-C in a terminal reaches only the server
        )
        theirs.close()
        with suppress(OSError):  # it may have ended by now; then its exit code and its log say why
            ours.sendall(secrets)
    return process


def _last_line(log: Path) -> str:
    """Return the last line of the standard error of a worker, as the reason for its failure."""
    try:
        lines = log.read_bytes()[-LOG_TAIL:].decode(errors="replace").split("\n")
    except OSError:
        lines = []
    last = next((line for line in reversed(lines) if line.strip()), "its worker ended without a message")
    return last.removeprefix("patchyard: ")

"""The processes that work on the runs of a server: one a run, each in a session of its own.

A run lives in the store and not in its worker: what a dead one leaves is taken up by the next. A worker is told
what to do through the store, so that it makes no difference which process started it.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from tasks.errors import PatchyardError

POLL = 0.05
"""Seconds between two looks at whether a process has ended."""
ASKED_AGAIN = 1.0
"""Seconds after which a run that was asked to stop is asked once more."""
AGAIN = 2
"""How often a run is taken up again whose worker was killed, before it waits for somebody to say so."""
TAIL = 4_096
"""Bytes of the end of what a worker wrote to standard error that are looked at for the reason."""
COMMAND = (sys.executable, "-P", "-m", "pipeline")


class Work(StrEnum):
    """What a worker does."""

    RESUME = "resume"
    PUBLISH = "publish"


WORDS = {Work.RESUME: ("resume", "--served"), Work.PUBLISH: ("publish",)}


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """One thing to do with a run. `log` is the file that standard error goes to."""

    work: Work
    run: str
    repository: Path
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker ended; `reason` is what it said last, where it did not end well."""

    code: int
    reason: str | None = None


class Workers:
    """Starts workers, at most so many at once, and ends with them.

    Args:
        environ: The environment of every worker.
        limit: How many work at once; what is more waits.
        ask_to_stop: Asks a run, through the store, to end and be gone on with later. Blocks.
        on_change: Is told of a run of which something changed.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        limit: int,
        ask_to_stop: Callable[[str], None],
        on_change: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._environ = dict(environ)
        self._limiter = CapacityLimiter(limit)
        self._ask_to_stop = ask_to_stop
        self._on_change = on_change
        self._group: TaskGroup | None = None
        self._jobs: dict[tuple[Work, str], WorkerJob] = {}
        self._processes: dict[tuple[Work, str], subprocess.Popen[bytes] | None] = {}  # `None`: it starts
        self._ended: dict[tuple[Work, str], Ended] = {}
        self._queued: set[tuple[Work, str]] = set()
        self._withdrawn: set[str] = set()
        self.closing = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let workers be started while the context is open; those that still are under way then stay."""
        async with anyio.create_task_group() as group:
            self._group = group
            try:
                yield
            finally:
                self.closing = True
                group.cancel_scope.cancel()

    def start(self, job: WorkerJob) -> bool:
        """Have something done; returns whether it was not under way already."""
        key = (job.work, job.run)
        if job.run in self._withdrawn and key in self._queued:
            self._withdrawn.discard(job.run)
            return True
        if self._group is None or self.closing or key in self._jobs:
            return False
        self._jobs[key] = job
        self._queued.add(key)
        self._ended.pop(key, None)
        self._group.start_soon(self._do, job)
        self._on_change(job.run)
        return True

    def withdraw(self, run: str) -> bool:
        """Have a run not begun that only waits for its turn; returns whether there was one."""
        if (Work.RESUME, run) not in self._queued:
            return False
        self._withdrawn.add(run)
        return True

    def is_at_work(self, run: str) -> bool:
        """Whether a worker has a run, is about to, or is about to end."""
        return self.has(run) and (Work.RESUME, run) not in self._queued

    def has(self, run: str, work: Work = Work.RESUME) -> bool:
        """Whether something is under way, or waits for its turn."""
        return (work, run) in self._jobs

    def ended(self, run: str, work: Work = Work.RESUME) -> Ended | None:
        """Return how the last worker of this server's ended that did something with a run."""
        return self._ended.get((work, run))

    async def stop(self) -> None:
        """Start no more, ask every run to stop, and wait until each has brought its tasks to an end."""
        self.closing = True
        while self._jobs:
            # Again and again: a worker that was only just started has not seen what was asked before.
            for work, run in list(self._processes):
                if work is Work.RESUME:
                    await self._stop(run)
            with anyio.move_on_after(ASKED_AGAIN):
                while self._jobs:  # noqa: ASYNC110 - each is awaited elsewhere already
                    await anyio.sleep(POLL)

    async def _stop(self, run: str) -> None:
        try:
            await to_thread.run_sync(self._ask_to_stop, run)
        except PatchyardError:  # the store cannot be written: the process can still be told
            if process := self._processes.get((Work.RESUME, run)):
                process.terminate()

    async def _do(self, job: WorkerJob) -> None:
        key = (job.work, job.run)
        try:
            async with self._limiter:
                self._queued.discard(key)
                for _ in range(1 + AGAIN):
                    if self.closing or job.run in self._withdrawn:
                        return
                    ended = await self._run(job)
                    if ended.code >= 0:  # else a signal ended it, which says nothing of the run
                        break
            self._ended[key] = ended
        finally:
            self._jobs.pop(key, None)
            self._queued.discard(key)
            self._withdrawn.discard(job.run)
            self._on_change(job.run)

    async def _run(self, job: WorkerJob) -> Ended:
        key = (job.work, job.run)
        self._processes[key] = None
        try:
            with CancelScope(shield=True):
                process = await to_thread.run_sync(partial(_spawn, job, self._environ))
            self._processes[key] = process
            while process.poll() is None:  # noqa: ASYNC110 - a process tells nobody of its end
                await anyio.sleep(POLL)
        except OSError as error:
            return Ended(1, f"no worker could be started: {error.strerror}")
        finally:
            self._processes.pop(key, None)
        code = process.returncode
        return Ended(code, await to_thread.run_sync(_last_words, job.log) if code else None)


def _spawn(job: WorkerJob, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as log:
        return subprocess.Popen(
            [*COMMAND, *WORDS[job.work], job.run, "--repo", str(job.repository), "--json"],
            cwd=job.repository,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # what it tells of the run is in the store
            stderr=log,
            start_new_session=True,  # Ctrl-C in a terminal is for the server alone
        )


def _last_words(log: Path) -> str:
    """Return the last line that a worker wrote to standard error, as the reason for its end."""
    try:
        lines = log.read_bytes()[-TAIL:].decode(errors="replace").split("\n")
    except OSError:
        lines = []
    said = next((line for line in reversed(lines) if line.strip()), "its worker ended without a word")
    return said.removeprefix("patchyard: ")

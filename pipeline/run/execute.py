"""Execute a prepared run: its lock, pool, runners and signal handling; shared by all entry points."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    suppress,
)
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic

import anyio
from anyio import CancelScope, sleep, to_thread

from containers.concurrency import receive_stop_signals
from containers.file_lock import FileLock
from containers.local import LocalRunner
from containers.runner import Haste, Runner
from containers.worktrees.pool import Pool
from containers.worktrees.ports import Ports
from pipeline.broadcast import Listener
from pipeline.events import Notice, RunFinished
from pipeline.run.agent_limits import AgentLimits
from pipeline.run.budget import Budget
from pipeline.run.call.plan_file import CallError
from pipeline.run.call.prepare import Prepared, new_run
from pipeline.run.call.task_spec import BatchSpec, images_of, pin_images
from pipeline.run.context import ResumeState, RunContext
from pipeline.run.control import Control, lease_seconds
from pipeline.run.flow import run as run_plan
from pipeline.run.paths import run_directory
from pipeline.run.recording.recorder import Recorder
from pipeline.run.results.base_checks import BaseChecks
from pipeline.run.results.branches import Branches
from pipeline.run.results.restore import make_bases
from pipeline.run.results.result_cache import ResultCache
from pipeline.run.runners import HostRunners, RunnerProvider, is_on_this_machine
from pipeline.run.stored.recovery import make_store_work, remove_run_file, write_run_file
from pipeline.store.store import Store
from tasks.errors import PatchyardError, remedy
from tasks.model import Mode
from tasks.outcome import RunStatus
from tasks.schedule import Obstacles

SAME_SIGNAL = 0.2
"""Seconds in which a second signal is the first one again, from a program in between that passes it on."""
READY_AFTER = 0.3
"""Seconds after which the first steps of a run have usually started."""
LOCK_WAIT = 2.0
"""Seconds to wait for the lock of a run: a process that only checks it holds it for a moment."""


def recorder_for(
    prepared: Prepared, run_id: str, opener: Callable[[], Store], repository: str = ""
) -> Recorder:
    """Return the recorder of a new run, which claims it when the store is open."""
    run = new_run(prepared, run_id, repository=repository)

    def claim(store: Store) -> None:
        store.open_run(run)
        store.act_as(run.id, run.owner or "")
        remove_run_file(run)

    return Recorder(opener, run, claim)


async def execute(  # noqa: PLR0913 - the parts of a run, all of them named
    prepared: Prepared,
    recorder: Recorder,
    listener: Listener,
    *,
    before: ResumeState | None = None,
    provider: RunnerProvider | None = None,
    signals: bool = True,
) -> RunFinished:
    """Execute a prepared run until it is done or a signal interrupts it.

    Args:
        prepared: What `prepare` returned.
        recorder: Stores the run; the caller closes it.
        listener: Receives the events.
        before: What the run did before, if it is resumed.
        provider: Provides the runners; those of this host by default.
        signals: Whether signals to this process interrupt the run.

    Raises:
        PatchyardError: The run cannot continue.
    """
    directory = run_directory(prepared.repository.common, recorder.run.id)
    stop, setup, haste = CancelScope(), CancelScope(), Haste()
    runners: Mapping[Mode, Runner] = {}
    batches = prepared.batches
    failure: PatchyardError | None = None
    finished: RunFinished | None = None
    async with _locked_directory(directory, recorder), anyio.create_task_group() as group:
        if signals:
            group.start_soon(_stop_on_signal, (setup, stop), listener, haste)
        try:
            async with AsyncExitStack() as stack:
                with setup:  # if interrupted here, the run ends as it does before its first task
                    opened = (provider or HostRunners()).runners(prepared, directory, listener)
                    runners = await stack.enter_async_context(opened)
                    if not (before and before.attempts):
                        group.start_soon(_prefetch, prepared, runners)
                    group.start_soon(_get_ready, prepared)
                    batches = await _pin_resolved_images(batches, runners)
                context = _context(
                    prepared, recorder, listener, provider, batches=batches, runners=runners, before=before
                )
                context = replace(context, haste=haste)
                finished = await run_plan(context, stop)
        except PatchyardError as error:
            failure = error
        group.cancel_scope.cancel()
    if finished is None:
        raise failure or AssertionError("a run ends with a result or with an error")
    return finished


def _context(  # noqa: PLR0913 - the parts of a run, all of them named
    prepared: Prepared,
    recorder: Recorder,
    listener: Listener,
    provider: RunnerProvider | None,
    *,
    batches: tuple[BatchSpec, ...],
    runners: Mapping[Mode, Runner],
    before: ResumeState | None,
) -> RunContext:
    """Return the context of a run, with a pool of its size."""
    repository, settings, environ = prepared.repository, prepared.settings, prepared.call.environ
    size = 1 if all(batch.mode is Mode.LOCAL for batch in prepared.batches) else settings.pool_size
    store_work = make_store_work(recorder.opener, environ, settings.max_patch)
    directory = prepared.worktrees
    pool = Pool(
        repository,
        directory.path,
        size,
        copy=settings.copy,
        keep=settings.keep,
        sparse=settings.sparse,
        ports=Ports(settings.port_base, settings.port_width),
        store_work=store_work,
        on_notice=lambda message: listener.notify(Notice(message=message, level="warning")),
    )
    results = ResultCache(repository, prepared.secrets, pool.copies.digest, reads=not settings.fresh)
    branches = Branches(repository, settings.branch, recorder.run)
    paused = recorder.run.status is RunStatus.PAUSED
    limits = _limits(settings.wait_for_limits, batches, before)
    bases = make_bases(
        repository,
        recorder.run,
        prepared.plan,
        keep_going=settings.keep_going,
        branch=branches.name,
        repair=bool(before and before.tasks),
        stacked={task: stack.tasks for task, stack in before.stacks.items()} if before else {},
    )
    local = [runner for runner in runners.values() if isinstance(runner, LocalRunner)]
    on_this_machine = is_on_this_machine(prepared)
    return RunContext(
        in_sandbox=any(runner.is_sandboxed for runner in local),
        kinds_of_limits=local[0].limits if local and on_this_machine else {},
        plan=prepared.plan,
        batches=batches,
        settings=settings,
        secrets=prepared.secrets,
        repository=repository,
        branches=branches,
        pool=pool,
        runners=runners,
        recorder=recorder,
        listener=listener,
        control=Control(recorder.run.owner, lease_seconds(environ), paused=paused, listener=listener),
        directory=run_directory(repository.common, recorder.run.id),
        bases=bases,
        obstacles=Obstacles(bases.order, keep_going=settings.keep_going),
        before=before or ResumeState(),
        stacks=dict(before.stacks) if before else {},
        # A module has caches of its engine, and no directory that outlives the call.
        results=None if settings.no_cache or provider else results,
        span=(provider or HostRunners()).span,
        notices=(*filter(None, (directory.note,)), *limits.notices()),
        base_checks=BaseChecks(dict(before.base_checks) if before else {}),
        limits=limits,
        budget=Budget(settings.budget, settings.task_budget, before.work if before else {}),
    )


def _limits(longest: float, batches: tuple[BatchSpec, ...], before: ResumeState | None) -> AgentLimits:
    """Return the limits of agents, with the times until which an earlier process of the run waited."""
    agents = {spec.id: spec.agent.name for batch in batches for spec in batch.tasks if spec.agent}
    until: dict[str, datetime] = {}
    for task, moment in before.waits.items() if before else ():
        if agent := agents.get(task):
            until[agent] = max(moment, until.get(agent, moment))
    return AgentLimits(longest, until)


@asynccontextmanager
async def _locked_directory(directory: Path, recorder: Recorder) -> AsyncIterator[None]:
    """Create a run's directory, and hold its lock, which shows other processes that the run is running."""
    lock = FileLock(directory / "lock")

    def acquire() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        if not lock.acquire(LOCK_WAIT):
            raise CallError(f"run {directory.name} is running in another process")
        if not recorder.is_open:
            write_run_file(recorder.run)

    try:
        await to_thread.run_sync(acquire)
    except OSError as error:
        raise CallError(f"cannot write to {directory}: {error.strerror}; {remedy(error)}") from None
    try:
        yield
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(lock.release)


async def _stop_on_signal(scopes: Collection[CancelScope], listener: Listener, haste: Haste) -> None:
    """End the run at the first signal, and what runs at once at the second."""
    first: float | None = None
    with receive_stop_signals() as received:
        async for _ in received:
            if first is None:
                first = monotonic()
                message = (
                    "cancelled: the running tasks are being ended, their patches are kept; "
                    "a second Ctrl-C ends them at once"
                )
                listener.notify(Notice(message=message, level="warning"))
                for scope in scopes:
                    scope.cancel()
            elif not haste.begun and monotonic() - first > SAME_SIGNAL:
                message = "the running tasks are ended at once, their patches are kept"
                listener.notify(Notice(message=message, level="warning"))
                haste.begin()


async def _get_ready(prepared: Prepared) -> None:
    """Do what the first patch and the end need while the first steps run, if they take that long."""
    await sleep(READY_AFTER)
    with suppress(Exception):  # it is done again when it is needed, where an error is reported
        await to_thread.run_sync(prepared.repository.prepare_patches, prepared.base)
        await to_thread.run_sync(_load_end)


def _load_end() -> None:
    from pipeline.run.stored import verdicts  # noqa: F401, PLC0415 - it is loaded
    from pipeline.verdict import words  # noqa: F401, PLC0415 - likewise


async def _prefetch(prepared: Prepared, runners: Mapping[Mode, Runner]) -> None:
    """Upload what the first tasks start from, while their worktrees are made."""
    first = next((batch for batch in prepared.batches if batch.tasks), None)
    runner = runners.get(Mode.DAGGER)
    if first is None or first.mode is not Mode.DAGGER or runner is None:
        return
    from containers.dagger_engine.start_tree import Prefetcher  # noqa: PLC0415 - start-up stays quick

    if isinstance(runner, Prefetcher):
        await runner.prefetch(prepared.base)


async def _pin_resolved_images(
    batches: tuple[BatchSpec, ...], runners: Mapping[Mode, Runner]
) -> tuple[BatchSpec, ...]:
    """Add the digests of images that are not locked, so that every task of the run has the same image."""
    runner = runners.get(Mode.DAGGER)
    if not (images := images_of(batches, [Mode.DAGGER])):
        return batches
    from containers.dagger_engine.digests import digest_of  # noqa: PLC0415 - start-up stays quick
    from containers.dagger_engine.images import Resolver  # noqa: PLC0415 - likewise

    names = [name for name in images if digest_of(name) is None]
    if not names or not isinstance(runner, Resolver):
        return batches
    return pin_images(batches, await runner.resolve_digests(names))

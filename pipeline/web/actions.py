"""What a caller can have done with runs: begin one, cancel, pause, go on, retry, publish."""

from collections.abc import Sequence

import anyio

from pipeline.publish.service import target_to_resume
from pipeline.run.lifecycle import (
    current_status,
    enqueue,
    is_settled,
    is_unpublished,
    plan_of,
    request_stop,
    tasks_to_retry,
)
from pipeline.run.prepare import Call, Prepared, prepare
from pipeline.store.run_options import Selection
from pipeline.web.problems import ClosingError, RunConflictError
from pipeline.web.schemas import Start
from pipeline.web.services import LocatedRun, Services
from pipeline.web.workers import Work
from tasks.model import Request, RunStatus

BEGINNING = 30.0
"""Seconds in which a worker that was started has its run."""
LOOK = 0.05


async def begin(services: Services, start: Start) -> tuple[LocatedRun, Prepared]:
    """Check a plan, keep a run of it, and have a worker begin as soon as one is free.

    Raises:
        PlanError: The plan has mistakes; all of them are in it.
        PatchyardError: Something else is wrong; the message says what.
    """
    _check_open(services)
    repository = await services.call(services.repositories.named, start.repo)
    plan = await services.call(services.roots.plan, start.plan_path, repository)
    first = start.start_batch if "start_batch" in start.model_fields_set else None
    call = Call(
        plan_path=str(plan),
        repo=repository.root,
        environ=services.settings.environ,
        flags=start.flags,
        selection=Selection(first, start.end_batch, tuple(start.tasks)),
    )
    prepared = await services.call(prepare, call)

    def keep() -> LocatedRun:
        store = services.repositories.store(prepared.repository)
        return LocatedRun(enqueue(prepared, store, served=True), store, repository)

    place = services.adopt(await services.call(keep))
    services.workers.start(services.job(place))
    return place, prepared


async def cancel(services: Services, name: str) -> LocatedRun:
    """Have a run end: its tasks get their grace, and their patches are kept.

    Raises:
        BusyError: It is over.
    """
    place = await services.find(name)
    if services.workers.withdraw(place.run.id):
        services.forget(place.run.id)
    return await _ask(services, place, Request.CANCEL)


async def pause(services: Services, name: str) -> LocatedRun:
    """Have a run begin no more tasks; those under way go on to their ends.

    Raises:
        BusyError: It is over, or nobody works on it.
    """
    return await _ask(services, await services.find(name), Request.PAUSE)


async def go_on(services: Services, name: str) -> LocatedRun:
    """Have a run go on that was paused, cut off or cancelled, or that could not go on before.

    Raises:
        NotNowError: It is complete.
    """
    place = await services.find(name)
    now = await _standing(services, place)
    if now is RunStatus.SUCCEEDED and not await services.call(is_unpublished, place.store, place.run):
        raise RunConflictError(f"run {place.run.id} is over: {now}; `retry` runs tasks of it again")
    return await _work(services, place)


async def retry(services: Services, name: str, tasks: Sequence[str] = ()) -> tuple[LocatedRun, tuple[str, ...]]:
    """Run tasks of a run again, with what builds on them; every one that failed, when none is named.

    Raises:
        NotNowError: The run is under way, or has no such task.
    """
    _check_open(services)
    place = await services.find(name)
    await _check_idle(services, place)
    again = await services.call(tasks_to_retry, place.store, place.run, tasks)
    if not again:
        raise RunConflictError(f"no task of run {place.run.id} failed; name those to run again")
    # What cannot go on is refused before the results of those tasks are hidden.
    await services.call(target_to_resume, place.repository, place.run, services.settings.environ)
    await services.call(place.store.mark_for_redo, place.run.id, again)
    return await _work(services, place), await services.call(_left, place)


def _left(place: LocatedRun) -> tuple[str, ...]:
    """Return the tasks that run when a run is taken up, in order. Blocks."""
    stored = {item.outcome.task: item for item in place.store.tasks(place.run.id, patches=False)}
    return tuple(
        task.id
        for task in plan_of(place.run).tasks
        if not task.completed and not (task.id in stored and is_settled(stored[task.id]))
    )


async def publish(services: Services, name: str) -> LocatedRun:
    """Push the branches of a run and open its pull requests, in a worker of its own.

    Raises:
        NotNowError: The run is under way.
    """
    _check_open(services)
    place = await services.find(name)
    await _check_idle(services, place)
    services.workers.start(services.job(place, Work.PUBLISH))
    services.forget(place.run.id)
    return place


async def _ask(services: Services, place: LocatedRun, request: Request | None) -> LocatedRun:
    """Ask something of whoever works on a run. A worker that was only just started is waited for."""
    run = place.run.id
    with anyio.move_on_after(BEGINNING):
        while services.workers.is_at_work(run) and (await _standing(services, place)).is_waiting:  # noqa: ASYNC110 - another process does it
            await anyio.sleep(LOOK)
    place = await services.find(run)
    await services.call(request_stop, place.store, place.run, services.settings.environ, request)
    services.forget(run)
    return await services.find(run)


async def _work(services: Services, place: LocatedRun) -> LocatedRun:
    """Have a worker go on with a run; one that is about to end, or to begin, is waited for."""
    _check_open(services)
    with anyio.move_on_after(BEGINNING) as waiting:
        while True:
            place = await services.find(place.run.id)
            under_way = (await _standing(services, place)).is_active
            if under_way and place.run.request is not Request.CANCEL:
                return await _ask(services, place, None)
            if not under_way and not services.workers.is_at_work(place.run.id):
                break
            await anyio.sleep(LOOK)
    if waiting.cancelled_caught:
        raise RunConflictError(f"run {place.run.id} is being ended; ask again when it has")
    if (await _standing(services, place)).is_over:  # from now on it is not, also for whoever comes after us
        await services.call(place.store.set_status, place.run.id, RunStatus.PENDING)
    await services.call(place.store.send_request, place.run.id, None)
    services.workers.start(services.job(place))
    services.forget(place.run.id)
    return await services.find(place.run.id)


async def _standing(services: Services, place: LocatedRun) -> RunStatus:
    now = await services.find(place.run.id)
    return await services.call(current_status, now.store, now.run, services.settings.environ)


async def _check_idle(services: Services, place: LocatedRun) -> None:
    now = await _standing(services, place)
    if services.workers.has(place.run.id) or now.is_active:
        raise RunConflictError(f"run {place.run.id} is under way; wait for its end, or cancel it")
    if services.workers.has(place.run.id, Work.PUBLISH):
        raise RunConflictError(f"run {place.run.id} is being published; wait for the end of that")


def _check_open(services: Services) -> None:
    if services.workers.closing:
        raise ClosingError("the server is about to end, and begins nothing; ask again when it is back")

"""Actions on runs: start, cancel, pause, resume, retry, publish."""

from collections.abc import Sequence
from dataclasses import replace

import anyio

from containers.git.repository import Repository
from pipeline.config.sources import load
from pipeline.publish.chosen import chosen_tasks
from pipeline.publish.preview import Preview, preview
from pipeline.publish.service import target_to_resume
from pipeline.run.call.plan_file import parse_plan, read_plan
from pipeline.run.call.prepare import Call, Prepared, new_run, prepare
from pipeline.run.stored.claim import as_published
from pipeline.run.stored.onto import as_text, causes_onto
from pipeline.run.stored.requests import enqueue, feedback_for, request_stop, tasks_to_retry
from pipeline.run.stored.status import current_status, is_settled, is_unpublished, plan_of
from pipeline.store.run_options import Selection
from pipeline.web.problems import ClosingError, RunConflictError
from pipeline.web.schemas import Publish, Start
from pipeline.web.services import Services
from pipeline.web.snapshot import LocatedRun
from pipeline.web.workers import Work
from tasks.diagnostics import Diagnostic
from tasks.dialects.wording import nothing_to_start
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan
from tasks.outcome import Request, RunStatus

CLAIM_TIMEOUT = 30.0
"""Seconds in which a started worker claims its run."""
POLL = 0.05
"""Seconds between two checks of the status of a run."""


async def start_run(services: Services, body: Start) -> tuple[LocatedRun | None, Prepared]:
    """Check a plan, store a pending run of it, and queue a worker for the run.

    There is no run of a plan of another tool in which nothing is left to do; see `nothing_to_start`.

    Raises:
        PlanError: The plan has errors; the exception holds all of them.
        ClosingError: The server is closing.
        PatchyardError: The run cannot be started; the message says why.
    """
    _check_open(services)
    repository = await services.call(services.repositories.named, body.repo)
    prepared = await services.call(prepare, await services.call(_call_of, services, body, repository))
    if nothing_to_start(prepared.plan):
        return None, prepared

    def store_run() -> LocatedRun:
        store = services.repositories.store(prepared.repository)
        return LocatedRun(enqueue(prepared, store, served=True), store, repository)

    located = services.add_location(await services.call(store_run))
    services.workers.start(services.job(located))
    return located, prepared


def _call_of(services: Services, body: Start, repository: Repository) -> Call:
    """Return the call that starts a run. Blocking.

    Raises:
        PatchyardError: The plan is outside of the roots, or no file.
    """
    first = body.start_batch if "start_batch" in body.model_fields_set else None
    return Call(
        plan_path=str(services.roots.plan(body.plan_path, repository)),
        repo=repository.root,
        environ=services.settings.environ,
        flags=body.flags,
        selection=Selection(first, body.end_batch, tuple(body.tasks), with_needed=not body.only),
    )


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """What a plan would run: its tasks, and what is wrong with it.

    `plan` is the whole of it; `None` if it has errors. `problem` is why it cannot be started as it is, besides
    the diagnostics.
    """

    plan: Plan | None
    diagnostics: tuple[Diagnostic, ...] = ()
    problem: str | None = None


async def check_plan(services: Services, body: Start) -> CheckedPlan:
    """Read a plan as a run of it would, without a run. The tasks that are selected are ignored.

    Raises:
        PatchyardError: There is no such repository, or no such plan.
    """
    repository = await services.call(services.repositories.named, body.repo)
    return await services.call(_check_plan, services, body, repository)


def _check_plan(services: Services, body: Start, repository: Repository) -> CheckedPlan:
    call = replace(_call_of(services, body, repository), selection=Selection())
    sources = load(call.flags, call.environ, repository.root)
    parsed = parse_plan(read_plan(call.plan_path), sources, call.environ)
    if parsed.plan is None:
        return CheckedPlan(None, parsed.diagnostics)
    plan, problem = parsed.plan, nothing_to_start(parsed.plan)
    try:
        prepared = prepare(call)
        plan = prepared.plan
        new_run(prepared, "check")
    except PatchyardError as error:
        problem = str(error)
    return CheckedPlan(plan, parsed.diagnostics, problem)


async def cancel(services: Services, name: str) -> LocatedRun:
    """Cancel a run: running tasks are stopped after their grace period, and their patches are kept.

    Raises:
        UnknownRunError: There is no such run.
        RunStateError: The run is over.
    """
    located = await services.find(name)
    if services.workers.withdraw(located.run.id):
        services.expire(located.run.id)
    return await _send_request(services, located, Request.CANCEL)


async def pause(services: Services, name: str) -> LocatedRun:
    """Pause a run: no new tasks start, and running tasks finish.

    Raises:
        UnknownRunError: There is no such run.
        RunStateError: The run is over, or no process has claimed it.
    """
    return await _send_request(services, await services.find(name), Request.PAUSE)


async def resume(services: Services, name: str, options: Sequence[str] = ()) -> LocatedRun:
    """Resume a run that is paused, interrupted, cancelled or failed, with `options` of the command line.

    Raises:
        UnknownRunError: There is no such run.
        RunConflictError: The run is complete, or its process runs and takes no options any more.
        ClosingError: The server is closing.
    """
    located = await services.find(name)
    status = await _current_status(services, located)
    if status is RunStatus.SUCCEEDED and not await services.call(is_unpublished, located.store, located.run):
        raise RunConflictError(f"run {located.run.id} has ended: {status}; `retry` runs tasks of it again")
    return await _resume_with_worker(services, located, options=options)


async def retry(  # noqa: PLR0913 - how tasks are retried, all of it named
    services: Services,
    name: str,
    tasks: Sequence[str] = (),
    *,
    keep: bool = False,
    onto: Sequence[str] = (),
    feedback: str | None = None,
    options: Sequence[str] = (),
) -> tuple[LocatedRun, tuple[str, ...]]:
    """Run tasks of a run again, with the tasks that build on them; without names, all failed tasks.

    With `keep` they start from what their last attempts left, with `onto` from the changes of these tasks,
    with which their own conflict. `feedback` is for their agents, `options` are those of the command line.

    Raises:
        UnknownRunError: There is no such run.
        RunConflictError: The run is running, or no task failed.
        CallError: The run has no such task.
        ClosingError: The server is closing.
    """
    _check_open(services)
    located = await services.find(name)
    await _check_not_running(services, located)
    causes = await services.call(causes_onto, located.repository, located.store, located.run, tasks, onto)
    redone = await services.call(tasks_to_retry, located.store, located.run, tasks)
    if not redone:
        raise RunConflictError(f"no task of run {located.run.id} failed; name the tasks to run again")
    said = await services.call(feedback_for, located.store, located.run, tasks, feedback)
    # A run that cannot be resumed is rejected before the results of those tasks are hidden.
    run = await services.call(as_published, located.store, located.run)
    await services.call(target_to_resume, located.repository, run, services.settings.environ)
    await services.call(located.store.mark_for_redo, located.run.id, redone, said)
    await services.call(located.store.forget_failed_base_checks, located.run.id)
    onto_causes = ["--onto", as_text(causes)] if causes else []
    resumed = await _resume_with_worker(services, located, keep=keep, options=[*onto_causes, *options])
    return resumed, await services.call(_remaining_tasks, located)


def _remaining_tasks(located: LocatedRun) -> tuple[str, ...]:
    """Return the tasks that run when a run is resumed, in order. Blocks."""
    stored = {item.outcome.task: item for item in located.store.tasks(located.run.id)}
    return tuple(
        task.id
        for task in plan_of(located.run).tasks
        if not task.is_left_out and not (task.id in stored and is_settled(stored[task.id]))
    )


async def preview_publication(services: Services, name: str, asked: Publish) -> Preview:
    """Return what `publish` would do; nothing is changed.

    Raises:
        UnknownRunError: There is no such run.
        CallError: The run has no such task, or it has nothing to publish.
        RunConflictError: The run is running or being published.
    """
    located = await services.find(name)
    await _check_not_running(services, located)

    def look() -> Preview:
        run = as_published(located.store, located.run)
        given = {
            "labels": tuple(asked.labels),
            "reviewers": tuple(asked.reviewers),
            "draft": asked.draft or None,
        }
        named = {name: value for name, value in given.items() if value not in {None, ()}}
        run = replace(run, settings=replace(run.settings, **named))  # type: ignore[arg-type]  # pydantic has checked them
        return preview(located.repository, located.store, run, services.settings.environ, asked.tasks)

    return await services.call(look)


async def publish(services: Services, name: str, asked: Publish | None = None) -> LocatedRun:
    """Push the branches of a run and open its pull requests, in a separate worker.

    Raises:
        UnknownRunError: There is no such run.
        CallError: The run has no such task, or it has nothing to publish.
        RunConflictError: The run is running or being published.
        ClosingError: The server is closing.
    """
    _check_open(services)
    located = await services.find(name)
    await _check_not_running(services, located)
    asked = asked or Publish()
    await services.call(chosen_tasks, located.store, located.run, asked.tasks)
    options = [*(f"--label={one}" for one in asked.labels), *(f"--reviewer={one}" for one in asked.reviewers)]
    options += ["--draft"] if asked.draft else []
    services.workers.start(services.job(located, Work.PUBLISH, tasks=asked.tasks, options=options))
    services.expire(located.run.id)
    return located


async def _send_request(services: Services, located: LocatedRun, request: Request | None) -> LocatedRun:
    """Send a request to the process that has claimed a run; a worker that has just started is waited for."""
    run = located.run.id
    with anyio.move_on_after(CLAIM_TIMEOUT):
        while services.workers.is_running(run) and (await _current_status(services, located)).is_waiting:  # noqa: ASYNC110 - another process claims the run
            await anyio.sleep(POLL)
    located = await services.find(run)
    await services.call(request_stop, located.store, located.run, services.settings.environ, request)
    services.expire(run)
    return await services.find(run)


async def _resume_with_worker(
    services: Services, located: LocatedRun, *, keep: bool = False, options: Sequence[str] = ()
) -> LocatedRun:
    """Resume a run, with a new worker unless a process has claimed it.

    A worker that is about to end or to claim the run is waited for.
    """
    _check_open(services)
    with anyio.move_on_after(CLAIM_TIMEOUT) as waiting:
        while True:
            located = await services.find(located.run.id)
            is_active = (await _current_status(services, located)).is_active
            if is_active and located.run.request is not Request.CANCEL:
                if options:
                    raise RunConflictError(
                        f"run {located.run.id} is running or paused, and keeps its budget; cancel it first"
                    )
                return await _send_request(services, located, None)
            if not is_active and not services.workers.is_running(located.run.id):
                break
            await anyio.sleep(POLL)
    if waiting.cancelled_caught:
        raise RunConflictError(f"run {located.run.id} is being cancelled; try again when it has ended")
    if (await _current_status(services, located)).is_over:  # so that a later request finds it pending
        await services.call(located.store.set_status, located.run.id, RunStatus.PENDING)
    await services.call(located.store.send_request, located.run.id, None)
    services.workers.start(services.job(located, keep=keep, options=options))
    services.expire(located.run.id)
    return await services.find(located.run.id)


async def _current_status(services: Services, located: LocatedRun) -> RunStatus:
    stored = await services.find(located.run.id)
    return await services.call(current_status, stored.store, stored.run, services.settings.environ)


async def _check_not_running(services: Services, located: LocatedRun) -> None:
    status = await _current_status(services, located)
    if services.workers.has(located.run.id) or status.is_active:
        raise RunConflictError(f"run {located.run.id} is running; wait for its end, or cancel it")
    if services.workers.has(located.run.id, Work.PUBLISH):
        raise RunConflictError(f"run {located.run.id} is being published; wait until that has finished")


def _check_open(services: Services) -> None:
    if services.workers.closing:
        raise ClosingError("the server is closing and starts nothing; try again when it is back")

"""Requests for stored runs: to start one later, to retry its tasks, to cancel or to pause it. Blocking."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from pipeline.events import now
from pipeline.run.call.plan_file import CallError
from pipeline.run.call.prepare import Prepared, new_run
from pipeline.run.stored.status import RunStateError, current_status, plan_of
from pipeline.store.records import Run, new_run_id
from pipeline.store.store import Store
from tasks.outcome import Request, RunStatus, Status

FAILURES = frozenset({Status.FAILED, Status.TIMED_OUT})
LONGEST_FEEDBACK = 20_000
"""Characters of what the user may say of a task."""


def enqueue(prepared: Prepared, store: Store, *, served: bool = False) -> Run:
    """Store a run that `claim_and_resume` starts later.

    If `served`, servers look after it: the next server to start resumes it if it was interrupted.
    """
    made = new_run(prepared, new_run_id(now()), repository=store.repository)
    call = replace(made.call, served=served)
    run = replace(made, status=RunStatus.PENDING, owner=None, lease_until=None, host=None, call=call)
    store.open_run(run)
    return run


def tasks_to_retry(store: Store, run: Run, tasks: Collection[str]) -> tuple[str, ...]:
    """Return the tasks to run again, with all tasks that build on them, in the plan's order.

    Without `tasks`, those that failed or timed out.

    Raises:
        CallError: The run has no such task.
    """
    stored = store.tasks(run.id)
    plan = plan_of(run)
    if unknown := [name for name in tasks if name not in {task.id for task in plan.tasks}]:
        raise CallError(f"run {run.id} has no task {unknown[0]}; `patchyard status {run.id}` lists its tasks")
    wanted = set(tasks) or {item.outcome.task for item in stored if item.outcome.status in FAILURES}
    while more := {item.outcome.task for item in stored if wanted & set(item.builds_on)} - wanted:
        wanted |= more
    return tuple(task.id for task in plan.tasks if task.id in wanted)


def feedback_for(store: Store, run: Run, tasks: Collection[str], text: str | None) -> Mapping[str, str]:
    """Return the feedback of the user for the agent of each task; without `tasks`, of those that failed.

    Raises:
        CallError: It is too long, or no agent would be given it.
    """
    said = (text or "").strip()
    if not said:
        return {}
    if len(said) > LONGEST_FEEDBACK:
        raise CallError(f"the feedback has more than {LONGEST_FEEDBACK:,} characters; say it in fewer")
    failed = {one.outcome.task for one in store.tasks(run.id) if one.outcome.status in FAILURES}
    asked = [task for task in plan_of(run).tasks if task.id in (tasks or failed)]
    if tasks and (of_commands := [task.id for task in asked if task.run]):
        raise CallError(
            f"task {of_commands[0]} has commands and no agent, which could be given feedback; "
            "name tasks for an agent alone"
        )
    found = {task.id: said for task in asked if not task.run}
    if not found:
        raise CallError("no task that runs again is for an agent, which could be given feedback")
    return found


def request_stop(store: Store, run: Run, environ: Mapping[str, str], request: Request | None) -> None:
    """Send a request to the process of a run; a run without a process is cancelled at once.

    Raises:
        RunStateError: The run has ended, or has no process that could act on the request.
    """
    while True:
        status = current_status(store, run, environ)
        if status.is_over:
            raise RunStateError(f"run {run.id} has ended: {status}")
        if not status.is_waiting:
            store.send_request(run.id, request)
            return
        if request is not Request.CANCEL:
            raise RunStateError(f"run {run.id} is not running; resume it with `patchyard resume {run.id}`")
        if store.cancel(run):
            return
        run = store.run(run.id)  # a process has just claimed it

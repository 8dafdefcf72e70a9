"""Convert snapshots of runs to models of the API."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pipeline.events import now, refusal_fields
from pipeline.run.stored.status import waits_of
from pipeline.store.records import StoredAttempt, StoredStep, StoredTask
from pipeline.verdict.words import as_fields, headline
from pipeline.web.schemas import (
    ActivePullRequest,
    AttemptState,
    BatchState,
    BatchStatus,
    ExecutionState,
    ExecutionStatus,
    StepState,
    TaskDetail,
    TaskState,
    TaskStatus,
)
from pipeline.web.snapshot import Snapshot
from tasks.model import Batch, Task
from tasks.outcome import Request, RunStatus
from tasks.schedule import is_done
from tasks.text import without_surrogates
from tasks.usage import total

STATUSES: Mapping[RunStatus, ExecutionStatus] = {
    RunStatus.PENDING: "started",
    RunStatus.RUNNING: "executing",
    RunStatus.PAUSED: "paused",
    RunStatus.SUCCEEDED: "complete",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "failed",
    RunStatus.INTERRUPTED: "failed",
}


def execution_status(snapshot: Snapshot) -> ExecutionStatus:
    """Return the status of a run in the API; a run that a worker is about to claim is `executing`."""
    status, activity = snapshot.status, snapshot.activity
    if status is RunStatus.PENDING:
        return "failed" if activity.failure and not activity.has_worker else "started"
    if status is RunStatus.PAUSED and snapshot.run.request is not Request.PAUSE:
        return "executing"  # the pause was withdrawn, and the process is about to continue
    if activity.has_worker and (
        activity.is_publishing or not (status.is_active or status is RunStatus.SUCCEEDED)
    ):
        return "executing"  # publishing is a part of the run
    return STATUSES[status]


def execution_state(snapshot: Snapshot) -> ExecutionState:
    """Return the model of `/status`."""
    run, tasks, activity = snapshot.run, snapshot.plan.tasks, snapshot.activity
    ended = {task.id: snapshot.tasks[task.id].outcome for task in tasks if task.id in snapshot.tasks}
    done = sum(1 for task in tasks if is_done(task, ended.get(task.id)))
    batches = snapshot.plan.batches
    current = next(
        (batch.number for batch in batches if any(task.id not in ended for task in batch.tasks)),
        batches[-1].number if batches else 0,
    )
    over, status = snapshot.status.is_over, execution_status(snapshot)
    return ExecutionState(
        execution_id=run.id,
        status=status,
        current_batch=current,
        total_batches=len(batches),
        tasks_completed=done,
        tasks_total=len(tasks),
        active_prs=list(active_pull_requests(snapshot.tasks.values())),
        started_at=run.started_at,
        completed_at=run.finished_at if over and status != "executing" else None,
        run_status=str(snapshot.status),
        request=None if run.request is None or over else str(run.request),
        tasks_failed=len(ended) - done,
        plan_path=without_surrogates(run.plan_path),
        plan_title=without_surrogates(run.plan_title),
        dialect=snapshot.plan.dialect,
        unit=snapshot.plan.unit,
        order=snapshot.plan.order,
        repo=without_surrogates(str(snapshot.repository.root)),
        base=run.base,
        seconds=run.seconds,
        speedup=run.speedup,
        efficiency=run.efficiency,
        **_verdict_values(snapshot),
        publishing=activity.publishing and without_surrogates(activity.publishing),
        error=activity.failure and without_surrogates(activity.failure),
    )


def _verdict_values(snapshot: Snapshot) -> dict[str, Any]:
    """Return the fields of the verdict; the commands of the command line are not for users of the API."""
    verdict = snapshot.verdict
    values = {name: value for name, value in as_fields(verdict).items() if name != "commands"}
    values["verdict"] = without_surrogates(headline(verdict))
    values["failed"] = [
        {
            "task": one.task,
            "title": without_surrogates(one.title),
            "kind": str(one.kind),
            "why": without_surrogates(one.why),
        }
        for one in verdict.troubles
    ]
    values["conflicts"] = [
        {"batch": one.batch, "tasks": list(one.tasks), "files": [*map(without_surrogates, one.files)]}
        for one in verdict.conflicts
    ]
    return values | {"cost": verdict.usage.cost, "tokens": verdict.usage.tokens.known or None}


def active_pull_requests(tasks: Iterable[StoredTask]) -> Iterable[ActivePullRequest]:
    """Yield the pull requests that are not known to be merged."""
    for item in tasks:
        if item.pull_request and item.pull_request.action != "merged":
            yield ActivePullRequest(
                task=item.outcome.task,
                pr_number=item.pull_request.number,
                status="open",
                url=item.pull_request.url,
            )


def batch_states(snapshot: Snapshot) -> list[BatchState]:
    """Return the models of `/batches`."""
    running, waits = running_attempts(snapshot), _waits(snapshot)
    known = {batch.number for batch in snapshot.plan.batches}
    complete: set[int] = set()
    states: list[BatchState] = []
    before: Batch | None = None
    for batch in snapshot.plan.batches:
        tasks = [
            TaskState.model_validate(_task_values(snapshot, task, running.get(task.id), waits.get(task.id)))
            for task in batch.tasks
        ]
        needed = batch.dependencies if batch.dependencies is not None else (before.number,) if before else ()
        status = _batch_status(snapshot, tasks, is_ready=complete.issuperset(known.intersection(needed)))
        if status == "complete":
            complete.add(batch.number)
        ends = [task.completed_at for task in tasks]
        states.append(
            BatchState(
                id=f"{snapshot.run.id}:{batch.number}",
                batch_number=batch.number,
                status=status,
                started_at=min((task.started_at for task in tasks if task.started_at), default=None),
                completed_at=_last(ends) if status in {"complete", "failed"} else None,
                tasks=tasks,
                title=without_surrogates(batch.title),
            )
        )
        before = batch
    return states


def _last(moments: Sequence[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _batch_status(snapshot: Snapshot, tasks: Sequence[TaskState], *, is_ready: bool) -> BatchStatus:
    statuses = [task.status for task in tasks]
    if all(status in {"complete", "pr_created", "merged"} for status in statuses):
        return "complete"
    begun = any(status != "pending" for status in statuses)
    if not begun:
        return "ready" if is_ready and not snapshot.status.is_over else "pending"
    if "in_progress" in statuses or ("pending" in statuses and not snapshot.status.is_over):
        return "executing"
    return "failed" if "failed" in statuses else "pending"


def task_detail(
    snapshot: Snapshot, task: Task, steps: Mapping[int, Sequence[StoredStep]], logs: Iterable[int]
) -> TaskDetail:
    """Return the model of a task.

    Args:
        snapshot: Its run.
        task: The task in the plan.
        steps: The steps by the number of the attempt.
        logs: The numbers of the attempts with a log on this machine.
    """
    stored = snapshot.tasks.get(task.id)
    with_log = set(logs)
    attempts = [item for item in snapshot.attempts if item.task == task.id]
    return TaskDetail.model_validate(
        {
            **_task_values(
                snapshot, task, running_attempts(snapshot).get(task.id), _waits(snapshot).get(task.id)
            ),
            "dependencies": list(task.dependencies),
            "builds_on": list(stored.builds_on) if stored else [],
            "attempts": [
                _attempt_state(item, steps.get(item.number, ()), has_log=item.number in with_log)
                for item in attempts
            ],
        }
    )


def _attempt_state(item: StoredAttempt, steps: Sequence[StoredStep], *, has_log: bool) -> AttemptState:
    usage = total(step.usage for step in steps)
    return AttemptState(
        number=item.number,
        status=None if item.status is None else str(item.status),
        worktree=item.worktree,
        started_at=item.started_at,
        completed_at=item.finished_at,
        seconds=item.seconds,
        exit_code=item.exit_code,
        error=item.error and without_surrogates(item.error),
        reason=without_surrogates(str(item.cause)) if item.cause else None,
        start=item.start,
        cost=usage.cost,
        tokens=usage.tokens.known or None,
        feedback=item.feedback and without_surrogates(item.feedback),
        has_log=has_log,
        has_diff=item.patch is not None and bool(item.patch.diff),
        steps=[
            StepState(
                number=step.number,
                kind=step.kind,
                command=without_surrogates(step.command),
                exit_code=step.exit_code,
                seconds=step.seconds,
                error=step.error and without_surrogates(step.error),
            )
            for step in steps
        ],
    )


def _task_values(
    snapshot: Snapshot, task: Task, running: StoredAttempt | None, until: datetime | None
) -> dict[str, object]:
    stored = snapshot.tasks.get(task.id)
    outcome = stored.outcome if stored else None
    request = stored.pull_request if stored else None
    return {
        "id": f"{snapshot.run.id}:{task.id}",
        "task_number": task.id,
        "task_title": without_surrogates(outcome.title if outcome else task.title),
        "branch_name": outcome and outcome.branch and without_surrogates(outcome.branch),
        "pr_number": request and request.number,
        "pr_url": request and request.url,
        "status": _task_status(task, stored, running=running is not None),
        "commits": [outcome.commit] if outcome and outcome.commit else [],
        "started_at": running.started_at if running else outcome and outcome.started_at,
        "completed_at": stored and stored.finished_at,
        "error": outcome and outcome.error and without_surrogates(outcome.error),
        "task_status": outcome and str(outcome.status),
        "batch_number": task.batch,
        "group": without_surrogates(task.group),
        "worktree": running.worktree if running else outcome and outcome.worktree,
        "seconds": outcome and outcome.seconds,
        "files": [without_surrogates(name) for name in outcome.files] if outcome else [],
        "cached": bool(outcome and outcome.cached),
        "rounds": outcome.rounds if outcome else None,
        "waiting_until": until,
        "cost": outcome and outcome.cost,
        "tokens": outcome.tokens.known or None if outcome else None,
        "said": outcome and outcome.said,
        "fails_before": [*map(without_surrogates, outcome.fails_before)] if outcome else [],
        "refused": [refusal_fields(one) for one in outcome.refused] if outcome else [],
        "attempt": running.number if running else stored and stored.attempt,
    }


def _task_status(task: Task, stored: StoredTask | None, *, running: bool) -> TaskStatus:
    if stored is None or running:
        return "in_progress" if running else "pending"
    if stored.pull_request:
        return "merged" if stored.pull_request.action == "merged" else "pr_created"
    return "complete" if is_done(task, stored.outcome) else "failed"


def _waits(snapshot: Snapshot) -> Mapping[str, datetime]:
    """Return until when tasks wait for the provider of their agent."""
    return waits_of(snapshot.attempts, now()) if snapshot.status.is_active else {}


def running_attempts(snapshot: Snapshot) -> Mapping[str, StoredAttempt]:
    """Return the running attempts by task."""
    if not snapshot.status.is_active:
        return {}
    known = {task: item.attempt for task, item in snapshot.tasks.items()}  # a task that runs again has a result
    return {
        item.task: item
        for item in snapshot.attempts
        if item.status is None and item.number > known.get(item.task, 0)
    }

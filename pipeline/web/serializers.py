"""What the API says of a run, from what the store has of it: pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pipeline.store.records import StoredAttempt, StoredStep, StoredTask
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
from pipeline.web.services import PUBLISHING, Snapshot
from tasks.model import Batch, Request, RunStatus, Task
from tasks.schedule import is_done

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
    """Return where a run stands, in one of the five words; one that a worker is about to have is executing."""
    standing = snapshot.standing
    if standing is RunStatus.PENDING:
        return "failed" if snapshot.failure and not snapshot.taken_up else "started"
    if standing is RunStatus.PAUSED and snapshot.run.request is not Request.PAUSE:
        return "executing"  # it was told to go on, and is about to
    if snapshot.taken_up and standing in {RunStatus.INTERRUPTED, RunStatus.FAILED, RunStatus.CANCELLED}:
        return "executing"
    if snapshot.taken_up and snapshot.publishing == PUBLISHING:
        return "executing"  # its pull requests are a part of it
    return STATUSES[standing]


def execution_state(snapshot: Snapshot) -> ExecutionState:
    """Return what `status` says of a run."""
    run, tasks = snapshot.run, snapshot.plan.tasks
    ended = {task.id: snapshot.tasks[task.id].outcome for task in tasks if task.id in snapshot.tasks}
    done = sum(1 for task in tasks if is_done(task, ended.get(task.id)))
    batches = snapshot.plan.batches
    current = next(
        (batch.number for batch in batches if any(task.id not in ended for task in batch.tasks)),
        batches[-1].number if batches else 0,
    )
    over, status = snapshot.standing.is_over, execution_status(snapshot)
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
        run_status=str(snapshot.standing),
        request=None if run.request is None or over else str(run.request),
        tasks_failed=len(ended) - done,
        plan_path=_printable(run.plan_path),
        plan_title=_printable(run.plan_title),
        repo=_printable(str(snapshot.repository.root)),
        base=run.base,
        seconds=run.seconds,
        speedup=run.speedup,
        efficiency=run.efficiency,
        publishing=snapshot.publishing and _printable(snapshot.publishing),
        error=snapshot.failure and _printable(snapshot.failure),
    )


def active_pull_requests(tasks: Iterable[StoredTask]) -> Iterable[ActivePullRequest]:
    """Yield the pull requests that were not merged yet, as far as is known."""
    for item in tasks:
        if item.pull_request and item.pull_request.action != "merged":
            yield ActivePullRequest(
                task=item.pull_request.task,
                pr_number=item.pull_request.number,
                status="open",
                url=item.pull_request.url,
            )


def batch_states(snapshot: Snapshot) -> list[BatchState]:
    """Return what `batches` says of a run."""
    running = under_way(snapshot)
    known = {batch.number for batch in snapshot.plan.batches}
    complete: set[int] = set()
    states: list[BatchState] = []
    before: Batch | None = None
    for batch in snapshot.plan.batches:
        tasks = [
            TaskState.model_validate(_task_values(snapshot, task, running.get(task.id))) for task in batch.tasks
        ]
        needed = batch.dependencies if batch.dependencies is not None else (before.number,) if before else ()
        status = _batch_status(snapshot, tasks, ready=complete.issuperset(known.intersection(needed)))
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
                title=_printable(batch.title),
            )
        )
        before = batch
    return states


def _last(moments: Sequence[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _batch_status(snapshot: Snapshot, tasks: Sequence[TaskState], *, ready: bool) -> BatchStatus:
    statuses = [task.status for task in tasks]
    if all(status in {"complete", "pr_created", "merged"} for status in statuses):
        return "complete"
    begun = any(status != "pending" for status in statuses)
    if not begun:
        return "ready" if ready and not snapshot.standing.is_over else "pending"
    if "in_progress" in statuses or ("pending" in statuses and not snapshot.standing.is_over):
        return "executing"
    return "failed" if "failed" in statuses else "pending"


def task_detail(
    snapshot: Snapshot, task: Task, steps: Mapping[int, Sequence[StoredStep]], logs: Iterable[int]
) -> TaskDetail:
    """Return everything that is known of a task; `steps` are by attempt, `logs` are attempts with a log."""
    stored = snapshot.tasks.get(task.id)
    with_log = set(logs)
    attempts = [item for item in snapshot.attempts if item.task == task.id]
    return TaskDetail.model_validate(
        {
            **_task_values(snapshot, task, under_way(snapshot).get(task.id)),
            "dependencies": list(task.dependencies),
            "builds_on": list(stored.builds_on) if stored else [],
            "attempts": [
                _attempt_state(item, steps.get(item.number, ()), has_log=item.number in with_log)
                for item in attempts
            ],
        }
    )


def _attempt_state(item: StoredAttempt, steps: Sequence[StoredStep], *, has_log: bool) -> AttemptState:
    return AttemptState(
        number=item.number,
        status=None if item.status is None else str(item.status),
        worktree=item.worktree,
        started_at=item.started_at,
        completed_at=item.finished_at,
        seconds=item.seconds,
        exit_code=item.exit_code,
        error=item.error and _printable(item.error),
        has_log=has_log,
        has_diff=item.patch is not None and bool(item.patch.diff),
        steps=[
            StepState(
                number=step.number,
                kind=step.kind,
                command=_printable(step.command),
                exit_code=step.exit_code,
                seconds=step.seconds,
                error=step.error and _printable(step.error),
            )
            for step in steps
        ],
    )


def _task_values(snapshot: Snapshot, task: Task, running: StoredAttempt | None) -> dict[str, object]:
    stored = snapshot.tasks.get(task.id)
    outcome = stored.outcome if stored else None
    request = stored.pull_request if stored else None
    return {
        "id": f"{snapshot.run.id}:{task.id}",
        "task_number": task.id,
        "task_title": _printable(outcome.title if outcome else task.title),
        "branch_name": outcome and outcome.branch and _printable(outcome.branch),
        "pr_number": request and request.number,
        "pr_url": request and request.url,
        "status": _task_status(task, stored, running=running is not None),
        "commits": [outcome.commit] if outcome and outcome.commit else [],
        "started_at": running.started_at if running else outcome and outcome.started_at,
        "completed_at": stored and stored.finished_at,
        "error": outcome and outcome.error and _printable(outcome.error),
        "task_status": outcome and str(outcome.status),
        "batch_number": task.batch,
        "worktree": running.worktree if running else outcome and outcome.worktree,
        "seconds": outcome and outcome.seconds,
        "files": [_printable(name) for name in outcome.files] if outcome else [],
        "cached": bool(outcome and outcome.cached),
        "attempt": running.number if running else stored and stored.attempt,
    }


def _task_status(task: Task, stored: StoredTask | None, *, running: bool) -> TaskStatus:
    if stored is None:
        return "in_progress" if running else "pending"
    if stored.pull_request:
        return "merged" if stored.pull_request.action == "merged" else "pr_created"
    return "complete" if is_done(task, stored.outcome) else "failed"


def under_way(snapshot: Snapshot) -> Mapping[str, StoredAttempt]:
    """Return the attempts that are under way, by task."""
    if not snapshot.standing.is_active:
        return {}
    return {
        item.task: item for item in snapshot.attempts if item.status is None and item.task not in snapshot.tasks
    }


def _printable(text: str) -> str:
    """Return text that JSON takes: a byte of a path that is not UTF-8 is shown as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()

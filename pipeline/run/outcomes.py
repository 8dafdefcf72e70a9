"""What a task ends with: its patch is committed, its branch set, its outcome stored."""

from dataclasses import replace
from time import perf_counter, sleep

from anyio import CancelScope, to_thread

from containers.git.repository import BranchMovedError, GitError
from pipeline.events import Notice, TaskFinished, now
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import RunContext
from pipeline.run.results.bases import StartPoint
from pipeline.run.results.commits import commit_message, signature
from pipeline.store.store import Store
from tasks.keys import InputHashes
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Outcome, Status
from tasks.patch_lines import count_lines

TRIES = 10
PAUSE = 0.1
"""How often, with how many seconds in between, it is asked whether a run made what a branch was moved to."""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """An outcome that is not stored yet; its patch is not committed.

    `began` is when its work began, in seconds of `perf_counter`; `None` if there is none, or it is known.
    `attempt` is the number of the attempt that it belongs to, by default of this run's.
    """

    outcome: Outcome
    start: StartPoint | None = None
    inputs: InputHashes | None = None
    attempt: int | None = None
    began: float | None = None


def outcome_without_run(spec: TaskSpec, status: Status, error: str | None) -> Outcome:
    """Return the outcome of a task that is not run; `error` says why."""
    return Outcome(task=spec.id, title=spec.title, batch=spec.task.batch, status=status, error=error)


def with_failure(outcome: Outcome, reason: str) -> Outcome:
    """Return an outcome whose patch cannot be kept: failed, or with one more reason in its first line."""
    if outcome.succeeded:
        return replace(outcome, status=Status.FAILED, exit_code=None, error=reason)
    first, line, rest = (outcome.error or "").partition("\n")
    return replace(outcome, error=f"{first}; {reason}{line}{rest}")


def whole(context: RunContext, outcome: Outcome, seconds: float) -> Outcome:
    """Return an outcome with the whole work on its task; `seconds` of it were not counted before."""
    context.budget.add(outcome.task, seconds=seconds)
    work = context.budget.of(outcome.task)
    return replace(outcome, seconds=work.seconds, cost=work.usage.cost, tokens=work.usage.tokens)


async def conclude(context: RunContext, spec: TaskSpec, result: TaskResult) -> Outcome:
    """Commit the patch of a result, store its outcome, and notify the listener.

    It is not interrupted when the run is cancelled.

    Raises:
        StoreError: It cannot be stored.
    """
    with CancelScope(shield=True):
        outcome = await to_thread.run_sync(keep_result, context, spec, result)
        context.listener.notify(TaskFinished(outcome=outcome))
    return outcome


def keep_result(context: RunContext, spec: TaskSpec, result: TaskResult) -> Outcome:
    """Commit the patch of a result, and store its outcome. Blocking.

    Raises:
        StoreError: It cannot be stored.
    """
    outcome = _with_lines(context, result.outcome)
    if result.start:
        outcome = _commit(context, spec, result.start, outcome)
    if outcome.commit is None:
        outcome = _with_branch_left(context, spec, outcome)
    seconds = None if result.began is None else perf_counter() - result.began
    outcome = whole(context, outcome, seconds or 0.0)
    context.outcomes[spec.id] = outcome  # also if it cannot be stored: the run ends with it
    outcome = _store(context, spec, replace(result, outcome=outcome), seconds)
    context.outcomes[spec.id] = outcome
    return outcome


def _with_lines(context: RunContext, outcome: Outcome) -> Outcome:
    """Return an outcome with the numbers of lines that its patch adds and removes."""
    if outcome.patch is None:
        return outcome
    diff = outcome.patch.diff
    context.bases.removes_file(diff)  # noted while the text is at hand: later it is only in the store
    added, removed = count_lines(diff)
    return replace(outcome, added=added, removed=removed)


def _with_branch_left(context: RunContext, spec: TaskSpec, outcome: Outcome) -> Outcome:
    """Return an outcome without a commit; it says where an earlier attempt left the branch, if one did."""
    branch = context.branches.name(spec.id)
    commit = context.branches.left(branch)
    if commit is None or outcome.status is Status.CANCELLED:  # which runs again when the run is resumed
        return outcome
    stays = f"its branch {branch} stays at the patch of an earlier attempt ({commit[:12]})"
    if outcome.error is not None:
        return with_failure(outcome, stays)
    context.listener.notify(Notice(message=f"task {spec.id} changed nothing; {stays}", level="warning"))
    return outcome


def _commit(context: RunContext, spec: TaskSpec, start: StartPoint, outcome: Outcome) -> Outcome:
    """Commit the patch of a task that succeeded, and set its branch; return the outcome with both.

    Where git refuses, the returned outcome is a failure that says why.
    """
    patch, branch = outcome.patch, context.branches.name(spec.id)
    if patch is None or not outcome.succeeded:
        return outcome
    signed = signature(context.run, outcome.started_at or now())
    message = commit_message(spec.task, context.run.id)
    try:
        commit = context.repository.commit(patch.tree, [patch.start], message, signed)
        wanted = {**({start.branch: start.commit} if start.branch else {}), branch: commit}
        context.recorder.write(Store.announce_branches, context.run.id, wanted)
        for name, target in wanted.items():
            _set_branch(context, name, target)
    except GitError as error:
        hint = f"its patch is kept, and `patchyard resume {context.run.id}` commits it without running the task"
        return with_failure(outcome, f"{error}; {hint}")
    return replace(outcome, status=Status.CHANGED, branch=branch, commit=commit)


def _set_branch(context: RunContext, branch: str, commit: str) -> None:
    branches = context.branches
    try:
        branches.set(branch, commit)
    except BranchMovedError:
        for _ in range(TRIES):
            context.recorder.write(lambda store: branches.refresh(store, branch))
            if branch not in branches.refused:
                break
            sleep(PAUSE)  # the run that moved it may not have stored its outcome yet
        branches.set(branch, commit)


def _store(context: RunContext, spec: TaskSpec, result: TaskResult, seconds: float | None) -> Outcome:
    """Store an outcome, and the seconds of its attempt; return it with its patch as the store has it."""
    outcome, start, attempt = result.outcome, result.start, result.attempt or context.attempt_number(spec.id)
    branches = {outcome.branch: outcome.commit} if outcome.branch and outcome.commit else {}
    if branches and start and start.branch:
        branches[start.branch] = start.commit
    return context.recorder.write(
        Store.keep_outcome,
        context.run.id,
        spec.position,
        outcome,
        start_branch=start.branch if start else None,
        builds_on=start.builds_on if start else (),
        log=context.log(spec.id, attempt) if outcome.worktree else None,
        branches=branches,
        inputs=result.inputs,
        attempt=attempt,
        seconds=seconds,
    )

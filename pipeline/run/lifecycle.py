"""Life cycle of stored runs: status, queueing, claiming, resuming, retrying and cancelling. Blocking.

Any process that can reach the store and has a clone of the repository can claim and resume a run.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from containers.git.repository import GitError, Repository
from containers.processes import has_ended
from containers.worktrees.recovery import recover_unlocked
from pipeline.events import TaskFinished, as_record, now
from pipeline.run.context import ResumeState
from pipeline.run.control import first_lease_seconds, host_name, new_owner
from pipeline.run.paths import runs_directory
from pipeline.run.prepare import Call, CallError, Prepared, new_run, prepare
from pipeline.run.recovery import CUT_OFF, add_missing_runs, is_locked, make_store_work
from pipeline.store.engine import VARIABLE
from pipeline.store.records import Run, StoredTask, new_run_id
from pipeline.store.store import Store
from tasks.errors import PatchyardError
from tasks.model import Plan, Request, RunStatus, Status
from tasks.plan.parser import parse
from tasks.schedule import select
from tasks.text import without_credentials


class RunStateError(PatchyardError):
    """The status of a run does not allow the requested operation."""

    exit_code: ClassVar[int] = 2


def open_store(repository: Repository, environ: Mapping[str, str], database: str | None = None) -> Store:
    """Open the store of a repository's runs: a database that others share, or the one in its git directory.

    Args:
        repository: The repository of the runs.
        environ: `PATCHYARD_DATABASE` has the URL if `database` is `None`.
        database: A SQLAlchemy URL.

    Raises:
        StoreError: It cannot be opened.
    """
    url = database or environ.get(VARIABLE)
    shared = repository_id(repository, environ) if url else ""
    store = Store(url, repository=shared) if url else Store.beside(repository.common)
    add_missing_runs(store, runs_directory(repository.common))
    return store


def repository_id(repository: Repository, environ: Mapping[str, str]) -> str:
    """Return the id of a repository, the same in all clones: the URL of `origin`, else the host and path."""
    url = repository.remote("origin").url()
    if url is None:
        return f"{host_name(environ)}:{repository.common}"
    return without_credentials(url).removesuffix("/").removesuffix(".git")


def plan_of(run: Run) -> Plan:
    """Return the selected part of a run's stored plan.

    Raises:
        CallError: The stored text cannot be parsed.
    """
    parsed = parse(run.plan_text, run.plan_path, agent=run.settings.agent or "agent")
    if parsed.plan is None:
        raise CallError(f"the plan of run {run.id} cannot be parsed: {parsed.diagnostics[0]}")
    chosen = run.call.selection
    return select(parsed.plan, start_batch=chosen.start_batch, end_batch=chosen.end_batch, tasks=chosen.tasks)


def current_status(store: Store, run: Run, environ: Mapping[str, str]) -> RunStatus:
    """Return the status of a run: `INTERRUPTED` if it is stored as active and its process is dead."""
    if not run.status.is_active or not is_dead(store, run, environ):
        return run.status
    return RunStatus.INTERRUPTED


def is_dead(store: Store, run: Run, environ: Mapping[str, str]) -> bool:
    """Whether the process of a run that is stored as active is dead.

    On the run's host, the lock in its directory decides, which the system releases when the process exits; on
    other hosts, its lease.
    """
    if run.directory and (run.host == host_name(environ) or run.owner is None) and Path(run.directory).is_dir():
        if is_locked(Path(run.directory)):
            return False
        # A process that has claimed the run, and not locked the directory yet, is known by its process id.
        return not (run.owner and is_process(run.owner) and store.is_leased(run.id))
    return not store.is_leased(run.id)


def is_process(owner: str) -> bool:
    """Whether the process of this host that made a claim is running; see `new_owner`."""
    number = owner.split(":")[-2:-1]
    if not number or not number[0].isdigit():
        return False
    if int(number[0]) == os.getpid():  # an earlier process, in a container that assigns the same id each time
        return False
    try:
        os.kill(int(number[0]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it belongs to another user
    return not has_ended(int(number[0]))  # a zombie, as in containers whose first process reaps none


def enqueue(prepared: Prepared, store: Store, *, served: bool = False) -> Run:
    """Store a run that `claim_and_resume` starts later.

    If `served`, servers look after it: the next server to start resumes it if it was interrupted.
    """
    made = new_run(prepared, new_run_id(now()), repository=store.repository)
    call = replace(made.call, served=served)
    run = replace(made, status=RunStatus.PENDING, owner=None, lease_until=None, host=None, call=call)
    store.open_run(run)
    return run


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that this process has claimed, ready to be executed."""

    run: Run
    prepared: Prepared
    before: ResumeState


def claim_and_resume(  # noqa: PLR0913 - how a run is resumed, all of it named
    repository: Repository,
    store: Store,
    run: Run,
    environ: Mapping[str, str],
    *,
    again: Collection[str] = (),
    served: bool = False,
    notify: str | None = None,
) -> ClaimedRun:
    """Claim a run that is not running, and prepare to resume it. Blocking.

    Patches that dead processes left in its worktrees are stored. Tasks without a result of their own run again.

    Args:
        repository: The repository of the run.
        store: The store that has the run.
        run: The run.
        environ: The environment variables.
        again: Ids of tasks to run again although they have a result.
        served: Whether servers look after the run; pending requests to cancel or pause it are then kept.
        notify: Webhook URL to call when the run ends.

    Raises:
        RunStateError: Another process has claimed it, or it was cancelled in the meantime.
        PatchyardError: It cannot be resumed here; the message says why.
    """
    if current_status(store, run, environ).is_active:
        where = f" on {run.host}" if run.host and run.host != host_name(environ) else ""
        raise RunStateError(f"run {run.id} is running{where}; `patchyard cancel {run.id}` ends it")
    prepared = prepare_again(repository, run, environ, notify=notify)
    owner = _claim(store, run, environ, served=served)
    try:
        _relocate(store, run, prepared, served=served)
        recover_attempts(repository, store, run, environ)
        stored = {item.outcome.task: item for item in store.tasks(run.id)}
        settled = {task: item for task, item in stored.items() if is_settled(item)}
        _add_missing_events(store, run, settled)
        store.mark_for_redo(run.id, (stored.keys() - settled.keys()) | set(again))
        redone = store.tasks_to_redo(run.id)
    except BaseException:
        store.set_status(run.id, RunStatus.INTERRUPTED)
        store.release(run.id, owner)
        raise
    before = ResumeState(
        {task: item for task, item in settled.items() if task not in redone},
        redone,
        _attempt_counts(store, run, stored.values()),
        _seconds_so_far(run, stored.values()),
    )
    return ClaimedRun(store.run(run.id), prepared, before)


def _claim(store: Store, run: Run, environ: Mapping[str, str], *, served: bool) -> str:
    """Claim a run for this process, and return the owner.

    Raises:
        RunStateError: Another process was faster, or the run was cancelled.
    """
    owner, host = new_owner(environ), host_name(environ)
    # A process of this host is known to be dead; one of another host only when its lease has expired.
    dead = run.owner if run.host == host else None
    lease = first_lease_seconds(environ)
    if not store.claim(run.id, owner, host, lease, dead_owner=dead, honor_requests=served):
        if served and store.run(run.id).status is RunStatus.CANCELLED:
            raise RunStateError(f"run {run.id} was cancelled before it started")
        raise RunStateError(f"run {run.id} was just claimed by another process")
    store.act_as(run.id, owner)
    return owner


def _relocate(store: Store, run: Run, prepared: Prepared, *, served: bool) -> None:
    """Store the run's directory on this host, and the settings and call of its next resumption."""
    described = new_run(prepared, run.id, repository=store.repository)
    call = replace(run.call, served=served)
    store.relocate_run(run.id, described.directory or "", described.settings, call)


def _attempt_counts(store: Store, run: Run, stored: Iterable[StoredTask]) -> dict[str, int]:
    """Return the number of each task's last attempt; tasks of older releases have no stored attempts."""
    counts: dict[str, int] = {}
    for attempt in store.attempts(run.id):
        counts[attempt.task] = max(attempt.number, counts.get(attempt.task, 0))
    for item in stored:
        if item.outcome.worktree:
            counts.setdefault(item.outcome.task, item.attempt)
    return counts


def is_settled(stored: StoredTask) -> bool:
    """Whether a task has a result of its own, so that resuming does not run it again.

    It succeeded, or one of its own steps failed or timed out. A task that was cancelled, skipped, or failed for
    another reason (such as a full disk) runs again.
    """
    outcome = stored.outcome
    if outcome.succeeded or outcome.status is Status.TIMED_OUT:
        return True
    return outcome.status is Status.FAILED and outcome.exit_code is not None


def is_unpublished(store: Store, run: Run) -> bool:
    """Whether a run with `publish` has commits that are not on the forge, or not in their latest version."""
    if not run.settings.publish:
        return False
    pushed = {record.name: record.pushed for record in store.branches()}
    left = [item for item in store.tasks(run.id) if item.outcome.commit]
    left = [item for item in left if item.pull_request is None or item.pull_request.action != "merged"]
    return any(
        item.pull_request is None or pushed.get(item.outcome.branch or "") != item.outcome.commit
        for item in left
    )


def _seconds_so_far(run: Run, stored: Iterable[StoredTask]) -> float:
    """Return how long a run has been running, in seconds, as far as it is stored."""
    if run.seconds is not None:
        return run.seconds
    ends = [(item.finished_at - run.started_at).total_seconds() for item in stored if item.finished_at]
    return max([0.0, *ends])


def recover_attempts(repository: Repository, store: Store, run: Run, environ: Mapping[str, str]) -> None:
    """Store the patches of attempts whose process died, and end these attempts as cancelled."""
    store_work = make_store_work(lambda: _reopen(store, repository, environ), environ)
    for attempt in store.attempts(run.id):
        # Also attempts of other host names, since this host may have been renamed; missing paths are ignored.
        if attempt.status is None and attempt.path:
            recover_unlocked(repository, attempt.path, store_work)
    for attempt in store.attempts(run.id):
        if attempt.status is None:
            store.end_attempt(run.id, replace(attempt, status=Status.CANCELLED, error=CUT_OFF))


def _add_missing_events(store: Store, run: Run, settled: Mapping[str, StoredTask]) -> None:
    """Add the `task_finished` events of stored outcomes that are missing because the process died."""
    reported: set[str] = set()
    last = 0
    while events := store.events(run.id, last):
        last = events[-1].sequence
        for event in events:
            if event.record["event"] == "task_finished":
                reported.add(str(event.record["task"]))
            elif event.record["event"] == "task_started":
                reported.discard(str(event.record["task"]))
    missing = [item for task, item in settled.items() if task not in reported]
    ends = [TaskFinished(outcome=item.outcome, time=item.finished_at or now()) for item in missing]
    if ends:
        store.keep_events(run.id, [as_record(end) for end in ends])


def _reopen(store: Store, repository: Repository, environ: Mapping[str, str]) -> Store:
    """Open the same database again: a store is closed by its user."""
    return (
        Store(store.url, repository=store.repository) if store.repository else open_store(repository, environ)
    )


def prepare_again(
    repository: Repository, run: Run, environ: Mapping[str, str], *, notify: str | None = None
) -> Prepared:
    """Prepare a stored run as its call was prepared, with the stored flags, plan and base.

    Raises:
        PatchyardError: It cannot be resumed here.
    """
    text = run.plan_text if not run.call.masked else None
    call = Call(
        plan_path=run.plan_path,
        repo=repository.root,
        environ=environ,
        flags={**run.call.flags, "notify": notify},
        selection=run.call.selection,
    )
    _fetch_base(repository, run, environ)
    prepared = prepare(call, plan_text=text, base=run.base)
    if text is None and prepared.text != run.plan_text:
        raise CallError(
            f"the plan of run {run.id} contains a secret, which is not stored, and {run.plan_path} has "
            "changed since; restore the plan, or start a new run"
        )
    return replace(prepared, base=run.base, base_name=run.base_name)


def _fetch_base(repository: Repository, run: Run, environ: Mapping[str, str]) -> None:
    """Fetch the base of a run if it is missing in this clone. No ref changes.

    Raises:
        CallError: The remote does not have it either.
    """
    if repository.has(f"{run.base}^{{commit}}"):
        return
    from pipeline.forge.base import ForgeError  # noqa: PLC0415 - as below
    from pipeline.forge.github_connect import connect  # noqa: PLC0415 - slow, and seldom needed

    remote = run.settings.remote
    try:
        forge = connect(environ, repository, remote, run.settings.github)
        credential = forge.credential(repository.remote(remote).url())
    except ForgeError:  # not on GitHub, or without a token: git uses its own credentials
        credential = None
    try:
        repository.remote(remote).fetch(run.base, credential)
    except GitError as error:
        host = run.host or "the host that started it"
        raise CallError(
            f"run {run.id} starts from commit {run.base[:12]}, which is neither in this clone nor on {remote}: "
            f"push its branch, or resume the run on {host} ({error})"
        ) from None


def tasks_to_retry(store: Store, run: Run, tasks: Collection[str]) -> tuple[str, ...]:
    """Return the tasks to run again, with all tasks that build on them, in the plan's order.

    Without `tasks`, those that failed or timed out.

    Raises:
        CallError: The run has no such task.
    """
    stored = store.tasks(run.id, patches=False)
    plan = plan_of(run)
    if unknown := [name for name in tasks if name not in {task.id for task in plan.tasks}]:
        raise CallError(f"run {run.id} has no task {unknown[0]}; `patchyard status {run.id}` lists its tasks")
    wanted = set(tasks) or {
        item.outcome.task for item in stored if item.outcome.status in {Status.FAILED, Status.TIMED_OUT}
    }
    while more := {item.outcome.task for item in stored if wanted & set(item.builds_on)} - wanted:
        wanted |= more
    return tuple(task.id for task in plan.tasks if task.id in wanted)


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

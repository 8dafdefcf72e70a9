"""Runs as they are stored: where the store is, what a run's state means now, and how one is taken up again.

A stored run is all that it takes to work on it: any process that can reach the store and has the repository may
claim it. Blocks.
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
from pipeline.run.recovery import CUT_OFF, add_missing_runs, is_locked, salvager
from pipeline.store.engine import VARIABLE
from pipeline.store.records import Run, StoredTask, new_run_id
from pipeline.store.store import Store
from tasks.errors import PatchyardError
from tasks.model import Plan, Request, RunStatus, Status
from tasks.plan.parser import parse
from tasks.schedule import select
from tasks.text import without_credentials


class RunStateError(PatchyardError):
    """A run is under way, so what was asked cannot be done now."""

    exit_code: ClassVar[int] = 2


def open_store(repository: Repository, environ: Mapping[str, str], database: str | None = None) -> Store:
    """Open the store of a repository's runs: a database that others share, or the one in its git directory.

    Args:
        repository: Whose runs.
        environ: `PATCHYARD_DATABASE` names a database, where `database` does not.
        database: A URL, as SQLAlchemy writes them.

    Raises:
        StoreError: It cannot be opened.
    """
    url = database or environ.get(VARIABLE)
    shared = repository_id(repository, environ) if url else ""
    store = Store(url, repository=shared) if url else Store.beside(repository.common)
    add_missing_runs(store, runs_directory(repository.common))
    return store


def repository_id(repository: Repository, environ: Mapping[str, str]) -> str:
    """Return what the clones of one repository have in common: where they come from, else where this one is."""
    url = repository.remote("origin").url()
    if url is None:
        return f"{host_name(environ)}:{repository.common}"
    return without_credentials(url).removesuffix("/").removesuffix(".git")


def plan_of(run: Run) -> Plan:
    """Return the part of the plan that a run is of, as it was when the run was made."""
    parsed = parse(run.plan_text, run.plan_path, agent=run.settings.agent or "agent")
    if parsed.plan is None:
        raise CallError(f"the plan of run {run.id} cannot be read any more: {parsed.diagnostics[0]}")
    chosen = run.call.selection
    return select(parsed.plan, start_batch=chosen.start_batch, end_batch=chosen.end_batch, tasks=chosen.tasks)


def current_status(store: Store, run: Run, environ: Mapping[str, str]) -> RunStatus:
    """Return where a run stands: one that no process works on any more was interrupted."""
    if not run.status.is_active or not is_dead(store, run, environ):
        return run.status
    return RunStatus.INTERRUPTED


def is_dead(store: Store, run: Run, environ: Mapping[str, str]) -> bool:
    """Whether no process works on a run that is stored as under way.

    On its own host that is told by a lock that the system lets go of with the process, elsewhere by its lease.
    """
    if run.directory and (run.host == host_name(environ) or run.owner is None) and Path(run.directory).is_dir():
        if is_locked(Path(run.directory)):
            return False
        # Between its claim and the lock, a process that has just taken the run up is known by its number.
        return not (run.owner and is_process(run.owner) and store.is_leased(run.id))
    return not store.is_leased(run.id)


def is_process(owner: str) -> bool:
    """Whether the process of this host that made a claim is there; see `new_owner`."""
    number = owner.split(":")[-2:-1]
    if not number or not number[0].isdigit():
        return False
    if int(number[0]) == os.getpid():  # of one before this, in a container that gives the same number each time
        return False
    try:
        os.kill(int(number[0]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return not has_ended(int(number[0]))  # as below a first process that waits for none


def enqueue(prepared: Prepared, store: Store, *, served: bool = False) -> Run:
    """Keep a run that nobody works on yet; `take_up` begins it.

    `served` says that servers look after it: one that starts goes on with it, when it was cut off.
    """
    made = new_run(prepared, new_run_id(now()), repository=store.repository)
    call = replace(made.call, served=served)
    run = replace(made, status=RunStatus.PENDING, owner=None, lease_until=None, host=None, call=call)
    store.open_run(run)
    return run


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that this process has claimed, ready to go on."""

    run: Run
    prepared: Prepared
    before: ResumeState


def claim_and_resume(  # noqa: PLR0913 - how a run is taken up, all of it named
    repository: Repository,
    store: Store,
    run: Run,
    environ: Mapping[str, str],
    *,
    again: Collection[str] = (),
    served: bool = False,
    notify: str | None = None,
) -> ClaimedRun:
    """Claim a run that is not under way, and make it ready to go on.

    What dead processes left in its worktrees is kept as the patches of their attempts; tasks without a result
    of their own are to run again, and so are those of `again`. `served` says that servers look after it; what
    was asked of it before still stands then. `notify` is the URL that is told of its end.

    Raises:
        BusyError: Another process works on it, or it was cancelled meanwhile.
        PatchyardError: It cannot go on here; the message says why.
    """
    if current_status(store, run, environ).is_active:
        where = f" on {run.host}" if run.host and run.host != host_name(environ) else ""
        raise RunStateError(f"run {run.id} is under way{where}; `patchyard cancel {run.id}` ends it")
    prepared = prepare_again(repository, run, environ, notify=notify)
    owner, host = new_owner(environ), host_name(environ)
    # That a process of this host is dead is known, of another host's only when its lease is over.
    dead = run.owner if run.host == host else None
    if not store.claim(
        run.id, owner, host, first_lease_seconds(environ), dead_owner=dead, honor_requests=served
    ):
        if served and store.run(run.id).status is RunStatus.CANCELLED:
            raise RunStateError(f"run {run.id} was cancelled before it began")
        raise RunStateError(f"run {run.id} was taken up by another process just now")
    store.act_as(run.id, owner)
    try:
        described = new_run(prepared, run.id, repository=store.repository)
        call = replace(run.call, served=served)
        store.relocate_run(run.id, described.directory or "", described.settings, call)
        keep_what_is_left(repository, store, run, environ)
        stored = {item.outcome.task: item for item in store.tasks(run.id)}
        settled = {task: item for task, item in stored.items() if is_settled(item)}
        _tell_what_is_missing(store, run, settled)
        store.mark_for_redo(run.id, (stored.keys() - settled.keys()) | set(again))
        redone = store.tasks_to_redo(run.id)
    except BaseException:
        store.set_status(run.id, RunStatus.INTERRUPTED)
        store.release(run.id, owner)
        raise
    attempts: dict[str, int] = {}
    for attempt in store.attempts(run.id):
        attempts[attempt.task] = max(attempt.number, attempts.get(attempt.task, 0))
    for item in stored.values():
        if item.outcome.worktree:
            attempts.setdefault(item.outcome.task, item.attempt)
    before = {task: item for task, item in settled.items() if task not in redone}
    seconds = _seconds(run, stored.values())
    return ClaimedRun(store.run(run.id), prepared, ResumeState(before, redone, attempts, seconds))


def is_settled(stored: StoredTask) -> bool:
    """Whether a task has a result of its own, which is not made again.

    It succeeded, or one of its own steps failed or took too long. One that was cancelled, skipped, or failed
    for want of something that is not its own (a disk that is full) runs again.
    """
    outcome = stored.outcome
    if outcome.succeeded or outcome.status is Status.TIMED_OUT:
        return True
    return outcome.status is Status.FAILED and outcome.exit_code is not None


def is_unpublished(store: Store, run: Run) -> bool:
    """Whether a run that is to be published left something that is not on the forge as it is here."""
    if not run.settings.publish:
        return False
    pushed = {record.name: record.pushed for record in store.branches()}
    left = [item for item in store.tasks(run.id) if item.outcome.commit]
    left = [item for item in left if item.request is None or item.request.action != "merged"]
    return any(
        item.request is None or pushed.get(item.outcome.branch or "") != item.outcome.commit for item in left
    )


def _seconds(run: Run, stored: Iterable[StoredTask]) -> float:
    """Return how long a run was under way, in seconds, as far as anybody saw it."""
    if run.seconds is not None:
        return run.seconds
    ends = [(item.finished_at - run.started_at).total_seconds() for item in stored if item.finished_at]
    return max([0.0, *ends])


def keep_what_is_left(repository: Repository, store: Store, run: Run, environ: Mapping[str, str]) -> None:
    """Keep the patches of attempts whose process died, and close them."""
    salvage = salvager(lambda: open_like(store, repository, environ), environ)
    for attempt in store.attempts(run.id):
        # Also of a host of another name: this one may have had it. What is not here is passed over.
        if attempt.status is None and attempt.path:
            recover_unlocked(repository, attempt.path, salvage)
    for attempt in store.attempts(run.id):
        if attempt.status is None:
            store.end_attempt(run.id, replace(attempt, status=Status.CANCELLED, error=CUT_OFF))


def _tell_what_is_missing(store: Store, run: Run, settled: Mapping[str, StoredTask]) -> None:
    """Add the events of tasks whose outcome was kept, and whose end was not told of, when the process died."""
    told: set[str] = set()
    last = 0
    while events := store.events(run.id, last):
        last = events[-1].sequence
        for event in events:
            if event.record["event"] == "task_finished":
                told.add(str(event.record["task"]))
            elif event.record["event"] == "task_started":
                told.discard(str(event.record["task"]))
    untold = [item for task, item in settled.items() if task not in told]
    ends = [TaskFinished(outcome=item.outcome, time=item.finished_at or now()) for item in untold]
    if ends:
        store.keep_events(run.id, [as_record(end) for end in ends])


def open_like(store: Store, repository: Repository, environ: Mapping[str, str]) -> Store:
    """Open the same database once more."""
    return (
        Store(store.url, repository=store.repository) if store.repository else open_store(repository, environ)
    )


def prepare_again(
    repository: Repository, run: Run, environ: Mapping[str, str], *, notify: str | None = None
) -> Prepared:
    """Check a stored run as a call is checked: the settings as it was told, the plan and the base as they were.

    Raises:
        PatchyardError: It cannot go on here.
    """
    text = run.plan_text if not run.call.masked else None
    call = Call(
        plan_path=run.plan_path,
        repo=repository.root,
        environ=environ,
        flags={**run.call.flags, "notify": notify},
        selection=run.call.selection,
    )
    _bring_base(repository, run, environ)
    prepared = prepare(call, plan_text=text, base=run.base)
    if text is None and prepared.text != run.plan_text:
        raise CallError(
            f"the plan of run {run.id} holds a secret, which is not stored, and {run.plan_path} is not the "
            "same any more; put the plan back, or begin a new run"
        )
    return replace(prepared, base=run.base, base_name=run.base_name)


def _bring_base(repository: Repository, run: Run, environ: Mapping[str, str]) -> None:
    """Get the commit that a run starts from, where this clone does not have it yet. No ref changes.

    Raises:
        CallError: It is not to be had.
    """
    if repository.has(f"{run.base}^{{commit}}"):
        return
    from pipeline.forge.base import ForgeError  # noqa: PLC0415 - as below
    from pipeline.forge.github_connect import connect  # noqa: PLC0415 - slow, and seldom needed

    remote = run.settings.remote
    try:
        forge = connect(environ, repository, remote, run.settings.github)
        credential = forge.credential(repository.remote(remote).url())
    except ForgeError:  # not on GitHub, or what git knows of the remote has to do
        credential = None
    try:
        repository.remote(remote).fetch(run.base, credential)
    except GitError as error:
        host = run.host or "the host that began it"
        raise CallError(
            f"run {run.id} starts from commit {run.base[:12]}, which is neither here nor on {remote}: push the "
            f"branch that it is on, or go on with the run on {host} ({error})"
        ) from None


def tasks_to_retry(store: Store, run: Run, tasks: Collection[str]) -> tuple[str, ...]:
    """Return the tasks that are to run again when some are named, with all that builds on them, in order.

    Without names, those that failed or timed out.

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
    """Ask something of whoever works on a run; one that nobody works on is cancelled at once.

    Raises:
        BusyError: The run is over, or nobody works on it who could heed it.
    """
    while True:
        status = current_status(store, run, environ)
        if status.is_over:
            raise RunStateError(f"run {run.id} is over: {status}")
        if not status.is_waiting:
            store.send_request(run.id, request)
            return
        if request is not Request.CANCEL:
            raise RunStateError(f"nobody works on run {run.id}; `patchyard resume {run.id}` goes on with it")
        if store.cancel(run):
            return
        run = store.run(run.id)  # a process has begun with it just now

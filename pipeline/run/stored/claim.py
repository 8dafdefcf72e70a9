"""Claiming a stored run: any process that can reach the store and has a clone of the repository can resume it.

A run of a process that died, on this host or on another, is taken over here. Blocking.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from containers.git.remote.places import check_unmoved
from containers.git.repository import GitError, Repository
from containers.worktrees.recovery import recover_unlocked
from pipeline.events import TaskFinished, as_record, now
from pipeline.run.call.plan_file import CallError
from pipeline.run.call.prepare import Call, Prepared, new_run, prepare
from pipeline.run.context import ResumeState
from pipeline.run.control import first_lease_seconds, host_name, new_owner
from pipeline.run.stored.continuations import continuations
from pipeline.run.stored.onto import cut_off_causes
from pipeline.run.stored.open_store import open_store
from pipeline.run.stored.recovery import CUT_OFF, make_store_work
from pipeline.run.stored.set_aside import take_set_aside
from pipeline.run.stored.stacks import NOTHING, stacks
from pipeline.run.stored.status import RunStateError, current_status, is_kept, is_settled
from pipeline.store.records import Run, StoredTask
from pipeline.store.store import Store
from tasks.conflicts import Cause
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import RunStatus, Status


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
    keep: bool = False,
    served: bool = False,
    notify: str | None = None,
    onto: Mapping[str, Cause] = NOTHING,
    feedback: Mapping[str, str] = MappingProxyType({}),
) -> ClaimedRun:
    """Claim a run that is not running, and prepare to resume it. Blocking.

    Patches that dead processes left in its worktrees are stored. Tasks without a result of their own run again.

    Args:
        repository: The repository of the run.
        store: The store that has the run.
        run: The run.
        environ: The environment variables.
        again: Ids of tasks to run again although they have a result.
        keep: Whether these start from what their last attempts left.
        served: Whether servers look after the run; pending requests to cancel or pause it are then kept.
        notify: Webhook URL to call when the run ends.
        onto: Why tasks run again on top of others; see `causes_onto`.
        feedback: What the user says of some of these tasks, for their agents.

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
        recover_attempts(repository, store, run, environ, prepared.settings.max_patch)
        others = [item for item in store.tasks(run.id) if item.outcome.task not in again]
        failed = take_set_aside(repository, store, run, prepared, others)
        stored = {item.outcome.task: item for item in store.tasks(run.id)}
        settled = {task: item for task, item in stored.items() if is_settled(item) or task in failed}
        kept = {task: item.outcome for task, item in stored.items() if is_kept(item) and task not in again}
        _add_missing_events(store, run, settled)
        store.mark_for_redo(run.id, (stored.keys() - settled.keys() - kept.keys()) | set(again), feedback)
        redone = store.tasks_to_redo(run.id)
        if again:
            store.forget_failed_base_checks(run.id)
    except BaseException:
        store.set_status(run.id, RunStatus.INTERRUPTED)
        store.release(run.id, owner)
        raise
    before = ResumeState(
        {task: item for task, item in settled.items() if task not in redone},
        kept,
        redone,
        _attempt_counts(store, run, stored.values()),
        continuations(store, run.id, keep=keep),
        _seconds_so_far(run, stored.values()),
        store.step_seconds(run.id),
        store.work(run.id),
        stacks(store, run.id, {**cut_off_causes(store.attempts(run.id), redone), **onto}),
        {one.task: one.waits_until for one in store.attempts(run.id) if one.waits_until is not None},
        {check.key: check for check in store.base_checks(run.id)},
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


def _seconds_so_far(run: Run, stored: Iterable[StoredTask]) -> float:
    """Return how long a run has been running, in seconds, as far as it is stored."""
    if run.seconds is not None:
        return run.seconds
    ends = [(item.finished_at - run.started_at).total_seconds() for item in stored if item.finished_at]
    return max([0.0, *ends])


def recover_attempts(
    repository: Repository, store: Store, run: Run, environ: Mapping[str, str], max_patch: int
) -> None:
    """Store the patches of attempts whose process died, and end these attempts as cancelled."""
    store_work = make_store_work(lambda: _reopen(store, repository, environ), environ, max_patch)
    for attempt in store.attempts(run.id):
        # Also attempts of other host names, since this host may have been renamed; missing paths are ignored.
        if attempt.status is None and attempt.path:
            recover_unlocked(repository, attempt.path, store_work)
    for attempt in store.attempts(run.id):
        if attempt.status is None:
            seconds = store.seconds_of_steps(run.id, attempt.task, attempt.number)
            store.end_attempt(run.id, replace(attempt, status=Status.CANCELLED, error=CUT_OFF, seconds=seconds))


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


def with_settings(run: Run, flags: Mapping[str, object]) -> Run:
    """Return a run whose call has other flags too: what is given when it is resumed; `None` changes nothing."""
    given = {name: value for name, value in flags.items() if value is not None}
    return replace(run, call=replace(run.call, flags={**run.call.flags, **given}))


def as_published(store: Store, run: Run) -> Run:
    """Return a run with the scope of the pull requests that it has, which `publish` may have been given."""
    for branch in store.shared_branches(run.id).values():
        again = replace(run, settings=replace(run.settings, pull_request=branch.scope))
        return with_settings(again, {"pull_request": str(branch.scope)})
    return run


def with_remote(run: Run, repository: Repository, remote: str) -> Run:
    """Return a run that is published to a remote that the user names now, wherever that leads. Blocking."""
    call = replace(
        run.call,
        flags={**run.call.flags, "remote": remote},
        remote_urls=repository.remote_urls(remote),
    )
    return replace(run, settings=replace(run.settings, remote=remote), call=call)


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
        trusted=run.call.trusted,
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
    there = repository.remote(remote)
    try:
        check_unmoved(there, run.call.remote_urls, run.id)
    except GitError as error:
        raise CallError(str(error)) from None
    try:
        fixed = there.fixed()
        credential = connect(environ, repository, remote, run.settings.github).credential(fixed.url(push=True))
    except (ForgeError, GitError):  # not on GitHub, or without a token: git uses its own credentials
        credential = None
    try:
        (fixed if credential else there).fetch(run.base, credential)
    except GitError as error:
        host = run.host or "the host that started it"
        raise CallError(
            f"run {run.id} starts from commit {run.base[:12]}, which is neither in this clone nor on {remote}: "
            f"push its branch, or resume the run on {host} ({error})"
        ) from None

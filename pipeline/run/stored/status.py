"""The status of stored runs, as far as the store and this host tell. Blocking."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from containers.processes import has_ended
from pipeline.run.call.plan_file import CallError
from pipeline.run.control import host_name
from pipeline.run.stored.recovery import is_locked
from pipeline.store.records import Run, StoredAttempt, StoredTask
from pipeline.store.store import Store
from tasks.dialects.registry import parse
from tasks.errors import PatchyardError
from tasks.model import Plan
from tasks.outcome import RunStatus, Status
from tasks.schedule import select

DONE = frozenset({"merged", "closed"})
"""Actions of pull requests that publishing leaves as they are."""


class RunStateError(PatchyardError):
    """The status of a run does not allow the requested operation."""

    exit_code: ClassVar[int] = 2


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


def known_plan(run: Run) -> Plan | None:
    """Return `plan_of` of a run; `None` if its text cannot be read any more: the store has its tasks."""
    try:
        return plan_of(run)
    except PatchyardError:
        return None


def current_status(store: Store, run: Run, environ: Mapping[str, str]) -> RunStatus:
    """Return the status of a run: `INTERRUPTED` if it is stored as active and its process is dead."""
    if not run.status.is_active or not is_dead(store, run, environ):
        return run.status
    # Its process may have stored the end of the run since `run` was read.
    newest = store.run(run.id).status
    return RunStatus.INTERRUPTED if newest.is_active else newest


def waits_of(attempts: Iterable[StoredAttempt], moment: datetime) -> Mapping[str, datetime]:
    """Return until when tasks wait at a moment for the provider of their agent."""
    newest = {one.task: one for one in sorted(attempts, key=lambda one: one.number)}
    return {
        task: one.waits_until
        for task, one in newest.items()
        if one.waits_until is not None and one.waits_until > moment
    }


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


def is_settled(stored: StoredTask) -> bool:
    """Whether a task has a result of its own, so that resuming does not run it again.

    It succeeded, or one of its own steps failed or timed out. A task that was cancelled, skipped, or failed for
    another reason (such as a full disk) runs again.
    """
    outcome = stored.outcome
    if outcome.succeeded or outcome.status is Status.TIMED_OUT:
        return True
    return outcome.status is Status.FAILED and outcome.exit_code is not None


def is_kept(stored: StoredTask) -> bool:
    """Whether only the commit of a task is missing: its steps succeeded, and its patch is stored."""
    outcome = stored.outcome
    failed = outcome.status is Status.FAILED and outcome.exit_code is None and outcome.step is None
    return failed and outcome.patch is not None


def is_unpublished(store: Store, run: Run) -> bool:
    """Whether a run with `publish` has commits to publish that can be: see `unpublished_tasks`."""
    if not run.settings.publish:
        return False
    left_out = {commit for one in store.shared_branches(run.id).values() for commit in one.left_out}
    return any(commit not in left_out for commit in unpublished_tasks(store, run).values())


def unpublished_tasks(store: Store, run: Run, tasks: Iterable[StoredTask] | None = None) -> Mapping[str, str]:
    """Return the commits that are not on the forge, or not in their latest version, by task.

    Those of pull requests that are merged, or that a person closed, are not to be published.

    Args:
        store: The store of the run.
        run: The run.
        tasks: Its tasks, if they were read before.
    """
    made = [item for item in (store.tasks(run.id) if tasks is None else tasks) if item.outcome.commit]
    shared = store.shared_branches(run.id).values() if made else ()
    names = {item.outcome.branch or "" for item in made} | {one.branch for one in shared}
    pushed = store.pushed(sorted(names))
    settled = {commit for one in shared if pushed.get(one.branch) == one.tip for commit in one.commits}
    return {
        item.outcome.task: commit
        for item in made
        if (commit := item.outcome.commit)
        and (item.pull_request is None or item.pull_request.action not in DONE)
        and (
            item.pull_request is None
            or (pushed.get(item.outcome.branch or "") != commit and commit not in settled)
        )
    }

"""The report of a stored run, `report.json`: its inputs, its course and its results (docs/reproducible.md).

With the patches next to it, it is sufficient to recreate the run's commits in another clone.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path

from containers.dagger_engine.digests import digest_of
from containers.git.commits import Commit
from containers.git.repository import GitError, Repository
from pipeline.events import timestamp
from pipeline.report.decode import decode
from pipeline.report.files import ReportError, read_regular_file
from pipeline.report.lineages import foundations_of
from pipeline.report.parts import (
    BasePart,
    GroupPart,
    ImagePart,
    PlanPart,
    PublishingPart,
    Report,
    RequestPart,
    StartPart,
    StepPart,
    TaskPart,
)
from pipeline.run.stored.status import known_plan, unpublished_tasks
from pipeline.store.foundations import divide
from pipeline.store.records import Run, StoredStep, StoredTask
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from pipeline.view.history import histories
from tasks.groups import usage_of_groups
from tasks.keys import InputHashes, canonical
from tasks.model import Plan, Task
from tasks.usage import total

__all__ = ["ReportError", "build_report", "read_report"]

VERSION, WITH_FOUNDATIONS = 1, 2
"""The version of a report, and of one with foundations, which releases before do not know."""
JSON_FILE = "report.json"
MAX_BYTES = 64 * 1024 * 1024
"""A larger report, in bytes, is not read."""


def build_report(repository: Repository, store: Store, run: Run) -> Report:
    """Return the report of a stored run. Blocking.

    Raises:
        GitError: The repository does not have the run's base.
    """
    inputs, stored, steps = store.inputs(run.id), store.tasks(run.id), _last_steps(store, run)
    plan = known_plan(run)
    planned = {task.id: task for task in plan.tasks} if plan else {}
    made = histories(store, run.id)
    tasks = tuple(
        replace(
            _with_plan(
                _task(item, inputs.get(item.outcome.task), steps.get(item.outcome.task, ())),
                planned.get(item.outcome.task),
            ),
            attempts=made.get(item.outcome.task, ()),
        )
        for item in stored
    )
    used, outcomes = total(task.usage for task in tasks), [item.outcome for item in stored]
    foundations = foundations_of(item.builds_on for item in stored)
    return Report(
        version=WITH_FOUNDATIONS if foundations else VERSION,
        patchyard=metadata.version("patchyard"),
        run=run.id,
        status=str(run.status),
        key=_key(tasks),
        plan=_plan_part(run, plan),
        base=BasePart(run.base, repository.tree(run.base), run.base_name),
        pool_size=run.pool_size,
        started_at=timestamp(run.started_at),
        finished_at=_timestamp(run.finished_at),
        seconds=run.seconds,
        speedup=run.speedup,
        efficiency=run.efficiency,
        images=_images(inputs.values()),
        agents=tuple(dict.fromkeys(used.agent for used in inputs.values() if used.agent)),
        environment=tuple(sorted({name for used in inputs.values() for name in used.environment})),
        tasks=tasks,
        conflicts=store.conflicts(run.id),
        commits=_commits(repository, run.base, stored),
        publishing=_publishing(run.settings),
        cost=used.cost,
        tokens=used.tokens,
        publishes=run.settings.publish,
        unpublished=tuple(unpublished_tasks(store, run, stored)) if run.status.is_over else (),
        foundations=foundations,
        groups=tuple(
            GroupPart(one.number, one.title, one.usage.cost, one.usage.tokens)
            for one in (usage_of_groups(plan, outcomes) if plan else ())
        ),
    )


def read_report(path: Path) -> Report:
    """Read a `report.json`. Blocking.

    Raises:
        ReportError: The file cannot be read, or is not a report of this version.
    """
    data = read_regular_file(path, MAX_BYTES)
    try:
        record = json.loads(data)
    except ValueError as error:
        raise ReportError(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise ReportError(f"{path}: not a report: it is nested too deeply") from None
    if not isinstance(record, dict) or record.get("version") not in {VERSION, WITH_FOUNDATIONS}:
        versions = f"{VERSION} or {WITH_FOUNDATIONS}"
        raise ReportError(f"{path}: not a report of version {versions}, those that this patchyard reads")
    try:
        report: Report = decode(Report, record)
    except ValueError as error:
        raise ReportError(f"{path}: {error}") from None
    return report


def _last_steps(store: Store, run: Run) -> Mapping[str, tuple[StoredStep, ...]]:
    """Return the steps of the last attempt that has some, by task."""
    steps = store.steps_of_run(run.id)
    return {task: steps[task, attempt] for task, attempt in sorted(steps)}


def _plan_part(run: Run, plan: Plan | None) -> PlanPart:
    part = PlanPart(run.plan_path, run.plan_name, run.plan_title, run.plan_text)
    if plan is None:
        return part
    return replace(part, dialect=plan.dialect, unit=plan.unit, order=plan.order, has_batches=plan.has_batches)


def _with_plan(part: TaskPart, task: Task | None) -> TaskPart:
    """Return a task with what the plan says of it."""
    return replace(part, group=task.group, left_out=task.is_left_out) if task else part


def _task(item: StoredTask, inputs: InputHashes | None, steps: Iterable[StoredStep]) -> TaskPart:
    outcome, request = item.outcome, item.pull_request
    is_stored = bool(outcome.commit and outcome.patch)
    return TaskPart(
        task=outcome.task,
        title=outcome.title,
        batch=outcome.batch,
        status=str(outcome.status),
        key=inputs.key if inputs else None,
        mode=str(inputs.mode) if inputs else None,
        image=inputs.image if inputs else None,
        agent=inputs.agent if inputs else None,
        environment=inputs.environment if inputs else (),
        secrets=inputs.secrets if inputs else (),
        worktree=outcome.worktree,
        started_at=_timestamp(outcome.started_at),
        finished_at=_timestamp(item.finished_at),
        seconds=round(outcome.seconds, 3),
        start=_start(item, inputs),
        steps=tuple(
            StepPart(one.number, one.kind, one.command, one.exit_code, round(one.seconds, 3), one.error)
            for one in steps
        ),
        exit_code=outcome.exit_code,
        step=outcome.step,
        error=outcome.error,
        cost=outcome.cost,
        rounds=outcome.rounds,
        tokens=outcome.tokens,
        said=outcome.said,
        cached=outcome.cached,
        added=outcome.added,
        removed=outcome.removed,
        fails_before=outcome.fails_before,
        refused=outcome.refused,
        files=outcome.files,
        patch=f"{outcome.task}.patch" if is_stored else None,
        branch=outcome.branch,
        commit=outcome.commit,
        tree=outcome.patch.tree if is_stored and outcome.patch else None,
        pull_request=None
        if request is None
        else RequestPart(request.number, request.url, request.base, request.action),
    )


def _start(item: StoredTask, inputs: InputHashes | None) -> StartPart | None:
    if item.outcome.start is None:
        return None
    tree = inputs.start_tree if inputs else None
    own, foundation = divide(item.builds_on)
    key = foundation.digest if foundation else None
    return StartPart(item.outcome.start, tree, item.start_branch, own, key)


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def _key(tasks: Iterable[TaskPart]) -> str:
    return hashlib.sha256(canonical({task.task: task.key for task in tasks})).hexdigest()


def _images(inputs: Iterable[InputHashes]) -> tuple[ImagePart, ...]:
    found = sorted({used.image for used in inputs if used.image})
    return tuple(
        ImagePart(image.removesuffix(f"@{digest}") if digest else image, digest)
        for image in found
        for digest in [digest_of(image)]
    )


def _commits(repository: Repository, base: str, stored: Sequence[StoredTask]) -> tuple[Commit, ...]:
    """Return the commits of a run; none if the repository no longer has them."""
    tips = [item.outcome.commit for item in stored if item.outcome.commit]
    try:
        return repository.history.since(base, tips)
    except GitError:
        return ()


def _publishing(options: PublishOptions) -> PublishingPart:
    """Return the part of a report that says how the run is published."""
    return PublishingPart(**{item.name: getattr(options, item.name) for item in fields(PublishingPart)})

"""The publications of a stored run: one for each task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.publish.branch_pusher import Branch
from pipeline.publish.publication import Publication, PublishedConflict, PublishedDependency
from pipeline.publish.pull_request import body, title
from pipeline.run.stored.verdicts import built_without
from pipeline.store.records import Run, StoredTask
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.model import Plan
from tasks.outcome import Conflict
from tasks.secrets import Secrets


def publications_of(
    store: Store, run: Run, plan: Plan | None, options: PublishOptions, secrets: Secrets
) -> list[Publication]:
    """Return one publication for each task of a run that has a commit. Blocking.

    Args:
        store: The store, which has the run.
        run: The run.
        plan: Its plan, if that can be parsed.
        options: How it is published.
        secrets: Masked in titles and texts.
    """
    stored, conflicts = {item.outcome.task: item for item in store.tasks(run.id)}, store.conflicts(run.id)
    return [
        Publication(
            task=item.outcome.task,
            branch=branch_of(store, item.outcome.branch or "", item.outcome.commit or "", run.plan_title),
            title=secrets.mask_text(_title(plan, item)),
            body=secrets.mask_text(_body(plan, item, run, store)),
            base=branch_of(store, item.start_branch, item.outcome.start or "", run.plan_title)
            if item.start_branch
            else None,
            plan=run.plan_title,
            run_base=run.base,
            builds_on=_dependencies(stored, item.builds_on),
            conflicts=tuple(
                replace(one, files=tuple(map(secrets.mask_text, one.files)))
                for one in (*_conflicts(stored, item, conflicts), *_left_behind(stored, item, conflicts))
            ),
            labels=options.labels,
            reviewers=options.reviewers,
            draft=options.draft,
        )
        for item in stored.values()
        if item.outcome.commit and item.outcome.branch
    ]


def branch_of(store: Store, name: str, commit: str, title: str) -> Branch:
    """Return a branch to push, with what the store knows of it; `title` is that of its plan. Blocking."""
    record, plans = store.branch(name), store.commits_of([name])[name]
    # Commits of another plan are not overwritten: see `Branches`.
    made = {one for one, plan in plans.items() if plan in {None, title}}
    pushed = record.pushed if record and plans.get(record.pushed or "") in {None, title} else None
    return Branch(name, commit, pushed, frozenset(made))


def _conflicts(
    stored: Mapping[str, StoredTask], item: StoredTask, conflicts: Sequence[Conflict]
) -> Iterator[PublishedConflict]:
    """Yield the conflicts between the patch of a task and those of others, in either direction."""
    task = item.outcome.task
    for conflict in conflicts:
        if task in conflict.tasks:
            others = conflict.tasks[:-1] if task == conflict.tasks[-1] else conflict.tasks[-1:]
            yield PublishedConflict(_dependencies(stored, others), conflict.files)


def _left_behind(
    stored: Mapping[str, StoredTask], item: StoredTask, conflicts: Sequence[Conflict]
) -> Iterator[PublishedConflict]:
    """Yield the conflicts because of which some patches are not in what a task builds on."""
    for conflict in built_without(item, conflicts):
        *kept, late = conflict.tasks
        yield PublishedConflict(_dependencies(stored, [late]), conflict.files, is_own=False, kept=tuple(kept))


def _dependencies(stored: Mapping[str, StoredTask], names: Sequence[str]) -> tuple[PublishedDependency, ...]:
    return tuple(
        PublishedDependency(name, stored[name].outcome.branch or "", stored[name].pull_request)
        for name in names
        if name in stored and stored[name].outcome.branch
    )


def _title(plan: Plan | None, item: StoredTask) -> str:
    found = next((task for task in plan.tasks if task.id == item.outcome.task), None) if plan else None
    return title(found) if found else item.outcome.title


def _body(plan: Plan | None, item: StoredTask, run: Run, store: Store) -> str:
    found = next((task for task in plan.tasks if task.id == item.outcome.task), None) if plan else None
    if plan is None or found is None:
        return f"Task {item.outcome.task} of {run.plan_path}"
    return body(found, plan, item.outcome, run=run.id, steps=store.steps(run.id, found.id))

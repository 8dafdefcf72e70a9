"""The publications of a stored run: one for each task."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.publish.branch_pusher import Branch
from pipeline.publish.publication import Publication, PublishedConflict, PublishedDependency
from pipeline.publish.pull_request import body, title
from pipeline.run.stored.verdicts import built_without
from pipeline.store.records import Run, StoredTask
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.model import Plan, Task
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
    items = [item for item in stored.values() if item.outcome.commit and item.outcome.branch]
    starts = [item.start_branch for item in items if item.start_branch]
    branches = KnownBranches(store, [*(item.outcome.branch or "" for item in items), *starts], run.plan_title)
    planned = {task.id: task for task in plan.tasks} if plan else {}
    # Thousands of tasks build on the same ones: they have the same tuple.
    below = {id(item.builds_on): _dependencies(stored, item.builds_on) for item in _distinct(items)}
    return [
        Publication(
            task=item.outcome.task,
            branch=branches.at(item.outcome.branch or "", item.outcome.commit or ""),
            title=secrets.mask_text(_title(planned.get(item.outcome.task), item)),
            body=secrets.mask_text(_body(plan, planned.get(item.outcome.task), item, run, store)),
            base=branches.at(item.start_branch, item.outcome.start or "") if item.start_branch else None,
            plan=run.plan_title,
            run_base=run.base,
            builds_on=below[id(item.builds_on)],
            conflicts=tuple(
                replace(one, files=tuple(map(secrets.mask_text, one.files)))
                for one in (*_conflicts(stored, item, conflicts), *_left_behind(stored, item, conflicts))
            ),
            labels=options.labels,
            reviewers=options.reviewers,
            draft=options.draft,
        )
        for item in items
    ]


def _distinct(items: Iterable[StoredTask]) -> Iterable[StoredTask]:
    """Return one task of each lineage."""
    return {id(item.builds_on): item for item in items}.values()


class KnownBranches:
    """What the store knows of branches to push. Blocking.

    Args:
        store: The store.
        names: The branches.
        title: The title of their plan.
    """

    def __init__(self, store: Store, names: Iterable[str], title: str) -> None:
        wanted = list(dict.fromkeys(names))
        self._pushed = store.pushed(wanted)
        self._commits = store.commits_of(wanted)
        self._title = title

    def at(self, name: str, commit: str) -> Branch:
        """Return a branch, to be pushed at a commit."""
        plans, pushed = self._commits[name], self._pushed.get(name)
        # Commits of another plan are not overwritten: see `Branches`.
        made = {one for one, plan in plans.items() if plan in {None, self._title}}
        is_own = plans.get(pushed or "") in {None, self._title}
        return Branch(name, commit, pushed if is_own else None, frozenset(made))


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


def _dependencies(stored: Mapping[str, StoredTask], names: Iterable[str]) -> tuple[PublishedDependency, ...]:
    return tuple(
        PublishedDependency(name, stored[name].outcome.branch or "", stored[name].pull_request)
        for name in names
        if name in stored and stored[name].outcome.branch
    )


def _title(found: Task | None, item: StoredTask) -> str:
    return title(found) if found else item.outcome.title


def _body(plan: Plan | None, found: Task | None, item: StoredTask, run: Run, store: Store) -> str:
    if plan is None or found is None:
        return f"Task {item.outcome.task} of {run.plan_path}"
    return body(found, plan, item.outcome, run=run.id, steps=store.steps(run.id, found.id))

"""The publications of a stored run whose tasks share pull requests: one for each group, or one for the plan."""

from collections.abc import Collection, Mapping, Sequence

from pipeline.publish.parts import parts_of
from pipeline.publish.publication import Destination, Failure, Publication, PublishedDependency
from pipeline.publish.pull_request import Rest, Section, shared_body, shared_title
from pipeline.publish.refusals import refused
from pipeline.publish.shared_branches import Composed, Composer
from pipeline.publish.task_publications import KnownBranches
from pipeline.store.records import Run, SharedBranch
from pipeline.store.run_options import PublishOptions
from pipeline.store.store import Store
from tasks.lazy.dataclasses import dataclass
from tasks.model import Plan, Task
from tasks.outcome import Status
from tasks.schedule import select
from tasks.secrets import Secrets
from tasks.text import first_line
from tasks.usage import total


@dataclass(frozen=True, slots=True)
class SharedPublications:
    """What is published of a run, what the store keeps of it, and the tasks that are left out."""

    publications: tuple[Publication, ...] = ()
    records: tuple[SharedBranch, ...] = ()
    failures: tuple[Failure, ...] = ()


class Sharing:
    """Puts the tasks of a run together for their pull requests. Blocking; no ref moves.

    Args:
        store: The store, which has the run.
        run: The run.
        plan: Its plan, if that can be parsed.
        options: How it is published.
        secrets: Masked in titles and texts.
        template: The template of the names of branches.
    """

    def __init__(  # noqa: PLR0913 - what is published, and how
        self,
        store: Store,
        run: Run,
        plan: Plan | None,
        *,
        options: PublishOptions,
        secrets: Secrets,
        template: str,
    ) -> None:
        self._store = store
        self._run = run
        self._plan = plan
        self._options = options
        self._secrets = secrets
        self._template = template
        self._items = {item.outcome.task: item for item in store.tasks(run.id)}
        known = {task.id: task for task in plan.tasks} if plan else {}
        self._tasks = {
            task: known.get(task) or Task(task, item.outcome.title, item.outcome.batch)
            for task, item in self._items.items()
        }
        if plan and run.status.is_active:  # its process died: some tasks have no outcome
            chosen = run.call.selection
            selected = select(
                plan, start_batch=chosen.start_batch, end_batch=chosen.end_batch, tasks=chosen.tasks
            )
            self._tasks = {task.id: task for task in selected.tasks}

    def share(
        self, destination: Destination, units: Sequence[Publication], chosen: Collection[str] | None = None
    ) -> SharedPublications:
        """Return what is published in place of the publications of single tasks.

        Args:
            destination: Where they are published.
            units: The publications of the single tasks.
            chosen: The tasks to publish now, besides those that share a branch already; `None` for all.

        Raises:
            GitError: A commit of a task cannot be read.
        """
        parts = parts_of(
            list(self._tasks.values()),
            self._options.pull_request,
            batches=self._plan.batches if self._plan else (),
            builds_on={task: item.builds_on for task, item in self._items.items()},
        )
        composer = Composer(
            destination.repository,
            self._run,
            self._items,
            refused=refused(destination, units),
            known=self._store.shared_branches(self._run.id),
            branch=self._branch_name,
            chosen=chosen,
        )
        made = {one.part.name: one for one in composer.compose(parts)}
        return SharedPublications(
            tuple(
                self._publication(one, made)
                for one in made.values()
                if one.tasks and (chosen is None or set(chosen).intersection(one.tasks))
            ),
            tuple(one.record(self._items) for one in made.values()),
            tuple(
                failure
                for one in made.values()
                for failure in self._failures(one)
                if chosen is None or failure.task in chosen
            ),
        )

    def _branch_name(self, part: str) -> str:
        return self._template.format(plan=self._run.plan_name, task=part, run=self._run.id)

    def _failures(self, made: Composed) -> list[Failure]:
        hint = f"; `patchyard publish {self._run.id} --pull-request task` gives each task its own pull request"
        return [
            Failure(
                task,
                self._items[task].outcome.branch or made.branch,
                f"{reason}{hint if task in made.alone else ''}",
            )
            for task, reason in made.left_out.items()
        ]

    def _publication(self, made: Composed, every: Mapping[str, Composed]) -> Publication:
        title, start = self._run.plan_title, made.start_branch
        name, mask = title or self._run.plan_name, self._secrets.mask_text
        branches = KnownBranches(self._store, filter(None, (made.branch, start)), title)
        return Publication(
            task=made.part.name,
            branch=branches.at(made.branch, made.tip),
            title=mask(shared_title(name, made.part.title)),
            body=mask(self._body(name, made)),
            base=branches.at(start, made.start) if start else None,
            plan=title,
            builds_on=tuple(self._dependency(every[below]) for below in made.below),
            labels=self._options.labels,
            reviewers=self._options.reviewers,
            draft=self._options.draft,
            tasks=tuple(made.tasks),
            commits=tuple(self._items[task].outcome.commit or "" for task in made.tasks),
        )

    def _dependency(self, below: Composed) -> PublishedDependency:
        known = (self._items[task].pull_request for task in below.tasks)
        request = next((one for one in known if one and one.branch == below.branch), None)
        return PublishedDependency(below.part.name, below.branch, request, is_shared=True)

    def _body(self, name: str, made: Composed) -> str:
        sections = [
            Section(self._tasks[task], self._items[task].outcome, self._store.steps(self._run.id, task))
            for task in made.tasks
        ]
        others = [task for task in made.part.tasks if task not in made.tasks]
        unchanged = [self._tasks[task] for task in others if self._is_unchanged(task)]
        left_out = [
            (self._tasks[task], reason)
            for task in others
            if (reason := made.left_out.get(task) or self._why_failed(task))
        ]
        return shared_body(
            name,
            made.part.title,
            sections,
            Rest(unchanged, left_out),
            run=self._run.id,
            usage=total(self._items[task].outcome.usage for task in made.part.tasks if task in self._items),
        )

    def _is_unchanged(self, task: str) -> bool:
        return task in self._items and self._items[task].outcome.status is Status.UNCHANGED

    def _why_failed(self, task: str) -> str | None:
        """Return why a task is not in it; `None` if it was not to be run, or changed nothing."""
        if self._tasks[task].is_left_out:
            return None
        if task not in self._items:
            return "it did not run"
        outcome = self._items[task].outcome
        if outcome.commit:
            return "it is not published yet"
        if outcome.succeeded:
            return None
        how = outcome.status.words
        return f"{how}: {first_line(outcome.error)}" if outcome.error else how

"""Resolve and check the dependencies of batches and tasks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tasks.diagnostics import Report
from tasks.model import Batch, Task
from tasks.plan.links import Link, cycles
from tasks.plan.tasks import BatchDraft


def checked_batches(
    drafts: Sequence[BatchDraft], links: Sequence[tuple[Task, list[Link]]], report: Report
) -> tuple[Batch, ...]:
    """Return the batches with resolved dependencies, and report those that cannot be satisfied."""
    below = _TaskLinks(drafts, links, report).resolved()
    numbers = _batch_links(drafts, report)
    return tuple(
        Batch(
            number=draft.number,
            title=draft.title,
            tasks=tuple(_linked(task, below[task.id]) for task in draft.tasks),
            dependencies=None if draft.links is None else numbers[draft.number],
            mode=draft.mode,
            image=draft.image,
            on_conflict=draft.on_conflict,
            line=draft.section.line + 1 if draft.explicit else 0,
        )
        for draft in drafts
    )


def _linked(task: Task, links: Mapping[str, Link]) -> Task:
    """Return a task with its dependencies, and why it has them where the plan says so."""
    if not links:
        return task
    reasons = {name: link.reason for name, link in links.items() if link.reason}
    return replace(task, dependencies=tuple(links), reasons=reasons)


def _batch_links(drafts: Sequence[BatchDraft], report: Report) -> dict[int, tuple[int, ...]]:
    """Return the numbers of the batches that each batch depends on."""
    place = {draft.number: index for index, draft in reversed(list(enumerate(drafts)))}
    places = _places(drafts)
    found: dict[int, dict[int, Link]] = {draft.number: {} for draft in drafts}
    for draft in drafts:
        for link in draft.links or ():
            before = drafts[: place[draft.number]]
            if link.word == "previous":
                named_batches = before if link.id.endswith("s") else before[-1:]
            else:
                named_batches = _named_batches(draft, link, places, report)
            for batch in named_batches:
                found[draft.number].setdefault(batch.number, link)
    circle_of: dict[int, int] = {}
    for index, circle in enumerate(cycles(found)):
        link = found[circle[0]][circle[1]]
        report.error(
            link.line, link.column, f"batches depend on each other in a cycle: {' -> '.join(map(str, circle))}"
        )
        circle_of.update(dict.fromkeys(circle, index))
    for number, named in found.items():
        for other, link in named.items():
            if place[other] > place[number] and circle_of.get(other, -1) != circle_of.get(number, -2):
                message = f"batch {number} depends on batch {other}, which comes later: batches run in order"
                report.error(link.line, link.column, message)
    return {number: tuple(named) for number, named in found.items()}


def _named_batches(
    draft: BatchDraft, link: Link, places: Mapping[str, list[BatchDraft]], report: Report
) -> list[BatchDraft]:
    """Return the batches that a batch names with one link."""
    word = draft.label.split()[0]
    label = link.label(word)
    found = places.get(label, [])
    if draft in found:
        message = "itself"
    elif found:
        return found
    elif link.word == "task" or (word == "batch" and not link.id.isdigit()):
        message = f"task {link.id}, but a batch can only depend on batches"
    else:
        message = f"{label}, which is not in the plan"
    report.error(link.line, link.column, f"{draft.label} depends on {message}")
    return []


def _places(drafts: Sequence[BatchDraft]) -> dict[str, list[BatchDraft]]:
    """Return the batches by what the plan calls them, and those of each group by what it calls that."""
    found: dict[str, list[BatchDraft]] = {}
    for draft in drafts:
        for label in draft.labels:
            found.setdefault(label, []).append(draft)
    return found


class _TaskLinks:
    """Resolves the dependencies of the tasks of one plan."""

    def __init__(
        self, drafts: Sequence[BatchDraft], links: Sequence[tuple[Task, list[Link]]], report: Report
    ) -> None:
        self._links = links
        self._report = report
        self._tasks = {task.id: task for task, _ in reversed(links)}
        self._by_case = {task.id.lower(): task.id for task, _ in reversed(links)}
        self._named_places = _places(drafts)
        self._place = {draft.number: index for index, draft in enumerate(drafts)}

    def resolved(self) -> dict[str, dict[str, Link]]:
        """Return the ids of the tasks that each task depends on, each with the first place that says so."""
        found: dict[str, dict[str, Link]] = {}
        for task, links in self._links:
            found.setdefault(task.id, {}).update(self._named(task, links))
        circle_of: dict[str, int] = {}
        for index, circle in enumerate(cycles(found)):
            link = found[circle[0]][circle[1]]
            self._error(link, f"tasks depend on each other in a cycle: {' -> '.join(circle)}")
            circle_of.update(dict.fromkeys(circle, index))
        for name, named in found.items():
            for other, link in named.items():
                if self._later(name, other) and circle_of.get(other, -1) != circle_of.get(name, -2):
                    batch = self._tasks[other].batch
                    self._error(link, f"task {name} depends on task {other} of batch {batch}, which runs later")
        return found

    def _later(self, name: str, other: str) -> bool:
        return self._place.get(self._tasks[other].batch, 0) > self._place.get(self._tasks[name].batch, 0)

    def _named(self, task: Task, links: Sequence[Link]) -> Iterator[tuple[str, Link]]:
        """Yield the tasks that a task names, each with the first place where it does."""
        seen: set[str] = set()
        for link in links:
            for name in self._ids(task, link):
                if name not in seen:
                    seen.add(name)
                    yield name, link

    def _ids(self, task: Task, link: Link) -> list[str]:
        """Return the task ids of one link: of the task, or of every task of the batch."""
        what = f"task {task.id} depends on"
        if link.word == "previous":
            return self._previous(task, link.id)
        if link.word not in {"", "task"}:
            label = link.label("batch")
            batches = self._named_places.get(label, [])
            if not batches:
                self._error(link, f"{what} {label}, which is not in the plan")
            elif any(self._place[batch.number] >= self._place.get(task.batch, 0) for batch in batches):
                self._error(link, f"{what} {label}, which does not run before its own")
            else:
                return [other.id for batch in batches for other in batch.tasks]
        elif self._known(link.id) == task.id:
            self._error(link, f"{what} itself")
        elif (known := self._known(link.id)) is None:
            self._error(link, f"{what} task {link.id}, which is not in the plan")
        else:
            return [known]
        return []

    def _known(self, name: str) -> str | None:
        """Return the id that a name means: itself, else one that differs in case alone."""
        return name if name in self._tasks else self._by_case.get(name.lower())

    def _previous(self, task: Task, what: str) -> list[str]:
        """Return the ids of all tasks above a task, or of the one, or of those of the batch before its own."""
        names = [other.id for other, _ in self._links]
        above = [other for other, _ in self._links[: names.index(task.id)] if other.id != task.id]
        if what.startswith("batch"):
            above = [other for other in above if other.batch != task.batch]
            last = above[-1].batch if above else None
            return [other.id for other in above if what == "batches" or other.batch == last]
        return [other.id for other in (above if what == "tasks" else above[-1:])]

    def _error(self, link: Link, message: str) -> None:
        self._report.error(link.line, link.column, message)

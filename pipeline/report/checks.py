"""What a report must satisfy before anything is made of it.

A job without any right may have written it. So its values are compared with each other, with its plan and with
the branch template of the call that reads it; docs/reproducible.md says what is taken from it. Pure functions.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from containers.git.commits import Commit
from containers.git.loose_objects import OBJECT_ID
from pipeline.report.lineages import Containment, ReportedLineages
from pipeline.report.parts import Report, StartPart, TaskPart
from pipeline.run.results.branches import RUN_TRAILER
from pipeline.run.results.commits import commit_message
from pipeline.run.results.plan_name import plan_names
from tasks.agent_report import MOST_TOKENS
from tasks.dialects.registry import parse
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import LARGEST_POOL, Plan, Task
from tasks.outcome import Status
from tasks.secrets import MASK
from tasks.text import without_unprintable

_RUN = regex(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{4,}")
_NAME = regex(r"[0-9A-Za-z_][0-9A-Za-z._-]*")
_PERSON = regex(r"[^<>\n\0]*<[^<>\n\0]*> [0-9]{1,12} [+-][0-9]{4}")
"""Author and committer as git writes them (https://git-scm.com/docs/git-fast-import#_committer)."""
_BATCHES = regex(r"(?=batch-([0-9]+(?:-[0-9]+)*))")
SHOWN = 120
"""Characters of a value that a message shows."""


@dataclass(frozen=True, slots=True)
class BranchNames:
    """The branches that a run of a plan makes, by the template of a call; see `run.results.branches`."""

    template: str
    plan: Plan
    run: str

    def name(self, part: str) -> str:
        """Return the branch of a task's id, or of a part such as `batch-1`."""
        return self.template.format(plan=self.plan.name, task=part, run=self.run)

    def is_start(self, name: str) -> bool:
        """Whether a task of the plan may start from this branch: that of a task, a batch or a merge of some."""
        tasks = (part for task in self.plan.tasks for part in (task.id, f"{task.id}-base"))
        return any(self.name(part) == name for part in (*tasks, *self._batches_in(name)))

    def hint(self, example: str) -> str:
        """Return the end of a sentence about another name."""
        return f", but the template {self.template} makes {example}; name the run's template with --branch"

    def _batches_in(self, name: str) -> Iterator[str]:
        """Yield the parts such as `batch-1` or `batch-1-2`, of batches of the plan, that stand in a name."""
        known = {str(batch.number) for batch in self.plan.batches}
        for found in _BATCHES.finditer(name):
            numbers = found[1].split("-")
            for count in range(1, len(numbers) + 1):
                some = numbers[:count]
                if len(set(some)) == count and known.issuperset(some):
                    yield "batch-" + "-".join(some)


def plan_of_report(report: Report) -> Plan:
    """Return the plan that a report contains.

    Raises:
        ValueError: It has errors, or its branches have a name that its title does not make.
    """
    # The agent only says that a task without commands is complete; nothing of the plan runs.
    name, path = report.plan.name, report.plan.path
    parsed = parse(report.plan.text, path, agent="agent")
    if parsed.plan is None:
        first = parsed.errors[0]
        raise ValueError(f"its plan has an error in line {first.line}: {shown(first.message)}")
    if name not in plan_names(parsed.plan):
        raise ValueError(
            f"the branches of its plan are named {_quoted(name)}, but its title makes {parsed.plan.name}"
        )
    return replace(parsed.plan, name=name)


def moment_of(text: str) -> datetime:
    """Return the time that a report names.

    Raises:
        ValueError: It is not a time with a zone, or out of range.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text} is out of range") from None


def shown(value: str) -> str:
    """Return a value of a report for a message: in one line, printable and short."""
    text = without_unprintable(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def find_problems(report: Report, plan: Plan, template: str) -> Iterator[str]:
    """Yield a message for everything in a report that no run of the plan writes.

    Args:
        report: The report.
        plan: The plan in it; see `plan_of_report`.
        template: The branch template of the call that reads the report.
    """
    if not _RUN.fullmatch(report.run):
        yield f"{_quoted(report.run)} is not a valid run id"
    if not OBJECT_ID.fullmatch(report.base.commit):
        yield f"{_quoted(report.base.commit)} is not a valid commit id"
    if not 1 <= report.pool_size <= LARGEST_POOL:
        yield f"{report.pool_size} is not a valid size of a pool"
    if any((one or 0) < 0 for one in (report.seconds, report.speedup, report.efficiency)):
        yield "its times are negative"
    yield from _repeated(report)
    known = {task.id: task for task in plan.tasks}
    created = frozenset({report.base.commit, *(commit.id for commit in report.commits)})
    for task in report.tasks:
        yield from _task_problems(task, known, created)
    lineages = ReportedLineages(report)
    yield from lineages.problems(known)
    yield from _branch_problems(report, BranchNames(template, plan, report.run))
    yield from _commit_problems(report, known, lineages)


def _repeated(report: Report) -> Iterator[str]:
    ids = [task.task for task in report.tasks]
    commits = [report.base.commit, *(commit.id for commit in report.commits)]
    of_tasks = [task.commit for task in report.tasks if task.commit]
    for what, values in (("task", ids), ("commit", commits), ("the commit of a task,", of_tasks)):
        for value, count in Counter(values).items():
            if count > 1:
                yield f"{what} {_quoted(value)} is there {count} times"


def _task_problems(task: TaskPart, known: Mapping[str, Task], created: frozenset[str]) -> Iterator[str]:
    if not _NAME.fullmatch(task.task):
        yield f"{_quoted(task.task)} is not a valid task id"
    if task.task not in known:
        yield f"task {task.task} is not in its plan"
    if task.worktree is not None and not _NAME.fullmatch(task.worktree):
        yield f"{_quoted(task.worktree)} is not a valid worktree of task {task.task}"
    if task.patch not in {None, f"{task.task}.patch"}:
        yield f"{_quoted(task.patch or '')} is not the name of task {task.task}'s patch"
    yield from _number_problems(task)
    if task.start:
        yield from _start_problems(task.task, task.start, known)
    if not task.commit:
        return
    if not (task.patch and task.branch and task.start and task.start.commit in created):
        yield f"task {task.task} has a commit, but no patch, no branch, or no start point of this run"
    if task.status != Status.CHANGED:
        yield f"task {task.task} has a commit, but the status {_quoted(task.status)}"
    if task.commit not in created:
        yield f"the commit of task {task.task} is missing: it was deleted before the report was written"


def _number_problems(task: TaskPart) -> Iterator[str]:
    if task.batch < 1 or any((one or 0) < 0 for one in (task.seconds, task.cost)):
        yield f"the batch, the time or the costs of task {task.task} are negative"
    if task.rounds < 1:
        yield f"the tries of task {task.task} are not counted from 1"
    if any(not 0 <= count <= MOST_TOKENS for count in task.tokens.known.values()):
        yield f"the tokens of task {task.task} are negative, or too many"
    numbers = [step.number for step in task.steps]
    if min(numbers, default=1) < 1 or numbers != sorted({*numbers}):
        yield f"the steps of task {task.task} are not numbered from 1"
    if any(step.seconds < 0 for step in task.steps):
        yield f"a step of task {task.task} has a negative time"


def _start_problems(task: str, start: StartPart, known: Mapping[str, Task]) -> Iterator[str]:
    if not OBJECT_ID.fullmatch(start.commit):
        yield f"{_quoted(start.commit)}, where task {task} starts, is not a valid commit id"
    for name in start.builds_on:
        if name not in known:
            yield f"task {task} builds on task {_quoted(name)}, which is not in its plan"


def _branch_problems(report: Report, names: BranchNames) -> Iterator[str]:
    """Yield branches that the template does not make of the plan, and those at two commits."""
    commits: dict[str, str] = {}
    for task in report.tasks:
        own, start = names.name(task.task), task.start
        if task.branch not in {None, own}:
            yield f"task {task.task} has the branch {_quoted(task.branch or '')}{names.hint(own)}"
        if start and start.branch is not None and not names.is_start(start.branch):
            hint = names.hint(names.name("batch-1"))
            yield f"task {task.task} starts from the branch {_quoted(start.branch)}{hint}"
        if not (task.commit and start):
            continue
        if (start.branch is None) != (start.commit == report.base.commit):
            yield f"task {task.task} starts from commit {start.commit[:12]}, which is not that of its branch"
        for name, commit in ((task.branch, task.commit), (start.branch, start.commit)):
            if name and commits.setdefault(name, commit) != commit:
                yield f"branch {name} is at two commits, {commits[name][:12]} and {commit[:12]}"


def _commit_problems(report: Report, known: Mapping[str, Task], lineages: ReportedLineages) -> Iterator[str]:
    """Yield commits that no run creates: those of a task have its start as parent, all others merge two."""
    tasks = {task.commit: task for task in report.tasks if task.commit}
    contained = Containment(report.base.commit, known)
    for commit in report.commits:
        task = tasks.get(commit.id)
        if not _is_sound(commit, 1 if task else 2):
            yield f"commit {_quoted(commit.id)} is not one that a run creates"
        if task and task.start:
            yield from _parent_problems(task.task, task.start, commit, contained, lineages)
        planned = known.get(task.task) if task else None
        if not _is_expected(commit.message, planned, report.run):
            yield f"commit {commit.id[:12]} has another message than a run writes"
        contained.add(commit.id, commit.parents, task.task if task else None)


def _parent_problems(
    task: str, start: StartPart, commit: Commit, contained: Containment, lineages: ReportedLineages
) -> Iterator[str]:
    if commit.parents != (start.commit,):
        parent = shown("".join(commit.parents)[:12])
        yield f"commit {parent} is the parent of task {task}'s commit, but the task starts from another one"
    if not contained.has_all(start.commit, lineages.of(start)):
        yield f"task {task} builds on tasks whose changes are not in its start point"


def _is_sound(commit: Commit, parents: int) -> bool:
    ids: Iterable[str] = (commit.id, commit.tree, *commit.parents)
    people = (commit.author, commit.committer)
    are_valid = all(map(OBJECT_ID.fullmatch, ids)) and all(map(_PERSON.fullmatch, people))
    return len(commit.parents) == parents and are_valid


def _is_expected(message: str, task: Task | None, run: str) -> bool:
    """Return whether a commit message is that of the task, or of a merge if `task` is `None`.

    What is masked in the plan may be anything in the message.
    """
    if task is None:
        trailer = re.escape(f"{RUN_TRAILER} {run}")
        return re.fullmatch(rf"patchyard: [^\n]*\n\n{trailer}\n", message) is not None
    parts = commit_message(task, run).split(MASK.decode())
    return re.fullmatch("[^\n]*".join(map(re.escape, parts)), message) is not None


def _quoted(value: str) -> str:
    return repr(shown(value))

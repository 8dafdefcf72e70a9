"""Tasks that run again on top of others, since their patches did not go together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace

from containers.agents.prompt import ConflictText, conflict_prompt, marks_step
from containers.git.repository import GitError
from pipeline.events import TaskRerun
from pipeline.run.call.task_spec import BatchSpec, TaskSpec
from pipeline.run.context import RunContext, Stack
from pipeline.run.results.bases import BatchResult, StartPoint
from pipeline.run.results.commits import signature
from pipeline.run.results.restore import applies
from tasks.conflicts import Cause, OnConflict
from tasks.lazy.dataclasses import dataclass
from tasks.model import StepKind
from tasks.outcome import Conflict, Patch

MOST_CONFLICTS = 2
"""How often a task runs again after a conflict; the second time only because of another task."""
PATCH_BYTES = 20_000
"""Bytes of a patch that a prompt has."""
FIRST = "The first try\n"
"""Message of the commit that is merged for an agent; no branch has it."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged patches of a batch, and the tasks that have to run again now, each with why.

    They `may_wait` for each other where the patches that they start from conflict, since that may be solved.
    """

    result: BatchResult
    causes: Mapping[str, Cause] = field(default_factory=dict)
    may_wait: bool = False


def merge_or_rerun(context: RunContext, batch: BatchSpec, start: StartPoint) -> Merged:
    """Merge the patches of a batch, or return which of its tasks have to run again before that. Blocking.

    Those whose start point has changed come first, since their patches are for another one. Of the conflicts
    only those are taken that are sure to be apart from each other: the others may be solved with them. So it
    is enough to look for the first of them: the batch is merged as a whole when none has to run again. If a
    conflict stays, what builds on both sides has no start point any more, and is then skipped.

    Args:
        context: The run's.
        batch: The batch, whose tasks have ended.
        start: Its start point.
    """
    if context.settings.on_conflict_for(batch.batch) is OnConflict.STOP:
        return Merged(context.bases.merged(batch.batch, start, context.outcomes))
    causes, stuck = _outdated(context, batch, start)
    result = context.bases.merged(batch.batch, start, context.outcomes, is_hasty=True)
    causes = causes or _conflicting(context, batch, start, result)
    if result.undecided and not causes:
        result = context.bases.merged(batch.batch, start, context.outcomes)
        causes = _conflicting(context, batch, start, result)
    return Merged(result, causes or stuck, may_wait=bool(causes))


def _outdated(
    context: RunContext, batch: BatchSpec, start: StartPoint
) -> tuple[dict[str, Cause], dict[str, Cause]]:
    """Return the tasks that started from a commit of a task that has run again since.

    Those in the second mapping have no start point now: what they build on conflicts.
    """
    bases, found, stuck = context.bases, dict[str, Cause](), dict[str, Cause]()
    if not any(bases.was_rerun(spec.id) for spec in batch.tasks):
        return found, stuck
    for spec in batch.tasks:
        outcome = context.outcomes.get(spec.id)
        again = tuple(task for task in bases.below(spec.task) if bases.was_rerun(task))
        if outcome and outcome.succeeded and outcome.start and again:
            now = bases.task_start(spec.task, start, context.outcomes)
            if now.obstacle:
                stuck[spec.id] = Cause(again)
            elif now.commit != outcome.start:
                found[spec.id] = Cause(again)
    return found, stuck


def _conflicting(
    context: RunContext, batch: BatchSpec, start: StartPoint, result: BatchResult
) -> dict[str, Cause]:
    late = {*(one.tasks[-1] for one in result.conflicts), *result.undecided}
    specs = {spec.id: spec for spec in batch.tasks}
    found, files = dict[str, Cause](), set[str]()
    for conflict in result.conflicts:
        *others, name = conflict.tasks
        own = set(context.outcomes[name].files)
        if files & own or _reach(context, specs, name) & late or not _may_rerun(context, conflict):
            continue
        if not _can_start(context, specs[name]):
            continue
        wanted = context.bases.task_start(specs[name].task, start, context.outcomes, on=others)
        if not wanted.obstacle:
            found[name] = Cause(tuple(others), conflict.files)
            files |= own
    return found


def _can_start(context: RunContext, spec: TaskSpec) -> bool:
    """Whether the agent of a task may be called again, if it has one."""
    return context.why_no_call(spec) is None


def _may_rerun(context: RunContext, conflict: Conflict) -> bool:
    """Whether the later task of a conflict may run again."""
    *others, task = conflict.tasks
    stack = context.stacks.get(task, Stack())
    return len(stack.conflicts) < MOST_CONFLICTS and not set(others) <= set(stack.tasks)


def _reach(context: RunContext, specs: Mapping[str, TaskSpec], task: str) -> set[str]:
    """Return the tasks of a batch that one builds on, directly or not."""
    found: set[str] = set()
    pending = [task]
    while pending:
        spec = specs.get(pending.pop())
        below = set(context.bases.below(spec.task)) - found if spec else set()
        found |= below
        pending += below
    return found


@contextmanager
def reruns(context: RunContext, batch: BatchSpec, causes: Mapping[str, Cause]) -> Iterator[None]:
    """Let tasks run again within the context, which they leave with their outcome of before, or a new one."""
    for spec in batch.tasks:
        if spec.id in causes:
            _begin(context, spec, causes[spec.id])
    try:
        yield
    finally:
        for task, outcome in context.earlier.items():
            context.outcomes.setdefault(task, outcome)
        context.earlier.clear()


def _begin(context: RunContext, spec: TaskSpec, cause: Cause) -> None:
    """Forget the outcome of a task, so that it runs again, and notify the listener."""
    task, old = spec.id, context.stacks.get(spec.id, Stack())
    outcome = context.earlier[task] = context.outcomes.pop(task)
    context.stacks[task] = Stack((*old.causes, cause), outcome.patch or old.patch)
    context.bases.stack(task, cause.tasks if cause.is_conflict else ())
    if task in context.repeats or task not in context.before.tasks:
        context.repeats[task] = context.repeats.get(task, 0) + 1
    context.listener.notify(
        TaskRerun(
            task=task,
            title=spec.title,
            batch=spec.task.batch,
            attempt=context.attempt_number(task),
            tasks=list(cause.tasks),
            files=list(cause.files),
            reason=str(cause),
        )
    )


def on_top(
    context: RunContext, batch: BatchSpec, spec: TaskSpec, start: StartPoint
) -> tuple[TaskSpec, str | None]:
    """Return a task that runs again as its agent is asked, and the tree that it begins with. Blocking.

    Commands run as they are, from the start point.
    """
    if spec.agent is None:
        return spec, None
    stack = context.stacks[spec.id]
    wants_marks = context.settings.on_conflict_for(batch.batch) is OnConflict.AGENT
    tree, marked = _merged(context, start, stack.patch) if wants_marks and stack.patch else (None, None)
    text = _text_of(context, stack, marked if tree else None)
    steps = tuple(
        replace(step, stdin=conflict_prompt(step.stdin or "", text)) if step.kind is StepKind.AGENT else step
        for step in spec.steps
    )
    if marked:
        steps = (*steps, marks_step(marked))
    return replace(spec, steps=steps), tree


def _merged(context: RunContext, start: StartPoint, patch: Patch) -> tuple[str | None, tuple[str, ...] | None]:
    """Return a tree with a patch merged into the start point, and the files that conflict.

    No tree if the patch cannot be applied any more.
    """
    repository = context.repository
    try:
        if not applies(repository, patch, patch.start):
            return None, None
        signed = signature(context.run, context.run.started_at)
        mine = repository.commit(patch.tree, [patch.start], FIRST, signed)
        tree, files = repository.history.merge_tree(start.commit, mine)
    except GitError:
        return None, None
    return tree, files or ()


def _text_of(context: RunContext, stack: Stack, marked: tuple[str, ...] | None) -> ConflictText:
    """Return what the agent of a task that runs again is given."""
    cause, tasks = stack.causes[-1], {task.id: task for task in context.plan.tasks}
    shown = context.secrets.for_prompt
    return ConflictText(
        others=tuple((shown(tasks[name].title), shown(tasks[name].implementation)) for name in cause.tasks),
        names=cause.tasks,
        files=tuple(map(shown, cause.files)),
        patch=shown(_beginning(stack.patch)) if stack.patch else "",
        marked=None if marked is None else tuple(map(shown, marked)),
    )


def _beginning(patch: Patch) -> str:
    """Return the beginning of a patch as text: whole lines, of a bounded size."""
    data = b""
    for block in patch.diff.blocks():
        data += block
        if len(data) > PATCH_BYTES:
            break
    if len(data) <= PATCH_BYTES:
        return data.decode(errors="replace")
    kept = data[:PATCH_BYTES].rpartition(b"\n")[0]
    return kept.decode(errors="replace") + "\n[the rest is left out]\n"

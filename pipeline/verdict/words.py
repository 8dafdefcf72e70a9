"""The words and figures of a verdict, for terminal, reports, notification and page."""

from collections.abc import Mapping, Sequence

from pipeline.verdict.model import BAD, DONE, OPEN, Advice, Kind, Verdict
from pipeline.verdict.reason import listed
from tasks.outcome import FAILS_BEFORE, Outcome, RunStatus, Status
from tasks.refusals import refusals_words
from tasks.text import plural
from tasks.usage import spent_budgets

_LABELS = {Kind.CONFLICT: "in conflict", Kind.LEFT_OUT: "left out", Kind.TIMED_OUT: "timed out"}
_RESUMABLE = frozenset({RunStatus.CANCELLED, RunStatus.INTERRUPTED})
_FAILED = frozenset({Status.FAILED, Status.TIMED_OUT})
_BUDGET_OPTIONS = {"run": "--budget", "task": "--task-budget"}
MOST_COMMANDS = 3
MOST_TROUBLES = 20
"""Tasks that the text lists; the rest are counted."""


def label(kind: Kind | str) -> str:
    """Return a kind of task in words: `in conflict`, `timed out`, `changed`."""
    return _LABELS.get(Kind(kind), str(kind)) if kind in set(Kind) else str(kind).replace("_", " ")


def count_words(verdict: Verdict) -> list[str]:
    """Return the counts as phrases: `58 changed`, `1 failed (2.5)`; what has to be looked at is named."""
    phrases = []
    for kind, number in verdict.counts.items():
        names = f" ({listed(verdict.of(kind))})" if kind in BAD else ""
        phrases.append(f"{number} {label(kind)}{names}")
    if cached := sum(outcome.cached for outcome in verdict.outcomes):
        phrases.append(f"{cached} from the cache")
    if verdict.published:
        phrases.append(f"{len(verdict.published)} published")
    if verdict.unpublished and _has_ended(verdict) and (verdict.published or verdict.publishes):
        phrases.append(f"{len(verdict.unpublished)} not published ({listed(verdict.unpublished)})")
    return phrases


def _has_ended(verdict: Verdict) -> bool:
    return verdict.status.is_over or verdict.status is RunStatus.INTERRUPTED


def headline(verdict: Verdict) -> str:
    """Return the verdict in one line: `failed: 58 changed, 1 failed (2.5), 1 skipped, in 31.9 s`."""
    phrases = count_words(verdict) or ["no task"]
    if verdict.seconds is not None:
        phrases.append(f"in {verdict.seconds:.1f} s")
    return f"{verdict.status}: {', '.join(phrases)}"


def without_words(verdict: Verdict, task: str) -> str:
    """Return without which conflicting patches a task was built: `without task 1.2`; else nothing."""
    late = verdict.without.get(task, ())
    return f"without {'task' if len(late) == 1 else 'tasks'} {' and '.join(late)}" if late else ""


def figures(verdict: Verdict) -> str:
    """Return what the run changed and cost: `+120 -34 lines; agents: $1.20, tokens: 12k in, 1.5k out`."""
    said = [f"{lines_words(verdict.lines)} lines"] if verdict.lines else []
    return "; ".join([*said, *([f"agents: {verdict.usage}"] if verdict.usage else [])])


def lines_words(lines: tuple[int | None, int | None] | None) -> str:
    """Return added and removed lines: `+12 -3`; nothing if they are not known."""
    if lines is None or lines[0] is None:
        return ""
    return f"+{lines[0]} \N{MINUS SIGN}{lines[1] or 0}"


def figure(verdict: Verdict) -> str:
    """Return the number of tasks, the wall time, the speedup and the use of the pool as one sentence.

    A run that was cut off has no speed to speak of; while it continues, there is nothing to say.
    """
    ran = [outcome for outcome in verdict.outcomes if outcome.worktree]
    if (seconds := verdict.seconds) is None:
        return ""
    if verdict.status in _RESUMABLE:
        return f"{verdict.done} of {plural(verdict.wanted, 'task')} done in {seconds:.1f} s"
    if not ran and (cached := [outcome for outcome in verdict.outcomes if outcome.cached]):
        return f"{plural(len(cached), 'task')} from the cache in {seconds:.1f} s"
    sentence = f"{plural(len(ran), 'task')} in {seconds:.1f} s"
    if not ran or not verdict.efficiency or not verdict.speedup:
        return sentence
    places = round(verdict.speedup / verdict.efficiency)
    faster = f"{verdict.speedup:.1f} times faster than one by one, " if verdict.speedup > 1 else ""
    return f"{sentence}: {faster}{verdict.efficiency * 100:.0f} % of a pool of {places}"


def progress(counts: Mapping[Kind, int], wanted: int) -> str:
    """Return how far a run is: `7 of 10 tasks done, 1 failed, 2 skipped`; what was skipped is not done.

    `wanted` is the number of tasks that the plan asks to run.
    """
    done = sum(number for kind, number in counts.items() if kind in DONE)
    others = [
        f"{counts[kind]} {label(kind)}"
        for kind in Kind
        if counts.get(kind) and kind not in {Kind.CHANGED, Kind.UNCHANGED, *OPEN}
    ]
    return ", ".join([f"{done} of {plural(wanted, 'task')} done", *others])


def advice(verdict: Verdict) -> Sequence[Advice]:
    """Return the commands that help now, the most urgent first; none while the run continues."""
    run, status = verdict.run, verdict.status
    if not _has_ended(verdict):
        return ()
    found = []
    if status in _RESUMABLE:
        found.append(Advice(f"patchyard resume {run}", "runs what is left"))
    failed, late = verdict.of(Kind.FAILED, Kind.TIMED_OUT), verdict.of(Kind.CONFLICT)
    ran = {outcome.task for outcome in verdict.outcomes if outcome.worktree}
    if shown := [task for task in failed if task in ran]:
        found.append(Advice(f"patchyard logs {run} {shown[0]}", "shows what it printed"))
    again = _runs_again(verdict, failed)
    found += again
    if late:
        *others, task = next(one.tasks for one in verdict.conflicts if one.tasks[-1] == late[0])
        onto = " ".join(f"--onto {other}" for other in others)
        if not again:
            found.append(Advice(f"patchyard diff {run} {task}", "shows both sides of the conflict"))
        purpose = f"runs {'it' if not again else task} again on top of {' and '.join(others)}"
        found.append(Advice(f"patchyard retry {run} {task} {onto}", purpose))
    elif status is RunStatus.FAILED and not again and verdict.of(Kind.CANCELLED, Kind.SKIPPED):
        found.append(Advice(f"patchyard resume {run}", "runs what is left"))
    if status is RunStatus.SUCCEEDED and verdict.unpublished and not verdict.published:
        found.append(Advice(f"patchyard diff {run}", "shows the patches"))
        found.append(Advice(f"patchyard apply {run}", "puts them into your checkout"))
    if verdict.unpublished:
        rest = "the rest of the" if verdict.published else "the"
        found.append(Advice(f"patchyard publish {run}", f"opens {rest} pull requests"))
    return found[:MOST_COMMANDS]


def _runs_again(verdict: Verdict, failed: Sequence[str]) -> list[Advice]:
    """Return the commands that run again what failed, or was kept from running by a budget."""
    run, has_ended = verdict.run, verdict.status is RunStatus.FAILED
    spent = {one.task: spent_budgets(one.error) for one in verdict.outcomes if not one.succeeded}
    found = []
    if has_ended and (budgets := sorted(set().union(*spent.values()))):
        options = " ".join(f"{_BUDGET_OPTIONS[whose]} USD" for whose in budgets)
        found.append(Advice(f"patchyard resume {run} {options}", "continues with a larger budget"))
    others = {one.task: one for one in verdict.outcomes if one.task in failed and not spent.get(one.task)}
    if has_ended and others and not found and all(map(_is_cut_off, others.values())):
        found.append(Advice(f"patchyard resume {run}", "runs what is left"))
    elif others:
        found.append(Advice(f"patchyard retry {run}", "runs again what failed"))
    return found


def _is_cut_off(outcome: Outcome) -> bool:
    """Whether a task failed in a step without a result, as by a limit or a refused key: `resume` continues."""
    return outcome.status is Status.FAILED and outcome.step is not None and outcome.exit_code is None


def failing_before(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each command of verification that fails without the changes of some tasks."""
    tasks: dict[tuple[str, bool], list[str]] = {}
    for outcome in outcomes:
        for command in outcome.fails_before:
            fails_with_it = command == outcome.step and outcome.status in _FAILED
            tasks.setdefault((command, fails_with_it), []).append(outcome.task)
    return [
        f"{'task' if len(names) == 1 else 'tasks'} {', '.join(names)}: `{command}` {FAILS_BEFORE}"
        + (" too" if fails_with_it else "")
        for (command, fails_with_it), names in tasks.items()
    ]


def refused_requests(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each task to which the sandbox refused hosts."""
    found = [(outcome.task, refusals_words(outcome.refused)) for outcome in outcomes]
    return [f"task {task}: {words}" for task, words in found if words]


def text_lines(verdict: Verdict) -> list[str]:
    """Return the last lines about a run.

    The verdict, why tasks failed, what fails without their changes too, what the sandbox refused, the commands
    that help, and the figure.
    """
    lines = [headline(verdict)]
    troubles = verdict.troubles
    lines += [f"  {one.task} {one.title}: {one.why}" for one in troubles[:MOST_TROUBLES]]
    if len(troubles) > MOST_TROUBLES:
        lines.append(f"  and {plural(len(troubles) - MOST_TROUBLES, 'more task')}")
    lines += [f"  {text}" for text in (*failing_before(verdict.outcomes), *refused_requests(verdict.outcomes))]
    found = advice(verdict)
    width = max((len(one.command) for one in found), default=0)
    lines += [f"  {one.command.ljust(width)}  {one.purpose}" for one in found]
    if _has_ended(verdict):
        lines.append("; ".join(filter(None, (figure(verdict), figures(verdict)))))
    return lines


def as_fields(verdict: Verdict) -> dict[str, object]:
    """Return the verdict for JSON; what each field means is in docs/output.md."""
    lines = verdict.lines or (None, None)
    return {
        "verdict": headline(verdict),
        "counts": {str(kind): number for kind, number in verdict.counts.items()},
        "conflicts": [
            {"batch": one.batch, "tasks": list(one.tasks), "files": list(one.files)}
            for one in verdict.conflicts
        ],
        "failed": [
            {"task": one.task, "title": one.title, "kind": str(one.kind), "why": one.why}
            for one in verdict.troubles
        ],
        "without": {task: list(late) for task, late in verdict.without.items()},
        "published": list(verdict.published),
        "unpublished": list(verdict.unpublished),
        "added": lines[0],
        "removed": lines[1],
        "commands": [{"command": one.command, "purpose": one.purpose} for one in advice(verdict)],
    }

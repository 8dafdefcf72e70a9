"""The report of a run as Markdown, for example for the summary of a CI job."""

from collections.abc import Iterable, Iterator, Mapping

from pipeline.report.parts import Report, TaskPart
from pipeline.verdict.model import Kind
from pipeline.verdict.words import figure, figures, headline, label, lines_words
from pipeline.view.stages import WITHOUT_GROUP
from tasks.dialects.wording import named
from tasks.lazy.patterns import regex
from tasks.model import NATIVE
from tasks.outcome import FAILS_BEFORE, Status
from tasks.refusals import refusals_words
from tasks.text import code_span, fence

SUCCEEDED = frozenset({Status.CHANGED, Status.UNCHANGED})
_MARKUP = regex(r"([\\`*_\[\]<>|~#])")
_CONTROL = regex(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def markdown(report: Report) -> str:
    """Return the report as Markdown with tables, as GitHub and GitLab support it."""
    parts = [
        f"# {_text(report.plan.title or report.plan.name)}",
        _headline(report),
        *_tables(report),
        *_failures(report.tasks),
        _failing_before(report.tasks),
        _refused(report.tasks),
        _conflicts(report),
        _groups(report),
        _attempts(report.tasks),
        _inputs(report),
    ]
    return _CONTROL.sub("\ufffd", "\n\n".join(part for part in parts if part)) + "\n"


def _headline(report: Report) -> str:
    """Return the verdict, the figure, and what was run."""
    verdict = report.verdict
    status, _, counts = headline(verdict).partition(":")
    of = code_span(report.plan.path)
    if report.plan.dialect not in {"", NATIVE}:
        of += f", {named(report.plan.dialect)}: a task per {report.plan.unit}, order {report.plan.order}"
    measured = [_text(words) for words in (figure(verdict), figures(verdict)) if words]
    said = "; ".join([*measured, f"run {code_span(report.run)} of {of}"])
    return f"**{_text(status)}**: {_text(counts)}\n\n{said}"


def _tables(report: Report) -> Iterator[str]:
    """Yield the table of all tasks, or one for each group below its title."""
    groups: dict[str, list[TaskPart]] = {}
    kinds = report.verdict.kinds
    for task in report.tasks:
        groups.setdefault(task.group, []).append(task)
    for title, own in groups.items():
        if len(groups) > 1 or title:
            yield f"## {_text(title) or WITHOUT_GROUP}"
        yield _table(own, kinds)
    if not groups:
        yield _table((), kinds)


def _table(tasks: Iterable[TaskPart], kinds: Mapping[str, Kind]) -> str:
    tasks = list(tasks)
    has_usage = any(task.usage for task in tasks)
    rows = [
        f"| task | | status | time |{' agent |' * has_usage} files | lines | pull request |",
        f"|---|---|---|---:|{'---|' * has_usage}---:|---:|---|",
    ]
    rows += [
        f"| {task.task} | {_text(task.title)} | {label(kinds[task.task])} | {_time(task)} "
        f"|{f' {task.usage} |' * has_usage} {len(task.files) or ''} "
        f"| {lines_words((task.added, task.removed))} | {_link(task)} |"
        for task in tasks
    ]
    return "\n".join(rows)


def _time(task: TaskPart) -> str:
    return f"{task.seconds:.1f} s" if task.worktree else ""


def _link(task: TaskPart) -> str:
    request = task.pull_request
    return f"[#{request.number}](<{request.url}>)" if request else ""


def _failures(tasks: Iterable[TaskPart]) -> list[str]:
    """Return a section with the errors of the tasks that did not succeed."""
    failed = [task for task in tasks if task.status not in SUCCEEDED and task.error and not task.left_out]
    parts = ["## What did not succeed"] if failed else []
    for task in failed:
        first, _, rest = (task.error or "").partition("\n")
        parts.append(f"**{task.task}** {task.status.replace('_', ' ')}: {_text(first)}")
        if rest.strip():
            parts.append(fence(rest, "text"))
    return parts


def _failing_before(tasks: Iterable[TaskPart]) -> str:
    """Return a section with the commands of verification that fail without the changes of their tasks."""
    lines = [
        f"- **{task.task}** {code_span(command)}{', and with it' if _fails_with(task, command) else ''}"
        for task in tasks
        for command in task.fails_before
    ]
    return "\n".join([f"## What {FAILS_BEFORE}", "", *lines]) if lines else ""


def _refused(tasks: Iterable[TaskPart]) -> str:
    """Return a section with the hosts that the sandbox refused."""
    lines = [f"- **{task.task}** {_text(refusals_words(task.refused))}" for task in tasks if task.refused]
    return "\n".join(["## What the sandbox refused", "", *lines]) if lines else ""


def _fails_with(task: TaskPart, command: str) -> bool:
    return task.status in {Status.FAILED, Status.TIMED_OUT} and task.step == command


def _conflicts(report: Report) -> str:
    named_batch = "batch {}: " if report.plan.has_batches else ""
    lines = [f"- {named_batch.format(conflict.batch)}{_text(str(conflict))}" for conflict in report.conflicts]
    return "\n".join(["## Conflicts", "", *lines]) if lines else ""


def _groups(report: Report) -> str:
    """Return a section with what was used in each batch or group."""
    named_batch = "batch {}: " if report.plan.has_batches else ""
    lines = [
        f"- {named_batch.format(one.number)}{_text(one.title) or WITHOUT_GROUP}: {one.usage}"
        for one in report.groups
    ]
    return "\n".join(["## What the agents used", "", *lines]) if lines else ""


def _attempts(tasks: Iterable[TaskPart]) -> str:
    """Return a section with the attempts and tries of the tasks for which one try was not enough."""
    lines = []
    for task in tasks:
        if all(one.is_plain for one in task.attempts):
            continue
        for one in task.attempts:
            lines.append(f"- **{task.task}** {_text(str(one))}")
            lines += [f"  - {_text(str(each))}" for each in one.rounds]
    return "\n".join(["## Attempts", "", *lines]) if lines else ""


def _inputs(report: Report) -> str:
    branch = f" ({code_span(report.base.branch)})" if report.base.branch else ""
    lines = [f"- base {code_span(report.base.commit)}{branch}", f"- key {code_span(report.key)}"]
    lines += [f"- image {code_span(image.name)} {_digest(image.digest)}" for image in report.images]
    for agent in report.agents:
        version = f" {code_span(agent.version)}" if agent.version else ""
        lines.append(f"- agent {code_span(agent.name)}{version}")
    if report.environment:
        lines.append(f"- environment {', '.join(map(code_span, report.environment))}")
    return "\n".join(["## Made from", "", *lines])


def _digest(digest: str | None) -> str:
    return code_span(digest) if digest else "(digest unknown)"


def _text(text: str) -> str:
    """Return text on one line with its Markdown markup escaped."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))

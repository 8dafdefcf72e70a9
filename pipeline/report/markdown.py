"""The report of a run as Markdown: for a CI job's summary, and for people."""

import re
from collections.abc import Iterable

from pipeline.report.model import Report, TaskPart
from tasks.model import Status

CALM = frozenset({Status.CHANGED, Status.UNCHANGED})
"""How a task ends that there is nothing more to say of."""
_MARKUP = re.compile(r"([\\`*_\[\]<>|~#])")
_TICKS = re.compile(r"`+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def markdown(report: Report) -> str:
    """Return the report as Markdown, whose tables and code spans GitHub and GitLab show."""
    parts = [
        f"# {_text(report.plan.title or report.plan.name)}",
        _headline(report),
        _table(report.tasks),
        *_troubles(report.tasks),
        _conflicts(report),
        _made_from(report),
    ]
    return _CONTROL.sub("\ufffd", "\n\n".join(part for part in parts if part)) + "\n"


def _headline(report: Report) -> str:
    ran = sum(1 for task in report.tasks if task.worktree)
    words = [f"**{_text(report.status.replace('_', ' '))}**"]
    if report.seconds is not None and report.speedup is not None:
        faster = f": {report.speedup:.1f} times faster than one by one" if report.speedup > 1 else ""
        words.append(f"{ran} {'task' if ran == 1 else 'tasks'} in {report.seconds:.1f} s{faster}")
    words.append(f"run {_code(report.run)} of {_code(report.plan.path)}")
    return ", ".join(words)


def _table(tasks: Iterable[TaskPart]) -> str:
    rows = ["| task | | status | time | files | pull request |", "|---|---|---|---:|---:|---|"]
    rows += [
        f"| {task.task} | {_text(task.title)} | {task.status.replace('_', ' ')} | {_time(task)} "
        f"| {len(task.files) or ''} | {_link(task)} |"
        for task in tasks
    ]
    return "\n".join(rows)


def _time(task: TaskPart) -> str:
    return f"{task.seconds:.1f} s" if task.worktree else ""


def _link(task: TaskPart) -> str:
    request = task.pull_request
    return f"[#{request.number}](<{request.url}>)" if request else ""


def _troubles(tasks: Iterable[TaskPart]) -> list[str]:
    """Return what there is to say of tasks that did not succeed."""
    told = [task for task in tasks if task.status not in CALM and task.error]
    parts = ["## What did not succeed"] if told else []
    for task in told:
        first, _, rest = (task.error or "").partition("\n")
        parts.append(f"**{task.task}** {task.status.replace('_', ' ')}: {_text(first)}")
        if rest.strip():
            parts.append(_fence(rest))
    return parts


def _conflicts(report: Report) -> str:
    lines = [f"- batch {conflict.batch}: {_text(str(conflict))}" for conflict in report.conflicts]
    return "\n".join(["## Conflicts", "", *lines]) if lines else ""


def _made_from(report: Report) -> str:
    branch = f" ({_code(report.base.branch)})" if report.base.branch else ""
    lines = [f"- base {_code(report.base.commit)}{branch}", f"- key {_code(report.key)}"]
    lines += [f"- image {_code(image.name)} {_digest(image.digest)}" for image in report.images]
    for agent in report.agents:
        version = f" {_code(agent.version)}" if agent.version else ""
        lines.append(f"- agent {_code(agent.name)}{version}")
    if report.environment:
        lines.append(f"- environment {', '.join(map(_code, report.environment))}")
    return "\n".join(["## Made from", "", *lines])


def _digest(digest: str | None) -> str:
    return _code(digest) if digest else "(its digest is not known)"


def _text(text: str) -> str:
    """Return text on one line that Markdown shows as it stands."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    text = " ".join(text.split()) or " "
    ticks = "`" * (_longest(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _fence(text: str) -> str:
    ticks = "`" * max(3, _longest(text) + 1)
    return f"{ticks}text\n{text.strip(chr(10))}\n{ticks}"


def _longest(text: str) -> int:
    return max(map(len, _TICKS.findall(text)), default=0)

"""What a pull request says: its title and its text. Pure; whoever calls has masked the secrets."""

import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.run.branches import RUN_TRAILER, TASK_TRAILER
from pipeline.store.records import StoredStep
from tasks.model import Outcome, Plan, PullRequest, StepKind, Task

LONGEST_TITLE = 256
LONGEST_BODY = 56_000
"""Characters; GitHub takes 65,536, and the links to what a task depends on are added to these."""
MOST_FILES = 200
MOST_LINKS = 50
CUT = "\n\n*The rest was cut: it is too long for a pull request, and stands in the plan.*"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKUP = re.compile(r"(`[^`]*`)|([<>*_\[\]])")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


def title(task: Task) -> str:
    """Return the title: the first line of the commit's message, else the task's own title."""
    lines = (task.commit or task.title or f"Task {task.id}").strip().splitlines()
    text = _plain(lines[0]).strip() if lines else f"Task {task.id}"
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1].rstrip()}…"


def body(task: Task, plan: Plan, outcome: Outcome, *, run: str, steps: Sequence[StoredStep] = ()) -> str:
    """Return the text: what was asked, the files, what verified it, and the trailers.

    Args:
        task: As the plan has it.
        plan: The whole.
        outcome: What the task left; its files are those that changed.
        run: The run's id.
        steps: The task's finished steps with their exit codes, in order.
    """
    names = (_escaped(_plain(name)[:LONGEST_TITLE]) for name in (plan.title or plan.name, task.title))
    heading = "Task {} of *{}*: {}".format(task.id, *names)
    details = _cut(_plain(f"{_files(task, outcome)}\n\n{_verification(task, steps)}"), LONGEST_BODY // 2)
    trailers = f"---\n\n{TASK_TRAILER} {task.id}\n{RUN_TRAILER} {run}\n"
    around = (f"{heading}\n\n## What was asked\n\n", f"\n\n{details}\n\n{trailers}")
    return _cut(_plain(_asked(task)), LONGEST_BODY - len("".join(around))).join(around)


def with_links(text: str, requests: Mapping[str, PullRequest]) -> str:
    """Return a body with links to the pull requests that it depends on, by task, in front of it."""
    if not requests:
        return text
    lines = [f"- [#{one.number}]({one.url}) (task {task})" for task, one in requests.items()]
    if len(lines) > MOST_LINKS:
        lines = [*lines[:MOST_LINKS], f"- and {len(lines) - MOST_LINKS} more"]
    return "Depends on\n\n" + "\n".join(lines) + f"\n\n{text}"


def _asked(task: Task) -> str:
    """Return what the plan asks for: the text, and where there are commands instead, those."""
    if task.implementation.strip():
        return task.implementation.strip()
    return "\n".join(_item(step.title) for step in task.run) or _escaped(task.title)


def _files(task: Task, outcome: Outcome) -> str:
    declared = {file.path: file.action.value for file in task.files}
    changed = [_item(path, declared.get(path)) for path in outcome.files]
    untouched = [_item(file.path, file.action.value) for file in task.files if file.path not in outcome.files]
    parts = ["## Files", _listed(changed)]
    if untouched:
        parts += ["Named by the plan, and not changed:", _listed(untouched)]
    return "\n\n".join(part for part in parts if part)


def _verification(task: Task, steps: Iterable[StoredStep]) -> str:
    ran = [step for step in steps if step.kind == StepKind.VERIFY]
    commands = [_item(step.command, f"exit code {step.exit_code}") for step in ran]
    prose = [
        f"- [ ] {_escaped(' '.join(check.text.split()))}" for check in task.verification if check.step is None
    ]
    parts = ["## Verification", _listed(commands) or "The plan names no command that verifies it."]
    if prose:
        parts += ["To be checked by a person:", _listed(prose)]
    return "\n\n".join(parts)


def _listed(items: Sequence[str]) -> str:
    more = [f"- and {len(items) - MOST_FILES} more"] if len(items) > MOST_FILES else []
    return "\n".join([*items[:MOST_FILES], *more])


def _item(text: str, note: str | None = None) -> str:
    """Return a list item with a code span, which holds backticks and line ends as it can."""
    text = " ".join(text.splitlines()) or " "
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"- {ticks}{space}{text}{space}{ticks}" + (f": {note}" if note else "")


def _escaped(text: str) -> str:
    """Return a line of text that Markdown shows as it stands; code spans stay code spans."""
    return _MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", text)


def _cut(text: str, limit: int) -> str:
    """Return at most `limit` characters, with a note where something is missing, and no fence left open."""
    if len(text) <= limit:
        return text
    kept = text[: max(0, limit - len(CUT) - 10)]
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    opened = ""
    for fence in _FENCE.findall(kept):
        if not opened:
            opened = fence
        elif fence[0] == opened[0] and len(fence) >= len(opened):
            opened = ""
    return kept + (f"\n{opened}" if opened else "") + CUT


def _plain(text: str) -> str:
    """Return text that is valid Unicode without control characters; bytes that are not show as `\ufffd`."""
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _CONTROL.sub("", valid.replace("\r\n", "\n").replace("\r", "\n"))

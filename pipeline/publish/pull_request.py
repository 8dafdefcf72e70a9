"""Title and body of a pull request. Pure functions; the caller masks secrets."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import TextWrapper, indent

from pipeline.run.results.branches import RUN_TRAILER, TASK_TRAILER
from pipeline.store.records import StoredStep
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Plan, StepKind, Task, hidden_script
from tasks.outcome import FAILS_BEFORE, Outcome, PullRequest
from tasks.text import code_span, fence, plural, with_visible_marks
from tasks.usage import NO_USAGE, Usage

LONGEST_TITLE = 256
"""Characters that GitHub accepts."""
LONGEST_BODY = 56_000
"""Characters; GitHub accepts 65,536, which leaves room for the links to dependencies."""
LONGEST_FENCE = 20
"""Characters that are kept for the end of a block of code that a text of the plan does not close."""
LEAST_SECTION = 1000
"""Characters; a section with fewer is only a heading."""
MAX_FILES = 200
MAX_LINKS = 50
CUT = "\n\n*The rest was cut, because it is too long for a pull request; see the plan.*"
MAX_SAID = 4000
SAID_WIDTH = 100
"""Characters of a line; a forge wraps no code."""
_WRAPPER = TextWrapper(SAID_WIDTH, expand_tabs=False, replace_whitespace=False, drop_whitespace=False)
_SCRIPT = "<details><summary>The whole script: <code>{}</code></summary>\n\n{}\n\n</details>"
_DETAILS = "<details><summary>What was asked</summary>\n\n{}\n\n</details>"
_CONTROL = regex(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_MARKUP = regex(r"(`[^`]*`)|([<>*_\[\]])")
_FENCE = regex(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)


def title(task: Task) -> str:
    """Return the title: the first line of the commit message, else the title of the task."""
    lines = (task.commit or task.title or f"Task {task.id}").strip().splitlines()
    text = _plain(lines[0]).strip() if lines else f"Task {task.id}"
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1].rstrip()}…"


def body(task: Task, plan: Plan, outcome: Outcome, *, run: str, steps: Sequence[StoredStep] = ()) -> str:
    """Return the body: the request, the changed files, the verification, and the trailers.

    Args:
        task: The task.
        plan: Its plan.
        outcome: Its outcome, with the files that changed.
        run: The run's id.
        steps: The task's finished steps, in order.
    """
    names = (_escaped(_plain(name)[:LONGEST_TITLE]) for name in (plan.title or plan.name, task.title))
    heading = "Task {} of *{}*: {}".format(task.id, *names)
    details = _cut(_plain(_details(task, outcome, steps, "##")), LONGEST_BODY // 2)
    trailers = f"---\n\n{TASK_TRAILER} {task.id}\n{RUN_TRAILER} {run}\n"
    around = (f"{heading}\n\n## What was asked\n\n", f"\n\n{details}\n\n{trailers}")
    return _cut(_plain(_request(task)), LONGEST_BODY - len("".join(around))).join(around)


@dataclass(frozen=True, slots=True)
class Section:
    """What a shared pull request says of a task that is in it."""

    task: Task
    outcome: Outcome
    steps: Sequence[StoredStep] = ()


@dataclass(frozen=True, slots=True)
class Rest:
    """The other tasks of a plan or group: those that changed nothing, and why others are left out."""

    unchanged: Sequence[Task] = ()
    left_out: Sequence[tuple[Task, str]] = ()


def shared_title(plan: str, part: str) -> str:
    """Return the title of a shared pull request; `part` is the title of the group, empty for the whole plan."""
    text = " ".join(_plain(f"{plan}: {part}" if part and part != plan else plan).split())
    return text if len(text) <= LONGEST_TITLE else f"{text[: LONGEST_TITLE - 1].rstrip()}…"


def shared_body(  # noqa: PLR0913 - what a pull request says, all of it named
    plan: str, part: str, sections: Sequence[Section], rest: Rest, *, run: str, usage: Usage = NO_USAGE
) -> str:
    """Return the body of a shared pull request: what is not in it, a section for each task, and the trailers.

    Args:
        plan: The title of the plan.
        part: The title of the group; empty for the whole plan.
        sections: The tasks in it, in the order of their commits.
        rest: The other tasks of the plan or group.
        run: The run's id.
        usage: What the agents of all these tasks used.
    """
    name, group = (_escaped(_plain(text)[:LONGEST_TITLE]) for text in (plan, part))
    count = len(sections) + len(rest.unchanged) + len(rest.left_out)
    of = f"*{name}*" + (f", {group}" if group not in {"", name} else "")
    heading = f"{len(sections)} of {plural(count, 'task')} of {of}."
    used = f"Their agents report {usage} in all." if usage else ""
    head = "\n\n".join(filter(None, (heading, used, _cut(_plain(_rest(rest)), LONGEST_BODY // 4))))
    trailers = [f"{TASK_TRAILER} {section.task.id}" for section in sections[:MAX_FILES]]
    tail = "\n".join(["---", "", *trailers, f"{RUN_TRAILER} {run}", ""])
    texts, room = [], LONGEST_BODY - len(head) - len(tail)
    for number, section in enumerate(sections):
        texts.append(_section(section, room // (len(sections) - number) - 2))
        room -= len(texts[-1]) + 2
    return "\n\n".join([head, *filter(None, texts), tail])


def _rest(rest: Rest) -> str:
    left_out = [
        f"- task {task.id} ({_escaped(task.title)}): {_escaped(' '.join(reason.split()))}"
        for task, reason in rest.left_out
    ]
    parts = ["## Not in this pull request", _listed(left_out)] if left_out else []
    if rest.unchanged:
        names = ", ".join(f"task {task.id}" for task in rest.unchanged[:MAX_FILES])
        parts.append(f"Nothing to change: {names}")
    return "\n\n".join(parts)


def _section(section: Section, limit: int) -> str:
    """Return the section of a task in at most `limit` characters; empty if there is no room."""
    task = section.task
    heading = f"## Task {task.id}: {_escaped(_plain(task.title))[:LONGEST_TITLE]}".rstrip()
    if limit < LEAST_SECTION:
        return heading if len(heading) <= limit else ""
    room = limit - len(heading) - len(_DETAILS.format("")) - 4
    details = _cut(_plain(_details(task, section.outcome, section.steps, "###")), room // 2)
    request = _cut(_plain(_request(task)), room - len(details) - LONGEST_FENCE)
    if fence := _open_fence(request):
        request = f"{request}\n{fence}"[:room]
    return f"{heading}\n\n{_DETAILS.format(request)}\n\n{details}"


def with_links(text: str, requests: Mapping[str, PullRequest]) -> str:
    """Return a body, preceded by links to the pull requests that it depends on, by what they are of."""
    if not requests:
        return text
    lines = [f"- [#{one.number}]({one.url}) ({what})" for what, one in requests.items()]
    if len(lines) > MAX_LINKS:
        lines = [*lines[:MAX_LINKS], f"- and {len(lines) - MAX_LINKS} more"]
    return "Depends on\n\n" + "\n".join(lines) + f"\n\n{text}"


@dataclass(frozen=True, slots=True)
class ConflictLine:
    """What a pull request says of a conflict: the others by label, with their pull requests if they are open.

    If it is not `own`, it is one of what the pull request builds on, which has `kept` and not the others.
    """

    others: Mapping[str, PullRequest | None]
    files: Sequence[str]
    is_own: bool = True
    kept: Sequence[str] = ()

    def __str__(self) -> str:
        """Return the line as Markdown."""
        names = " and ".join(
            f"[#{one.number}]({one.url}) ({what})" if one else what for what, one in self.others.items()
        )
        files = ", ".join(code_span(_plain(name)) for name in self.files[:MAX_LINKS])
        files += f" and {len(self.files) - MAX_LINKS} more" if len(self.files) > MAX_LINKS else ""
        if self.is_own:
            return f"- It conflicts with {names} in {files}. Merge one, then solve the conflict in the other."
        kept = " and ".join(f"task {task}" for task in self.kept)
        return f"- It is built without {names}, which conflicts with {kept} in {files}."


def with_conflicts(text: str, conflicts: Sequence[ConflictLine]) -> str:
    """Return a body, preceded by the conflicts of the pull request, and of what it builds on."""
    if not conflicts:
        return text
    lines = [*map(str, conflicts[:MAX_LINKS])]
    lines += [f"- and {len(conflicts) - MAX_LINKS} more"] if len(conflicts) > MAX_LINKS else []
    return "Conflicts\n\n" + "\n".join(lines) + f"\n\n{text}"


def _request(task: Task) -> str:
    """Return what the plan asks for: the text, or the commands if it has no text."""
    if task.implementation.strip():
        return task.implementation.strip()
    if not task.run:
        return _escaped(task.title)
    scripts = [
        _SCRIPT.format(escape(step.title), fence(script))
        for step in task.run
        if (script := hidden_script(step.title, step.script))
    ]
    return "\n\n".join(["\n".join(_item(step.title) for step in task.run), *scripts])


def _details(task: Task, outcome: Outcome, steps: Iterable[StoredStep], level: str) -> str:
    """Return what was done and what is to be checked, under headings of a level such as `##`."""
    parts = (
        _files(task, outcome, level),
        _verification(task, outcome, steps, level),
        _manual(task, level),
        _cost(outcome, level),
        _said(outcome, level),
    )
    return "\n\n".join(part for part in parts if part)


def _manual(task: Task, level: str) -> str:
    """Return what a person has to check, as boxes to tick."""
    boxes = [f"- [ ] {_escaped(text)}" for text in task.manual]
    return f"{level} To check by hand\n\n{_listed(boxes)}" if boxes else ""


def _cost(outcome: Outcome, level: str) -> str:
    """Return what the agent used in the work on the task; nothing where it does not say it."""
    return f"{level} Cost\n\nThe agent reports {outcome.usage}." if outcome.usage else ""


def _said(outcome: Outcome, level: str) -> str:
    """Return what the agent said last, as a quoted block of code.

    In code, a forge follows no mention of a person, reference or closing keyword.
    """
    text = _plain(outcome.said or "").strip()
    if not text:
        return ""
    kept = text if len(text) <= MAX_SAID else text[: MAX_SAID - 1].rstrip() + "…"
    lines = [part for line in kept.split("\n") for part in _WRAPPER.wrap(line) or [""]]
    quoted = indent(fence("\n".join(lines)), "> ", lambda _: True)
    return f"{level} What the agent says\n\n{quoted}"


def _files(task: Task, outcome: Outcome, level: str) -> str:
    declared = {file.path: file.action.value for file in task.files}
    changed = [_item(path, declared.get(path)) for path in outcome.files]
    untouched = [_item(file.path, file.action.value) for file in task.files if file.path not in outcome.files]
    parts = [f"{level} Files", _listed(changed)]
    if untouched:
        parts += ["Named by the plan, but not changed:", _listed(untouched)]
    return "\n\n".join(part for part in parts if part)


def _verification(task: Task, outcome: Outcome, steps: Iterable[StoredStep], level: str) -> str:
    # Of a command that ran again after a repair, only the end counts.
    codes = {step.command: step.exit_code for step in steps if step.kind == StepKind.VERIFY}
    before = dict.fromkeys(outcome.fails_before, f"; {FAILS_BEFORE}")
    commands = [_item(name, f"exit code {code}{before.get(name, '')}") for name, code in codes.items()]
    prose = [
        f"- [ ] {_escaped(' '.join(check.text.split()))}" for check in task.verification if check.step is None
    ]
    parts = [f"{level} Verification", _listed(commands) or "The plan has no command to verify it."]
    if prose:
        parts += ["To be checked manually:", _listed(prose)]
    return "\n\n".join(parts)


def _listed(items: Sequence[str]) -> str:
    more = [f"- and {len(items) - MAX_FILES} more"] if len(items) > MAX_FILES else []
    return "\n".join([*items[:MAX_FILES], *more])


def _item(text: str, note: str | None = None) -> str:
    """Return a list item with a code span and a note."""
    return f"- {code_span(text)}" + (f": {note}" if note else "")


def _escaped(text: str) -> str:
    """Return a line with its Markdown markup escaped, except for code spans."""
    return _MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", text)


def _cut(text: str, limit: int) -> str:
    """Return at most `limit` characters; a note marks the cut, and an open fence is closed."""
    if len(text) <= limit:
        return text
    kept = text[: max(0, limit - len(CUT) - 10)]
    kept = kept[: kept.rfind("\n")] if "\n" in kept else kept
    closing = _open_fence(kept)
    return kept + (f"\n{closing}" if closing else "") + CUT


def _open_fence(text: str) -> str:
    """Return the fence that is not closed, or an empty string (CommonMark 4.5)."""
    opened = ""
    for found in _FENCE.findall(text):
        if not opened:
            opened = found
        elif found[0] == opened[0] and len(found) >= len(opened):
            opened = ""
    return opened


def _plain(text: str) -> str:
    """Return valid Unicode without control characters; bytes that are not UTF-8 become `\ufffd`.

    Bidirectional marks are shown as what they are.
    """
    valid = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _CONTROL.sub("", with_visible_marks(valid.replace("\r\n", "\n").replace("\r", "\n")))

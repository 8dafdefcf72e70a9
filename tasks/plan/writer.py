"""Write a plan of any dialect as a plan of the native format, of version 2.

Each text is written as plainly as it can be: a form is taken if the parser reads the same from it, else the
next one, and in the end a fence that holds the text exactly.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from textwrap import indent
from typing import Any, TypeVar

from tasks.diagnostics import Report
from tasks.lazy.patterns import regex
from tasks.model import Check, DeclaredFile, Plan, Task
from tasks.plan.blocks import parse_blocks
from tasks.plan.links import PLAIN_ID
from tasks.plan.outside import ABOUT
from tasks.plan.parser import parse
from tasks.plan.sections import EXTENDED_ID, Kind, split_sections
from tasks.plan.verbatim import fenced, with_escapes
from tasks.text import code_span, fence

T = TypeVar("T")

_FRONT = "---\npatchyard: 2\n{}---\n\n"
_TASK = "### Task 1: A\n\n"
_OPEN = f"{_TASK}**Status:** pending\n"
_PLAIN_YAML = regex(r"[A-Za-z0-9./][A-Za-z0-9_./-]*")
_NOT_IN_YAML = regex("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_PASSES = 4
"""How often lines to escape are looked for: an escaped line can let the next one begin something."""


def native_text(plan: Plan) -> str:
    """Return a plan as the text of a native one, which is read as the same tasks with the same prompts.

    The plan has one batch, and its tasks are for agents, as those of every other dialect are.
    """
    parts = [_top(plan)]
    group = ("", "")
    for task in plan.tasks:
        own = (task.group, task.group_text.strip())
        if own != group:
            parts.append(_group(*own))
            group = own
        parts.append(_task(task))
    parts.append(_footer(plan.footer.strip()))
    return "\n\n".join(part for part in parts if part) + "\n"


def differing(plan: Plan, again: Plan | None) -> tuple[str, ...]:
    """Return the ids of the tasks that are not the same in another plan, all of them if that is as a whole."""
    if again is None or _of_plan(plan) != _of_plan(again):
        return tuple(task.id for task in plan.tasks)
    others = {task.id: _of_task(task) for task in again.tasks}
    return tuple(task.id for task in plan.tasks if others.get(task.id) != _of_task(task))


def _of_plan(plan: Plan) -> tuple[object, ...]:
    about = (plan.header.strip(), plan.footer.strip())
    return plan.title, *about, plan.neighbours, [task.id for task in plan.tasks]


def _of_task(task: Task) -> Mapping[str, object]:
    """Return what is to be the same of a task."""
    return {
        "id": task.id,
        "title": task.title,
        "text": task.implementation.strip(),
        "files": [(file.action, file.path) for file in task.files],
        "verification": [(check.text, check.step) for check in task.verification],
        "dependencies": (task.dependencies, dict(task.reasons)),
        "commit": task.commit,
        "state": (task.completed, task.optional),
        "group": (task.group, task.group_text.strip()),
        "done": task.done_items,
        "manual": task.manual,
    }


def _task(task: Task) -> str:
    state = ", ".join(word for word, holds in _states(task) if holds)
    text = task.implementation.strip()
    parts = [
        _heading(task),
        f"**Status:** {state}" if state else "",
        _dependencies(task),
        _items("Done", "done_items", task.done_items, _prose),
        _items("Files", "files", task.files, _file),
        _field((f"**Implementation:**\n\n{form}" for form in _forms(text, about=False)), implementation=text),
        _items("Verification", "verification", task.verification, _check),
        _items("Manual Verification", "manual", task.manual, _prose),
        _field(_commits(task.commit), commit=task.commit) if task.commit else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _states(task: Task) -> tuple[tuple[str, bool], ...]:
    return (("completed", task.completed), ("optional", task.optional))


def _heading(task: Task) -> str:
    """Return the heading of a task, and its title below it where a heading cannot hold that."""
    name = task.id if re.fullmatch(EXTENDED_ID, task.id) else f"`{task.id}`"
    plain = " ".join(task.title.replace("**", "").split())
    forms = (f"### Task {name}: {form}" for form in _titles(task.title, (plain, f"Task {task.id}")))
    meant = [_of_task(Task(task.id, task.title, 1))]
    return _first(forms, "", "\n", lambda plan: [_of_task(each) for each in plan.tasks] == meant)


def _titles(title: str, stand_ins: Iterable[str]) -> Iterator[str]:
    """Yield the forms of a title in a heading: alone, or as a field below something that is like it."""
    yield title
    for plain in stand_ins:
        yield f"{plain}\n\n**Title:** {title}"
        yield f"{plain}\n\n**Title:**\n{fenced(title)}"
        yield f"{plain}\n\n**Title:**\n{fenced(title, as_json=True)}"


def _dependencies(task: Task) -> str:
    names = [f"Task {name if PLAIN_ID.fullmatch(name) else f'`{name}`'}" for name in task.dependencies]
    if not task.reasons:
        return f"**Depends on:** {', '.join(names)}" if names else ""
    reasons = (" ".join(task.reasons.get(name, "").split()) for name in task.dependencies)
    lines = (f"- {name}: {why}" if why else f"- {name}" for name, why in zip(names, reasons, strict=True))
    return "\n".join(["**Depends on:**", *lines])


def _prose(text: str) -> Iterator[str]:
    yield text
    yield fenced(text)
    yield fenced(text, as_json=True)


def _file(file: DeclaredFile) -> Iterator[str]:
    yield f"{file.action.title()}: {code_span(file.path)}"


def _check(check: Check) -> Iterator[str]:
    if check.step is None:
        yield from _prose(check.text)
    else:
        yield code_span(check.text)
        yield fence(check.text, "sh")


def _commits(message: str) -> Iterator[str]:
    yield f"**Commit:** {message}"
    yield f"**Commit:**\n{fence(message, 'text')}"
    yield f"**Commit:**\n{fenced(message, as_json=True)}"


def _items(label: str, name: str, values: Sequence[T], forms: Callable[[T], Iterator[str]]) -> str:
    """Return a field that is a list, each item in the first form that is read as it is meant."""
    if not values:
        return ""
    head = f"**{label}:**\n"
    plain = head + "\n".join(_item(next(forms(value))) for value in values)
    if _is_read(plain, {name: tuple(values)}):
        return plain
    own = (_field((head + _item(form) for form in forms(value)), **{name: (value,)}) for value in values)
    mixed = head + "\n".join(item.removeprefix(head) for item in own)
    if _is_read(mixed, {name: tuple(values)}):
        return mixed
    # An item can begin what the next one ends, such as a comment.
    return head + "\n".join(_item(list(forms(value))[-1]) for value in values)


def _item(text: str) -> str:
    return f"- {indent(text, '  ').lstrip(' ')}"


def _field(forms: Iterable[str], **meant: object) -> str:
    """Return the first form of a field that is read as it is meant, else the last; empty for no value."""
    form = ""
    if any(meant.values()):
        for form in forms:
            if _is_read(form, meant):
                break
    return form


def _is_read(field: str, meant: Mapping[str, Any]) -> bool:
    """Whether a field of a task is read as it is meant, and nothing else with it."""
    plan = _read(f"{_TASK}{field}\n\n### Task 2: B\n")
    return plan is not None and [_of_task(task) for task in plan.tasks] == [
        _of_task(replace(Task("1", "A", 1), **meant)),
        _of_task(Task("2", "B", 1)),
    ]


def _first(forms: Iterable[str], before: str, after: str, is_same: Callable[[Plan], bool]) -> str:
    """Return the first form of a text that is read as it is meant between two others, else the last form."""
    form = ""
    for form in forms:
        if (plan := _read(before + form + after)) and is_same(plan):
            break
    return form


def _read(body: str) -> Plan | None:
    """Return what the parser reads; a plan with warnings, other than of paths, is as good as none."""
    text = body if body.startswith("---") else _FRONT.format("") + body
    parsed = parse(text, "plan.md", agent="agent")
    is_suspicious = any("outside of the repository" not in found.message for found in parsed.diagnostics)
    return None if is_suspicious else parsed.plan


def _forms(text: str, *, about: bool) -> Iterator[str]:
    """Yield the forms of a text of any length, the plainest first; see `_misread`."""
    yield text
    yield _escaped(text, about=about)
    yield fenced(text)
    yield fenced(text, as_json=True)


def _escaped(text: str, *, about: bool) -> str:
    lines: frozenset[int] = frozenset()
    escaped = with_escapes(text, lines)
    for _ in range(_PASSES):
        found = frozenset(_misread(escaped, about=about)) - lines
        if not found:
            break
        lines |= found
        escaped = with_escapes(text, lines)
    return escaped


def _misread(text: str, *, about: bool) -> Iterator[int]:
    """Yield the lines (0-based) of a text that begin a field or a section, or that look as if they should.

    A text that is `about` the plan or a part of it may have sections of its own.
    """
    prefix = f"{_TASK}**Implementation:**\n\n"
    above = prefix.count("\n")
    report = Report("")
    document = parse_blocks(prefix + text, extended=True)
    _, _, *sections = split_sections(document, report)
    yield from (
        block.start - above for block in document.blocks if block.kind == "field" and block.start >= above
    )
    yield from (item.line - above for item in sections if not (about and item.kind is Kind.OTHER))
    yield from (found.line - 1 - above for found in report.sorted())


def _top(plan: Plan) -> str:
    """Return the front matter, and the title with what is said above the first task."""
    header = plan.header.strip()
    documents = "".join(f"  - {_yaml(path)}\n" for path in plan.neighbours)
    front = f"documents:\n{documents}" if documents else ""
    titled = f"title: {_yaml(plan.title)}\n{front}"
    forms = tuple(_forms(header, about=True))
    headed = [_FRONT.format(front) + f"# {plan.title}\n\n{form}".rstrip() for form in forms]
    others = [_FRONT.format(titled) + form for form in forms]
    # A header that begins with the title has its own heading for it.
    tops = [*others, *headed] if header.startswith("# ") else [*headed, *others]

    def is_same(read: Plan) -> bool:
        return (read.title, read.header.strip()) == (plan.title, header) and _is_open(read)

    return _first(tops, "", f"\n\n{_OPEN}", is_same).rstrip()


def _is_open(plan: Plan) -> bool:
    """Whether a plan has the one task of `_OPEN`, and nothing below it."""
    return [task.implementation for task in plan.tasks] == [""] and not plan.footer


def _group(title: str, text: str) -> str:
    """Return the heading of a group, with what the plan says of it; without either it ends the one before."""
    plain = " ".join(title.replace("**", "").split())
    titles = ("## Group", *(f"## Group: {form}" for form in _titles(title, (plain, "of tasks"))))
    after = f"\n\n{_OPEN}"

    def is_titled(read: Plan) -> bool:
        return _is_open(read) and [task.group for task in read.tasks] == [title]

    def is_same(read: Plan) -> bool:
        return is_titled(read) and [task.group_text.strip() for task in read.tasks] == [text]

    heading = _first(titles, "", after, is_titled)
    below = _first(_forms(text, about=False), f"{heading}\n\n", after, is_same)
    return f"{heading}\n\n{below}".rstrip()


def _footer(text: str) -> str:
    """Return what is said below the last task, in a section of its own unless it has one."""
    if not text:
        return ""
    wrapped = (f"## {ABOUT}\n\n{form}" for form in _forms(text, about=True))
    return _first(
        (text, *wrapped),
        f"{_OPEN}\n",
        "\n",
        lambda read: [task.implementation for task in read.tasks] == [""] and read.footer.strip() == text,
    )


def _yaml(text: str) -> str:
    """Return a text as a scalar of YAML."""
    if _PLAIN_YAML.fullmatch(text):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)

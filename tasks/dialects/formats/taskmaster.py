"""Task Master's `tasks.json`."""

from collections.abc import Container, Iterator

from tasks.diagnostics import Report, quoted
from tasks.dialects.dialect import Item, Reading, Unit
from tasks.dialects.json_objects import Located, read_json
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

DEFAULT_TAG = "master"
CLOSED = frozenset({"done", "cancelled", "canceled", "deferred", "completed"})
"""States of a task that is not run."""

_TASKS = regex(r'"tasks"\s*:\s*\[')
_TASK = regex(r'"(?:dependencies|subtasks)"\s*:')


@dataclass(frozen=True, slots=True)
class _Task:
    """A task with its id, or a sub-task with that of its task before it, such as `3.1`."""

    id: str
    content: Located
    parent: "_Task | None" = None

    @property
    def is_closed(self) -> bool:
        own = self.content.text("status").lower() in CLOSED
        return own or (self.parent is not None and self.parent.is_closed)

    @property
    def sub_tasks(self) -> "list[_Task]":
        found = self.content.objects("subtasks")
        return [_Task(f"{self.id}.{_id(part, at)}", part, self) for at, part in enumerate(found, 1)]

    @property
    def parts(self) -> "list[_Task]":
        return self.sub_tasks or [self]


class Taskmaster:
    """A task is a unit, or each of its sub-tasks is; they wait for their dependencies and nothing else."""

    name = "taskmaster"

    def count(self, source: Source) -> int:
        """Return the number of objects with dependencies or sub-tasks."""
        if not source.is_json or not _TASKS.search(source.text):
            return 0
        return len(_TASK.findall(source.text))

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read the tasks of one tag."""
        content, tag = _tagged(read_json(source.text, report), options, report)
        tasks = [_Task(_id(part, at), part) for at, part in enumerate(content.objects("tasks"), 1)]
        if not tasks and not report.errors:
            report.error(content.line, content.column, f"the list of tasks {quoted(tag)} is empty")
        by_item = options.unit is UnitKind.ITEM
        units = _item_units(tasks, report) if by_item else _task_units(tasks, report)
        return Reading(
            title=content.text("title"),
            units=tuple(units),
            unit=UnitKind.ITEM if by_item else UnitKind.GROUP,
            header=_header(content),
        )


def _tagged(content: Located, options: ReadOptions, report: Report) -> tuple[Located, str]:
    """Return the object that holds the tasks to run, and the name of its tag."""
    if isinstance(content.get("tasks"), list):
        return content, options.tag or DEFAULT_TAG
    tags = {name: value for name, value in content.items() if isinstance(value, Located) and "tasks" in value}
    name = options.tag or (DEFAULT_TAG if DEFAULT_TAG in tags else next(iter(tags), ""))
    if options.tag and options.tag not in tags:
        known = ", ".join(tags) or "none"
        report.error(1, 1, f"no list of tasks is named {quoted(options.tag)}; its lists are {known}")
    elif len(tags) > 1 and not options.tag:
        others = ", ".join(other for other in tags if other != name)
        report.warning(1, 1, f"the list of tasks {quoted(name)} is read; `--tag` names another: {others}")
    return tags.get(name, Located()), name


def _id(content: Located, at: int) -> str:
    return content.text("id") or str(at)


def _header(content: Located) -> str:
    meta = content.get("metadata")
    return meta.text("description") if isinstance(meta, Located) else ""


def _task_units(tasks: list[_Task], report: Report) -> Iterator[Unit]:
    known = {task.id for task in tasks}
    for task in tasks:
        texts = [_text(task), *(f"### {_heading(part)}\n\n{_text(part)}".strip() for part in task.sub_tasks)]
        yield Unit(
            id=task.id,
            title=task.content.text("title"),
            text="\n\n".join(text for text in texts if text),
            line=task.content.line,
            column=task.content.column,
            items=tuple(_item(part) for part in task.parts),
            requires=tuple(_known(task, known, report)),
        )


def _item_units(tasks: list[_Task], report: Report) -> Iterator[Unit]:
    parts = {task.id: [part.id for part in task.parts] for task in tasks}
    every = {name for names in parts.values() for name in names}
    for task in tasks:
        above = [name for other in _known(task, parts, report) for name in parts[other]]
        for part in task.parts:
            own = _known(part, every | set(parts), report) if part.parent else ()
            named = [name for other in own for name in parts.get(other, [other])]
            yield Unit(
                id=part.id,
                title=part.content.text("title"),
                text=_text(part),
                line=part.content.line,
                column=part.content.column,
                items=(_item(part),),
                requires=tuple(dict.fromkeys((*named, *above))),
                group=task.content.text("title") if part.parent else "",
                group_text=_text(task) if part.parent else "",
            )


def _known(task: _Task, known: Container[str], report: Report) -> Iterator[str]:
    """Yield the ids of those that a task depends on; a sub-task names its siblings without their task."""
    named = task.content.get("dependencies")
    for value in named if isinstance(named, list) else []:
        name = str(value).strip()
        if task.parent and "." not in name:
            name = f"{task.parent.id}.{name}"
        if name in known:
            yield name
        else:
            message = f"task {task.id} depends on {quoted(name)}, which is not there; this is ignored"
            report.warning(task.content.line, task.content.column, message)


def _item(task: _Task) -> Item:
    return Item(_heading(task), task.content.line, task.is_closed, column=task.content.column)


def _heading(task: _Task) -> str:
    done = " (done already)" if task.is_closed else ""
    return f"{task.id} {task.content.text('title')}".strip() + done


def _text(task: _Task) -> str:
    """Return what a task says, as Markdown."""
    content = task.content
    strategy = content.text("testStrategy")
    parts = [content.text("description"), content.text("details")]
    parts += [f"How to test it: {strategy}"] if strategy else []
    return "\n\n".join(part for part in parts if part)


DIALECT = Taskmaster()

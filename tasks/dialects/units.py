"""Make a plan of the units that a dialect has read."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import PurePath

from tasks.diagnostics import Report
from tasks.dialects.blocks.ids import free_id
from tasks.dialects.dialect import Reading, Unit, in_sequence
from tasks.dialects.inference import inferred
from tasks.dialects.read_options import Order, ReadOptions
from tasks.lazy.patterns import regex
from tasks.model import Batch, Plan, Task
from tasks.plan.links import cycles
from tasks.plan.parser import plan_name
from tasks.task_ids import as_task_id

_BOLD = regex(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")


def plan_of(reading: Reading, dialect: str, path: str, options: ReadOptions, report: Report) -> Plan:
    """Return the plan of units: one batch, in which each task waits for what it needs and nothing else."""
    units = _ordered(_with_own_ids(reading.units, report), options.order)
    known = {unit.id for unit in units}
    _report_cycles(units, report)
    groups = _done_items(units)
    file = PurePath(path).stem
    tasks = tuple(_task(unit, known, groups.get(unit.group, ()), options, report) for unit in units)
    items = [item for unit in units for item in unit.items]
    return Plan(
        name=plan_name(reading.title, file),
        title=reading.title or file,
        path=path,
        batches=(Batch(1, reading.title or file, tasks, ()),) if tasks else (),
        dialect=dialect,
        unit=str(reading.unit),
        order=str(options.order),
        header=reading.header,
        footer=reading.footer,
        neighbours=reading.neighbours,
        items=len(items),
        done_items=sum(item.done for item in items),
    )


def _with_own_ids(units: Iterable[Unit], report: Report) -> tuple[Unit, ...]:
    """Return units with ids that can be part of a branch's name, each with another one."""
    names: dict[str, str] = {}
    taken: dict[str, Unit] = {}
    for unit in units:
        plain = as_task_id(unit.id)
        name = free_id(plain, taken)
        if name != plain:
            message = f"task {plain} is already on line {taken[plain].line}; this one is called {name}"
            report.warning(unit.line, unit.column, message)
        names.setdefault(unit.id, name)
        taken[name] = replace(unit, id=name)
    return tuple(
        replace(unit, requires=tuple(names[other] for other in unit.requires if other in names))
        for unit in taken.values()
    )


def _ordered(units: tuple[Unit, ...], order: Order) -> tuple[Unit, ...]:
    if order is Order.SEQUENTIAL:
        return in_sequence(units)
    return inferred(units) if order is Order.INFERRED else units


def _report_cycles(units: tuple[Unit, ...], report: Report) -> None:
    lines = {unit.id: (unit.line, unit.column) for unit in units}
    for circle in cycles({unit.id: unit.requires for unit in units}):
        report.error(*lines[circle[0]], f"tasks depend on each other in a cycle: {' -> '.join(circle)}")


def _done_items(units: tuple[Unit, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return what is done already, by group."""
    found: dict[str, list[str]] = {}
    for unit in units:
        if unit.group:
            found.setdefault(unit.group, []).extend(item.text for item in unit.items if item.done)
    return {group: tuple(texts) for group, texts in found.items()}


def _task(
    unit: Unit, known: Collection[str], of_group: tuple[str, ...], options: ReadOptions, report: Report
) -> Task:
    if not (unit.done or unit.text.strip() or unit.title.strip()):
        report.error(unit.line, unit.column, f"task {unit.id} has neither a text for an agent nor a command")
    own = (*(item.text for item in unit.items if item.done), *unit.parts)
    return Task(
        id=unit.id,
        title=_BOLD.sub(r"\2", unit.title) or f"Task {unit.id}",
        batch=1,
        files=unit.files,
        implementation=unit.text,
        verification=tuple({check.text: check for check in unit.checks}.values()),
        dependencies=tuple(name for name in dict.fromkeys(unit.requires) if name in known and name != unit.id),
        commit=unit.commit,
        completed=unit.done,
        optional=unit.optional and not options.optional,
        manual=unit.manual,
        reasons=unit.reasons,
        open_items=tuple((item.line, item.column) for item in unit.items if not (item.done or item.left_out)),
        open_box=unit.open_box,
        line=unit.line,
        column=unit.column,
        group=unit.group,
        group_text=unit.group_text,
        done_items=() if unit.done else tuple(dict.fromkeys((*own, *of_group))),
    )

"""Plans of superpowers: `### Task N: …` with steps, each of which is a box or a bold line."""

import re
from collections.abc import Iterator
from dataclasses import replace

from tasks.diagnostics import Report, quoted
from tasks.dialects.blocks.boxes import is_done
from tasks.dialects.blocks.sections import Section, Sections, group_number, with_unique_ids
from tasks.dialects.blocks.status import report_status, says_finished
from tasks.dialects.blocks.steps import has_numbered_steps, has_steps, is_for_workers, read_steps
from tasks.dialects.dialect import Item, Reading, Unit, in_sequence, joined
from tasks.dialects.outline import Heading, Outline
from tasks.dialects.prose.declared import declared_files
from tasks.dialects.prose.dependencies import Dependencies, dependencies_of, without_dependencies
from tasks.dialects.prose.references import Ids, Names
from tasks.dialects.prose.verification import checks_from
from tasks.dialects.prose.waiting import one_after_another
from tasks.dialects.read_options import ReadOptions, UnitKind
from tasks.dialects.source import Source
from tasks.lazy.patterns import regex
from tasks.model import DeclaredFile
from tasks.plan.marks import says_done, without_done, without_rule

_WORD = regex(r"(?i)task|任务|任務|タスク|작업|태스크|tarea|tarefa")
_OTHERS = regex(r"(?im)^##\s+(?:TODOs?|Tasks\s*/\s*Subtasks)\b|^#{2,3}\s+\**Batch\s+\d")
_SPEC = regex(
    r"(?i)^[\s>*-]*\*{0,2}(?:[\w-]+\s+){0,2}(?:spec(?:ification)?|design|prd)(?:\s+(?:doc(?:ument)?|file))?s?"
    r"\*{0,2}\s*[:：]\*{0,2}\s*(?P<what>.+)$"  # noqa: RUF001 - a full-width colon, which people type
)
_PATH = regex(r"`(?P<code>[^`\s]+\.\w+)`|\]\((?P<link>[^)\s#]+\.\w+)|(?P<plain>[\w./~-]+/[\w./-]+\.\w+)")


class Superpowers:
    """Items are headings of tasks; chunks, phases and the like are their groups."""

    name = "superpowers"

    def count(self, source: Source) -> int:
        """Return the number of tasks of a plan with steps, or with the line for those who carry it out."""
        if source.is_json or not _WORD.search(source.text):
            return 0
        headings = Sections(source.outline).headings
        return len(headings) if headings and _is_own(source, headings[0].line) else 0

    def read(self, source: Source, options: ReadOptions, report: Report) -> Reading:
        """Read tasks in order, or the groups that hold them."""
        outline, sections = source.outline, Sections(source.outline)
        tasks = list(with_unique_ids(sections.tasks, report))
        items = [_unit(sections, task, report) for task in tasks]
        items = list(one_after_another(items, _waits(sections, tasks, report)))
        by_group = options.unit is UnitKind.GROUP and any(task.group for task in tasks)
        report_status(outline, items, report, sections.first_line)
        _check_leftover(sections, report)
        if options.unit is UnitKind.GROUP and not by_group:
            report.warning(1, 1, "this plan has no chunks or phases, so it is read by items")
        return Reading(
            title=outline.title(),
            units=in_sequence(_group_units(sections, tasks, items)) if by_group else tuple(items),
            unit=UnitKind.GROUP if by_group else UnitKind.ITEM,
            header=outline.text(outline.front, sections.first_line),
            footer=sections.footer(),
            neighbours=_neighbours(outline, sections.first_line),
        )


def _is_own(source: Source, first: int) -> bool:
    """Whether the plan says that it is for an agent with superpowers, or has steps and is not another's."""
    if is_for_workers("\n".join(source.outline.lines[:first])):
        return True
    if _OTHERS.search(source.text):
        return False
    return has_steps(source.outline, first) or has_numbered_steps(source.outline, first)


def _unit(sections: Sections, task: Section, report: Report) -> Unit:
    outline, title = sections.outline, without_dependencies(task.title) or f"Task {task.id}"
    steps = read_steps(outline, task.start, task.end)
    boxes = [box for box in outline.boxes_in(task.start, task.end) if box.parent is None]
    done = _is_finished(outline, task)
    return Unit(
        id=task.id,
        title=title,
        text=without_rule(outline.text(task.start, task.end)),
        line=task.heading.line + 1,
        items=(Item(title, task.heading.line + 1, done),),
        group=task.group.text if task.group else "",
        group_text=sections.group_text(task.group),
        files=_inside(declared_files(outline, task.start, task.end), task, report),
        checks=tuple(checks_from(steps.verification(), report)),
        commit=steps.commit,
        parts=() if done else tuple(box.text for box in boxes if is_done(box)),
    )


def _inside(files: tuple[DeclaredFile, ...], task: Section, report: Report) -> tuple[DeclaredFile, ...]:
    """Return the files inside of the repository: a path of the author's machine exists nowhere else."""
    outside = [file for file in files if file.outside]
    if outside:
        more = f", and {len(outside) - 1} more," if len(outside) > 1 else ""
        message = f"{quoted(outside[0].path)}{more} is outside of the repository: no file of task {task.id}"
        report.warning(outside[0].line, 1, message)
    return tuple(file for file in files if not file.outside)


def _is_finished(outline: Outline, task: Section) -> bool:
    """Whether a heading says so, all boxes are ticked, or a status says so where there are none."""
    text = task.heading.text.strip()
    if says_done(text) or re.match(r"\W*\[[xX]\]", text) or re.fullmatch(r"~~.*~~", text):
        return True
    if boxes := outline.boxes_in(task.start, task.end):
        return all(is_done(box) for box in boxes)
    return any(says_finished(line) for _, line in outline.prose(task.start, task.end))


def _waits(sections: Sections, tasks: list[Section], report: Report) -> dict[str, tuple[str, ...] | None]:
    """Return what each task says that it depends on."""
    groups: dict[str, list[str]] = {}
    for task in tasks:
        for group in sections.with_groups(task.group):
            groups.setdefault(group_number(group).lower(), []).append(task.id)
    names = _names(tasks, groups)
    said = {
        task.id: dependencies_of(sections.outline, task.heading, task.end, known, report)
        for task, known in zip(tasks, names, strict=True)
    }
    # "Dependencies: none" says that no library is needed, unless others name tasks there.
    is_of_tasks = any(found.ids and found.may_be_libraries for found in said.values())
    return {
        name: None if _is_of_libraries(found) and not is_of_tasks else _others(found.ids, name)
        for name, found in said.items()
    }


def _is_of_libraries(found: Dependencies) -> bool:
    return found.ids == () and found.may_be_libraries


def _others(ids: tuple[str, ...] | None, name: str) -> tuple[str, ...] | None:
    return None if ids is None else tuple(other for other in ids if other != name)


def _names(tasks: list[Section], groups: dict[str, list[str]]) -> Iterator[tuple[Names, ...]]:
    """Yield what each task may name: by number in its own group first, where groups count from 1 each."""
    ids = [task.id for task in tasks]
    everything = Ids({name: name for name in ids})
    own: dict[Heading | None, Ids] = {}
    for task in tasks:
        short = task.id.removeprefix(f"{group_number(task.group)}.")
        own.setdefault(task.group, Ids())[short] = task.id
    is_local = {group: any(short != name for short, name in found.items()) for group, found in own.items()}
    for at, task in enumerate(tasks):
        all_names = Names(everything, groups, ids[:at])
        yield (Names(own[task.group], groups, ids[:at]), all_names) if is_local[task.group] else (all_names,)


def _group_units(sections: Sections, tasks: list[Section], items: list[Unit]) -> Iterator[Unit]:
    """Yield a unit for each run of tasks of one group; a task without a group is one itself."""
    runs: list[list[int]] = []
    for at, task in enumerate(tasks):
        if runs and task.group is not None and tasks[runs[-1][0]].group == task.group:
            runs[-1].append(at)
        else:
            runs.append([at])
    numbers = [group_number(tasks[run[0]].group) or tasks[run[0]].id for run in runs]
    for place, (run, number) in enumerate(zip(runs, numbers, strict=True), 1):
        group, own = tasks[run[0]].group, [items[at] for at in run]
        name = number if numbers.count(number) == 1 else str(place)
        yield replace(own[0], id=name) if group is None else _group_unit(sections, name, group, own)


def _group_unit(sections: Sections, name: str, group: Heading, own: list[Unit]) -> Unit:
    outer = sections.with_groups(group)[:-1]
    return replace(
        joined(own),
        id=name,
        title=without_done(group.text),
        text=sections.whole_text(group),
        line=group.line + 1,
        group=outer[-1].text if outer else "",
        group_text=sections.group_text(outer[-1]) if outer else "",
    )


def _check_leftover(sections: Sections, report: Report) -> None:
    """Warn of open boxes that are part of no task."""
    outline = sections.outline
    for start, end in sections.leftover:
        boxes = [box for box in outline.boxes_in(start, end) if not is_done(box)]
        if boxes:
            above = outline.heading_above(boxes[0].line)
            where = f" below {quoted(above.text)}" if above else ""
            message = (
                f"open boxes{where} belong to no task: they are shown with each task, and not run themselves"
            )
            report.warning(boxes[0].line + 1, 1, message)


def _neighbours(outline: Outline, first: int) -> tuple[str, ...]:
    """Return the specification that the header names, from the root or from the plan's directory."""
    found: list[str] = []
    for _, line in outline.prose(outline.front, first):
        spec = _SPEC.match(line)
        for path in _PATH.finditer(spec["what"]) if spec else ():
            name = (path["code"] or path["link"] or path["plain"]).removeprefix("./")
            if "://" in name or name.startswith("~"):
                continue
            if name.startswith(("../", "/")) or path["link"]:
                found.append(name)
            else:
                found += [f"/{name}"] if "/" in name else [name, f"/{name}"]
    return tuple(dict.fromkeys(found))


DIALECT = Superpowers()

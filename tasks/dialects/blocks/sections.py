"""Tasks that are headings, such as `### Task 1.2: …`, and the headings that hold them."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from tasks.diagnostics import Report
from tasks.dialects.blocks.ids import free_id
from tasks.dialects.outline import Heading, Outline
from tasks.dialects.prose.references import ID
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.marks import without_done, without_rule

_MARKS = r"(?:\s*[:：.、]\s*|\s+[-–—]+\s*|\s*[–—]\s*|\s+|$)"  # noqa: RUF001 - the marks that people type
_LEAD = r"(?:\[[ xX]\]\s*|[^\w\s#\[]+\s*)*"
_LAST = r"(?:(?i:task)\s*)?[A-Z]{0,3}[0-9]+(?:\.[0-9]+)*[a-z]?(?=\s*(?:[:：、(]|\.(?![0-9]))|\s+[-–—]|\s*$)"  # noqa: RUF001 - likewise
TASK = regex(
    rf"{_LEAD}(?i:tasks?|任务|任務|タスク|작업|태스크|tarea|tarefa)\s*[#-]?\s*(?P<id>(?![A-Z]\s+\w){ID}(?:\s*[-–—]\s*{_LAST})?)"  # noqa: RUF001 - likewise
    rf"(?:\s*(?:of|/)\s*[0-9]+)?(?:\s*[(（\[][^()（）\[\]]*[)）\]])?\**{_MARKS}(?P<title>.*)"  # noqa: RUF001 - likewise
)
"""A task's heading: its number or a range of them, and its title."""

GROUP = regex(
    rf"{_LEAD}(?i:chunk|phase|part|slice|wave|pr|fase|parte|阶段)\s*#?\s*(?P<number>{ID})\**{_MARKS}(?P<title>.*)"
)
_NO_GROUP = regex(r"(?i)\W*(?:(?:implementation|all|the)\s+)?(?:tasks?|task\s+list|steps)\W*")


@dataclass(frozen=True, slots=True)
class Section:
    """A task: its heading, the line (0-based) that it ends above, and the heading of its group."""

    id: str
    title: str
    heading: Heading
    end: int
    group: Heading | None

    @property
    def start(self) -> int:
        """The line below the heading, 0-based."""
        return self.heading.line + 1


class Sections:
    """The tasks of an outline and their groups.

    Args:
        outline: The outline of the plan.
        first: The line (0-based) above which no heading is a task.
        last: The line below which none is.
    """

    def __init__(self, outline: Outline, first: int = 0, last: int | None = None) -> None:
        self.outline = outline
        self._above: dict[Heading, list[Heading]] = {}
        self._first, self._last = first, len(outline.lines) if last is None else last

    @cached_property
    def headings(self) -> list[Heading]:
        """The headings of tasks. A single one of level 1 is the plan's title."""
        found = [
            heading
            for heading in self.outline.headings
            if self._first <= heading.line < self._last and TASK.fullmatch(heading.text)
        ]
        below = [heading for heading in found if heading.level > 1]
        return below if below and len(found) - len(below) == 1 else found

    @cached_property
    def groups(self) -> list[Heading]:
        """The headings of groups that hold tasks; `Phase 1 Tasks` is a heading over all tasks, not a group."""
        inner = {group.line for group in self._holders.values()}
        return [heading for heading in self.outline.headings if heading.line in inner]

    @cached_property
    def _holders(self) -> dict[int, Heading]:
        """The nearest group of each task, by line: it holds the task, or is above it on the same level."""
        tasks = {heading.line for heading in self.headings}
        around: list[Heading] = []
        beside: dict[int, Heading] = {}
        found: dict[int, Heading] = {}
        for heading in self.outline.headings:
            around = [group for group in around if heading.line < group.end]
            if heading.line in tasks:
                holder = around[-1] if around else beside.get(heading.level)
                if holder is not None:
                    found[heading.line] = holder
                continue
            beside = {level: group for level, group in beside.items() if level < heading.level}
            match = GROUP.fullmatch(heading.text)
            if match and not _NO_GROUP.fullmatch(match["title"]):
                beside[heading.level] = heading
                around.append(heading)
        return found

    @cached_property
    def tasks(self) -> list[Section]:
        """The tasks, in the order of the plan; an id may be there more than once."""
        stops = sorted(heading.line for heading in (*self.headings, *self.groups))
        found = []
        for heading in self.headings:
            match = TASK.fullmatch(heading.text)
            name = re.sub(r"(?i)\s*[-–—]\s*(?:task\s*)?", "-", match["id"]) if match else ""  # noqa: RUF001 - likewise
            following = bisect_right(stops, heading.line)
            end = min([heading.end, *stops[following : following + 1]])
            title = without_done(match["title"] if match else "").strip(" *~")
            found.append(Section(name, title, heading, end, self._holders.get(heading.line)))
        return found

    def with_groups(self, group: Heading | None) -> list[Heading]:
        """Return a group and the named ones that it is in, the outermost first."""
        if group is None:
            return []
        if group not in self._above:
            self._above[group] = self._around(group)
        return self._above[group]

    def _around(self, group: Heading) -> list[Heading]:
        above = [
            heading
            for heading in self.outline.headings
            if heading.line < group.line < heading.end and GROUP.fullmatch(heading.text)
        ]
        return [*above, group]

    @cached_property
    def _own(self) -> dict[Heading, list[int]]:
        """The lines (0-based) of each group that are not those of a task or of another group."""
        covered = {line for task in self.tasks for line in range(task.heading.line, task.end)}
        holders = {group for task in self.tasks for group in self.with_groups(task.group)}
        found: dict[Heading, list[int]] = {}
        for holder in sorted(holders, key=lambda heading: heading.line):
            lines = range(holder.line + 1, self._end_of(holder))
            inner = [other for other in holders if other.line > holder.line and other.line in lines]
            below = {line for other in inner for line in range(other.line, self._end_of(other))}
            found[holder] = [line for line in lines if line not in covered and line not in below]
        return found

    def _end_of(self, group: Heading) -> int:
        """Return the line (0-based) that a group ends above: with tasks of its own level, that of the last."""
        ends = [task.end for task in self.tasks if task.group == group]
        return max([group.end, *ends])

    def group_text(self, group: Heading | None) -> str:
        """Return what a group, and those that it is in, say of themselves: their text without the tasks."""
        parts = []
        for heading in self.with_groups(group):
            lines = [self.outline.lines[line] for line in self._own.get(heading, ())]
            text = re.sub(r"(?m)^\s*(?:---+|\*\*\*+|___+)\s*$", "", "\n".join(lines))
            parts.append(re.sub(r"\n{3,}", "\n\n", text).strip("\n").rstrip())
        return "\n\n".join(part for part in parts if part.strip())

    def whole_text(self, group: Heading) -> str:
        """Return all that is below a group's heading."""
        return without_rule(self.outline.text(group.line + 1, self._end_of(group)))

    @cached_property
    def first_line(self) -> int:
        """The line (0-based) of the first task, or of the first group that holds one."""
        lines = [task.heading.line for task in self.tasks]
        lines += [group.line for task in self.tasks for group in self.with_groups(task.group)]
        return min(lines, default=0)

    @cached_property
    def leftover(self) -> list[tuple[int, int]]:
        """Start and end (0-based, not included) of what is part of no task or group, below the first line."""
        covered = set(range(self.first_line))
        for task in self.tasks:
            covered.update(range(task.heading.line, task.end))
        for group, lines in self._own.items():
            covered.update((group.line, *lines))
        found: list[tuple[int, int]] = []
        for line in range(self.first_line, len(self.outline.lines)):
            if line not in covered:
                begin = found.pop()[0] if found and found[-1][1] == line else line
                found.append((begin, line + 1))
        return found

    def footer(self) -> str:
        """Return the text of what is part of no task or group."""
        parts = [without_rule(self.outline.text(start, end)).strip() for start, end in self.leftover]
        return "\n\n".join(part for part in parts if part)


def group_number(group: Heading | None) -> str:
    """Return the number in a group's heading, or nothing."""
    found = GROUP.fullmatch(group.text) if group else None
    return found["number"] if found else ""


def with_unique_ids(sections: list[Section], report: Report) -> Iterator[Section]:
    """Yield tasks with an id each: where groups count theirs from 1 again, the group's number is in it."""
    times = Counter(section.id for section in sections)
    used = {name for name in times if times[name] == 1}
    for section in sections:
        if times[section.id] == 1:
            yield section
            continue
        number = group_number(section.group)
        name = free_id(f"{number}.{section.id}" if number else section.id, used)
        used.add(name)
        if name != section.id:
            message = f"there are several tasks {section.id}: this one is read as task {name}"
            report.warning(section.heading.line + 1, 1, message)
        yield replace(section, id=name)

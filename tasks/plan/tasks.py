"""Read batches and tasks from sections."""

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from itertools import groupby

from tasks.conflicts import OnConflict
from tasks.diagnostics import Report
from tasks.lazy.dataclasses import dataclass
from tasks.model import Check, DeclaredFile, Mode, Step, Task
from tasks.plan.blocks import Block, FieldKind
from tasks.plan.commands import unwrap
from tasks.plan.fields import SILENT, FieldReader, dedent
from tasks.plan.files import declared_files
from tasks.plan.links import Link, read_links
from tasks.plan.loose import MESSAGE, OF_BATCH
from tasks.plan.sections import Field, Kind, Section, number_by_group
from tasks.plan.verbatim import given

_REPEATED = frozenset({"file", "acceptance criteria", "success criteria"})
_IN_FRONT_MATTER = {
    FieldKind.TIMEOUT: "timeout",
    FieldKind.REPAIRS: "number of repairs",
    FieldKind.AGENT: "agent",
    FieldKind.IMAGE: "image",
}


@dataclass(slots=True)
class TaskDraft:
    """A task while it is read. `agent_at` is the line and column of its agent (1-based)."""

    files: list[DeclaredFile] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    run: list[Step] = field(default_factory=list)
    has_run: bool = False
    verification: list[Check] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    commit: str | None = None
    completed: bool | None = None
    timeout: float | None = None
    repairs: int | None = None
    agent: str | None = None
    agent_at: tuple[int, int] = (1, 1)
    image: str | None = None
    title: str = ""
    optional: bool = False
    done: list[str] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)

    @property
    def has_content(self) -> bool:
        """Whether there is anything to do, or to say to an agent."""
        return bool(self.has_run or self.text or self.verification or self.files or self.title)


@dataclass(slots=True, eq=False)
class BatchDraft:
    """A batch while it is read; `links` is `None` without a **Dependencies:** field.

    Its section is that of a batch, of a group, or the plan's own, for tasks that are in neither.
    """

    number: int
    title: str
    section: Section
    tasks: list[Task] = field(default_factory=list)
    links: list[Link] | None = None
    mode: Mode | None = None
    on_conflict: OnConflict | None = None
    image: str | None = None
    done: bool = False
    commit: str | None = None

    @property
    def explicit(self) -> bool:
        """Whether the plan has a heading for it."""
        return self.section.kind in {Kind.BATCH, Kind.GROUP}

    @property
    def labels(self) -> list[str]:
        """What the plan calls it, such as `batch 1` or `phase 2a`, and the groups that it is in."""
        labels: list[str] = []
        section: Section | None = self.section
        while section:
            if section.kind in {Kind.BATCH, Kind.GROUP}:
                labels.append(f"{section.word} {section.id}")
            section = section.group
        return labels

    @property
    def label(self) -> str:
        """How messages call it."""
        return next(iter(self.labels), f"batch {self.number}")


class SectionReader:
    """Reads batches and tasks from the sections of one plan."""

    def __init__(self, fields: FieldReader, report: Report) -> None:
        self._fields = fields
        self._report = report
        self._renamed: set[str] = set()
        self.links: list[tuple[Task, list[Link]]] = []

    def batches(self, sections: Iterable[Section], title: str) -> list[BatchDraft]:
        """Return the batches of a plan.

        Without any, the tasks of each group, such as a phase, are a batch, and so are those of no group.
        """
        plan, *others = sections
        tasks = [section for section in others if section.kind is Kind.TASK]
        numbered = any(section.kind is Kind.BATCH for section in others)
        extended = self._fields.document.extended
        grouped = not (numbered or extended) and any(section.group for section in tasks)
        self._preamble(plan, has_batches=numbered or grouped)
        if grouped:
            self._renamed = number_by_group(tasks, self._report)
        runs = (
            []
            if numbered
            else [
                (group, list(run))
                for group, run in groupby(tasks, lambda task: None if extended else task.group)
            ]
        )
        numbers = _numbers([group for group, _ in runs])
        found: list[BatchDraft] = []
        seen: dict[str, int] = {}
        for number, (group, run) in zip(numbers, runs, strict=True):
            found.append(self._batch(group or plan, number, group.title if group else title))
            for section in run:
                self._task(section, found, seen)
        for section in others if numbered else ():
            if section.kind is Kind.BATCH:
                found.append(self._batch(section, int(section.id), section.title))
            elif section.kind is Kind.TASK:
                self._task(section, found, seen)
        if (numbered or grouped) and (mode := self._mode_above(plan)):
            for batch in found:
                batch.mode = batch.mode or mode
        self._check_batches(found)
        return found

    def _of_group(self, link: Link, section: Section) -> Link:
        """Return a link to the task of the section's own group, if that was numbered by it."""
        name = f"{section.group.id}.{link.id}" if section.group else ""
        return replace(link, id=name) if link.word in {"", "task"} and name in self._renamed else link

    def _preamble(self, plan: Section, *, has_batches: bool) -> None:
        """Warn of fields above the first batch or task."""
        used = {FieldKind.MODE} if has_batches else {FieldKind.MODE, FieldKind.IMAGE}
        for item in plan.fields:
            if item.kind not in {*used, FieldKind.CRITERIA}:
                hint = "it belongs to a task or a batch"
                if item.kind and (key := _IN_FRONT_MATTER.get(item.kind)):
                    hint = f"for the whole plan set `{key}` in the front matter"
                self._report.warning(item.line + 1, item.column, f"**{item.label}:** is ignored here; {hint}")

    def _mode_above(self, plan: Section) -> Mode | None:
        """Return the mode given above the first batch, which applies to every batch without a mode."""
        for item in plan.fields:
            if item.kind is FieldKind.MODE:
                text, line, column, _ = self._fields.word(item)
                return self._fields.mode(text, line, column)
        return None

    def _check_batches(self, batches: list[BatchDraft]) -> None:
        """Report batches that are defined twice or empty, and give a batch's message to its only task."""
        seen: dict[int, int] = {}
        for batch in batches:
            where = (batch.section.line + 1, batch.section.column)
            if batch.number in seen:
                message = f"batch {batch.number} is already defined on line {seen[batch.number]}"
                self._report.error(*where, message)
            seen.setdefault(batch.number, where[0])
            if batch.commit and len(batch.tasks) == 1:
                batch.tasks = [replace(batch.tasks[0], commit=batch.tasks[0].commit or batch.commit)]
            if not batch.tasks:
                self._report.warning(*where, f"batch {batch.number} has no task")

    def _batch(self, section: Section, number: int, title: str) -> BatchDraft:
        """Return the batch that a heading begins: of a batch, or of a group; or the plan's only one."""
        batch = BatchDraft(number, title or f"Batch {number}", section, done=section.done)
        for item in self._once(section):
            if item.kind not in OF_BATCH:
                if section.kind is Kind.BATCH and item.kind is not None:
                    self._report.error(
                        item.line + 1, item.column, f"**{item.label}:** belongs to a task, not to a batch"
                    )
            elif batch.explicit or item.kind in {FieldKind.MODE, FieldKind.IMAGE}:
                self._read_batch_field(batch, item)
        return batch

    def _read_batch_field(self, batch: BatchDraft, item: Field) -> None:
        """Add a field to a batch."""
        if item.kind is FieldKind.DEPENDENCIES:
            batch.links, _ = read_links(self._fields.document, item, self._report)
        elif item.kind is FieldKind.COMMIT:
            message = unwrap(item.value)
            batch.commit = message if MESSAGE.match(message) else None
        else:
            text, line, column, _ = self._fields.word(item)
            if item.kind is FieldKind.STATUS:
                batch.done = self._fields.completed(text, line, column)
            elif item.kind is FieldKind.MODE:
                batch.mode = self._fields.mode(text, line, column)
            elif item.kind is FieldKind.ON_CONFLICT:
                batch.on_conflict = self._fields.on_conflict(text, line, column)
            else:
                batch.image = text or None

    def _task(self, section: Section, batches: list[BatchDraft], seen: dict[str, int]) -> None:
        where = (section.line + 1, section.column)
        if section.id in seen:
            self._report.error(*where, f"task {section.id} is already defined on line {seen[section.id]}")
        seen.setdefault(section.id, where[0])
        if not section.title:
            self._report.warning(*where, f"task {section.id} has no title; write `Task {section.id}: Title`")
        if batches:
            batch = batches[-1]
            first = section.id.split(".")[0]
            if batch.section.kind is Kind.BATCH and "." in section.id and int(first) != batch.number:
                message = (
                    f"task {section.id} is numbered for batch {int(first)}, but is in batch {batch.number}"
                )
                self._report.warning(*where, message)
        else:
            self._report.error(*where, f"task {section.id} is above the first batch; move it into a batch")
            batch = BatchDraft(0, "", section)
        task, links = self._read_task(section, batch)
        batch.tasks.append(task)
        self.links.append((task, [self._of_group(link, section) for link in links]))

    def _read_task(self, section: Section, batch: BatchDraft) -> tuple[Task, list[Link]]:
        draft = TaskDraft()
        self._add_text(draft, section.intro)
        commands: list[tuple[int, Field]] = []  # with their places in the text
        for item in self._once(section):
            if item.kind is None:
                self._add_text(draft, self._whole(item))
            elif item.kind is FieldKind.RUN and item.loose:
                commands.append((len(draft.text), item))
            else:
                self._read_field(draft, item)
        # Beside a text they are a part of what it asks for.
        for at, item in reversed(commands) if draft.text and not draft.has_run else ():
            self._add_text(draft, self._whole(item))
            draft.text.insert(at, draft.text.pop())
        for _, item in () if draft.text or draft.has_run else commands:
            self._read_field(draft, item)
        where = (section.line + 1, section.column)
        completed = section.done or batch.done if draft.completed is None else draft.completed
        if not (section.title or draft.has_content or completed):
            hint = "write what is to be done below its heading"
            self._report.error(
                *where, f"task {section.id} has neither a text for an agent nor a command; {hint}"
            )
        if draft.has_run and draft.agent:
            hint = "the commands are run, the agent is not"
            self._report.warning(*draft.agent_at, f"task {section.id} has both **Run:** and an agent: {hint}")
        task = Task(
            id=section.id,
            title=draft.title or section.title or f"Task {section.id}",
            batch=batch.number,
            files=tuple(draft.files),
            implementation="\n\n".join(draft.text),
            run=tuple(draft.run),
            verification=tuple(draft.verification),
            commit=draft.commit,
            completed=completed,
            timeout=draft.timeout,
            repairs=draft.repairs,
            agent=draft.agent,
            image=draft.image,
            line=where[0],
            column=where[1],
            group=section.group.title if section.group else "",
            group_text=_group_text(section.group),
            done_items=tuple(draft.done),
            optional=draft.optional,
            manual=tuple(draft.manual),
        )
        return task, draft.links

    def _read_field(self, draft: TaskDraft, item: Field) -> None:
        """Add a field to a task."""
        fields = self._fields
        rest: list[Block] = []
        if item.kind is FieldKind.IMPLEMENTATION:
            first = fields.document.lines[item.line][item.value_column - 1 :]
            self._add_text(draft, item.blocks, first, item.line + 1)
        elif item.kind is FieldKind.RUN:
            draft.has_run = True
            draft.run, rest = fields.run(item)
        elif item.kind in {FieldKind.VERIFICATION, FieldKind.CRITERIA}:
            is_prose = item.kind is FieldKind.CRITERIA
            draft.verification += fields.criteria(item) if is_prose else fields.verification(item)
        elif item.kind is FieldKind.FILES:
            files, (*texts, rest) = declared_files(fields.document, item, self._report)
            draft.files += files
            for text in texts:
                self._add_text(draft, text)
        elif item.kind is FieldKind.DEPENDENCIES:
            draft.links, rest = read_links(fields.document, item, self._report)
        elif item.kind in {FieldKind.DONE, FieldKind.MANUAL}:
            (draft.done if item.kind is FieldKind.DONE else draft.manual).extend(fields.items(item))
        elif item.kind is FieldKind.COMMIT:
            draft.commit, rest = fields.message(item)
        elif item.kind in {FieldKind.MODE, FieldKind.ON_CONFLICT}:
            self._report.error(
                item.line + 1, item.column, f"**{item.label}:** belongs to a batch, not to a task"
            )
        else:
            rest = self._read_word(draft, item)
        self._add_text(draft, rest)

    def _read_word(self, draft: TaskDraft, item: Field) -> list[Block]:
        """Add a one-line field to a task, and return the blocks below it that are not part of it."""
        if item.kind is FieldKind.TITLE:
            draft.title, rest = self._fields.exact(item)
            return rest
        text, line, column, rest = self._fields.word(item)
        if item.kind is FieldKind.STATUS:
            draft.optional = self._fields.document.extended and text.lower().endswith("optional")
            draft.completed = self._fields.completed(text, line, column)
        elif item.kind is FieldKind.TIMEOUT:
            draft.timeout = self._fields.timeout(text, line, column)
        elif item.kind is FieldKind.REPAIRS:
            draft.repairs = self._fields.repairs(text, line, column)
        elif item.kind is FieldKind.AGENT:
            draft.agent, draft.agent_at = self._fields.agent(text, line, column), (line, column)
        else:
            draft.image = text or None
        return rest

    def _add_text(
        self, draft: TaskDraft, blocks: list[Block], first: str = "", start: int | None = None
    ) -> None:
        """Add text for the agent, unchanged except for separators at its end.

        `first` is the text on the field's own line; the lines below it begin at `start` (0-based).
        """
        extended = self._fields.document.extended
        last = len(blocks)
        while not extended and last and blocks[last - 1].kind == "hr":
            last -= 1
        if not first.strip() and all(block.kind in SILENT for block in blocks[:last]):
            return
        lines: list[str] = []
        if last or start is not None:
            begin = blocks[0].start if start is None else start
            lines = self._fields.document.lines[begin : blocks[last - 1].end if last else begin]
        text = "\n".join([first, dedent(lines)]).strip("\n").rstrip()
        draft.text.append(given(text) if extended else text)

    def _whole(self, item: Field) -> list[Block]:
        """Return the lines of a field, and what is below it, as text."""
        end = item.blocks[-1].end if item.blocks else item.end
        return [self._fields.document.as_text(item.line, end)]

    def _once(self, section: Section) -> Iterable[Field]:
        """Yield the fields of a section, and report repeated ones, except **File:** and criteria."""
        seen: dict[tuple[object, ...], int] = {}
        for item in section.fields:
            if item.kind is None:
                yield item
                continue
            key = (item.kind, item.action, item.label.lower() in _REPEATED)
            if key in seen and item.loose:
                yield replace(item, kind=None)
                continue
            if key in seen and not key[-1]:
                message = f"**{item.label}:** is already given on line {seen[key]}"
                self._report.error(item.line + 1, item.column, message)
                continue
            seen.setdefault(key, item.line + 1)
            yield item


def _numbers(groups: Sequence[Section | None]) -> list[int]:
    """Return the numbers of the batches that groups are: their own, if these are whole and differ."""
    own = [int(group.id) for group in groups if group and group.id.isdigit()]
    return own if len(set(own)) == len(groups) else list(range(1, len(groups) + 1))


def _group_text(group: Section | None) -> str:
    """Return what the plan says of a group, and of those that it is in."""
    texts: list[str] = []
    while group:
        texts.append(group.text)
        group = group.group
    return "\n\n".join(text for text in reversed(texts) if text)

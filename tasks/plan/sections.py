"""Group the blocks of a plan into sections: the plan, its batches and its tasks."""

import re
from collections.abc import Sequence
from dataclasses import field
from enum import Enum, auto
from itertools import pairwise

from tasks.diagnostics import Report, quoted
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import FileAction
from tasks.plan.blocks import EXTENDED_FIELDS, FIELDS, Block, Document, FieldKind, known_field, without_comments
from tasks.plan.marks import is_marked_done, is_struck_out, without_done, without_open, without_rule
from tasks.task_ids import is_task_id
from tasks.text import closest

_NUMBER = r"[0-9]{1,9}"
_SEPARATED = r"(?:\s*[:–—]\s*|\s+-\s+|[.)](?=\s)\s*)(?P<title>.*)"  # noqa: RUF001 - the dashes that people type
EXTENDED_ID = r"(?=[^\s:]*[0-9])[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
"""What a task may be called in version 2, without backticks: something with a digit."""

_BATCH = regex(rf"(?is)batch\s+#?(?P<id>{_NUMBER})(?:{_SEPARATED})?")
_TASK = regex(rf"(?is)task\s+#?(?P<id>{_NUMBER}(?:\.{_NUMBER}){{0,9}}[a-z]?)(?:{_SEPARATED})?")
GROUP_WORDS = "phase|chunk|part|wave|milestone|slice"
_GROUP_LETTERS = frozenset(word[0] for word in GROUP_WORDS.split("|"))
GROUP_NUMBER = rf"(?:[a-z]?{_NUMBER}(?:\.{_NUMBER}){{0,9}}[a-z]?|[ivx]{{1,6}}|[a-z])"
_GROUP = regex(
    rf"(?is)(?P<word>{GROUP_WORDS})\s+#?(?P<id>{GROUP_NUMBER})(?:{_SEPARATED}|\s+[(\[].*)?",
)
_ANY_TASK = regex(rf"(?is)task\s+(?:`(?P<exact>[^`\s]+)`|#?(?P<id>{EXTENDED_ID}))(?:{_SEPARATED})?")
_TITLED_GROUP = regex(r"(?is)(?P<id>)group(?:\s*[:–—]\s*(?P<title>.*))?")  # noqa: RUF001 - the dashes that people type
_NEARLY = regex(r"(?i)(?P<word>batch|task)\s+#?(?P<id>[0-9]\S*|[a-z](?=\s*[:–—]|\s+-|$)|\S*[0-9]\S*)")  # noqa: RUF001 - likewise

_BATCH_LEVELS = (2, 3)
_TASK_LEVELS = (2, 3, 4)
_GROUP_LEVELS = (2,)
NO_ID = (
    "cannot be the id of a task: it is part of a branch's name; use letters, digits, `_`, `-` and single `.`,"
    " and begin with a letter, a digit or `_`"
)
_LEAD = regex(rf"(?:\[[ xX]\]|[^\w\s\x00-\x7f]+)\s+(?=(?i:task|batch|{GROUP_WORDS})\s)")
"""What may be in front of a heading's words: a box, or a picture."""


class Kind(Enum):
    """What a section is."""

    PLAN = auto()
    GROUP = auto()
    BATCH = auto()
    TASK = auto()
    OTHER = auto()


_FORMS = ((Kind.BATCH, _BATCH, _BATCH_LEVELS), (Kind.TASK, _TASK, _TASK_LEVELS))
_EXTENDED = (*_FORMS, (Kind.TASK, _ANY_TASK, _TASK_LEVELS), (Kind.GROUP, _TITLED_GROUP, _GROUP_LEVELS))
"""The headings of each version: what they begin, how they are written, and with how many `#`."""


@dataclass(slots=True)
class Field:
    """A field as written: the text after it on its line, and the blocks below it. `line` is 0-based.

    One that is `loose` is not bold at the start of a line. One of no kind is text.
    """

    kind: FieldKind | None
    action: FileAction | None
    label: str
    value: str
    line: int
    column: int
    value_column: int
    end: int
    blocks: list[Block] = field(default_factory=list)
    loose: bool = False


@dataclass(slots=True, eq=False)
class Section:
    """A heading and the text below it, from the line `below` on. Lines are 0-based, `column` is 1-based.

    Of a group, such as `Phase 1: Foundations`, `word` is `phase`, `id` is `1` and `title` the whole heading;
    `text` is what the plan says of it. `group` is the one that holds this section. In version 2 a group has
    only a title. `above` is the line of the plan's title.
    """

    kind: Kind
    level: int = 0
    id: str = ""
    title: str = ""
    line: int = 0
    column: int = 1
    intro: list[Block] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    warned: bool = False  # that a field in it is not read
    below: int = 0
    word: str = ""
    text: str = ""
    group: "Section | None" = None
    done: bool = False  # that the heading says so
    above: int = 0
    in_parts: bool = False  # of the plan: that its groups are headings of level 1


def split_sections(document: Document, report: Report, title: str = "") -> list[Section]:
    """Return the sections of a plan in their order. The first is the plan's own, with its title.

    With a `title` no heading is the plan's.
    """
    plan = Section(Kind.PLAN, title=title)
    sections = [plan]
    plan.in_parts = _has_top_groups(document)
    for block in document.blocks:
        current = sections[-1]
        if block.kind in {"heading_open", "setext"}:
            heading = _heading(document, block, current, plan, report)
            if heading is plan:
                continue
            if heading is not None:
                sections.append(heading)
                continue
        elif block.kind == "field" and current.kind is not Kind.OTHER:
            current.fields.append(_field(block))
            continue
        elif block.kind == "field" and not (current.warned or _field(block).kind is FieldKind.CRITERIA):
            current.warned = True
            _unread(_field(block), current, report)
        (current.fields[-1].blocks if current.fields else current.intro).append(block)
    _warn_of_typing_errors(document, sections, report)
    _hold_tasks(sections)
    if not document.extended:
        _assign_groups(document, sections, report)
    return sections


def _hold_tasks(sections: list[Section]) -> None:
    """Make a group of each task of level 2 that only holds others, as `## Task 1` does with `### Task 1.1`."""
    for section, inner in pairwise(sections):
        is_over = section.kind is inner.kind is Kind.TASK and section.level < inner.level
        if is_over and section.level == _TASK_LEVELS[0] and inner.id.startswith(f"{section.id}."):
            section.kind = Kind.GROUP
            section.title = f"Task {section.id}: {section.title}" if section.title else f"Task {section.id}"


def _has_top_groups(document: Document) -> bool:
    """Whether several groups are headings of level 1, so that the first is not the plan's title."""
    heads = (block for block in document.blocks if block.kind == "heading_open" and block.token.tag == "h1")
    return sum(_match_group(_heading_text(head)) is not None for head in heads) > 1


def _assign_groups(document: Document, sections: list[Section], report: Report) -> None:
    """Say of each task and batch which group holds it, and of each group what the plan says of it."""
    open_groups: list[Section] = []
    holding: set[int] = set()
    starts = [section.line for section in sections[1:]] + [len(document.lines)]
    for section, end in zip(sections[1:], starts[1:], strict=True):
        beside = section.kind in {Kind.TASK, Kind.BATCH}
        while open_groups and open_groups[-1].level >= section.level + (
            beside and open_groups[-1].word != section.word
        ):
            open_groups.pop()
        section.group = open_groups[-1] if open_groups else None
        if section.kind is Kind.GROUP:
            open_groups.append(section)
        if section.kind is Kind.TASK:
            holding.update(map(id, open_groups))
        elif open_groups and section.kind in {Kind.GROUP, Kind.OTHER}:
            start = section.below if section.kind is Kind.GROUP else section.line
            group = open_groups[-1]
            group.text = f"{group.text}\n\n{_text(document, start, end)}".strip("\n")
    numbered = any(section.kind is Kind.BATCH for section in sections)
    unused = (each for each in sections if each.kind is Kind.GROUP and (numbered or id(each) not in holding))
    if first := next((each for each in unused if each.fields), None):
        _unread(first.fields[0], first, report)


def number_by_group(tasks: Sequence[Section], report: Report) -> set[str]:
    """Put the group's number before the ids that each group counts from 1 again, and return the new ids."""
    groups: dict[str, list[str]] = {}
    for section in tasks:
        groups.setdefault(section.id, []).append(section.group.id if section.group else "")
    found: set[str] = set()
    for section in tasks:
        numbers = groups[section.id]
        name = f"{section.group.id}.{section.id}" if section.group else ""
        is_again = len(numbers) > 1 and len(set(numbers)) == len(numbers) and all(map(str.isdigit, numbers))
        if is_again and name not in groups:
            message = f"there are several tasks {section.id}: this one is read as task {name}"
            report.warning(section.line + 1, section.column, message)
            found.add(name)
            section.id = name
    return found


def _text(document: Document, start: int, end: int) -> str:
    """Return lines (0-based, `end` not included) without the rule below them."""
    return without_rule("\n".join(document.lines[start:end]).strip())


def _unread(item: Field, section: Section, report: Report) -> None:
    """Warn of a field below a heading that is neither a task nor a batch, which is probably misspelt."""
    hint = "a task's heading is written `### Task 1.1: Title`, a batch's `## Batch 1: Title`"
    message = f"**{item.label}:** is ignored here: {quoted(section.title)} is not a task or a batch; {hint}"
    report.warning(item.line + 1, item.column, message)


def _field(block: Block) -> Field:
    meta = block.token.meta
    kind, action = meta["known"]
    value = without_comments(block.token.content).strip()
    return Field(kind, action, meta["name"], value, block.start, meta["column"], meta["value"], block.end)


def _heading_text(block: Block) -> str:
    return without_comments(block.content).replace("**", "").strip()


def _heading(
    document: Document, block: Block, current: Section, plan: Section, report: Report
) -> Section | None:
    """Return the section that a heading begins; `plan` for the plan's title, `None` for mere text."""
    underlined = block.kind == "setext"
    level = (1 if block.token.markup == "=" else 2) if underlined else int(block.token.tag[1])
    text = _heading_text(block)
    where = (block.start + 1, document.column(block.start))
    group = None if document.extended else _group(block, level, text, where)
    is_first = level == 1 and current is plan and not plan.title and len(text.split("\n")) == 1
    if is_first and not (group and plan.in_parts):
        plan.title, plan.above, plan.below = text, block.start, block.end
        return plan
    plain, done = _without_marks(text)
    for kind, pattern, levels in _EXTENDED if document.extended else _FORMS:
        if match := pattern.fullmatch(plain):
            if level in levels and not (underlined and kind is not Kind.BATCH):
                number = _id(match, kind, extended=document.extended)
                if kind is Kind.TASK and not is_task_id(number):
                    report.error(*where, f"{quoted(number)} {NO_ID}")
                title = " ".join((match["title"] or "").split())
                section = Section(kind, level, number, title, block.start, where[1], below=block.end)
                section.done, section.word = done, kind.name.lower()
                return section
            if kind is not Kind.GROUP:
                _misplaced(where, kind, level, text, report)
            break
    else:
        if (nearly := _NEARLY.match(text)) and level in {*_BATCH_LEVELS, *_TASK_LEVELS} and not underlined:
            _malformed(where, nearly, report)
    # In version 2 a heading below the second level ends nothing: what a task says may have its own.
    outer = min(current.level, _GROUP_LEVELS[0]) if document.extended else current.level
    is_deeper = level > outer and current.kind is not Kind.PLAN
    if group and not (is_deeper and current.kind in {Kind.TASK, Kind.BATCH}):
        return group
    if underlined or is_deeper:
        return None
    return Section(Kind.OTHER, level, "", text, block.start, where[1], below=block.end)


def _without_marks(text: str) -> tuple[str, bool]:
    """Return a heading without a mark that says that it is done, and whether it has one."""
    text = re.sub(r"\s+", " ", text)
    lead = _LEAD.match(text)
    plain = text[lead.end() :] if lead else text
    is_ticked = lead is not None and bool(re.match(r"\[[xX]\]|✅|✔|☑", lead[0]))
    marked = is_marked_done(plain)
    plain = without_done(plain) if marked else without_open(plain)
    title = re.sub(r"^[^~]*(?=~~)", "", plain)
    if is_struck_out(title):
        plain, marked = plain.replace("~~", ""), True
    return plain, is_ticked or marked


def is_heading(text: str, level: int) -> bool:
    """Whether a heading is that of a task or a batch."""
    plain, _ = _without_marks(text.replace("**", "").strip())
    return any(pattern.fullmatch(plain) and level in levels for _, pattern, levels in _FORMS)


def _id(match: re.Match[str], kind: Kind, *, extended: bool) -> str:
    """Return the id in a heading: in version 2 as it is written, since a task may be called `T001`."""
    if kind is Kind.TASK:
        exact = match.groupdict().get("exact") or match["id"]
        return exact if extended else exact.lower()
    return str(int(match["id"])) if kind is Kind.BATCH else ""


def _group(block: Block, level: int, text: str, where: tuple[int, int]) -> Section | None:
    """Return the group that a heading begins, such as `Phase 1: Foundations`."""
    plain, done = _without_marks(text)
    match = _match_group(plain)
    if match is None or level > _TASK_LEVELS[-1]:
        return None
    word, number = match["word"].lower(), match["id"].lower()
    number = str(int(number)) if number.isdigit() else number
    section = Section(Kind.GROUP, level, number, plain, block.start, where[1], below=block.end)
    section.done, section.word = done, word
    return section


def _match_group(text: str) -> re.Match[str] | None:
    return _GROUP.fullmatch(text) if text[:1].casefold() in _GROUP_LETTERS else None


def _misplaced(where: tuple[int, int], kind: Kind, level: int, text: str, report: Report) -> None:
    """Report a heading of a batch or a task with the wrong number of `#`."""
    word, marks = ("task", "### or ####") if kind is Kind.TASK else ("batch", "## or ###")
    message = f"{quoted(text)} is not a {word} here: a {word}'s heading is written with {marks}"
    low = level < (_TASK_LEVELS if kind is Kind.TASK else _BATCH_LEVELS)[0]
    (report.error if low else report.warning)(*where, message)


def _malformed(where: tuple[int, int], nearly: re.Match[str], report: Report) -> None:
    """Report a heading that resembles the heading of a batch or a task."""
    if nearly["word"].lower() == "batch":
        example = "a batch's heading is written `Batch 1: Title`, with a whole number"
    else:
        example = "a task's heading is written `Task 1.1: Title`, with an id such as 1, 1.1, 2.3.1 or 1.2a"
    report.error(*where, f"{quoted(nearly.string)} is neither a batch nor a task: {example}")


def _warn_of_typing_errors(document: Document, sections: list[Section], report: Report) -> None:
    """Warn of words that look like a misspelt field. They stay text."""
    if len(sections) == 1:
        return
    near: dict[str, str] = {}
    extended = document.extended
    every = (*FIELDS, *(EXTENDED_FIELDS if extended else ()))
    names = [name for name in every if known_field(name, extended=extended)]
    for line, name in document.suspects.items():
        if name not in near and len(near) < 200:  # noqa: PLR2004 - a text of nothing else need not be slow
            near[name] = closest(name.lower(), names, cutoff=0.85)
        if known := near.get(name):
            meant = f"did you mean **{known.capitalize()}:**?"
            report.warning(
                line + 1, document.column(line), f"**{name}:** is not a field and is treated as text; {meant}"
            )

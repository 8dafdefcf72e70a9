"""Group the blocks of a plan into sections: the plan, its batches and its tasks."""

import difflib
import re
from dataclasses import dataclass, field
from enum import Enum, auto

from tasks.diagnostics import Report, quoted
from tasks.model import FileAction
from tasks.plan.blocks import FIELDS, Block, Document, FieldKind, without_comments

_NUMBER = r"[0-9]{1,9}"
_SEPARATED = r"(?:\s*[:–—]\s*|\s+-\s+|[.)](?=\s)\s*)(?P<title>.*)"  # noqa: RUF001 - the dashes that people type
_BATCH = re.compile(rf"(?is)batch\s+#?(?P<id>{_NUMBER})(?:{_SEPARATED})?")
_TASK = re.compile(rf"(?is)task\s+#?(?P<id>{_NUMBER}(?:\.{_NUMBER}){{0,9}}[a-z]?)(?:{_SEPARATED})?")
_NEARLY = re.compile(r"(?i)(?P<word>batch|task)\s+#?(?P<id>[0-9]\S*|[a-z](?=\s*[:–—]|\s+-|$)|\S*[0-9]\S*)")  # noqa: RUF001 - likewise

_BATCH_LEVELS = (2, 3)
_TASK_LEVELS = (3, 4)


class Kind(Enum):
    """What a section is."""

    PLAN = auto()
    BATCH = auto()
    TASK = auto()
    OTHER = auto()


@dataclass(slots=True)
class Field:
    """A field as written: the text after it on its line, and the blocks below it. `line` is 0-based."""

    kind: FieldKind
    action: FileAction | None
    label: str
    value: str
    line: int
    column: int
    value_column: int
    end: int
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """A heading and the text below it. `line` is 0-based, `column` 1-based."""

    kind: Kind
    level: int = 0
    id: str = ""
    title: str = ""
    line: int = 0
    column: int = 1
    intro: list[Block] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    warned: bool = False  # that a field in it is not read


def split_sections(document: Document, report: Report) -> list[Section]:
    """Return the sections of a plan in their order. The first is the plan's own, with its title."""
    plan = Section(Kind.PLAN)
    sections = [plan]
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
        elif block.kind == "field" and not current.warned:
            current.warned = True
            _unread(_field(block), current, report)
        (current.fields[-1].blocks if current.fields else current.intro).append(block)
    _warn_of_typing_errors(document, sections, report)
    return sections


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


def _heading(
    document: Document, block: Block, current: Section, plan: Section, report: Report
) -> Section | None:
    """Return the section that a heading begins; `plan` for the plan's title, `None` for mere text."""
    underlined = block.kind == "setext"
    level = (1 if block.token.markup == "=" else 2) if underlined else int(block.token.tag[1])
    text = without_comments(block.content).replace("**", "").strip()
    where = (block.start + 1, document.column(block.start))
    if level == 1 and current is plan and not plan.title and len(text.split("\n")) == 1:
        plan.title = text
        return plan
    for kind, pattern, levels in ((Kind.BATCH, _BATCH, _BATCH_LEVELS), (Kind.TASK, _TASK, _TASK_LEVELS)):
        if match := pattern.fullmatch(text):
            if level in levels and not (underlined and kind is Kind.TASK):
                title = " ".join((match["title"] or "").split())
                return Section(kind, level, match["id"].lower(), title, block.start, where[1])
            _misplaced(where, kind, level, text, report)
            break
    else:
        if (nearly := _NEARLY.match(text)) and level in {*_BATCH_LEVELS, *_TASK_LEVELS} and not underlined:
            _malformed(where, nearly, report)
    if underlined or (level > current.level and current.kind is not Kind.PLAN):
        return None
    return Section(Kind.OTHER, level, "", text, block.start, where[1])


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
    near: dict[str, str | None] = {}
    for line, name in document.suspects.items():
        if name not in near and len(near) < 200:  # noqa: PLR2004 - a text of nothing else need not be slow
            near[name] = next(iter(difflib.get_close_matches(name.lower(), FIELDS, n=1, cutoff=0.85)), None)
        if known := near.get(name):
            meant = f"did you mean **{known.capitalize()}:**?"
            report.warning(
                line + 1, document.column(line), f"**{name}:** is not a field and is treated as text; {meant}"
            )

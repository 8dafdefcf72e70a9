"""Find fields that are not bold, or in a list, or beside another one on its line.

Such a line is a field only if its value is what the field takes: `Depends on: Task 1` is one, `Status: the code
of the answer` is text for the agent.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace

from tasks.conflicts import OnConflict
from tasks.diagnostics import Report
from tasks.durations import parse_duration
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Mode
from tasks.plan.blocks import Block, Document, FieldKind, known_field
from tasks.plan.commands import INTERPRETERS, command_in, reads_as_command, unwrap
from tasks.plan.fields import language, says_status
from tasks.plan.files import LISTS, declared_files, has_checkbox, is_caption, is_path
from tasks.plan.links import continues_below, read_links
from tasks.plan.sections import Field, Kind, Section

OF_BATCH = frozenset(
    {
        FieldKind.DEPENDENCIES,
        FieldKind.MODE,
        FieldKind.ON_CONFLICT,
        FieldKind.IMAGE,
        FieldKind.STATUS,
        FieldKind.COMMIT,
    }
)
_OF_BATCH_ONLY = frozenset({FieldKind.MODE, FieldKind.ON_CONFLICT})
MESSAGE = regex(r"[a-z]+(?:\([^()]*\))?!?: \S")
"""How the message of a commit begins."""

_LABEL = regex(
    r"(?P<mark>\*\*|__|)(?P<name>[^\s*_:|][^*_:|\n]{0,59}?)(?:(?P=mark)[ \t]*:|:(?P=mark))(?:[ \t]+|$)"
)
_BESIDE = regex(r"(?<=[ \t])\|[ \t]+")
_BESIDE_BOLD = regex(
    r"(?<=[ \t])\|[ \t]+(?=\*\*[^*\n]{1,60}(?::\*\*|\*\*:)"
    r"|(?i:depends on|dependencies|files?|status|commit|timeout):)"
)
_OF_BATCH_ALONE = regex(r"\*\*Batch\s+[0-9][^*\n]{0,60}(?::\*\*|\*\*:)")
"""What is about the batch below its last task, such as `**Batch 1 Verification:**`."""
_LAST = frozenset({FieldKind.RUN, FieldKind.IMPLEMENTATION})
_ANYWHERE = frozenset({FieldKind.DEPENDENCIES, FieldKind.FILES})
"""Fields that may be in a list of which other items have no name."""
_NAMES_UNIT = regex(r"(?i)\b(?:tasks?|batch(?:es)?)\s+#?[0-9]")
_ONE_WORD = regex(r"`[^`]+`|\S+")


def find_loose_fields(
    document: Document,
    sections: Sequence[Section],
    report: Report,
    *,
    is_agent: Callable[[str], bool],
    has_agent: bool,
) -> None:
    """Add to each section its loose fields, and make what is between them fields of no kind.

    Args:
        document: The plan's blocks.
        sections: The plan's sections, which are changed.
        report: Where a line that may be meant as a field is reported.
        is_agent: Whether an agent's name or command can be used.
        has_agent: Whether text is given to an agent, so that a command that is not bold is text.
    """
    for section in sections:
        if section.kind in {Kind.TASK, Kind.BATCH, Kind.GROUP}:
            has_own = any(item.kind is FieldKind.AGENT for item in section.fields)
            loosener = _Loosener(document, section, report, is_agent)
            loosener.has_agent = has_agent or has_own
            loosener.read()


@dataclass(frozen=True, slots=True)
class _Line:
    """The fields on a line, and whether there is anything else on it."""

    fields: list[Field]
    has_text: bool


class _Loosener:
    def __init__(
        self, document: Document, section: Section, report: Report, is_agent: Callable[[str], bool]
    ) -> None:
        self._document = document
        self._report = report
        self._section = section
        self.has_agent = False
        self._is_agent = is_agent
        self._intro: list[Block] = []
        self._fields: list[Field] = []

    def read(self) -> None:
        """Replace the section's text and fields by what they are."""
        section = self._section
        self._feed(section.intro)
        for item in section.fields:
            blocks, item.blocks = item.blocks, []
            if item.kind is FieldKind.CRITERIA and section.kind is not Kind.TASK:
                self._text(item.line, item.end)
            else:
                self._fields += self._beside(item)
            self._feed(blocks)
        section.intro, section.fields = self._intro, self._fields

    def _feed(self, blocks: Sequence[Block]) -> None:
        blocks = list(blocks)
        for index, whole in enumerate(blocks):
            block = whole
            before = blocks[index - 1] if index else None
            below = blocks[index + 1 : index + 2]
            if (place := self._end_of_files(whole)) is not None:
                head, block = _split(self._document, whole, place)
                self._add(head)
            parts = self._parts(block, before, below) if self._may_hold_fields(block) else None
            for part in parts or [block]:
                if isinstance(part, Field):
                    self._fields.append(part)
                else:
                    self._add(part)

    def _end_of_files(self, block: Block) -> int | None:
        """Return the place (0-based) of the first item of a list of files that is a field, if there is one."""
        last = self._fields[-1] if self._fields else None
        if last is None or last.kind is not FieldKind.FILES or last.blocks or block.kind != "bullet_list_open":
            return None
        for place, item in enumerate(self._document.children(block)):
            column = len(self._document.lines[item.start]) - len(
                _without_marker(self._document.lines[item.start])
            )
            line = self._line(item.start, column, self._document.children(item)[1:])
            if place and line is not None and line.fields:
                return place
        return None

    def _add(self, block: Block) -> None:
        """Add a block to the field that it is part of, or as text."""
        last = self._fields[-1] if self._fields else None
        is_of_batch = block.kind == "text" and _OF_BATCH_ALONE.match(block.content)
        if last is None:
            self._intro.append(block)
        elif (last.loose and _is_full(last)) or (
            is_of_batch and last.kind in {FieldKind.VERIFICATION, FieldKind.CRITERIA}
        ):
            self._fields.append(Field(None, None, "", "", block.start, 1, 1, block.start, [block], loose=True))
        else:
            last.blocks.append(block)

    def _text(self, start: int, end: int) -> None:
        """Add lines (0-based, `end` not included) as text."""
        self._add(self._block(start, end))

    def _block(self, start: int, end: int) -> Block:
        content = "\n".join(self._document.lines[start:end]).strip()
        return self._document.as_text(start, end, content)

    def _may_hold_fields(self, block: Block) -> bool:
        """Whether a block is where fields can be: not in one that takes what is below it."""
        last = self._fields[-1] if self._fields else None
        if block.kind not in {"text", "bullet_list_open"}:
            return False
        return (
            last is None
            or last.kind is None
            or _is_full(last)
            or (block.kind == "text" and last.kind is not FieldKind.IMPLEMENTATION)
        )

    def _parts(self, block: Block, before: Block | None, below: list[Block]) -> list[Field | Block] | None:
        """Return the fields of a block and the text between, or `None` if there is no field in it."""
        last = self._fields[-1] if self._fields else None
        is_open = last is None or last.kind is None or _is_full(last)
        if block.kind == "text":
            parts = self._paragraph(block, below)
        elif before is not None and before.kind == "text" and is_caption(before.content):
            return None
        else:
            parts = self._list(block)
        if not any(isinstance(part, Field) for part in parts):
            return None
        return parts if is_open or all(isinstance(part, Field) for part in parts) else None

    def _paragraph(self, block: Block, below: list[Block]) -> list[Field | Block]:
        parts: list[Field | Block] = []
        lines = range(block.start, block.end)
        for at in lines:
            own_below = below if at == lines[-1] else []
            line = self._line(at, 0, own_below)
            if line is None:
                self._rest_of(parts, at, block.end)
                break
            parts += line.fields
            if line.has_text:
                parts.append(self._block(at, at + 1))
        return parts

    def _rest_of(self, parts: list[Field | Block], start: int, end: int) -> None:
        """Add the lines of a paragraph that hold no field: text, or the end of the value above them."""
        last = parts[-1] if parts else None
        rest = self._block(start, end)
        if isinstance(last, Field) and last.value.endswith(","):
            last.blocks.append(rest)
        else:
            parts.append(rest)

    def _list(self, block: Block) -> list[Field | Block]:
        items = self._document.children(block)
        inside = [self._document.children(item) for item in items]
        texts = [blocks[0].content if blocks and blocks[0].kind == "text" else "" for blocks in inside]
        are_named = all(_LABEL.match(text.split("\n", 1)[0]) for text in texts)
        parts: list[Field | Block] = []
        for item, blocks, text in zip(items, inside, texts, strict=True):
            rest = [self._block(blocks[0].start + 1, blocks[0].end)] if "\n" in text else []
            below = [*rest, *blocks[1:]]
            line = None
            if text and not has_checkbox(text):
                column = self._document.column(item.start, text) - 1
                line = self._line(item.start, column, below, are_named=are_named)
            if line is None or not line.fields:
                parts.append(self._block(item.start, item.end))
                continue
            line.fields[-1].blocks = below
            parts += line.fields
            if line.has_text:
                parts.append(self._block(item.start, item.start + 1))
        return parts

    def _line(self, at: int, begin: int, below: list[Block], *, are_named: bool = True) -> _Line | None:
        """Return the fields on a line from a column (0-based) on, or `None` if it begins with no name."""
        text = self._document.lines[at]
        begin += len(text[begin:]) - len(text[begin:].lstrip())
        if text.startswith("|", begin):
            return None
        pieces = list(_pieces(text, begin))
        found: list[Field] = []
        for place, end in pieces:
            match = _LABEL.match(text, place, end)
            is_last = end == pieces[-1][1]
            item = self._field(match, text, at, end, below if is_last else []) if match else None
            if item and (are_named or item.kind in _ANYWHERE):
                found.append(item)
        first = _LABEL.match(text, begin)
        if not found and not (first and first["mark"]):
            return None
        return _Line(found, len(found) < len(pieces))

    def _field(self, match: re.Match[str], text: str, at: int, end: int, below: list[Block]) -> Field | None:
        known = known_field(" ".join(match["name"].split()))
        if known is None:
            return None
        kind, action = known
        value = text[match.end() : end].strip()
        item = Field(
            kind, action, match["name"], value, at, match.start() + 1, match.end() + 1, at + 1, loose=True
        )
        if self._accepts(replace(item, blocks=below), is_bold=bool(match["mark"])):
            return item
        if kind is FieldKind.DEPENDENCIES and _NAMES_UNIT.search(value):
            message = f"this is text for the agent; write `{match['name']}: Task 1, Task 2` with nothing else"
            self._report.warning(at + 1, item.column, message)
        return None

    def _beside(self, item: Field) -> Iterator[Field]:
        """Yield a bold field, and those that follow it on its line after a `|`."""
        line = self._document.lines[item.line]
        cut = _BESIDE_BOLD.search(line, item.value_column - 1)
        if cut is None or item.kind in _LAST or item.end > item.line + 1:
            yield item
            return
        item.value = line[item.value_column - 1 : cut.start()].strip()
        yield item
        others = self._line(item.line, cut.end(), [])
        yield from others.fields if others else ()
        if others is None or others.has_text:
            block = self._block(item.line, item.end)
            yield Field(None, None, "", "", item.line, 1, 1, item.line, [block], loose=True)

    def _accepts(self, item: Field, *, is_bold: bool) -> bool:
        """Whether the value of a field, or what is below it, is what it takes."""
        in_task = self._section.kind is Kind.TASK
        if (item.kind not in OF_BATCH) if not in_task else item.kind in _OF_BATCH_ONLY:
            return False
        if item.kind is FieldKind.DEPENDENCIES:
            return _names_others(self._document, item)
        if item.kind is FieldKind.FILES:
            return _names_files(self._document, item, is_bold=is_bold)
        if item.kind in {FieldKind.VERIFICATION, FieldKind.CRITERIA}:
            has_items = bool(item.blocks) and item.blocks[0].kind in {*LISTS, "fence"}
            return has_items if not item.value else is_bold or command_in(item.value) is not None
        if item.kind is FieldKind.RUN:
            return not self.has_agent and _is_command(item)
        return bool(item.value) and self._is_word(item, is_bold=is_bold)

    def _is_word(self, item: Field, *, is_bold: bool) -> bool:
        """Whether the value of a field of one line is what it takes."""
        value = unwrap(item.value)
        is_word = bool(_ONE_WORD.fullmatch(item.value))
        accepts: dict[FieldKind, Callable[[], bool]] = {
            FieldKind.STATUS: lambda: says_status(value),
            FieldKind.COMMIT: lambda: value != item.value or bool(MESSAGE.match(value)),
            FieldKind.TIMEOUT: lambda: _is_duration(value),
            FieldKind.MODE: lambda: value.lower().rstrip(".") in set(Mode),
            FieldKind.ON_CONFLICT: lambda: value.lower().rstrip(".") in set(OnConflict),
            FieldKind.AGENT: lambda: is_word and self._is_agent(value),
            FieldKind.IMAGE: lambda: is_word and (is_bold or ":" in value or "/" in value),
        }
        return item.kind in accepts and accepts[item.kind]()


def _split(document: Document, block: Block, at: int) -> tuple[Block, Block]:
    """Return a list as two: the items before the one at a place (0-based), and the others."""
    item = document.children(block)[at]
    if block.token.type != "flat_list":
        place = item.first - 1
        return block._replace(end=item.start, last=place), block._replace(start=item.start, first=place)
    items = block.token.meta["items"]
    tokens = [copy(block.token), copy(block.token)]
    tokens[0].meta, tokens[1].meta = {"items": items[:at]}, {"items": items[at:]}
    head = block._replace(end=item.start, token=tokens[0])
    return head, block._replace(start=item.start, token=tokens[1])


def _without_marker(line: str) -> str:
    return line.lstrip()[1:].lstrip()


def _pieces(text: str, begin: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of what is between the `|` of a line."""
    for cut in _BESIDE.finditer(text, begin):
        yield begin, cut.start()
        begin = cut.end()
    yield begin, len(text)


def _is_full(item: Field) -> bool:
    """Whether a field takes nothing more of what is below it."""
    if item.kind is None:
        return False
    if item.loose:
        return bool(item.value or item.blocks)
    if item.kind is FieldKind.DEPENDENCIES:
        return bool(item.blocks) or not continues_below(item)
    if item.kind in {FieldKind.RUN, FieldKind.IMPLEMENTATION, FieldKind.VERIFICATION, FieldKind.CRITERIA}:
        return False
    if item.kind is FieldKind.COMMIT:
        return bool(item.value)
    return bool(item.value or item.blocks)


def _names_others(document: Document, item: Field) -> bool:
    scratch = Report("")
    read_links(document, item, scratch)
    return not scratch.errors


def _names_files(document: Document, item: Field, *, is_bold: bool) -> bool:
    scratch = Report("")
    files, (*prose, _) = declared_files(document, item, scratch)
    if scratch.errors or prose or not files:
        return False
    return is_bold or not item.value or all(is_path(file.path) for file in files)


def _is_command(item: Field) -> bool:
    if item.value:
        return unwrap(item.value) != item.value or reads_as_command(item.value)
    return bool(item.blocks) and item.blocks[0].kind == "fence" and language(item.blocks[0]) in INTERPRETERS


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return text.lower() in {"none", "no limit"}
    return True

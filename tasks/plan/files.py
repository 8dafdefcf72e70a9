"""Read the items of a **Files:** field."""

import re

from tasks.diagnostics import Report, quoted
from tasks.lazy.patterns import regex
from tasks.model import DeclaredFile, FileAction
from tasks.plan.blocks import ACTIONS, Block, Document
from tasks.plan.sections import Field

LISTS = frozenset({"bullet_list_open", "ordered_list_open"})
_CHECKBOX = regex(r"\[[ xX]\](?:\s+|$)")
_WORDS = "|".join(ACTIONS)
_ACTION = regex(
    rf"(?i)[*_]{{0,2}}(?P<action>{_WORDS})d?(?:\s+files?)?(?:\s*:[*_]{{0,2}}|[*_]{{0,2}}\s*:|(?=[*_]{{0,2}}\s+`)[*_]{{0,2}})\s*"
)
_BARE_ACTION = regex(rf"(?i)(?P<action>{_WORDS})\s+(?=\S+$)")
_TEST = regex(r"(?i)[*_]{0,2}tests?(?:\s+files?)?(?:\s*:[*_]{0,2}|[*_]{0,2}\s*:)\s*")
_SPAN = regex(r"(`+)(?!`)(?P<path>[^`\n]+)\1(?!`)")
_NAME = regex(r"\*\*[^*\n]{1,60}(?::\*\*|\*\*:)")
_LABEL = regex(r"[A-Z][a-z]+(?<!file):\s+\S")
"""A word before a remark that is not the name of a file, such as `Note: write it first`."""
_JOIN = regex(r"(?::\d[\d,-]*)?(?:\s*\([^()`]*\))?\s*(?:,\s*and|,|and|&|\+)\s*(?=`)")
_LINK = regex(r"\[`?(?P<path>[^\]`]+)`?\]\([^)\s]*\)")
_INSIDE = r"(?:[^()]|\([^()]*\))*"
_IN_BRACKETS = regex(rf"(?<=\s)\({_INSIDE}(?:\)(?=\s*(?:$|,\s|:\s|[-–—#](?:\s|$)))|$)")  # noqa: RUF001 - the dashes that people type
"""A remark in brackets at the end of a path."""
_REMARK = regex(r"(?<=\s)[-–—#](?:\s.*|$)|:\s.*", re.DOTALL)  # noqa: RUF001 - likewise
_SENTENCE = regex(r"(?<=\s)\([^()]*\)\s.*", re.DOTALL)
"""Words in brackets, and more after a blank: a remark, unless only all of it together is a path."""
_ENDS_AS_PATH = regex(r"[./\\][\w*]{1,12}/?$|/$")
_LINES = regex(r":L?\d+(?:[-–,:]\s*L?\d+)*\+?$|#L\d+(?:-L?\d+)?$|(?<=\s)\((?:lines?|L)\s*\d[^()]*\)$")  # noqa: RUF001 - likewise
_WORDS_OF_A_SENTENCE = 3
_MOST_BRACKETS = 100
"""A text with more brackets is not a path, and is not searched for where each of them ends."""
_NOTHING = frozenset({"", "none", "n/a", "nothing", "-", "–", "—"})  # noqa: RUF001 - likewise


def has_checkbox(text: str) -> bool:
    """Whether an item begins with `[ ]` or `[x]`."""
    return bool(_CHECKBOX.match(text))


def without_checkbox(text: str) -> str:
    """Return an item's text without the `[ ]` or `[x]` that it begins with."""
    return _CHECKBOX.sub("", text, count=1) if _CHECKBOX.match(text) else text


def declared_files(
    document: Document, field: Field, report: Report
) -> tuple[list[DeclaredFile], list[list[Block]]]:
    """Return the files that a field names, and what in it and below it is not its own but text, in parts."""
    reader = _Reader(document, report, field.action or FileAction.MODIFY)
    rest = list(field.blocks)
    if field.value:
        reader.item(field.value, field.line, field.end)
    elif rest and rest[0].kind == "text":
        block = rest.pop(0)
        for line, text in enumerate(block.content.split("\n"), block.start):
            reader.item(text, line, line + 1)
    first = True
    while rest and rest[0].kind in LISTS and (first or reader.has_only_paths(rest[0])):
        first = False
        if (left := reader.list(rest.pop(0))) is not None:
            rest.insert(0, left)
            break
    for file in reader.files:
        if file.outside:
            column = document.column(file.line - 1, file.path)
            report.warning(
                file.line, column, f"{quoted(file.path)} is outside of the repository: this task will fail"
            )
    return reader.files, [*([block] for block in reader.prose), rest]


class _Reader:
    """Reads the items of one field: `files`, and `prose`, which names none and is text for the agent."""

    def __init__(self, document: Document, report: Report, default: FileAction) -> None:
        self._document = document
        self._report = report
        self._default = default
        self.files: list[DeclaredFile] = []
        self.prose: list[Block] = []

    def list(self, block: Block, default: FileAction | None = None) -> Block | None:
        """Add the items of a list, and return its end from the first item with a box on, which is a step."""
        default = default or self._default
        is_boxed = self.has_only_paths(block)
        for item in self._document.children(block):
            inside = self._document.children(item)
            content = inside[0].content if inside and inside[0].kind == "text" else ""
            if not is_boxed and has_checkbox(content):
                return block._replace(start=item.start)
            text, *more = without_checkbox(content).split("\n")
            nested = [child for child in inside if child.kind in LISTS]
            action, paths = _read(text, default) if nested else (default, [])
            if nested and (not paths or is_caption(text)):
                for child in nested:
                    self.list(child, action)
            else:
                self.item(text, item.start, item.start + 1, default)
            self._unindented(inside[0].start + 1, len(more))
        return None

    def _unindented(self, start: int, count: int) -> None:
        """Add the lines (0-based) of an item that are not indented as it is: they are text, not a remark."""
        lines = self._document.lines
        at = next((at for at in range(start, start + count) if lines[at][:1].strip()), start + count)
        if at < start + count:
            text = "\n".join(lines[at : start + count])
            self.prose.append(self._document.as_text(at, start + count, text))

    def has_only_paths(self, block: Block) -> bool:
        """Whether every item of a list is a path, or says what becomes of one."""
        texts = [
            child.content for item in self._document.children(block) for child in self._document.children(item)
        ]
        return all(_is_strict(without_checkbox(text.strip())) for text in texts)

    def item(self, text: str, line: int, end: int, default: FileAction | None = None) -> None:
        """Add the files of one item on some lines (0-based, `end` not included)."""
        text = without_checkbox(text.strip())
        action, paths = _read(text, default or self._default)
        if paths and _is_sentence(text):
            self.prose.append(self._document.as_text(line, end, text))
            paths = [path for path in map(_span_path, _SPAN.finditer(text)) if _ENDS_AS_PATH.search(path)]
        elif not paths and not _is_nothing(_without_remark(text)):
            message = f"{quoted(text)} does not name a file; write `Create: path`"
            self._report.error(line + 1, self._document.column(line, text), message)
        self.files += [DeclaredFile(action, path, line + 1) for path in paths]


def _read(text: str, default: FileAction) -> tuple[FileAction, list[str]]:
    """Return what an item does, and the paths that it names."""
    match = _ACTION.match(text) or _BARE_ACTION.match(_without_remark(text).strip())
    action = ACTIONS[match["action"].lower()] if match else default
    match = match or _TEST.match(text)
    text = (text[match.end() :] if match else text).strip()
    paths: list[str] = []
    position = 0
    while span := (_SPAN.match(text, position) or _LINK.match(text, position)):
        paths.append(span["path"])
        joined = _JOIN.match(text, span.end())
        position = joined.end() if joined else len(text)
    if not paths:
        plain = _LINES.sub("", _without_remark(text).split("\n", 1)[0].strip())
        parts = [part.rstrip() for part in re.split(r",\s+", plain.strip())]
        parts = parts if all(" " not in part for part in parts) else [plain]
        paths = [part for part in parts if not _is_nothing(part)]
    return action, [path for path in (_LINES.sub("", path.strip()).strip() for path in paths) if path]


def _span_path(span: re.Match[str]) -> str:
    return _LINES.sub("", span["path"].strip()).strip()


def _without_remark(text: str) -> str:
    """Return a path without backticks, and without what an item says of it at its end."""
    if text.count("(") > _MOST_BRACKETS:
        return _REMARK.sub("", text[: text.index("(")], count=1)
    text = _REMARK.sub("", _IN_BRACKETS.sub("", text), count=1)
    if found := _SENTENCE.search(text):
        before = text[: found.start()].rstrip()
        is_one = not _ENDS_AS_PATH.search(before) and _ENDS_AS_PATH.search(text.rstrip())
        text = text if is_one else before
    return text


def is_caption(text: str) -> bool:
    """Whether a text only says what the list or the fence below it is, such as `Tests:`."""
    return text.rstrip("*_ ").endswith(":")


def _is_sentence(text: str) -> bool:
    """Whether an item is a sentence, which may have paths in it, rather than a path."""
    if _ACTION.match(text) or _TEST.match(text) or _SPAN.match(text) or _LINK.match(text):
        return False
    if _NAME.match(text) or _LABEL.match(text):
        return True
    plain = _without_remark(text).strip()
    return "`" in plain or (len(plain.split()) >= _WORDS_OF_A_SENTENCE and not _ENDS_AS_PATH.search(plain))


def _is_strict(text: str) -> bool:
    """Whether an item is nothing but a path and a remark, or says what becomes of it."""
    if match := (_ACTION.match(text) or _TEST.match(text)):
        text = text[match.end() :]
    if span := (_SPAN.match(text) or _LINK.match(text)):
        return bool(match) or not re.match(r"\s+\w", text[span.end() :])
    return " " not in _without_remark(text).strip() and bool(match or _ENDS_AS_PATH.search(text))


def is_path(text: str) -> bool:
    """Whether a text is certainly a path: it has a folder, or an extension."""
    return bool(_ENDS_AS_PATH.search(text) or re.search(r"^\S*/\S*$", text))


def _is_nothing(text: str) -> bool:
    return text.lower().strip("*_() ").removesuffix(".") in _NOTHING and text not in {".", ".."}

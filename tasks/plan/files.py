"""Read the items of a **Files:** field."""

import re
from collections.abc import Iterator

from tasks.diagnostics import Report, quoted
from tasks.model import DeclaredFile, FileAction
from tasks.plan.blocks import ACTIONS, Block, Document
from tasks.plan.sections import Field

_CHECKBOX = re.compile(r"\[[ xX]\](?:\s+|$)")
_WORDS = "|".join(ACTIONS)
_ACTION = re.compile(
    rf"(?i)[*_]{{0,2}}(?P<action>{_WORDS})d?(?:\s+files?)?(?:\s*:[*_]{{0,2}}|[*_]{{0,2}}\s*:|(?=[*_]{{0,2}}\s+`)[*_]{{0,2}})\s*"
)
_BARE_ACTION = re.compile(rf"(?i)(?P<action>{_WORDS})\s+(?=\S+$)")
_SPAN = re.compile(r"(`+)(?!`)(?P<path>[^`\n]+)\1(?!`)")
_JOIN = re.compile(r"\s*(?:,\s*and|,|and|&|\+)\s*(?=`)")
_LINK = re.compile(r"\[`?(?P<path>[^\]`]+)`?\]\([^)\s]*\)")
_REMARK = re.compile(r"(?<=\s)[-–—#](?:\s.*|$)|(?<=\s)\(.*|:\s.*", re.DOTALL)  # noqa: RUF001 - the dashes that people type
_LINES = re.compile(r":\d+(?:-\d+)?$")
_NOTHING = frozenset({"", "none", "n/a", "nothing", "-", "–", "—"})  # noqa: RUF001 - likewise


def without_checkbox(text: str) -> str:
    """Return an item's text without the `[ ]` or `[x]` that it begins with."""
    return _CHECKBOX.sub("", text, count=1) if _CHECKBOX.match(text) else text


def declared_files(document: Document, field: Field, report: Report) -> tuple[list[DeclaredFile], list[Block]]:
    """Return the files that a field names, and the blocks below it that are not its own but text."""
    default = field.action or FileAction.MODIFY
    files = list(_item(document, field.value, field.line, default, report)) if field.value else []
    rest = list(field.blocks)
    if rest and not field.value and rest[0].kind == "text":
        block = rest.pop(0)
        for offset, line in enumerate(block.content.split("\n")):
            files += _item(document, line, block.start + offset, default, report)
    while rest and rest[0].kind in {"bullet_list_open", "ordered_list_open"}:
        files += _list(document, rest.pop(0), default, report)
    for file in files:
        if file.outside:
            column = document.column(file.line - 1, file.path)
            report.warning(
                file.line, column, f"{quoted(file.path)} is outside of the repository: this task will fail"
            )
    return files, rest


def _list(document: Document, block: Block, default: FileAction, report: Report) -> Iterator[DeclaredFile]:
    for item in document.children(block):
        inside = document.children(item)
        text = without_checkbox(inside[0].content) if inside and inside[0].kind == "text" else ""
        nested = [child for child in inside if child.kind in {"bullet_list_open", "ordered_list_open"}]
        action, paths = _read(text, default) if nested else (default, [])
        if nested and not paths:
            for child in nested:
                yield from _list(document, child, action, report)
        else:
            yield from _item(document, text, item.start, default, report)


def _item(
    document: Document, text: str, line: int, default: FileAction, report: Report
) -> Iterator[DeclaredFile]:
    """Yield the files of one item. `line` is 0-based."""
    text = without_checkbox(text.strip())
    action, paths = _read(text, default)
    if not paths and not _is_nothing(text):
        report.error(
            line + 1, document.column(line, text), f"{quoted(text)} does not name a file; write `Create: path`"
        )
    for path in paths:
        yield DeclaredFile(action, path, line + 1)


def _read(text: str, default: FileAction) -> tuple[FileAction, list[str]]:
    """Return what an item does, and the paths that it names."""
    match = _ACTION.match(text) or _BARE_ACTION.match(_REMARK.sub("", text, count=1).strip())
    action = ACTIONS[match["action"].lower()] if match else default
    text = (text[match.end() :] if match else text).strip()
    paths: list[str] = []
    position = 0
    while span := (_SPAN.match(text, position) or _LINK.match(text, position)):
        paths.append(span["path"])
        joined = _JOIN.match(text, span.end())
        position = joined.end() if joined else len(text)
    if not paths:
        plain = _REMARK.sub("", text, count=1).split("\n", 1)[0].strip()
        parts = re.split(r",\s+", plain)
        parts = parts if all(" " not in part for part in parts) else [plain]
        paths = [part for part in parts if not _is_nothing(part)]
    return action, [path for path in (_LINES.sub("", path.strip()) for path in paths) if path]


def _is_nothing(text: str) -> bool:
    return text.lower().strip("*_()").removesuffix(".") in _NOTHING and text not in {".", ".."}

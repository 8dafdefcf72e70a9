"""Read the files that a unit declares: "**Files:**" with a list below it, in the words that plans use."""

import re
from collections.abc import Iterator

from tasks.dialects.dialect import each_once
from tasks.dialects.outline import Outline
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import DeclaredFile, FileAction

_ACTIONS: dict[FileAction, str] = {
    FileAction.CREATE: r"create[sd]?|add(?:ed|s)?|new(?:\s+files?)?|generate|创建|新建|新增|crear|criar",
    FileAction.DELETE: r"delete[sd]?|remove[sd]?|删除|eliminar|remover",
    FileAction.READ: r"read(?:[\s-]*only)?|reference[sd]?|check|review|see|inspect|verify|context|no\s+changes?"
    r"|unchanged|do\s+not\s+(?:modify|change|touch)|consult|参考|leer",
    FileAction.MODIFY: r"modif(?:y|ies|ied)|updat(?:e|es|ed)|edit(?:s|ed)?|change[sd]?|tests?|append|extend"
    r"|rewrite|replace|rename|move|refactor|touch|fix|wire|config|docs?|修改|更新|测试|modificar|probar|actualizar",
}
_WORDS = "|".join(f"(?P<{action}>{words})" for action, words in _ACTIONS.items())
_ACTION = regex(rf"(?i)[\s*_(/]*(?:{_WORDS})\b")
_SPAN = r"(?P<tick>`+)(?!`)(?P<path>[^`\n]+?)(?P=tick)(?!`)"
_LINK = r"\[`?(?P<linked>[^\]`\n]+)`?\]\([^)\s]*\)"
_FIELD = regex(
    r"(?i)^\s{0,3}(?:[-*+]\s+|>\s*)?[*_]{0,2}(?:files?|文件|archivos?|arquivos?|ファイル)"
    r"(?:\s+(?P<label>(?:to\s+|that\s+)?[\w/&+-]+(?:\s+(?:only|or\s+\w+|and\s+\w+))?))?\s*(?:[(（][^)）\n]{0,40}[)）])?[*_]{0,2}\s*[:：][*_]{0,2}\s*(?P<rest>.*)$"  # noqa: RUF001 - full-width marks, which people type
)
_NAMED_FIELD = regex(
    r"(?i)^\s{0,3}\*\*(?P<label>create|modify|delete|test)s?(?:\s+files?)?(?::\*\*|\*\*:)\s*(?P<rest>.*)$"
)
_ITEM = regex(r"^(?P<indent>\s*)(?:[-*+•]|[0-9]{1,3}[.)])\s+(?P<text>.*)$")
_BOX = regex(r"\[[^\]]?\]\s*")
_LEAD = regex(
    rf"(?ix)[\s*_(\[]*(?:also\s+|likely\s+|optional(?:ly)?\s+|maybe\s+)?(?:{_WORDS})\b[\s*_)\]]*"
    r"(?:(?:/|,|\+|&|\bor\b|\band\b|或)\s*(?:[a-z]+)[\s*_]*)?(?:\s+(?:the\s+)?(?:files?|tests?))?\s*"
    r"(?:[(（][^()（）`]{0,40}[)）]\s*)?(?:[:：]|(?=[\s*_]*`)|(?=\s+[\w.~/\\-]+[./\\][\w*/\\.-]+))[\s*_]*"  # noqa: RUF001 - likewise
)
_PATH = regex(
    rf"{_SPAN}|{_LINK}|(?P<plain>(?:[A-Za-z]:)?[\w.@~+/\\\[\]()*{{}},-]*[./\\][\w@~+/\\*.\[\]{{}}-]*\w/?)"
)
_JOIN = regex(
    r"(?i)\s*(?:\([^()`]{0,80}\)\s*)?(?:,\s*(?:and\s+)?|、|;\s*|\band\b\s*|&\s*|\+\s*|/\s*|→\s*|->\s*|=>\s*|\bto\b\s*)(?:also\s+)?"
)
_LINES = regex(
    r"(?i)(?::\s*L?\d+(?:\s*[-–,:]\s*L?\d+)*\+?|\s*#L\d+(?:-L?\d+)?|\s*[(（]\s*(?:lines?|L|~|行)[^)）]*[)）]?)$"  # noqa: RUF001 - likewise
)
_IS_NEW = regex(r"(?i)[\s*_]*[(（\[—–:-]+\s*[*_]*(?:new\b(?!\s*`)|created?\b(?!\s*`)|新)")  # noqa: RUF001 - likewise
_IS_GONE = regex(r"(?i)[\s*_]*[(（\[—–:-]+\s*[*_`]*(?:deleted?\b|removed?\b)")  # noqa: RUF001 - likewise
_ALONE = regex(r"(?i)(?:[A-Z][\w-]*file|readme|license|changelog|justfile|codeowners|procfile|\.[\w.-]+)")


@dataclass(frozen=True, slots=True)
class _Found:
    """A path with its action, and where the text after it begins."""

    action: FileAction
    path: str


def declared_files(outline: Outline, start: int, end: int) -> tuple[DeclaredFile, ...]:
    """Return the files that the fields on some lines (0-based, `end` not included) declare, each once."""
    return each_once(_declared(outline, start, end))


def _declared(outline: Outline, start: int, end: int) -> Iterator[DeclaredFile]:
    boxes = {box.line for box in outline.boxes_in(start, end)}
    at = start
    lines = dict(outline.prose(start, end))
    while at < end:
        field = _field(lines.get(at, ""))
        if field is None or at in boxes:
            at += 1
            continue
        action, rest = field
        for path in _paths(rest, action):
            yield DeclaredFile(path.action, path.path, at + 1)
        at += 1
        for line, text, default in _items(lines, at, end, boxes, action):
            at = line + 1
            for path in _paths(text, default):
                yield DeclaredFile(path.action, path.path, line + 1)


def _field(line: str) -> tuple[FileAction, str] | None:
    if ":" not in line and "：" not in line:  # noqa: RUF001 - a full-width colon, which people type
        return None
    if "|" in line:
        line = re.split(r"\s\|\s(?=[*_]{0,2}files?[*_]{0,2}\s*:)", line, maxsplit=1, flags=re.IGNORECASE)[-1]
    if named := _NAMED_FIELD.match(line):
        return _action(named["label"], FileAction.MODIFY), named["rest"]
    found = _FIELD.match(line)
    if found is None or (not found["rest"] and line.lstrip().startswith(">")):
        return None
    label = re.sub(r"(?i)^(?:to|that|i)\s+", "", found["label"] or "")
    return _action(label, FileAction.MODIFY), found["rest"]


def _action(text: str, default: FileAction) -> FileAction:
    match = _ACTION.match(text)
    if match is None:
        return default
    return next(action for action in _ACTIONS if match[action.value])


def _items(
    lines: dict[int, str], at: int, end: int, boxes: set[int], action: FileAction
) -> Iterator[tuple[int, str, FileAction]]:
    """Yield the items of the list below a field with their action; a caption is that of the items in it."""
    outer: list[tuple[int, FileAction]] = []
    blank = False
    for line in range(at, end):
        text = lines.get(line)
        if text is None or line in boxes or _field(text):
            return
        if not text.strip():
            blank = True
            continue
        item = _ITEM.match(text)
        if item is None:
            if blank or not text.startswith((" ", "\t", "`")):
                return
            yield line, text, outer[-1][1] if outer else action
            continue
        blank = False
        indent = len(item["indent"].expandtabs(4))
        while outer and outer[-1][0] >= indent:
            outer.pop()
        default = outer[-1][1] if outer else action
        content = _BOX.sub("", item["text"], count=1) if _BOX.match(item["text"]) else item["text"]
        outer.append((indent, _action(content, default)))
        yield line, content, default


def _paths(text: str, default: FileAction) -> Iterator[_Found]:
    """Yield the paths that a text begins with, and those after a further word such as `; modify`."""
    position, action, is_labelled = 0, default, False
    while position < len(text):
        lead = _LEAD.match(text, position)
        if lead:
            action = next(name for name in _ACTIONS if lead[name.value])
            position, is_labelled = lead.end(), True
        position += len(text[position:]) - len(text[position:].lstrip(" *_\t"))
        found = _PATH.match(text, position)
        if found is None:
            return
        written = (found["path"] or found["linked"] or found["plain"]).strip()
        path = (
            _LINES.sub("", written).strip().rstrip(",;") if found["plain"] else _LINES.sub("", written).strip()
        )
        position = found.end()
        if is_path(path, is_labelled=is_labelled and not found["plain"]) and (
            not found["plain"] or "." in path
        ):
            yield _Found(_remarked(text[position:], action, is_labelled=is_labelled), path)
        position += len(
            (re.match(r"[*_]{0,2}(?:\s*[(（](?:lines?|L)?[\s\d–,:~-]*[)）])?", text[position:]) or [""])[0]  # noqa: RUF001
        )
        joined = _JOIN.match(text, position)
        if joined is None:
            return
        position = joined.end()


def _remarked(rest: str, action: FileAction, *, is_labelled: bool) -> FileAction:
    """Return the action, which a remark such as `(new)` says where no word does."""
    if is_labelled or action is FileAction.READ:
        return action
    if _IS_NEW.match(rest):
        return FileAction.CREATE
    return FileAction.DELETE if _IS_GONE.match(rest) else action


def is_path(text: str, *, is_labelled: bool = False) -> bool:
    """Whether a text names a file: it has a folder or an extension, or is known, or a word says what it is."""
    if (
        not text
        or text.startswith(("-", "$", "http:", "https:"))
        or re.search(r"[=<>|;\"'?!]|\(\)|\w\(|\.{3}|…", text)
    ):
        return False
    name = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    if " " in text and not re.search(r"[/\\].*\.\w{1,8}$|^[\w ./\\-]+\.\w{1,8}$", text):
        return False
    has_shape = "/" in text or "\\" in text or bool(re.search(r"^[\w@\[\]().*{}+-]+\.[A-Za-z]\w{0,11}$", name))
    return has_shape or bool(_ALONE.fullmatch(text)) or (is_labelled and bool(re.fullmatch(r"[\w.-]+", text)))

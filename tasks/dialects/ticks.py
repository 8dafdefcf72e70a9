"""Set the boxes of tasks in the text of a plan, and nothing else of it."""

import re
from collections.abc import Collection, Iterable, Iterator

from tasks.dialects.json_objects import line_starts
from tasks.dialects.outline import Box, Outline, outline
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import Task

_OPEN_BOX = regex(r"\[(?:[ \t\u00a0]?|[~-])\](?!\()")
_LINES = regex(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_TOKEN = regex(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s,:{}\[\]"]+', re.DOTALL)
_JSON_MARKS = {'"status"': '"done"', '"passes"': "true"}
"""Keys that say whether an object is done, and the value that says so."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """A plan's text with its boxes set; `tasks` are the ids of those that had any, `boxes` their number."""

    text: str
    tasks: tuple[str, ...]
    boxes: int


def ticked(text: str, tasks: Iterable[Task]) -> Ticked:
    """Return a plan's text with the boxes of tasks set: of Markdown, or of JSON.

    Args:
        text: The text as it is in the file, with its own line ends.
        tasks: The tasks, as they are read from this text.
    """
    is_json = text.lstrip("\ufeff \t\r\n")[:1] in {"{", "["}
    return _ticked_json(text, tasks) if is_json else _ticked_markdown(text, tasks)


def _ticked_markdown(text: str, tasks: Iterable[Task]) -> Ticked:
    lines = [match[0] for match in _LINES.finditer(text)]
    found = outline("\n".join(line.rstrip("\r\n") for line in lines).removeprefix("\ufeff"))
    by_task = {task.id: sorted(set(_box_lines(found, task))) for task in tasks}
    for at in sorted({at for own in by_task.values() for at in own}):
        lines[at] = _OPEN_BOX.sub("[x]", lines[at], count=1)
    return Ticked(
        "".join(lines),
        tuple(name for name, own in by_task.items() if own),
        sum(map(len, by_task.values())),
    )


def _box_lines(found: Outline, task: Task) -> Iterator[int]:
    """Yield the lines (0-based) of a task's open boxes: its own, those of its items, and all below them."""
    if task.open_box:
        yield task.open_box[0] - 1
    at = {box.line: index for index, box in enumerate(found.boxes)}
    for line, _ in task.open_items:
        if line - 1 in at:
            inside = _with_nested(found.boxes, at[line - 1])
        else:
            end = next((each.end for each in found.headings if each.line == line - 1), line)
            inside = [box for box in found.boxes_in(line - 1, end) if not _is_manual(box, task.manual)]
        yield from (box.line for box in inside if not box.done)


def _with_nested(boxes: list[Box], index: int) -> list[Box]:
    own = {index}
    for number, box in enumerate(boxes[index + 1 :], index + 1):
        if box.parent in own:
            own.add(number)
    return [boxes[number] for number in sorted(own)]


def _is_manual(box: Box, manual: Collection[str]) -> bool:
    return any(box.text == " ".join(text.split()) for text in manual)


def _ticked_json(text: str, tasks: Iterable[Task]) -> Ticked:
    starts = line_starts(text)
    spans: dict[tuple[int, int], str] = {}
    named: list[str] = []
    for task in tasks:
        places = [(task.line, task.column), *task.open_items]
        own = [span for line, column in places if (span := _mark(text, starts[line - 1] + column - 1))]
        spans |= {(begin, end): value for begin, end, value in own}
        named += [task.id] if own else []
    for (begin, end), value in sorted(spans.items(), reverse=True):
        text = text[:begin] + value + text[end:]
    return Ticked(text, tuple(named), len(spans))


def _mark(text: str, start: int) -> tuple[int, int, str] | None:
    """Return where the object that begins at an offset says that it is not done, and what to write there."""
    depth, key = 0, ""
    for token in _TOKEN.finditer(text, start):
        word = token[0]
        if word in {"{", "["}:
            depth += 1
        elif word in {"}", "]"}:
            depth -= 1
            if depth <= 0:
                return None
        elif depth == 1 and word == ",":
            key = ""
        elif depth == 1 and word != ":":
            if key in _JSON_MARKS:
                value = _JSON_MARKS[key]
                return None if word == value else (token.start(), token.end(), value)
            key = key or word
    return None

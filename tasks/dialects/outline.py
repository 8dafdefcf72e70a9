"""Headings, boxes and fences of a Markdown text, by line."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import islice
from typing import TYPE_CHECKING

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MAX_NESTING = 40

_BOX = regex(r"\[(?P<mark>[ \t\u00a0\u3000xX~/*✓✔-]?)\](?P<star>(?:\\?\*(?!\*))?)(?!\()[ \t\u00a0\u3000]*")
_FENCE = regex(r"(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
_MARKDOWN = regex(r"(?i)\{?\.?(?:markdown|md|mdx)\b")
_NEXT = regex(r"(?i)\s*(?:[-*+]\s+\[[ xX]\]\s+)?(?:\*\*Step\b|#{1,6}\s+\W*Task\s+[A-Z]?\d)")
"""A line that begins a step or a task."""
_MARGIN = 3
_GOES_ON = regex(
    r"(?i)\s*(?:[-*+]\s+\[[ xX]\]|\*\*Step\b|#{1,6}\s+\W*Task\s+[A-Z]?\d|---+\s*$"
    r"|\**(?:Run|Expected|Commit)\b\W)"
)
"""A line that a plan continues with after a fence."""
_FRONT = regex(r"---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|$)")
_DONE_MARKS = frozenset("xX✓✔")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading. `line` and `end` (not included) are the 0-based lines of it and of all that is below it."""

    level: int
    text: str
    line: int
    end: int


@dataclass(frozen=True, slots=True)
class Box:
    """A list item that begins with a box.

    `mark` is what is in it, `star` whether a `*` follows (`- [ ]*`). `text` is the first paragraph after
    it, on one line. `line` and `end` (not included) are 0-based. `parent` is the index of the box that it is
    inside of. `marker` is the item's own number, such as `1.`, or empty for a bullet.
    """

    mark: str
    star: bool
    text: str
    line: int
    end: int
    parent: int | None = None
    marker: str = ""

    @property
    def done(self) -> bool:
        """Whether it is ticked."""
        return self.mark in _DONE_MARKS


@dataclass(frozen=True)
class Outline:
    """What is where in a text. `front` is the number of lines of the front matter of another tool.

    Headings, boxes and fences are in the order of their lines, so what is on some lines is found by bisection:
    a plan has a thousand units, each of which asks.
    """

    lines: list[str]
    headings: list[Heading]
    boxes: list[Box]
    code: list[tuple[int, int, str]]
    """Start, end (0-based, not included) and content of every fence."""
    front: int = 0
    rules: frozenset[int] = frozenset()
    """The lines (0-based) of rules between parts, such as `---`."""

    def text(self, start: int, end: int) -> str:
        """Return lines (0-based, `end` not included) as they stand, without empty ones at both ends."""
        return "\n".join(self.lines[start:end]).strip("\n").rstrip()

    def prose(self, start: int, end: int) -> Iterator[tuple[int, str]]:
        """Yield lines (0-based, `end` not included) outside of fences, with spaces for non-breaking ones."""
        first = bisect_right(self.code, start, key=lambda fence: fence[1])
        inside: set[int] = set()
        for begin, close, _ in islice(self.code, first, None):
            if begin >= end:
                break
            inside.update(range(max(begin, start), min(close, end)))
        for line in range(start, min(end, len(self.lines))):
            if line not in inside:
                yield line, self._plain[line]

    def heading_above(self, line: int, level: int | None = None) -> Heading | None:
        """Return the nearest heading that a line (0-based) is below, of a level if one is given."""
        holding = (found for found in self.holding(line) if level is None or found.level == level)
        return next(holding, None)

    def holding(self, line: int) -> Iterator[Heading]:
        """Yield the headings that a line (0-based) is below, the nearest first."""
        at: int | None = bisect_left(self.headings, line, key=lambda heading: heading.line) - 1
        while at is not None and at >= 0:
            if line < self.headings[at].end:
                yield self.headings[at]
            at = self._parents[at]

    @cached_property
    def _plain(self) -> list[str]:
        """The lines with spaces for non-breaking ones."""
        return [line.replace("\u00a0", " ") for line in self.lines]

    @cached_property
    def _parents(self) -> list[int | None]:
        """For each heading the index of the one that it is directly below."""
        found: list[int | None] = []
        for at, heading in enumerate(self.headings):
            above: int | None = at - 1 if at else None
            while above is not None and self.headings[above].level >= heading.level:
                above = found[above]
            found.append(above)
        return found

    @property
    def open_fence(self) -> int | None:
        """The line (0-based) of a fence that the text never closes."""
        if not self.code:
            return None
        start, end, _ = self.code[-1]
        opened = re.search(r"(`{3,}|~{3,})", self.lines[start])
        if opened is None or any(line.strip() for line in self.lines[end:]):
            return None
        last = next((line.strip() for line in reversed(self.lines[start + 1 : end]) if line.strip()), "")
        return start if last.strip(opened[0][0]) or not last.startswith(opened[0]) else None

    def boxes_in(self, start: int, end: int) -> list[Box]:
        """Return the boxes on some lines (0-based, `end` not included)."""
        first = bisect_left(self.boxes, start, key=lambda box: box.line)
        return self.boxes[first : max(first, bisect_left(self.boxes, end, key=lambda box: box.line))]

    def headings_in(self, start: int, end: int) -> list[Heading]:
        """Return the headings on some lines (0-based, `end` not included)."""
        first = bisect_left(self.headings, start, key=lambda heading: heading.line)
        return self.headings[first : max(first, bisect_left(self.headings, end, key=lambda found: found.line))]

    def code_in(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """Return the fences that begin on some lines (0-based, `end` not included)."""
        first = bisect_left(self.code, start, key=lambda fence: fence[0])
        return self.code[first : max(first, bisect_left(self.code, end, key=lambda fence: fence[0]))]

    def title(self) -> str:
        """Return the text of the first heading of level 1, or nothing."""
        return next((found.text for found in self.headings if found.level == 1), "")


@cache
def _parser() -> "MarkdownIt":
    """Return the parser, which keeps nothing of a text: a directory may have a thousand plans."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - keeps the start of the command line quick

    return MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).disable(["inline", "reference", "lheading"])


def outline(text: str) -> Outline:
    """Return the outline of a text with line feeds alone."""
    front = _FRONT.match(text)
    skipped = text[: front.end()].count("\n") if front else 0
    body = "\n" * skipped + text[front.end() :] if front else text
    tokens = _parser().parse(_with_nested_fences(body))
    lines = text.split("\n")
    headings = _closed(list(_headings(tokens)), len(lines))
    code = [(t.map[0], t.map[1], t.content) for t in tokens if t.type in {"fence", "code_block"} and t.map]
    rules = frozenset(t.map[0] for t in tokens if t.type == "hr" and t.map and t.level == 0)
    return Outline(lines, headings, list(_boxes(tokens)), code, skipped, rules)


def _with_nested_fences(body: str) -> str:
    """Return a text in which a fence of Markdown that holds fences of its own length is longer than those.

    Plans that show Markdown are written so; read as they are, such a fence ends with the first one in it, and
    the rest of what it shows would be the plan's own headings and boxes.
    """
    if not re.search(r"(?im)^[ \t]*(?:`{3,}|~{3,})[ \t]*(?:markdown|md|mdx)\b", body):
        return body
    lines = body.split("\n")
    at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        if opened is None:
            at += 1
            continue
        close, is_nested = _end_of_fence(lines, at, opened)
        if is_nested:
            lines[at] = f"{opened['indent']}{opened['marks']}{opened['marks'][0] * 3}{opened['info']}"
            last = lines[close]
            lines[close] = last.rstrip() + opened["marks"][0] * 3
        at = close + 1
    return "\n".join(lines)


def _end_of_fence(lines: list[str], at: int, opened: re.Match[str]) -> tuple[int, bool]:
    """Return the line on which a fence ends, and whether it holds fences of its own length."""
    marks, depth, first, plain = opened["marks"], 0, len(lines), -1
    nests = _MARKDOWN.match(opened["info"]) is not None
    for line in range(at + 1, len(lines)):
        found = _FENCE.match(lines[line])
        if plain >= 0 and _NEXT.match(lines[line]):
            break
        if found is None or found["marks"][0] != marks[0] or len(found["marks"]) < len(marks):
            continue
        if len(found["indent"].expandtabs(4)) - len(opened["indent"].expandtabs(4)) > _MARGIN:
            continue  # what is indented more is code in the fence
        if found["info"].strip():
            depth += nests
        elif depth:
            first, depth = min(first, line), depth - 1
        elif first == len(lines) or _ends_there(lines, line):
            return line, first < len(lines)
        else:  # a fence without a language, among others in Markdown
            depth, plain = 1, line if plain < 0 else plain
    return (plain, True) if plain >= 0 else (first, False)


def _ends_there(lines: list[str], line: int) -> bool:
    """Whether what follows a fence is the plan's own: a step, a task, or the end."""
    following = next((text for text in lines[line + 1 :] if text.strip()), None)
    return following is None or _GOES_ON.match(following) is not None


def _headings(tokens: "list[Token]") -> Iterator[Heading]:
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.map and token.level == 0:
            yield Heading(int(token.tag[1]), tokens[at + 1].content.strip(), token.map[0], 0)


def _closed(headings: list[Heading], total: int) -> list[Heading]:
    """Return headings with their ends: the next heading of the same level or a higher one."""
    ends: dict[int, int] = {}
    closed: list[Heading] = []
    for heading in reversed(headings):
        end = min((line for level, line in ends.items() if level <= heading.level), default=total)
        closed.append(Heading(heading.level, heading.text, heading.line, end))
        ends[heading.level] = heading.line
    return closed[::-1]


def _boxes(tokens: "list[Token]") -> Iterator[Box]:
    open_items: list[int | None] = []
    count = 0
    for at, token in enumerate(tokens):
        if token.type == "list_item_close":
            open_items.pop()
        if token.type != "list_item_open" or token.map is None:
            continue
        inside = tokens[at + 2] if at + 2 < len(tokens) and tokens[at + 1].type == "paragraph_open" else None
        found = _BOX.match(inside.content) if inside else None
        if found is None or inside is None:
            open_items.append(None)
            continue
        parent = next((index for index in reversed(open_items) if index is not None), None)
        rest = " ".join(inside.content[found.end() :].split())
        marker = f"{token.info}{token.markup}" if token.info else ""
        mark = found["mark"].strip() or " "
        yield Box(mark, bool(found["star"]), rest, token.map[0], token.map[1], parent, marker)
        open_items.append(count)
        count += 1

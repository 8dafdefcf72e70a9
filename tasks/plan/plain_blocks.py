"""Read the blocks of a plan that has only plain ones, as most have, without importing a parser of Markdown.

Plain are headings, fields, paragraphs, lists with a line for each item, and fences, all of which begin in the
first column. Of anything else, and where two of them follow each other in an unusual way, nothing is read.
"""

from collections.abc import Callable
from dataclasses import field
from typing import Any

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex

FIELD = regex(r"\*\*(?P<name>[^*:\n]{1,60})(?::\*\*|\*\*:)[ \t]*")
FLAT_ITEM = regex(r"([-+*]) (?!```)((?:[^\s#>+*0-9<~_=\-]|\*\*[A-Za-z]).*)")
LIST_STARTS = frozenset("-+*0123456789")
_HEADING = regex(r"(#{1,6}) +(\S.*)")
_NUMBER = regex(r"\d{1,9}[.)](?: |$)")
_RULE = regex(r"[*\s]*")
_NEVER_PLAIN = frozenset(" <>=_~|-+")
"""What the first line of a block, or its next lines, may not begin with; lists are looked for before that."""
_FENCE = "```"


@dataclass(slots=True)
class PlainToken:
    """A token with those attributes of markdown-it-py's that the parser of plans uses."""

    type: str
    tag: str = ""
    nesting: int = 0
    map: list[int] | None = None
    level: int = 0
    content: str = ""
    markup: str = ""
    info: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


class NotPlainError(Exception):
    """A plan has blocks that are not plain."""


class PlainBlocks:
    """Reads the tokens of a text.

    Args:
        text: The text.
        known_field: Returns what a field of a name is for; `None` if there is no such field.
    """

    def __init__(self, text: str, known_field: Callable[[str], object]) -> None:
        self._text = text
        self._lines = text.split("\n")
        self._known_field = known_field
        self._line = 0
        self.tokens: list[PlainToken] = []
        self.suspects: dict[int, str] = {}

    def read(self) -> bool:
        """Read all tokens, and return whether all blocks are plain."""
        if any(sign in self._text for sign in ("<!--", "\t", "\r", "\0")):
            return False
        try:
            while self._line < len(self._lines):
                if self._is_blank(self._line):
                    self._line += 1
                else:
                    self._block()
        except NotPlainError:
            return False
        return True

    def _block(self) -> None:
        kind = self._kind(self._line)
        if kind == "heading":
            self._heading()
        elif kind == "field":
            self._field()
        elif kind == "item":
            self._list()
        elif kind == "fence":
            self._fence()
        else:
            self._paragraph()

    def _is_blank(self, number: int) -> bool:
        return not self._lines[number].strip(" ")

    def _kind(self, number: int) -> str:
        """Return what a line is, or begins; a line of text may also continue a paragraph.

        Raises:
            NotPlainError: Only a parser of Markdown can tell.
        """
        line = self._lines[number]
        first = line[0]
        if first == "#":
            return "heading"
        if first == "*" and (found := FIELD.match(line)):
            return "field" if self._known(number, " ".join(found["name"].split())) else "text"
        if FLAT_ITEM.match(line):
            return "item"
        if line.startswith(_FENCE):
            return "fence"
        if first in _NEVER_PLAIN or _NUMBER.match(line) or (first == "*" and not _is_emphasis(line)):
            raise NotPlainError
        return "text"

    def _known(self, number: int, name: str) -> object:
        found = self._known_field(name)
        if found is None:
            self.suspects.setdefault(number, name)
        return found

    def _add(self, type_: str, lines: int, **attributes: Any) -> None:  # noqa: ANN401 - those of a token
        here, self._line = self._line, self._line + lines
        self.tokens.append(PlainToken(type_, map=[here, self._line], **attributes))

    def _heading(self) -> None:
        found = _HEADING.fullmatch(self._lines[self._line])
        content = found[2].rstrip(" ") if found else ""
        if found is None or content.endswith("#") or content != content.strip():
            raise NotPlainError
        mark, here = found[1], [self._line, self._line + 1]
        tag = f"h{len(mark)}"
        self.tokens.append(PlainToken("heading_open", tag, 1, list(here), markup=mark))
        self.tokens.append(PlainToken("inline", "", 0, list(here), 1, content))
        self.tokens.append(PlainToken("heading_close", tag, -1, markup=mark))
        self._line += 1

    def _field(self) -> None:
        line = self._lines[self._line]
        found = FIELD.match(line)
        if found is None:
            raise NotPlainError
        name = " ".join(found["name"].split())
        meta = {"name": name, "known": self._known_field(name), "column": 1, "value": found.end() + 1}
        self._add("field", 1, content=line[found.end() :], meta=meta)

    def _list(self) -> None:
        items: list[str] = []
        marker = self._lines[self._line][0]
        number = self._line
        while number < len(self._lines) and (found := FLAT_ITEM.match(self._lines[number])):
            if found[1] != marker:
                break
            items.append(found[2].rstrip(" \t"))
            number += 1
        if not self._ends_list(number):
            raise NotPlainError
        self._add("flat_list", len(items), meta={"items": items})

    def _ends_list(self, number: int) -> bool:
        """Whether a line certainly continues neither the list above it nor the list's last item."""
        following = number
        while following < len(self._lines) and self._is_blank(following):
            following += 1
        if following == len(self._lines):
            return True
        line = self._lines[following]
        if line[0] in LIST_STARTS:
            return line[0] == "*" and FIELD.match(line) is not None
        if following > number:
            return line[0] != " "
        return self._kind(following) in {"heading", "fence"}

    def _fence(self) -> None:
        info = self._lines[self._line][len(_FENCE) :]
        end = self._line + 1
        while end < len(self._lines) and not self._lines[end].lstrip(" ").startswith(_FENCE):
            end += 1
        if "`" in info or end == len(self._lines) or self._lines[end].rstrip(" ") != _FENCE:
            raise NotPlainError
        content = "".join(f"{line}\n" for line in self._lines[self._line + 1 : end])
        self._add("fence", end + 1 - self._line, tag="code", info=info, content=content, markup=_FENCE)

    def _paragraph(self) -> None:
        end = self._line + 1
        while end < len(self._lines) and not self._is_blank(end) and self._kind(end) == "text":
            end += 1
        content = "\n".join(self._lines[self._line : end]).strip(" \t\n")
        self._add("text", end - self._line, content=content)


def _is_emphasis(line: str) -> bool:
    """Whether a line that begins with a star is text: neither an item of a list nor a rule."""
    return line[1:2] not in {"", " "} and not _RULE.fullmatch(line)

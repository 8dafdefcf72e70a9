"""Split the Markdown text of a plan into blocks, with markdown-it-py.

The fields of a plan are additional block rules of markdown-it-py. A line such as `**Run:** make` therefore
begins a block wherever a heading could, ends the paragraph or list above it, and is plain text in a fence, a
quote or a comment.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.model import FileAction
from tasks.plan.plain_blocks import FIELD, FLAT_ITEM, LIST_STARTS, PlainBlocks, PlainToken

if TYPE_CHECKING:
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

MAX_NESTING = 40
"""Quotes and lists deeper than this are refused: markdown-it-py would drop their content."""

ACTIONS = {
    "create": FileAction.CREATE,
    "add": FileAction.CREATE,
    "new": FileAction.CREATE,
    "modify": FileAction.MODIFY,
    "update": FileAction.MODIFY,
    "edit": FileAction.MODIFY,
    "change": FileAction.MODIFY,
    "delete": FileAction.DELETE,
    "remove": FileAction.DELETE,
    "read": FileAction.READ,
}


class FieldKind(StrEnum):
    """What a field is for."""

    FILES = "Files"
    IMPLEMENTATION = "Implementation"
    RUN = "Run"
    VERIFICATION = "Verification"
    CRITERIA = "Acceptance Criteria"
    DEPENDENCIES = "Dependencies"
    COMMIT = "Commit"
    STATUS = "Status"
    TIMEOUT = "Timeout"
    REPAIRS = "Repairs"
    AGENT = "Agent"
    IMAGE = "Image"
    MODE = "Execution Mode"
    ON_CONFLICT = "On Conflict"
    TITLE = "Title"
    DONE = "Done"
    MANUAL = "Manual Verification"


EXTENDED_FIELDS: dict[str, tuple[FieldKind, FileAction | None]] = {
    "title": (FieldKind.TITLE, None),
    "done": (FieldKind.DONE, None),
    "done already": (FieldKind.DONE, None),
    "manual verification": (FieldKind.MANUAL, None),
}
"""What version 2 of the format has more. In a plan of version 1 they are text, as they have always been."""

FIELDS: dict[str, tuple[FieldKind, FileAction | None]] = {
    **{kind.lower(): (kind, None) for kind in FieldKind if kind.lower() not in EXTENDED_FIELDS},
    "file": (FieldKind.FILES, None),
    "depends on": (FieldKind.DEPENDENCIES, None),
    "success criteria": (FieldKind.CRITERIA, None),
    "commit message": (FieldKind.COMMIT, None),
    "mode": (FieldKind.MODE, None),
    **{f"file to {word}": (FieldKind.FILES, action) for word, action in ACTIONS.items()},
    **{f"files to {word}": (FieldKind.FILES, action) for word, action in ACTIONS.items()},
}

_BOLD = frozenset({"repairs", "on conflict"})
"""Fields that only bold text begins: others of these names are prose."""
_PLAIN_FIELD = regex(
    rf"(?i)(?:{'|'.join(re.escape(name) for name in FIELDS if name not in _BOLD)}|files?\(s\)):[ \t]",
)
"""A field that is not bold."""
_COMMENT_END = regex(r"-->|\n[ \t]*\n")
_CODE_OR_COMMENT = regex(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|<!--.*?-->|(?P<open><!--)")
_MARGIN = 3
"""How far, in spaces, a block may be indented; one more makes it code."""


class Block(NamedTuple):
    """A block: its kind (the name of its token), its lines (0-based, `end` not included), text and inside.

    `content` is the text of a paragraph, a heading, a fence or other code, without its markers.
    """

    kind: str
    start: int
    end: int
    content: str
    token: "Token | PlainToken"
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Document:
    """A plan as blocks.

    `lines` are the lines of the text; `suspects` are words that look like fields, by the line (0-based) that
    they begin. `extended` is whether it is of version 2 of the format.
    """

    lines: list[str]
    tokens: "Sequence[Token | PlainToken]"
    blocks: list[Block]
    suspects: dict[int, str]
    extended: bool = False

    def children(self, block: Block) -> list[Block]:
        """Return the direct children of a list, a list item or a quote."""
        if block.token.type != "flat_list":
            return list(_blocks(self.tokens, block.first, block.last))
        if block.kind == "list_item_open":
            return [block._replace(kind="text")]
        lines = enumerate(block.token.meta["items"], block.start)
        return [Block("list_item_open", line, line + 1, text, block.token, 0, 0) for line, text in lines]

    def as_text(self, start: int, end: int, content: str = "") -> Block:
        """Return lines (0-based, `end` not included) as a block of text."""
        return Block("text", start, end, content, self.tokens[0], 0, 0)

    def column(self, line: int, text: str = "", after: int = 0) -> int:
        """Return the 1-based column of `text` on a line (0-based), else that of its first word.

        The text is looked for from the column `after` on.
        """
        source = self.lines[line] if line < len(self.lines) else ""
        found = source.find(text.split("\n", 1)[0], after) if text else -1
        return (found if found >= 0 else len(source) - len(source.lstrip())) + 1

    def depth(self) -> int | None:
        """Return the line (0-based) on which quotes and lists are nested too deeply, else `None`."""
        for token in self.tokens:
            if token.level >= MAX_NESTING - 1:
                return token.map[0] if token.map else 0
        return None

    def unclosed(self) -> Iterator[tuple[int, str]]:
        """Yield the line (0-based) and the name of fences and comments that the text never closes."""
        for block in self.blocks:
            if block.kind == "fence":
                last = self.lines[block.end - 1].strip()
                marker = block.token.markup
                if block.end - block.start < 2 or last.strip(marker[0]) or len(last) < len(marker):  # noqa: PLR2004 - a fence has two ends
                    yield block.start, "fence"
            elif block.kind == "html_block":
                content = block.token.content.lstrip()
                if content.startswith("<!--") and "-->" not in content:
                    yield block.start, "comment"


def known_field(name: str, *, extended: bool = False) -> tuple[FieldKind, FileAction | None] | None:
    """Return what the field of a name is for, such as `Files` or `File(s)`, if there is one.

    `extended` is whether the plan is of version 2 of the format.
    """
    name = name.lower().replace("(s)", "s")
    found = FIELDS.get(name) or (EXTENDED_FIELDS.get(name) if extended else None)
    return None if extended and found and found[0] is FieldKind.CRITERIA else found


def parse_blocks(text: str, *, extended: bool = False) -> Document:
    """Return a text's blocks. Lines end with a line feed alone, and the text has no NUL characters.

    `extended` is whether the fields of version 2 of the format are fields.
    """
    plain = PlainBlocks(text, partial(known_field, extended=extended))
    tokens, suspects = (
        (plain.tokens, plain.suspects) if plain.read() else markdown_tokens(text, extended=extended)
    )
    blocks = list(_blocks(tokens, 0, len(tokens)))
    return Document(text.split("\n"), tokens, blocks, suspects, extended)


def markdown_tokens(text: str, *, extended: bool) -> "tuple[Sequence[Token], dict[int, str]]":
    """Return the tokens that markdown-it-py makes of a text, and the words in it that look like fields."""
    from markdown_it import MarkdownIt, rules_block  # noqa: PLC0415 - keeps the start of the command line quick

    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    # Inline markup is kept as text; link reference definitions would remove lines.
    parser.disable(["inline", "text_join", "reference", "lheading"], ignoreInvalid=True)
    parser.block.ruler.before("code", "field", _field, {"alt": ["paragraph", "blockquote", "list"]})
    parser.block.ruler.before("field", "block", _block)
    lists = rules_block.list_block
    rules: dict[str, tuple[Callable[[StateBlock, int, int, bool], bool], ...]] = {
        "*": (_field, rules_block.hr, lists),
        "-": (rules_block.hr, lists),
        "_": (rules_block.hr,),
        "+": (lists,),
        **dict.fromkeys("0123456789", (lists,)),
        **dict.fromkeys("`~", (rules_block.fence,)),
        ">": (rules_block.blockquote,),
        "#": (rules_block.heading,),
        "<": (rules_block.html_block,),
        "=": (),
    }
    env: dict[str, Any] = {
        "rules": rules,
        "code": rules_block.code,
        "comments": "<!--" in text,
        "suspects": {},
        "extended": extended,
    }
    return parser.parse(text, env), env["suspects"]


def without_comments(text: str) -> str:
    """Return a text without the HTML comments in it."""
    parts: list[str] = []
    position = 0
    while (begin := text.find("<!--", position)) >= 0 and (end := text.find("-->", begin + 4)) >= 0:
        parts.append(text[position:begin])
        position = end + 3
    return "".join([*parts, text[position:]])


def _blocks(tokens: "Sequence[Token | PlainToken]", first: int, last: int) -> Iterator[Block]:
    index = first
    while index < last:
        token = tokens[index]
        begin, end = token.map or (0, 0)
        inside = index = index + 1
        if token.nesting == 1:
            level = token.level
            while tokens[index].level > level:
                index += 1
            content = tokens[inside].content if token.type == "heading_open" else ""
            yield Block(token.type, begin, end, content, token, inside, index)
            index += 1
        else:
            kind = "bullet_list_open" if token.type == "flat_list" else token.type
            yield Block(kind, begin, end, token.content, token, inside, inside)


def _field(state: "StateBlock", line: int, _end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it-py's signature
    """Block rule: a line that begins with a known field, at the top level of the plan."""
    begin = state.bMarks[line]
    position = begin + state.tShift[line]
    indent = state.sCount[line]
    if indent > _MARGIN or not state.src.startswith("**", position):
        return False
    # In a list item only a line that is not indented as the item is; in a quote none.
    if (state.level and indent >= state.blkIndent) or (begin and state.src[begin - 1] != "\n"):
        return False
    match = FIELD.match(state.src, position, state.eMarks[line])
    if match is None:
        return False
    name = " ".join(match["name"].split())
    known = known_field(name, extended=state.env["extended"])
    if known is None:
        state.env["suspects"].setdefault(line, name)
        # It stays text, but not that of a list's item above it: such an item may be a command.
        return silent and bool(state.level)
    if silent:
        return True
    last = line
    if state.env["comments"] and (closed := _comment(state, line, match.end())):
        while last + 1 < state.lineMax and state.eMarks[last] < closed:
            last += 1
    token = state.push("field", "", 0)
    token.map = [line, last + 1]
    token.content = state.src[match.end() : state.eMarks[last]]
    token.meta = {
        "name": name,
        "known": known,
        "column": position - begin + 1,
        "value": match.end() - begin + 1,
    }
    state.line = last + 1
    return True


def _block(state: "StateBlock", line: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it-py's signature
    """Block rule: asks only the rules that a line's first character can begin; all others are a paragraph."""
    if state.is_code_block(line):
        return bool(state.env["code"](state, line, end, silent))
    first = state.src[state.bMarks[line] + state.tShift[line]]
    if first in "-*+" and _flat_list(state, line):
        return True
    return any(rule(state, line, end, silent) for rule in state.env["rules"].get(first, ())) or _paragraph(
        state, line, end, silent
    )


def _flat_list(state: "StateBlock", start: int) -> bool:
    """Block rule: a list whose items are a line of text each, as most of a plan's are, in one token.

    It takes only what markdown-it-py's own rule makes the same of; that would make three tokens of each item,
    and take most of the time of a long plan.
    """
    if state.level or state.sCount[start]:
        return False
    marker = state.src[state.bMarks[start]]
    items: list[str] = []
    line = start
    while line < state.lineMax and (item := FLAT_ITEM.match(state.src, state.bMarks[line], state.eMarks[line])):
        if item[1] != marker:
            break
        items.append(item[2].rstrip(" \t"))
        line += 1
    open_comment = bool(items) and state.env["comments"] and "<!--" in items[-1]
    if not items or open_comment or not _ends_list(state, line):
        return False
    token = state.push("flat_list", "", 0)
    token.map = [start, line]
    token.meta = {"items": items}
    state.line = line
    return True


def _ends_list(state: "StateBlock", line: int) -> bool:
    """Return whether a line certainly continues neither the list above it nor the list's last item."""
    following = state.skipEmptyLines(line)
    if following >= state.lineMax:
        return True
    if state.sCount[following]:
        return False
    first = state.src[state.bMarks[following]]
    if first in LIST_STARTS:
        return first == "*" and FIELD.match(state.src, state.bMarks[following]) is not None
    return following > line or _begins(state, following, first)


def _paragraph(state: "StateBlock", start: int, _end: int, _silent: bool) -> bool:  # noqa: FBT001 - likewise
    """Block rule: a paragraph, or a heading that is underlined."""
    rules = state.env["rules"]
    outer, state.parentType = state.parentType, "paragraph"
    underline = ""
    line = start + 1
    commented = 0
    checked = start
    while line < state.lineMax:
        position = state.bMarks[line] + state.tShift[line]
        if position >= state.eMarks[line]:
            break
        first = state.src[position]
        if _ends_item(state, line, position):
            break
        if first in rules and 0 <= state.sCount[line] <= state.blkIndent + _MARGIN:
            while state.env["comments"] and checked < line:
                commented = max(commented, _comment(state, checked, max(commented, state.bMarks[checked])))
                checked += 1
            if state.bMarks[line] >= commented:
                underline = _underline(state, line)
                if underline or _begins(state, line, first):
                    break
        line += 1
    token = state.push("setext" if underline else "text", "", 0)
    token.content = state.getLines(start, line, state.blkIndent, keepLastLF=False).strip(" \t\n")
    token.markup = underline
    state.line = line + 1 if underline else line
    token.map = [start, state.line]
    state.parentType = outer
    return True


def _ends_item(state: "StateBlock", line: int, position: int) -> bool:
    """Whether a line below the item of a list, and not indented as it is, is a field that is not bold."""
    is_lazy = state.level and not state.env["extended"] and state.sCount[line] < state.blkIndent
    return bool(is_lazy) and _PLAIN_FIELD.match(state.src, position, state.eMarks[line]) is not None


def _begins(state: "StateBlock", line: int, first: str) -> bool:
    """Whether a line begins a block that ends the paragraph above it."""
    silent = True
    return any(rule(state, line, state.lineMax, silent) for rule in state.env["rules"].get(first, ()))


def _underline(state: "StateBlock", line: int) -> str:
    if state.level or state.sCount[line] < state.blkIndent:
        return ""
    text = state.src[state.bMarks[line] : state.eMarks[line]].strip(" \t")
    return text[0] if text[0] in "=-" and not text.strip(text[0]) else ""


def _comment(state: "StateBlock", line: int, begin: int) -> int:
    """Return where a comment ends that text on this line begins and leaves open, else 0.

    As in any paragraph, a comment does not go beyond a blank line.
    """
    end = state.eMarks[line]
    if not any(found.lastgroup == "open" for found in _CODE_OR_COMMENT.finditer(state.src, begin, end)):
        return 0
    if end < state.env.get("unclosed", 0):
        return 0
    found = _COMMENT_END.search(state.src, end)
    if found is None or found[0] != "-->":
        # Remembered, so that a long text of open comments is not searched to its end for each of them.
        state.env["unclosed"] = found.end() if found else len(state.src) + 1
        return 0
    return found.end()

r"""Text that a plan of version 2 gives as it is, although it looks like a part of the plan.

A line that begins with a backslash before `**` or `#` is that line without the backslash, neither a field nor a
heading. A text that is nothing but a fence marked `verbatim` is what is in the fence; with `json verbatim` that
is a JSON string, for characters that a text file cannot hold.
"""

import json
import re

from tasks.lazy.patterns import regex
from tasks.text import longest_run

WORD = "verbatim"

_OPENING = regex(r"(?P<fence>`{3,})[ \t]*(?P<json>json[ \t]+)?verbatim[ \t]*")
_ESCAPED = regex(r"(?m)^( {0,3})\\(?=\\*(?:\*\*|#))")


def given(text: str) -> str:
    """Return what a text of a plan says: without its fence or its backslashes."""
    text = text.strip("\n").rstrip()
    inside = _inside(text)
    return _ESCAPED.sub(r"\1", text) if inside is None else inside


def with_escapes(text: str, lines: frozenset[int]) -> str:
    """Return a text with a backslash before each of these lines (0-based), and before what looks like one."""
    return "\n".join(
        re.sub(r"^( {0,3})", r"\1\\", line) if at in lines or _ESCAPED.match(line) else line
        for at, line in enumerate(text.split("\n"))
    )


def fenced(text: str, *, as_json: bool = False) -> str:
    """Return a fence that holds a text exactly."""
    content = json.dumps(text) if as_json else text
    fence = "`" * max(3, longest_run(content) + 1)
    return f"{fence}{'json ' if as_json else ''}{WORD}\n{content}\n{fence}"


def content(info: str, text: str) -> str | None:
    """Return what a fence holds, by the words after its backticks and its text; `None` if it is not marked."""
    words = info.split()
    if words == [WORD]:
        return text.removesuffix("\n")
    return _decoded(text) if words == ["json", WORD] else None


def _inside(text: str) -> str | None:
    first, *lines = text.split("\n")
    opening = _OPENING.fullmatch(first)
    if opening is None:
        return None
    closing = re.compile(rf"{opening['fence']}`*[ \t]*")
    end = next((at for at, line in enumerate(lines) if closing.fullmatch(line)), None)
    if end is None or end + 1 < len(lines):
        return None
    inside = "\n".join(lines[:end])
    return _decoded(inside) if opening["json"] else inside


def _decoded(text: str) -> str | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) else None

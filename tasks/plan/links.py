"""Read **Dependencies:** fields, and find cycles among dependencies."""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tasks.diagnostics import Report, quoted
from tasks.plan.blocks import Block, Document, without_comments
from tasks.plan.fields import SILENT
from tasks.plan.files import LISTS, without_checkbox
from tasks.plan.sections import GROUP_NUMBER, GROUP_WORDS, Field

_Name = TypeVar("_Name", bound=Hashable)

_WORDS = {"batches": "batch", "batch": "batch", "tasks": "task", "task": "task"}
_WORDS |= {word + end: word for word in GROUP_WORDS.split("|") for end in ("s", "")}
_ID = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}[a-z]?"
_REFERENCE = re.compile(
    rf"(?i)(?P<word>{'|'.join(_WORDS)})?\s*#?(?P<id>{_ID})(?:\s*(?:[-–]|to)\s*(?P<last>[0-9]{{1,9}}))?"  # noqa: RUF001 - the dashes that people type
)
_OF_GROUP = re.compile(rf"(?i)(?P<word>{GROUP_WORDS})s?\s+#?(?P<id>{GROUP_NUMBER})(?P<last>)?")
_TITLED = re.compile(rf"(?i)(?P<head>(?:batch|task|{GROUP_WORDS})\s*#?{_ID})(?:\s*[:–—]|\s+-)\s.*", re.DOTALL)  # noqa: RUF001 - likewise
_REMARK = re.compile(r"\([^()]*\)")
_SPLIT = re.compile(r"(?i)\s*(?:,\s*and\b|[,;&\n]|\band\b)\s*")
_NOTHING = frozenset({"none", "n/a", "na", "nothing", "no", "-", "–", "—", "no dependencies"})  # noqa: RUF001 - likewise
_NONE = re.compile(r"(?i)[*_]{0,2}(?:none|nothing|n/a)\b[*_]{0,2}(?:\s*[-–—:;,.]|$)")  # noqa: RUF001 - likewise
"""No dependencies, with a remark: `None, it can start at once`."""
_WIDEST = 1000
"""Maximum number of batches in one range."""


@dataclass(frozen=True, slots=True)
class Link:
    """A name under **Dependencies:** and its line and column (1-based).

    `word` is `batch`, `task`, that of a group such as `phase`, or empty.
    """

    word: str
    id: str
    line: int
    column: int

    def label(self, default: str) -> str:
        """Return how messages call it: the word, else a default one, and the number."""
        return f"{self.word or default} {int(self.id) if self.id.isdigit() else self.id}"


def read_links(document: Document, field: Field, report: Report) -> tuple[list[Link], list[Block]]:
    """Return what a **Dependencies:** field names, and the blocks below it that are not its own but text."""
    rest = [block for block in field.blocks if block.kind not in SILENT]
    entries: list[tuple[str, int]] = []
    if field.value:
        entries.append((field.value, field.line))
    continues = not field.value or field.value.endswith((",", ":", "&", " and"))
    if continues and rest and rest[0].kind in LISTS:
        for item in document.children(rest.pop(0)):
            texts = [block for block in document.children(item) if block.kind == "text"]
            entries += [(without_checkbox(block.content), block.start) for block in texts]
    elif continues and rest and rest[0].kind == "text":
        block = rest.pop(0)
        entries += [(line, block.start + offset) for offset, line in enumerate(block.content.split("\n"))]
    if not entries:
        report.error(
            field.line + 1, field.column, f"**{field.label}:** is empty: write `None`, or the dependencies"
        )
    return [link for text, line in entries for link in _read(document, text, line, report)], rest


def _read(document: Document, text: str, line: int, report: Report) -> Iterator[Link]:
    """Yield the names in one line or item. `line` is 0-based."""
    # Without long runs of spaces, over which the splitting would take its time.
    text = re.sub(r"[ \t]+", " ", _REMARK.sub("", without_comments(text)))
    text = text.replace("`", "").replace("**", "").strip()
    if _NONE.match(text):
        return
    if titled := _TITLED.fullmatch(text):
        text = titled["head"]
    word = ""
    column = 0
    for part in _SPLIT.split(text.rstrip(".")):
        name = part.strip()
        if not name or name.lower().strip("*_") in _NOTHING:
            continue
        column = document.column(line, name, column)
        match = _REFERENCE.fullmatch(name) or _OF_GROUP.fullmatch(name)
        if match is None:
            hint = "write `None`, or names such as `Batch 1` and `Task 1.1`"
            report.error(line + 1, column, f"{quoted(name)} is not a dependency; {hint}")
            continue
        word = _WORDS.get((match["word"] or "").lower(), word)
        for found in _range(match, line, column, report):
            yield Link(word, found, line + 1, column)


def _range(match: re.Match[str], line: int, column: int, report: Report) -> Iterator[str]:
    """Yield the ids of a name: one, or each of a range such as `1-3`."""
    first, last = match["id"].lower(), match["last"]
    if last is None:
        yield first
    elif first.isdigit() and 0 <= int(last) - int(first) < _WIDEST:
        yield from map(str, range(int(first), int(last) + 1))
    else:
        report.error(line + 1, column, f"{quoted(match.string)} is not a valid range; name each dependency")


def cycles(edges: Mapping[_Name, Iterable[_Name]]) -> Iterator[list[_Name]]:
    """Yield the cycles among names, each once, as a path that ends where it began."""
    done: set[_Name] = set()
    reported: set[_Name] = set()
    for start in edges:
        path: list[_Name] = []
        place: dict[_Name, int] = {}
        pending = [] if start in done else [(start, iter(edges[start]))]
        if pending:
            place[start] = 0
            path.append(start)
        while pending:
            name, below = pending[-1]
            following = next(below, None)
            if following is None:
                pending.pop()
                path.pop()
                del place[name]
                done.add(name)
            elif following in place:
                circle = path[place[following] :] if {name, following}.isdisjoint(reported) else []
                reported.update(circle)
                if circle:
                    yield [*circle, following]
            elif following not in done and following in edges:
                place[following] = len(path)
                path.append(following)
                pending.append((following, iter(edges[following])))

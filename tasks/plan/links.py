"""Read **Dependencies:** fields, and find cycles among dependencies."""

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from tasks.diagnostics import Report, quoted
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.plan.blocks import Block, Document, without_comments
from tasks.plan.fields import SILENT
from tasks.plan.files import LISTS, without_checkbox
from tasks.plan.sections import GROUP_NUMBER, GROUP_WORDS, Field

_Name = TypeVar("_Name", bound=Hashable)

_WORDS = {"batches": "batch", "batch": "batch", "tasks": "task", "task": "task"}
_WORDS |= {word + end: word for word in GROUP_WORDS.split("|") for end in ("s", "")}
_ID = r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}[a-z]?"
_NAMES = "|".join(_WORDS)
_REFERENCE = regex(
    rf"(?i)(?P<word>{_NAMES})?\s*#?(?P<id>{_ID})(?:\s*(?:[-–]|to|through)\s*(?:task\s*#?)?(?P<last>{_ID}))?"  # noqa: RUF001 - the dashes that people type
)
PLAIN_ID = regex(rf"(?:[A-Za-z]+-?)?{_ID}")
"""What a task may be called in a dependency of version 2, without backticks."""
_EXACT = regex(rf"(?:[Tt]asks?\s+)?(?:`(?P<exact>[^`\s]+)`|#?(?P<plain>{PLAIN_ID.pattern}))")
_JOIN = regex(r"\s*(?:,(?:\s*and\b)?|\band\b)\s*")
_REASON = regex(r"\s*(?:[:–—]|(?<=\s)-)\s+(?P<why>\S.*)", re.DOTALL)  # noqa: RUF001 - likewise
_OF_GROUP = regex(rf"(?i)(?P<word>{GROUP_WORDS})s?\s+#?(?P<id>{GROUP_NUMBER})(?P<last>)?")
_TITLED = regex(rf"(?i)(?P<head>(?:batch|task|{GROUP_WORDS})\s*#?{_ID})(?:\s*[:–—]|\s+-)\s.*", re.DOTALL)  # noqa: RUF001 - likewise
_PREVIOUS = regex(
    r"(?i)(?:(?P<all>all|everything)(?: of)?(?: the)? ?|the )?"
    r"(?:(?:previous|prior|preceding|earlier) ?(?P<what>task|batch|)(?P<several>s|es)?"
    r"|(?P<above>tasks|batches|)(?: above| before)?)"
    r"(?: (?:must be |are |is )?(?:complete[d]?|done|finished))?"
)
"""All that comes before: `All previous tasks`, `all tasks above`, `the previous batch`."""
_BEFORE = regex(
    rf"(?i)(?:(?:the )?completion of|all(?: of)?(?: the)?(?: tasks)?(?: of| in| from)?|after)"
    rf" (?=(?:{_NAMES})\b)"
)
_AFTER = regex(
    r"(?i) (?:(?:must|has to|have to|needs? to|should) be |is |are )?(?:fully )?"
    r"(?:(?:complete[d]?|completion|done|finished|merged|implemented)(?: first)?|first|tasks)$| [✅✔].*$"
)
"""What is said of a name: `Batch 1 complete`, `All of Batch 1`."""
_SENTENCE = regex(rf"(?i)(?<=[0-9a-z ])\. (?=(?-i:[A-Z])(?!(?:{_NAMES})\b))")
_NEXT = regex(rf"(?i) ?(?:[,;&]|,? and) (?=(?:{_NAMES}) ?#?[0-9])")
_REMARK = regex(r"\([^()]*\)")
_SPLIT = regex(r"(?i)\s*(?:,\s*and\b|[,;&\n]|\band\b)\s*")
_NOTHING = frozenset({"none", "n/a", "na", "nothing", "no", "-", "–", "—", "no dependencies"})  # noqa: RUF001 - likewise
_NONE = regex(r"(?i)[*_]{0,2}(?:none|nothing|n/a)\b[*_]{0,2}(?:\s*[-–—:;,.]|$)")  # noqa: RUF001 - likewise
"""No dependencies, with a remark: `None, it can start at once`."""
_DEEPEST = 10
_WIDEST = 1000
"""Maximum number of batches in one range."""


@dataclass(frozen=True, slots=True)
class Link:
    """A name under **Dependencies:** and its line and column (1-based).

    `word` is `batch`, `task`, that of a group such as `phase`, or empty; or `previous`, where `id` is `task`
    or `batch` for the one before, `tasks` or `batches` for all of them. `reason` is why, where a plan of
    version 2 says so.
    """

    word: str
    id: str
    line: int
    column: int
    reason: str = ""

    def label(self, default: str) -> str:
        """Return how messages call it: the word, else a default one, and the number."""
        return f"{self.word or default} {int(self.id) if self.id.isdigit() else self.id}"


def continues_below(field: Field) -> bool:
    """Whether what a **Dependencies:** field names continues in the list below it."""
    return not field.value or field.value.endswith((",", ":", "&", " and"))


def read_links(document: Document, field: Field, report: Report) -> tuple[list[Link], list[Block]]:
    """Return what a **Dependencies:** field names, and the blocks below it that are not its own but text."""
    rest = [block for block in field.blocks if block.kind not in SILENT]
    entries: list[tuple[str, int]] = []
    if field.value:
        entries.append((field.value, field.line))
    continues = continues_below(field)
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
    if document.extended and (names := list(_exact(text))):
        for name, reason in names:
            yield Link("task", name, line + 1, document.column(line, name), reason)
        return
    # Without long runs of spaces, over which the splitting would take its time.
    text = re.sub(r"[ \t]+", " ", _without_remarks(without_comments(text)))
    text = text.replace("`", "").replace("**", "").strip()
    if _NONE.match(text):
        return
    if previous := _previous(text.rstrip(".")):
        yield Link("previous", previous, line + 1, document.column(line, text))
        return
    word = ""
    column = 0
    for part in _names(text):
        name = _AFTER.sub("", _BEFORE.sub("", part.strip(), count=1))
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


def _exact(text: str) -> Iterator[tuple[str, str]]:
    """Yield the ids that a line of version 2 names and nothing else, with the reason if it ends with that."""
    text = text.strip()
    found: list[str] = []
    position = 0
    reason = ""
    while name := _EXACT.match(text, position):
        found.append(name["exact"] or name["plain"])
        position = name.end()
        if join := _JOIN.match(text, position):
            position = join.end()
        elif why := _REASON.fullmatch(text, position):
            reason, position = why["why"], len(text)
            break
        else:
            break
    if text[position:] in {"", "."}:
        yield from ((name, reason) for name in found)


def _without_remarks(text: str) -> str:
    """Return a text without what is in brackets, and without brackets in these."""
    for _ in range(_DEEPEST):
        text, count = _REMARK.subn("", text)
        if not count:
            break
    return text


def _previous(text: str) -> str:
    """Return what a text that means all that comes before means: `tasks`, `task`, `batches` or `batch`."""
    found = _PREVIOUS.fullmatch(text)
    if found is None or not (found["all"] or found["what"]):
        return ""
    what = "batch" if "batch" in text.lower() else "task"
    several = found["all"] or found["several"]
    return (what + ("es" if what == "batch" else "s")) if several else what


def _names(text: str) -> list[str]:
    """Return the names in a line, without titles, and without a sentence that follows them."""
    text = _SENTENCE.split(text, maxsplit=1)[0].rstrip(". ")
    if _TITLED.fullmatch(text) and not _REFERENCE.fullmatch(text):
        heads = (_TITLED.fullmatch(part) for part in _NEXT.split(text))
        text = ", ".join(
            head["head"] if head else part for head, part in zip(heads, _NEXT.split(text), strict=True)
        )
    return _SPLIT.split(text)


def _range(match: re.Match[str], line: int, column: int, report: Report) -> Iterator[str]:
    """Yield the ids of a name: one, or each of a range such as `1-3`."""
    first, last = match["id"].lower(), (match["last"] or "").lower()
    outer, _, begin = first.rpartition(".")
    prefix = f"{outer}." if outer else ""
    end = last.removeprefix(prefix)
    if not last:
        yield first
    elif begin.isdigit() and end.isdigit() and 0 <= int(end) - int(begin) < _WIDEST:
        yield from (f"{prefix}{number}" for number in range(int(begin), int(end) + 1))
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

"""Find the commands in acceptance criteria such as "`make test` → PASS" or "`make test` passes"."""

from collections.abc import Iterator

from tasks.dialects.outline import Outline
from tasks.dialects.prose.commands import looks_like_command
from tasks.dialects.prose.expectations import Outcome, is_silent, outcome_of
from tasks.dialects.prose.verification import can_verify, searches
from tasks.lazy.patterns import regex
from tasks.plan.commands import reads_as_command

_ITEM = regex(r"^\s*(?:[-*+]|[0-9]+[.)])\s+(?:\[[^\]]?\]\s*)?(?P<text>.*)$")
_SPAN = r"(?P<tick{0}>`+)(?!`)(?P<command{0}>.+?)(?<!`)(?P=tick{0})(?!`)"
_CRITERION = regex(
    rf"(?i)(?:\*\*)?(?:(?:run|verify|confirm|ensure|check)(?:\s+that)?:?\s+)?{_SPAN.format('')}"
    rf"(?P<more>(?:\s*(?:,|and|&|\+)\s*`[^`]+`)*)\**\s*"
    r"(?P<arrow>→|->|=>|⇒|➜|:|—|–|-\s)?\s*(?:(?:should|must|still|all|now|runs?|is|are|returns?|completes?|with|both)\s+)*"  # noqa: RUF001 - the dashes that people type
    r"(?P<result>.*)$"
)
_PLAIN = regex(
    r"(?i)(?:pass(?:es)?|succeeds?|success(?:fully)?|green|clean(?:ly)?|compiles?|exits?(?:\s+with)?(?:\s+code)?\s+0"
    r"|(?:no|zero|0|without(?:\s+any)?)\s+(?:\w+\s+)?(?:errors?|failures?|warnings?))\b"
)
_MORE = regex(r"`([^`]+)`")


def commands_that_pass(outline: Outline, start: int, end: int) -> Iterator[tuple[str, int]]:
    """Yield the commands of list items that say that they succeed, each once, with their lines (1-based)."""
    found: dict[str, int] = {}
    for at, line in outline.prose(start, end):
        item = _ITEM.match(line)
        for command in passing_commands(item["text"]) if item else ():
            found.setdefault(command, at + 1)
    yield from found.items()


def passing_commands(text: str) -> tuple[str, ...]:
    """Return the commands of a criterion that begins with them and then says that they succeed."""
    criterion = _CRITERION.match(text.strip())
    if criterion is None or outcome_of(criterion["result"]) is not Outcome.SUCCESS:
        return ()
    if not criterion["arrow"] and not _PLAIN.match(criterion["result"]):
        return ()
    commands = (criterion["command"].strip(), *map(str.strip, _MORE.findall(criterion["more"])))
    if not all(looks_like_command(command) or reads_as_command(command) for command in commands):
        return ()
    is_doubtful = is_silent(criterion["result"]) and any(map(searches, commands))
    return () if is_doubtful else tuple(filter(can_verify, commands))

"""The line of a failed task's output that says why it failed."""

import re
from collections.abc import Sequence

from tasks.lazy.patterns import regex
from tasks.text import printable

WIDTH = 160
"""Characters of a line that is shown."""
_ESCAPE = regex(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_SAYS_WHY = (
    # What a test runner or a compiler says of one failure, and the last line of a traceback.
    regex(r"^(?:E\s|FAILED\s|ERROR\s|FAIL:\s|--- FAIL:|not ok\s|error\[|fatal:\s|panic:\s)"),
    regex(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Failure|Interrupt|Exit)\b(?::|$)"),
    regex(
        r"(?:^|[\s:])(?:error|fatal|failed|failure|cannot|assertion failed|segmentation fault)\b"
        r"|command not found|no such file or directory|denied|not logged in",
        re.IGNORECASE,
    ),
)
"""What a line looks like that says why something failed, the surest first."""
_COUNTS = regex(
    r"[=\-_ ]*(?:\d+ (?:failed|passed|errors?|warnings?|tests?)\b|FAILED \(|FAIL$|error:? \d+$)", re.IGNORECASE
)
"""A line that only counts failures, or says that there was one."""
_LETTERS = regex(r"[^\W_]")
_OWN_NOTE = regex(r"^\[(?:the log is|the agent used|exit code|the rest|timed out).*\]$")
"""A note of this program in a log."""


def failing_line(error: str | None, width: int = WIDTH) -> str:
    """Return the line that says best why a task failed, in at most `width` characters.

    Args:
        error: The error of an outcome: a sentence, then the last lines of its output; secrets are masked.
        width: The longest line, in characters.

    The last line that looks like an error is taken, else the last one that has a letter or a digit, else the
    sentence. An empty text is returned only for an empty error.
    """
    sentence, _, output = (error or "").partition("\n")
    lines = [line for line in map(_clean, output.splitlines()) if _says_something(line)]
    telling = [line for line in reversed(lines) if not _COUNTS.match(line)]
    found = (line for pattern in _SAYS_WHY for line in telling if pattern.search(line))
    return cut(next(found, lines[-1] if lines else _clean(sentence)), width)


def _clean(line: str) -> str:
    """Return a line as plain text, with single spaces; of one that was overwritten, its last state."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return " ".join(printable(_ESCAPE.sub("", last)).split())


def _says_something(line: str) -> bool:
    return bool(_LETTERS.search(line)) and not _OWN_NOTE.match(line)


def cut(text: str, width: int) -> str:
    """Return a text in at most `width` characters; an ellipsis is in place of the rest."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)].rstrip()}…"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names for a bracket: `1.1, 1.2`, and of more than `most` how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

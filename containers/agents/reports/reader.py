"""Read the output of an agent line by line: what its programs have in common."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar

from containers.agents.reports.providers import is_refusal, limit_of, sentence
from containers.agents.reports.times import believed
from containers.terminal_text import plain_text
from tasks.agent_report import MOST_TOKENS, AgentReport, Tokens

Event = Mapping[str, Any]

MAX_MESSAGE = 20_000
"""Characters of an agent's last message that are kept."""
MAX_CALL = 160
"""Characters of a tool call that are shown."""
ARGUMENTS = ("command", "cmd", "file_path", "filePath", "path", "pattern", "url", "query", "description")
"""Arguments of tool calls that say most, in this order."""
CACHED = "of them cached"
HIDDEN = ""
"""What is shown of a line that says nothing to people."""


class Reader:
    """Reads the output of one call of an agent.

    A subclass knows the lines of a program. `line` takes each of them, and says how it is shown; `report` is
    what they have said so far. What grows is bounded: only the last message is kept, cut.

    Args:
        now: When the output is read, with a zone; `None` for the time of each line.
        zone: Zone of the machine that the agent runs on; `None` for this one.
    """

    reads_text: ClassVar[bool] = False
    """Whether it reads lines that are not structured."""

    def __init__(self, now: datetime | None = None, zone: tzinfo | None = None) -> None:
        self._now = now
        self._zone = zone
        self._report = AgentReport()
        self._until: datetime | None = None

    @property
    def report(self) -> AgentReport:
        """What the output has said so far."""
        return self._report

    def line(self, text: str) -> str | None:
        """Take a line without its end, and return how it is shown; `None` for as it is."""
        event = parse_event(text)
        return self.plain(text) if event is None else self.event(event)

    def event(self, _event: Event) -> str | None:
        """Take a structured line; see `line`."""
        return None

    def plain(self, _text: str) -> str | None:
        """Take another line; see `line`."""
        return None

    def said(self, text: object) -> str:
        """Note what the agent says, which it can do only while it is served; return it to be shown."""
        if not isinstance(text, str) or not text.strip():
            return HIDDEN
        self.served()
        self.keep(text)
        return text.strip("\n")

    def keep(self, text: object) -> None:
        """Note what the agent said last, also if it was not served after that."""
        if isinstance(text, str) and text.strip():
            self._report = replace(self._report, last_message=_cut(plain_text(text.strip()), MAX_MESSAGE))

    def served(self) -> None:
        """Note that the provider answers: what failed before was tried again."""
        self._until = None
        self._report = replace(self._report, limit=None, refused=None)

    def failed(self, message: object, *, status: int | None = None, said: str = "") -> str:
        """Note an error of the provider; return it to be shown.

        Args:
            message: The agent's sentence.
            status: The status of HTTP, where it is known.
            said: More that it says, which may have the time of a limit.
        """
        text = message[:MAX_MESSAGE].strip() if isinstance(message, str) else ""
        refused = sentence(text) if is_refusal(text, status) else None
        limit = (
            None if refused else limit_of(text, self.now, self._zone, status=status, said=said[:MAX_MESSAGE])
        )
        if limit and limit.until is None and self._until:
            limit = replace(limit, until=believed(self._until, self.now))
        self._report = replace(self._report, limit=limit, refused=refused)
        return f"error: {sentence(text)}" if text else HIDDEN

    def closed_until(self, moment: datetime | None) -> None:
        """Note the end of a limit that an error names later, without its time."""
        self._until = moment

    def spent(self, *, cost: object = None, tokens: Tokens | None = None) -> None:
        """Note the cost and the tokens of the whole call so far; `None` for what is not said."""
        known = amount(cost)
        self._report = replace(
            self._report,
            cost=self._report.cost if known is None else known,
            tokens=tokens or self._report.tokens,
        )

    @property
    def now(self) -> datetime:
        """When the present line was printed."""
        return self._now or datetime.now(UTC)


def parse_event(text: str) -> Event | None:
    """Return the object of a line that is one whole JSON object; `None` for another line."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def amount(value: object) -> float | None:
    """Return a number of dollars; `None` for anything that cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < MOST_TOKENS and math.isfinite(value) else None


def count(event: object, *names: str) -> int | None:
    """Return the sum of numbers of an object; `None` if it has none of them."""
    values = [event.get(name) for name in names] if isinstance(event, Mapping) else []
    known = [
        value
        for value in values
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS
    ]
    return sum(known) if known else None


def part(event: object, *names: str) -> Event:
    """Return the object at a path of names; an empty one if there is none."""
    for name in names:
        event = event.get(name) if isinstance(event, Mapping) else None
    return event if isinstance(event, Mapping) else {}


def status_of(value: object) -> int | None:
    """Return a status of HTTP."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600 else None  # noqa: PLR2004 - those of HTTP


def call_line(name: object, arguments: object) -> str:
    """Return the line that shows a tool call, such as `→ Bash: npm test`."""
    known = arguments if isinstance(arguments, Mapping) else {}
    most = next((known[key] for key in ARGUMENTS if known.get(key)), None)
    if isinstance(most, list):
        most = " ".join(map(str, most))
    text = most if isinstance(most, str) else json.dumps(known, ensure_ascii=False) if known else ""
    first, *more = text.strip().splitlines() or [""]
    line = f"→ {sentence(str(name))}" + (f": {first}" if first else "")
    return _cut(line, MAX_CALL) if len(line) > MAX_CALL else f"{line} …" if more else line


def error_line(text: object) -> str:
    """Return the line that shows a failed tool call."""
    return f"← error: {sentence(text)}" if isinstance(text, str) and text.strip() else HIDDEN


def objects(value: object) -> list[Event]:
    """Return the objects of a list; an empty list for anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def shown(*lines: str) -> str:
    """Return those of some texts that say something, on lines of their own."""
    return "\n".join(line for line in lines if line)


def summary(report: AgentReport) -> str:
    """Return the line that ends an agent's output: its cost and tokens; empty if it says neither."""
    tokens = report.tokens
    counts = ((tokens.input, "tokens in"), (tokens.cached, CACHED), (tokens.output, "tokens out"))
    counted = [
        f"{number:,} {what}" for number, what in counts if number is not None and (number or what != CACHED)
    ]
    cost = [] if report.cost is None else [f"${report.cost:.4f}"]
    return f"[the agent used {', '.join([*cost, *counted])}]" if cost or counted else HIDDEN


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"

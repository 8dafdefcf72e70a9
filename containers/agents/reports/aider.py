"""aider: its printed lines, and the events of `--analytics-log` (https://aider.chat/docs/more/analytics.html)."""

from containers.agents.reports.reader import HIDDEN, Event, Reader, count, part
from tasks.agent_report import Tokens
from tasks.lazy.patterns import regex

_COST = regex(r"Cost: \$[0-9.]{1,20} message, \$([0-9]{1,9}(?:\.[0-9]{1,12})?) session")
_ERROR = regex(r"litellm\.\w{1,60}(?:Error|Timeout)\b")
_END = regex(r"The API provider|Retrying in |\Z")
_FRAME = regex(r"Tokens: |Aider v|Applied edit to |Main model: |Weak model: |Git repo: |Repo-map: |Warning: ")
MAX_LINE = 1000
"""Characters of a line of a message that are kept."""
MOST_LINES = 100
"""Lines of a message that are kept, at most."""
MOST_ERROR_LINES = 8
"""Lines that one of its errors is wrapped into, at most."""


class AiderReader(Reader):
    """Reads what aider prints.

    Its events, which it writes to a file, are printed at its end. Before that, the cost is known from its text.
    """

    reads_text = True
    _error: tuple[str, ...] = ()
    _tokens = Tokens()
    _text: tuple[str, ...] = ()

    def event(self, event: Event) -> str | None:
        """Take an event; all but those of a message are hidden, since they say nothing of the task."""
        properties = part(event, "properties")
        if not isinstance(event.get("event"), str) or "user_id" not in event:
            return None
        if event["event"] == "message_send":
            self._tokens += Tokens(count(properties, "prompt_tokens"), count(properties, "completion_tokens"))
            self.spent(cost=properties.get("total_cost"), tokens=self._tokens or None)
        return HIDDEN

    def plain(self, text: str) -> str | None:
        """Take a line of its text."""
        if self._error or _ERROR.match(text):
            self._wrapped(text)
        elif cost := _COST.search(text):
            self.said("\n".join(self._text))
            self._text = ()
            self.served()
            self.spent(cost=float(cost[1]))
        elif _FRAME.match(text):
            self._text = ()
        else:
            self._text = (*self._text[1 - MOST_LINES :], text[:MAX_LINE])
        return None

    def _wrapped(self, text: str) -> None:
        """Take a line of an error, which is wrapped at the width of a terminal."""
        ended = self._error and (_END.match(text) or len(self._error) == MOST_ERROR_LINES)
        if not ended:
            self._error = (*self._error, text)
        self.failed(" ".join(line.strip() for line in self._error))
        if ended:
            self._error, self._text = (), ()

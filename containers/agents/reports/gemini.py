"""Gemini CLI: `--output-format stream-json` (https://geminicli.com/docs/cli/headless/)."""

from containers.agents.reports.reader import (
    HIDDEN,
    Event,
    Reader,
    call_line,
    count,
    error_line,
    parse_event,
    part,
    status_of,
)
from tasks.agent_report import Tokens
from tasks.lazy.patterns import regex

MAX_MESSAGE = 20_000
"""Characters of a message that are put together from its parts."""
NOT_LOGGED_IN = (
    "Invalid auth method selected",
    "Please set an Auth method",
    "When using Gemini API, you must specify",
    "When using Vertex AI, you must specify",
)

_ATTEMPT = regex(r"Attempt \d{1,4} failed\W{0,3}(.*)")


class GeminiReader(Reader):
    """Reads the events of Gemini CLI; each has a time. It says no cost.

    A message comes in parts, each in a line of its own.
    """

    reads_text = True
    _message = ""

    def event(self, event: Event) -> str | None:
        """Take an event."""
        if not isinstance(event.get("timestamp"), str):
            return None
        kind = event.get("type")
        if kind == "message":
            return self._part(event)
        self._message = ""
        line: str | None = None
        match kind:
            case "tool_use":
                self.served()
                line = call_line(event.get("tool_name"), event.get("parameters"))
            case "tool_result":
                said = part(event, "error").get("message") or event.get("output")
                line = error_line(said) if event.get("status") == "error" else HIDDEN
            case "error":
                line = self.failed(event.get("message"))
            case "result":
                line = self._result(event)
            case "init":
                line = HIDDEN
        return line

    def plain(self, text: str) -> str | None:
        """Take a line of its log, which may tell why it has no way to log in."""
        if text.startswith(NOT_LOGGED_IN):
            self.failed(text, status=401)
        elif found := _ATTEMPT.match(text):
            self.failed(found[1])
        return None

    def _part(self, event: Event) -> str:
        text = event.get("content")
        if event.get("role") != "assistant" or not isinstance(text, str):
            return HIDDEN
        self._message = (self._message + text if event.get("delta") else text)[:MAX_MESSAGE]
        self.said(self._message)
        return text.strip("\n")

    def _result(self, event: Event) -> str:
        stats = part(event, "stats")
        read, wrote, total = (count(stats, name) for name in ("input_tokens", "output_tokens", "total_tokens"))
        if None not in {read, wrote, total}:  # what the model thought is only in the total
            wrote = max(wrote or 0, (total or 0) - (read or 0))
        self.spent(tokens=Tokens(read, wrote, count(stats, "cached")) or None)
        if event.get("status") != "error":
            self.served()
            return HIDDEN
        message = part(event, "error").get("message")
        if not isinstance(message, str):
            return HIDDEN
        answer = message[message.find("{") : message.rfind("}") + 1]  # [API Error: {"error": {…}}]
        error = part(parse_event(answer), "error")
        return self.failed(error.get("message") or message, status=status_of(error.get("code")), said=answer)

"""Claude Code: `--output-format stream-json` (https://docs.claude.com/en/docs/claude-code/headless)."""

from datetime import datetime, tzinfo

from containers.agents.reports.reader import (
    HIDDEN,
    Event,
    Reader,
    call_line,
    count,
    error_line,
    objects,
    part,
    shown,
    status_of,
)
from containers.agents.reports.times import from_epoch
from tasks.agent_report import Tokens

STATUSES = {
    "authentication_failed": 401,
    "oauth_org_not_allowed": 403,
    "billing_error": 402,
    "rate_limit": 429,
    "overloaded": 529,
    "server_error": 500,
}
"""The `error` of a message or of a retry, as the status of HTTP that it means."""

MOST_OPEN = 50
"""Messages whose events may alternate: those of sub-agents at the same time."""


class ClaudeReader(Reader):
    """Reads the events of Claude Code; each has the id of its session.

    Its result has the cost and all tokens. Before that, the tokens are those of its messages, which come in
    several events each: for a call that is cut off.
    """

    def __init__(self, now: datetime | None = None, zone: tzinfo | None = None) -> None:
        super().__init__(now, zone)
        self._before = Tokens()
        self._latest: dict[str, Tokens] = {}  # by the id of the message

    def event(self, event: Event) -> str | None:
        """Take an event."""
        if not isinstance(event.get("session_id"), str):
            return None
        match event.get("type"):
            case "assistant":
                return self._message(event)
            case "user":
                results = objects(part(event, "message").get("content"))
                return shown(*(error_line(one.get("content")) for one in results if one.get("is_error")))
            case "rate_limit_event":
                info = part(event, "rate_limit_info")
                self.closed_until(
                    from_epoch(info.get("resetsAt")) if info.get("status") == "rejected" else None
                )
            case "system" if event.get("subtype") == "api_retry":
                return self._retry(event)
            case "result":
                return self._result(event)
        return HIDDEN

    def _message(self, event: Event) -> str:
        """Take a message; one with an error is the program's own, and not of the model."""
        error, lines, message = event.get("error"), [], part(event, "message")
        if not error and isinstance(message.get("id"), str):
            self._add(message["id"], _usage(part(message, "usage")))
        for block in objects(message.get("content")):
            if block.get("type") == "tool_use":
                lines.append(call_line(block.get("name"), block.get("input")))
            elif block.get("type") == "text" and error:
                lines.append(self.failed(block.get("text"), status=STATUSES.get(str(error))))
            elif block.get("type") == "text":
                lines.append(self.said(block.get("text")))
        return shown(*lines)

    def _add(self, name: str, tokens: Tokens) -> None:
        """Add the tokens of a message, in place of those that an earlier event of it had."""
        self._latest[name] = tokens
        if len(self._latest) > MOST_OPEN:
            self._before += self._latest.pop(next(iter(self._latest)))
        self.spent(tokens=sum(self._latest.values(), self._before) or None)

    def _retry(self, event: Event) -> str:
        error = event.get("error")
        status = status_of(event.get("error_status")) or STATUSES.get(str(error))
        why = f"{error} ({status})" if status else "connection error"
        return self.failed(f"{why}, attempt {event.get('attempt')}", status=status)

    def _result(self, event: Event) -> str:
        self.spent(cost=event.get("total_cost_usd"), tokens=_tokens(event))
        text = event.get("result")
        if event.get("is_error"):
            errors = event.get("errors")
            text = text or (errors[0] if isinstance(errors, list) and errors else None)
            before = (self.report.limit, self.report.refused)
            line = self.failed(text or event.get("subtype"), status=status_of(event.get("api_error_status")))
            return HIDDEN if any(before) else line  # the message before it said the same
        if isinstance(text, str) and text.strip() and self.report.last_message is None:
            return self.said(text)
        self.served()
        return HIDDEN


def _tokens(event: Event) -> Tokens | None:
    """Return the tokens of a result: of all models if it has them, since `usage` leaves out sub-agents."""
    models: list[Event] = [one for one in part(event, "modelUsage").values() if isinstance(one, dict)]
    total = Tokens()
    for usage in models:
        read = count(usage, "inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
        total += Tokens(read, count(usage, "outputTokens"), count(usage, "cacheReadInputTokens"))
    return total or _usage(part(event, "usage")) or None


def _usage(usage: Event) -> Tokens:
    """Return the tokens of an object of the provider's."""
    read = count(usage, "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return Tokens(read, count(usage, "output_tokens"), count(usage, "cache_read_input_tokens"))

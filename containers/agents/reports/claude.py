"""Claude Code: `--output-format stream-json` (https://docs.claude.com/en/docs/claude-code/headless)."""

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


class ClaudeReader(Reader):
    """Reads the events of Claude Code; each has the id of its session."""

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
        error, lines = event.get("error"), []
        for block in objects(part(event, "message").get("content")):
            if block.get("type") == "tool_use":
                lines.append(call_line(block.get("name"), block.get("input")))
            elif block.get("type") == "text" and error:
                lines.append(self.failed(block.get("text"), status=STATUSES.get(str(error))))
            elif block.get("type") == "text":
                lines.append(self.said(block.get("text")))
        return shown(*lines)

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
    if not models:
        usage = part(event, "usage")
        read = count(usage, "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        total = Tokens(read, count(usage, "output_tokens"), count(usage, "cache_read_input_tokens"))
    return total or None

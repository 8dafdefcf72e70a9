"""opencode: `opencode run --format json` (https://opencode.ai/docs/cli/#run)."""

from containers.agents.reports.reader import (
    HIDDEN,
    Event,
    Reader,
    amount,
    call_line,
    count,
    error_line,
    part,
    shown,
    status_of,
)
from tasks.agent_report import Tokens
from tasks.lazy.patterns import regex

_TRIED = regex(r'level=ERROR .{0,2000}message="stream error" .{0,2000}error\.error="(?:\w{1,40}: )?(.*)"$')
"""A line of its log; the error begins with a name such as AI_APICallError."""


class OpencodeReader(Reader):
    """Reads the events of opencode; each has the id of its session. Its steps have what each of them cost.

    Its log has errors that it does not end at, but tries again after.
    """

    reads_text = True

    def event(self, event: Event) -> str | None:
        """Take an event."""
        if not isinstance(event.get("sessionID"), str):
            return None
        piece = part(event, "part")
        match event.get("type"):
            case "text":
                return self.said(piece.get("text"))
            case "tool_use":
                self.served()
                state = part(piece, "state")
                failed = state.get("error") if state.get("status") == "error" else None
                return shown(call_line(piece.get("tool"), state.get("input")), error_line(failed))
            case "step_finish":
                self._step(piece)
            case "error":
                return self._error(part(event, "error"))
        return HIDDEN

    def plain(self, text: str) -> str | None:
        """Take a line of its log."""
        if found := _TRIED.search(text):
            self.failed(found[1])
        return None

    def _step(self, step: Event) -> None:
        self.served()
        tokens, cost = part(step, "tokens"), amount(step.get("cost"))
        cache = part(tokens, "cache")
        # `input` and `output` leave out the cache and what the model thought.
        new, cached, written = count(tokens, "input"), count(cache, "read"), count(cache, "write")
        read = None if new is None else new + (cached or 0) + (written or 0)
        total = self.report.tokens + Tokens(read, count(tokens, "output", "reasoning"), cached)
        before = self.report.cost
        self.spent(cost=before if cost is None else (before or 0.0) + cost, tokens=total or None)

    def _error(self, error: Event) -> str:
        data = part(error, "data")
        message = data.get("message") or error.get("name")
        more = f"{data.get('responseHeaders') or ''} {data.get('responseBody') or ''}"
        line = self.failed(message, status=status_of(data.get("statusCode")), said=more)
        if error.get("name") == "ProviderAuthError":
            self.failed(message, status=401)
        return line

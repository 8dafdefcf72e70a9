"""Codex: `codex exec --json` (https://developers.openai.com/codex/noninteractive)."""

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
)
from tasks.agent_report import Tokens

EVENTS = ("thread.started", "turn.started", "turn.completed", "turn.failed", "error")
ITEMS = ("item.started", "item.updated", "item.completed")


class CodexReader(Reader):
    """Reads the events of Codex. It says no cost."""

    _before = Tokens()

    def event(self, event: Event) -> str | None:
        """Take an event."""
        kind = event.get("type")
        if kind in ITEMS:
            return self._item(str(kind), part(event, "item"))
        if kind not in EVENTS:
            return None
        if kind == "turn.completed":
            self.served()
            usage = part(event, "usage")
            cached = count(usage, "cached_input_tokens")
            self._before += Tokens(count(usage, "input_tokens"), count(usage, "output_tokens"), cached)
            self.spent(tokens=self._before or None)
        elif kind == "error":
            return self.failed(event.get("message"))
        elif kind == "turn.failed":
            self.failed(part(event, "error").get("message"))  # an event `error` before it says the same
        return HIDDEN

    def _item(self, kind: str, item: Event) -> str | None:
        what, is_over = item.get("type"), kind == "item.completed"
        if what == "command_execution" and not is_over:
            return call_line("shell", item) if kind == "item.started" else HIDDEN
        if what == "mcp_tool_call" and kind == "item.started":
            return call_line(f"{item.get('server')}.{item.get('tool')}", item.get("arguments"))
        return self._ended(str(what), item) if is_over else HIDDEN

    def _ended(self, what: str, item: Event) -> str:
        """Take an item that is over."""
        lines = []
        match what:
            case "agent_message":
                lines.append(self.said(item.get("text")))
            case "command_execution" if item.get("exit_code"):
                lines.append(error_line(f"exit code {item.get('exit_code')}"))
            case "file_change":
                lines += [call_line(one.get("kind"), one) for one in objects(item.get("changes"))]
            case "web_search":
                lines.append(call_line("web search", item))
            case "error":
                lines.append(f"warning: {item.get('message')}")
        return shown(*lines)

"""The formats of agents' output, by name, and the one function that reads a whole output."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from types import MappingProxyType

from containers.agents.reports.aider import AiderReader
from containers.agents.reports.claude import ClaudeReader
from containers.agents.reports.codex import CodexReader
from containers.agents.reports.gemini import GeminiReader
from containers.agents.reports.mini import MiniReader
from containers.agents.reports.opencode import OpencodeReader
from containers.agents.reports.reader import Reader
from tasks.agent_report import AgentReport

FORMATS: Mapping[str, type[Reader]] = MappingProxyType(
    {
        "claude": ClaudeReader,
        "codex": CodexReader,
        "aider": AiderReader,
        "gemini": GeminiReader,
        "opencode": OpencodeReader,
        "mini-swe-agent": MiniReader,
    }
)


def read_report(output: str, format_name: str, now: datetime, zone: tzinfo | None = None) -> AgentReport:
    """Return what the output of an agent says.

    Args:
        output: What it printed, masked or not.
        format_name: A name in `FORMATS`.
        now: When it ended, with a zone.
        zone: Zone of the machine that it ran on; `None` for this one.
    """
    reader = FORMATS[format_name](now, zone)
    for line in output.split("\n"):
        reader.line(line.removesuffix("\r"))
    return reader.report

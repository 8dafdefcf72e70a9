"""Agents that have to wait, because of a limit or a fault of their provider, or that cannot be used at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from anyio import sleep

from pipeline.events import now
from tasks.agent_report import Limit, LimitKind

PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
"""Seconds of the pauses, one after the other, where a limit does not say until when; then the last one."""
_LONGEST_SLEEP = 3600.0
WORDS: Mapping[LimitKind, str] = {
    LimitKind.USAGE: "is at its usage limit",
    LimitKind.RATE: "is at a rate limit",
    LimitKind.OVERLOADED: "has an overloaded provider",
    LimitKind.UNREACHABLE: "cannot reach its provider",
}


@dataclass(slots=True)
class AgentLimits:
    """Which agents of a run wait until when, and which are refused; by the agent's name.

    Args:
        longest: How many seconds a task may wait in all; 0 for not at all.
        until: When agents may continue that an earlier process of the run had to wait for.
        clock: Returns the present time.
    """

    longest: float
    until: dict[str, datetime] = field(default_factory=dict)
    clock: Callable[[], datetime] = now
    refused: dict[str, str] = field(default_factory=dict)
    _pauses: dict[str, int] = field(default_factory=dict)

    def add(self, agent: str, limit: Limit) -> datetime:
        """Add a limit that an agent ran into; return until when it waits."""
        moment = self.clock()
        known = self.until.get(agent)
        if limit.until is not None:
            found = limit.until
        elif known and known > moment:
            found = known  # another task ran into it at the same time
        else:
            count = self._pauses.get(agent, 0)
            self._pauses[agent] = count + 1
            found = moment + timedelta(seconds=PAUSES[min(count, len(PAUSES) - 1)])
        self.until[agent] = found if known is None else max(known, found)
        return self.until[agent]

    def clear(self, agent: str) -> None:
        """Note that a call of an agent ended without a limit: the next pause is a short one."""
        self._pauses.pop(agent, None)

    def remaining(self, agent: str) -> float:
        """Return how many seconds an agent still waits."""
        until = self.until.get(agent)
        return max(0.0, (until - self.clock()).total_seconds()) if until else 0.0

    async def wait(self, agent: str) -> None:
        """Wait until an agent may be called."""
        while seconds := self.remaining(agent):  # noqa: ASYNC110 - the time may be moved meanwhile
            await sleep(min(seconds, _LONGEST_SLEEP))


def describe(agent: str, limit: Limit) -> str:
    """Return why an agent waits, as a sentence."""
    message = limit.message.strip()
    return f"agent {agent} {WORDS[limit.kind]}" + (f": {message}" if message else "")

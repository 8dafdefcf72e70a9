"""Agents that have to wait, because of a limit or a fault of their provider, or that cannot be used at all."""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import datetime, timedelta

from anyio import sleep

from pipeline.events import local_time, now, timestamp
from tasks.agent_report import Limit, LimitKind
from tasks.durations import format_duration
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.outcome import StepResult

PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
"""Seconds of the pauses, one after the other, where a limit does not say until when; then the last one."""
SAME_FAILURES = 3
"""Tasks of an agent, the first ones of a run, that end the same way before it gets no more."""
AT_ONCE = 20.0
"""Seconds within which an agent ends that cannot be used, such as one that is not logged in."""
_VARIABLE = regex(r"[0-9a-f]*[0-9][0-9a-f-]*|/\S+", re.IGNORECASE)
"""What differs between messages that say the same: numbers, ids and paths."""
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
    _worked: set[str] = field(default_factory=set)
    _failures: dict[str, dict[str, str]] = field(default_factory=dict)

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

    def worked(self, agent: str) -> None:
        """Note that a call of an agent succeeded, or changed something: it can be used."""
        self._worked.add(agent)

    def may_be_useless(self, agent: str, result: StepResult) -> bool:
        """Whether a call of an agent ended as if it cannot be used: it failed at once, and none has worked."""
        failed = not (result.ok or result.timed_out or result.cancelled)
        return failed and result.seconds < AT_ONCE and agent not in self._worked

    def failed_at_once(self, agent: str, task: str, result: StepResult) -> str | None:
        """Note such a call; return why the agent gets no more tasks, if its first ones ended the same way."""
        last = next((line.strip() for line in reversed(result.tail.splitlines()) if line.strip()), "")
        code = "no exit code" if result.exit_code is None else f"exit code {result.exit_code}"
        failures = self._failures.setdefault(agent, {})
        failures[task] = _VARIABLE.sub("", f"{code} {result.error} {last.replace(task, '')}")
        if len(failures) < SAME_FAILURES or len(set(failures.values())) > 1:
            return None
        said = f": {last}" if last else ""
        return (
            f"agent {agent} ended the same way for its first {len(failures)} tasks, within seconds "
            f"({code}{said}), so it gets no more; when it works, `patchyard retry` runs them again"
        )

    def notices(self) -> tuple[str, ...]:
        """Return, for the user, which agents wait now, because an earlier process of the run had to."""
        return tuple(
            f"agent {agent} waits for its provider until {local_time(timestamp(until))}; its tasks start then"
            for agent, until in self.until.items()
            if self.remaining(agent) and not self.why_not_waited(agent)
        )

    def remaining(self, agent: str) -> float:
        """Return how many seconds an agent still waits."""
        until = self.until.get(agent)
        return max(0.0, (until - self.clock()).total_seconds()) if until else 0.0

    def why_not_waited(self, agent: str) -> str | None:
        """Return why a task that has not started does not wait for an agent: it may not wait that long."""
        if self.remaining(agent) <= self.longest:
            return None
        longest = format_duration(self.longest) if self.longest else "0"
        until = local_time(timestamp(self.until[agent]))
        return f"agent {agent} is at a limit until {until}, and wait_for_limits is {longest}"

    async def wait(self, agent: str) -> None:
        """Wait until an agent may be called."""
        while seconds := self.remaining(agent):  # noqa: ASYNC110 - the time may be moved meanwhile
            await sleep(min(seconds, _LONGEST_SLEEP))


def describe(agent: str, limit: Limit) -> str:
    """Return why an agent waits, as a sentence."""
    message = limit.message.strip()
    return f"agent {agent} {WORDS[limit.kind]}" + (f": {message}" if message else "")

"""mini-swe-agent: its printed lines, and what its command takes from the trajectory at the end.

The trajectory (https://mini-swe-agent.com/latest/usage/output_files/) is indented JSON of the whole
conversation, too large for a line. Its command prints of it the members that say how it went, in the order in
which they stand there, as one line of JSON (`READ_TRAJECTORY` of `containers.agents.trajectory`).
"""

from collections.abc import Mapping

from containers.agents.reports.reader import HIDDEN, Event, Reader, amount, count, objects
from tasks.agent_report import Tokens
from tasks.lazy.patterns import regex

_STEP = regex(r"mini-swe-agent \(step [0-9]{1,6}, \$([0-9]{1,9}\.[0-9]{1,6})\)")
_RETRY = regex(r"Retrying \S{1,100} in [0-9.]{1,9} seconds as it raised (.{1,2000})")


ENDED = ("Submitted", "")
"""Its exit status after success, and that of a trajectory that was saved before its end."""


class MiniReader(Reader):
    """Reads what mini-swe-agent prints: the cost to the cent before each step, and exactly at the end."""

    reads_text = True

    def event(self, event: Event) -> str | None:
        """Take the line of the trajectory."""
        members = objects(event.get("trajectory"))
        if not members or len(event) != 1:
            return None
        tokens = Tokens()
        for member in members:
            cached = count(member, "cached_tokens")
            tokens += Tokens(count(member, "prompt_tokens"), count(member, "completion_tokens"), cached)
        cost = _last(members, "instance_cost")
        self.spent(cost=amount(cost) or None, tokens=tokens or None)
        self.keep(_last(members, "content"))
        if isinstance(status := _last(members, "exit_status"), str) and status not in ENDED:
            return self.failed(f"{status}: {_last(members, 'exception_str') or ''}")
        return HIDDEN

    def plain(self, text: str) -> str | None:
        """Take a line of its text."""
        if found := _STEP.match(text):
            self.served()
            self.spent(cost=float(found[1]))
        elif found := _RETRY.match(text):
            self.failed(found[1])
        return None


def _last(members: list[Event], name: str) -> object:
    """Return the last member of a name."""
    values = [member[name] for member in members if isinstance(member, Mapping) and name in member]
    return values[-1] if values else None

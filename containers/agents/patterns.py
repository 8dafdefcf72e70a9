"""Read the output of an agent with the patterns that its declaration has."""

import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from containers.agents.builtin import Agent
from containers.agents.reports.providers import kind_of, sentence
from containers.agents.reports.times import believed, find_time, from_epoch
from tasks.agent_report import AgentReport, Limit, LimitKind


def read_cost(agent: Agent, output: str) -> float | None:
    """Return the last cost that an agent reported in its output, in US dollars; `None` if it reported none."""
    if agent.cost is None:
        return None
    found = [match["cost"] for match in re.finditer(agent.cost, output)]
    try:
        return float(found[-1]) if found else None
    except (TypeError, ValueError):
        return None


def read_limit(agent: Agent, output: str, now: datetime) -> Limit | None:
    """Return the limit that an agent's own pattern finds last in its output; `None` if it finds none."""
    found = None
    for found in re.finditer(agent.limit, output) if agent.limit is not None else ():  # noqa: B007 - the last one
        pass
    if found is None:
        return None
    groups, message = found.groupdict(), sentence(found[0])
    until = None
    with suppress(ValueError, OverflowError):
        if groups.get("seconds"):
            until = believed(now + timedelta(seconds=float(groups["seconds"])), now)
        elif (said := groups.get("until")) is not None:
            known = from_epoch(float(said)) if said.isdigit() else None
            until = believed(known, now) or find_time(f"until {said}", now)
    return Limit(kind_of(message) or LimitKind.USAGE, until, message)


def with_patterns(agent: Agent, report: AgentReport, output: str, now: datetime) -> AgentReport:
    """Return a report with what the agent's own patterns find in its output, which they know better.

    Args:
        agent: The agent.
        report: What its format says.
        output: The end of what it printed.
        now: When it ended, with a zone.
    """
    cost, limit = read_cost(agent, output), read_limit(agent, output, now)
    return replace(report, cost=report.cost if cost is None else cost, limit=limit or report.limit)

"""What the patterns of an agent find in its output."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from containers.agents.builtin import Agent
from containers.agents.patterns import read_cost, read_limit, with_patterns
from tasks.agent_report import AgentReport, Limit, LimitKind, Tokens

NOW = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)


def test_the_cost_is_what_the_agent_says_last() -> None:
    agent = Agent("mine", "mine", cost=r"cost: \$(?P<cost>[0-9.]+)")
    assert read_cost(agent, "cost: $0.1\ncost: $0.25") == 0.25
    assert read_cost(agent, "Invalid API key") is None
    assert read_cost(Agent("mine", "mine"), "cost: $0.1") is None


@pytest.mark.parametrize(
    ("pattern", "output", "kind", "seconds"),
    [
        (r"quota used up", "quota used up", LimitKind.USAGE, None),
        (r"wait (?P<seconds>[0-9.]+)", "overloaded\nwait 5\nwait 90.5\n", LimitKind.USAGE, 90.5),
        (r"too many requests, wait (?P<seconds>\d+)?", "too many requests, wait ", LimitKind.RATE, None),
        (r"wait (?P<seconds>\S+)", "wait long", LimitKind.USAGE, None),
        (r"wait (?P<seconds>\d+)", f"wait {'9' * 400}", LimitKind.USAGE, None),
        (r"until (?P<until>.+)", "until 2026-11-28T21:00:00Z", LimitKind.USAGE, 3600.0),
        (r"until (?P<until>.+)", "until 1795899600", LimitKind.USAGE, 3600.0),
        (r"until (?P<until>.+)", "until 9:30 PM (UTC)", LimitKind.USAGE, 5400.0),
        (r"until (?P<until>.+)", "until further notice", LimitKind.USAGE, None),
        (r"overloaded until (?P<until>.+)", "overloaded until 2 hours", LimitKind.OVERLOADED, None),
    ],
)
def test_an_agent_s_own_pattern_finds_a_limit(
    pattern: str, output: str, kind: LimitKind, seconds: float | None
) -> None:
    limit = read_limit(Agent("mine", "mine", limit=pattern), output, NOW)
    assert limit
    assert (limit.kind, limit.until) == (kind, None if seconds is None else NOW + timedelta(seconds=seconds))


def test_patterns_add_to_what_the_format_says() -> None:
    known = AgentReport(0.5, Tokens(1, 2, 3), "Done.")
    agent = Agent("mine", "mine", cost="cost (?P<cost>[0-9.]+)", limit="quota")
    assert with_patterns(agent, known, "", NOW) == known
    both = with_patterns(agent, known, "cost 0.75, quota", NOW)
    assert both == replace(known, cost=0.75, limit=Limit(LimitKind.USAGE, None, "quota"))


def test_cost_that_is_not_a_number_is_ignored() -> None:
    agent = Agent("mine", "mine", cost=r"cost: (?P<cost>\S+)?")
    assert read_cost(agent, "cost: 1.2.3") is None
    assert read_cost(agent, "cost: ") is None
    assert read_cost(agent, "cost: 7") == 7

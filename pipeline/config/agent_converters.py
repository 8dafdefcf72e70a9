"""Convert what the configuration says of agents."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from containers.agents.builtin import BUILT_IN, Agent
from pipeline.config.converters import (
    parse_commands,
    parse_dollars,
    parse_environment,
    parse_secret_names,
    parse_text,
)
from tasks.agent_report import Price


def parse_prices(value: object) -> dict[str, Price]:
    """Return the prices of tokens by the name of an agent."""
    if not isinstance(value, dict):
        raise ValueError("expected a table for each agent")  # noqa: TRY004 - one kind of error for all
    found = {}
    for name, table in value.items():
        if not isinstance(table, dict) or not table.keys() <= {"input", "output", "cached"}:
            raise ValueError(f"{name} should be a table with input, output and cached")
        try:
            amounts = {kind: parse_dollars(amount) for kind, amount in table.items()}
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        found[str(name)] = Price(**{kind: amount or 0.0 for kind, amount in amounts.items()})
    return found


def parse_pattern(value: object) -> str:
    """Return a regular expression."""
    text = parse_text(value)
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


def parse_limit_pattern(value: object) -> str:
    """Return a regular expression that may have one of the groups `until` and `seconds`."""
    text = parse_pattern(value)
    if unknown := sorted(re.compile(text).groupindex.keys() - {"until", "seconds"}):
        raise ValueError(f"{text!r} has a group {unknown[0]}: a limit has the groups until and seconds")
    return text


def parse_format(value: object) -> str:
    """Return the name of a format of agents' output."""
    from containers.agents.reports.formats import FORMATS  # noqa: PLC0415 - start-up stays quick

    text = parse_text(value)
    if text not in FORMATS:
        raise ValueError(f"{text!r} is not a format of output: those are {', '.join(FORMATS)}")
    return text


def parse_cost_pattern(value: object) -> str:
    """Return a regular expression with a group `cost`."""
    text = parse_pattern(value)
    if "cost" not in re.compile(text).groupindex:
        raise ValueError(f"{text!r} needs a group such as (?P<cost>[0-9.]+)")
    return text


AGENT_CONVERTERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "command": parse_text,
        "image": parse_text,
        "setup": parse_commands,
        "secrets": parse_secret_names,
        "environment": parse_environment,
        "version": parse_text,
        "cost": parse_cost_pattern,
        "format": parse_format,
        "limit": parse_limit_pattern,
    },
)


def parse_agents(value: object) -> dict[str, Agent]:
    """Return the agents that `[agents.NAME]` tables declare or change."""
    if not isinstance(value, dict):
        raise ValueError('expected tables such as [agents.NAME] with command = "…"')  # noqa: TRY004 - one kind of error for all
    return {str(name): _agent(str(name), agent) for name, agent in value.items()}


def _agent(name: str, value: object) -> Agent:
    """Return the agent that a table declares; a built-in agent keeps the fields that the table leaves out."""
    table = {"command": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        raise ValueError(f'{name} needs command = "…"')  # noqa: TRY004 - one kind of error for all
    if unknown := [key for key in table if key not in AGENT_CONVERTERS]:
        raise ValueError(f"{name}.{unknown[0]}: an agent has {', '.join(AGENT_CONVERTERS)}")
    agent_fields: dict[str, Any] = {}
    for key, item in table.items():
        try:
            agent_fields[key] = AGENT_CONVERTERS[key](item)
        except ValueError as error:
            raise ValueError(f"{name}.{key}: {error}") from None
    known = BUILT_IN.get(name)
    if known is None and "command" not in agent_fields:
        raise ValueError(f'{name} needs command = "…"')
    return replace(known or Agent(name, command=""), **agent_fields)

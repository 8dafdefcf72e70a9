"""What an agent says at its end: cost, tokens, its last message, and why it could not continue."""

from datetime import datetime
from enum import StrEnum

from tasks.lazy.dataclasses import dataclass

MOST_TOKENS = 2**53
"""More than any agent can use; no number above it is believed."""


class LimitKind(StrEnum):
    """What stops an agent without a failure of its task."""

    USAGE = "usage"  # a share of a plan, a quota or a credit is used up
    RATE = "rate"  # too many requests in a short time
    OVERLOADED = "overloaded"  # the provider answers, and cannot serve
    UNREACHABLE = "unreachable"  # the provider does not answer


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that an agent ran into.

    `until` is when it may continue, with a zone; `None` if it does not say. `message` is its own sentence.
    """

    kind: LimitKind
    until: datetime | None
    message: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of an agent's calls; `None` for what it does not say.

    `input` counts all that was read by the model; `cached` is the part of it that came from the provider's
    cache. `output` counts reasoning, too.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None

    @property
    def known(self) -> dict[str, int]:
        """Those that are known, by name."""
        counts = {"input": self.input, "output": self.output, "cached": self.cached}
        return {name: count for name, count in counts.items() if count is not None}

    def __str__(self) -> str:
        """Return them for a table, such as `12k in, 1.5k out`; empty if none is known."""
        counts = {"in": self.input, "out": self.output}
        return ", ".join(f"{_short(count)} {name}" for name, count in counts.items() if count is not None)

    def __bool__(self) -> bool:
        """Whether any of them is known."""
        return bool(self.known)

    def __add__(self, other: "Tokens") -> "Tokens":
        """Return the sum, at most `MOST_TOKENS`; what only one of them says is as that says."""
        return Tokens(
            _sum(self.input, other.input), _sum(self.output, other.output), _sum(self.cached, other.cached)
        )


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in US dollars. Without `cached`, those cost as other input does."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def cost_of(self, tokens: Tokens) -> float:
        """Return what tokens cost, in US dollars."""
        cached = tokens.cached or 0
        fresh = max(0, (tokens.input or 0) - cached)
        of_cached = self.input if self.cached is None else self.cached
        return (fresh * self.input + cached * of_cached + (tokens.output or 0) * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says in its output.

    `cost` is in US dollars. `last_message` is what it said last, as text. `limit` is set when its last call
    ended at a limit, and `refused` says why its provider does not accept it: it is not logged in, has no key,
    or the key is refused.
    """

    cost: float | None = None
    tokens: Tokens = NO_TOKENS
    last_message: str | None = None
    limit: Limit | None = None
    refused: str | None = None


def _short(count: int) -> str:
    """Return a number with at most three digits and a unit."""
    for size, unit in ((10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return str(count)


def _sum(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one + other, MOST_TOKENS)

"""What an agent says at its end: cost, tokens, its last message, and why it could not continue."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


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

    def __bool__(self) -> bool:
        """Whether any of them is known."""
        return any(count is not None for count in (self.input, self.output, self.cached))

    def __add__(self, other: "Tokens") -> "Tokens":
        """Return the sum; what only one of them says is as that says."""
        return Tokens(
            _sum(self.input, other.input), _sum(self.output, other.output), _sum(self.cached, other.cached)
        )


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What an agent says in its output.

    `cost` is in US dollars. `last_message` is what it said last, as text. `limit` is set when its last call
    ended at a limit, and `refused` says why its provider does not accept it: it is not logged in, has no key,
    or the key is refused.
    """

    cost: float | None = None
    tokens: Tokens = Tokens()
    last_message: str | None = None
    limit: Limit | None = None
    refused: str | None = None


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other

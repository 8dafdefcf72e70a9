"""What agents used, as far as they say it, and the sums of it: of an attempt, a task, a group or a run."""

from collections.abc import Iterable

from tasks.agent_report import NO_TOKENS, Tokens
from tasks.lazy.dataclasses import dataclass
from tasks.lazy.patterns import regex
from tasks.text import dollars

DIGITS = 9
"""Digits of a sum in US dollars: three times 0.40 is 1.2, and not 1.2000000000000002."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Cost and tokens of calls of agents.

    `cost` is in US dollars, `None` where no agent said it. `is_partial` says that it is not the cost of all
    `tokens`, since another agent said its tokens and no cost.
    """

    cost: float | None = None
    tokens: Tokens = NO_TOKENS
    is_partial: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum; what only one of them says is as that says."""
        known = [one for one in (self.cost, other.cost) if one is not None]
        is_partial = self.is_partial or other.is_partial
        if self and other and len(known) == 1:
            is_partial = True
        return Usage(round(sum(known), DIGITS) if known else None, self.tokens + other.tokens, is_partial)

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self.cost is not None or bool(self.tokens)

    def __str__(self) -> str:
        """Return them in a few words, such as `$0.42, tokens: 12k in, 1.5k out`; empty if nothing is known."""
        at_least = "at least " if self.is_partial else ""
        words = [] if self.cost is None else [f"{at_least}{dollars(self.cost)}"]
        return ", ".join([*words, *([f"tokens: {self.tokens}"] if self.tokens else [])])


NO_USAGE = Usage()


def total(usages: Iterable[Usage]) -> Usage:
    """Return the sum of what was used."""
    return sum(usages, NO_USAGE)


@dataclass(frozen=True, slots=True)
class Work:
    """The work on a task, of all its attempts in a run: wall time in seconds, and what its agent used."""

    seconds: float = 0.0
    usage: Usage = NO_USAGE


_BUDGET_SPENT = regex(r"the budget of the (run|task), \$[0-9.,]+, is spent \(")


def budget_spent(whose: str, limit: float, spent: float) -> str:
    """Return the sentence that the budget of a `run` or a `task` is spent; amounts are in US dollars."""
    return f"the budget of the {whose}, {dollars(limit)}, is spent ({dollars(spent)})"


def spent_budgets(error: str | None) -> set[str]:
    """Return whose budgets are spent, `run` or `task`, as the error of an outcome says it."""
    return {match[1] for match in _BUDGET_SPENT.finditer(error or "")}

"""Sums of what agents used claim nothing that no agent said."""

import pytest

from tasks.agent_report import Tokens
from tasks.groups import GroupUsage, usage_of_groups
from tasks.model import NATIVE, Batch, Plan, Task
from tasks.outcome import Outcome, Status
from tasks.usage import NO_USAGE, Usage, total

TOKENS = Tokens(12_000, 1500)


@pytest.mark.parametrize(
    ("used", "text"),
    [
        ([], ""),
        ([NO_USAGE, NO_USAGE], ""),
        ([Usage(0.25), NO_USAGE, Usage(0.5)], "$0.75"),
        ([Usage(0.0)], "$0.00"),
        ([Usage(None, TOKENS), NO_USAGE], "tokens: 12k in, 1.5k out"),
        ([Usage(None, TOKENS), Usage(None, TOKENS)], "tokens: 24k in, 3.0k out"),
        ([Usage(0.5, TOKENS)], "$0.50, tokens: 12k in, 1.5k out"),
        ([Usage(None, TOKENS), Usage(0.5)], "at least $0.50, tokens: 12k in, 1.5k out"),
        ([Usage(0.5), Usage(None, TOKENS), Usage(0.5)], "at least $1.00, tokens: 12k in, 1.5k out"),
    ],
)
def test_sum(used: list[Usage], text: str) -> None:
    assert str(total(used)) == text
    assert str(total(reversed(used))) == text
    assert bool(total(used)) == bool(text)


def outcome(task: str, cost: float | None = None) -> Outcome:
    return Outcome(task, "", 1, Status.CHANGED, cost=cost)


def test_groups_are_the_batches_or_those_of_the_plan() -> None:
    batches = (Batch(1, "A", (Task("1.1", "", 1), Task("1.2", "", 1))), Batch(2, "B", (Task("2.1", "", 2),)))
    outcomes = [outcome("1.1", 0.25), outcome("1.2", 0.5), outcome("2.1")]
    plan = Plan("demo", "", "", batches, dialect=NATIVE)
    assert usage_of_groups(plan, outcomes) == (GroupUsage(1, "A", Usage(0.75)),)

    tasks = tuple(Task(f"1.{number}", "", 1, group=group) for number, group in ((1, "X"), (2, "Y"), (3, "X")))
    grouped = Plan("demo", "", "", (Batch(1, "", tasks),), dialect="spec-kit")
    outcomes = [outcome("1.1", 0.25), outcome("1.2", 0.5), outcome("1.3", 0.125)]
    found = usage_of_groups(grouped, outcomes)
    assert found == (GroupUsage(1, "X", Usage(0.375)), GroupUsage(2, "Y", Usage(0.5)))
    plain = Plan("demo", "", "", (Batch(1, "", (Task("1.1", "", 1),)),), dialect="spec-kit")
    assert usage_of_groups(plain, outcomes) == ()

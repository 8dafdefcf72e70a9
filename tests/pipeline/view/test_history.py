"""The attempts at a task, and their rounds: why each was made, how it ended, what it used."""

from datetime import UTC, datetime

from pipeline.store.records import StoredAttempt, StoredRound, StoredStep
from pipeline.view.history import history
from tasks.agent_report import Tokens
from tasks.conflicts import Cause
from tasks.model import StepKind
from tasks.outcome import Failure, Status

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


def attempt(
    number: int, status: Status | None, cause: Cause | None = None, seconds: float = 1.0
) -> StoredAttempt:
    return StoredAttempt(
        "1.1",
        number,
        "T",
        1,
        MOMENT,
        start="a" * 40,
        status=status,
        cause=cause,
        seconds=seconds,
        error="why\nlog",
    )


def call(number: int, cost: float | None) -> StoredStep:
    return StoredStep(number, "agent", "mine", 0, 0.5, None, MOMENT, cost, Tokens(1000, 10))


def test_each_says_why_it_was_made() -> None:
    made = [
        attempt(4, Status.CHANGED, Cause(("1.0",), ("a.txt",))),
        attempt(1, Status.FAILED),
        attempt(2, None),
        attempt(3, Status.CHANGED),
        attempt(5, Status.CHANGED),
    ]
    found = history(made, (), {})
    assert [(one.number, one.why) for one in found] == [
        (1, "first"),
        (2, "retry"),
        (3, "after an interrupt"),
        (4, "conflict with 1.0 in a.txt"),
        (5, "run again"),
    ]
    assert [str(one) for one in found][:2] == [
        f"attempt 1 (first, from {'a' * 12}): failed, 1.0 s",
        f"attempt 2 (retry, from {'a' * 12}): without an end, 1.0 s",
    ]
    assert (found[0].error, found[0].started_at[:10], found[0].is_plain) == ("why", "2030-01-01", True)


def test_rounds_and_what_was_used() -> None:
    failure = Failure(StepKind.VERIFY, "make test", 2)
    rounds = [
        StoredRound("1.1", 1, 1, 2.0, 0.25, failure, None, Tokens(1000, 10)),
        StoredRound("1.1", 1, 2, 3.0, None, None, None, Tokens(1000, 10)),
    ]
    steps = {("1.1", 1): [call(1, 0.25), call(2, 0.5)], ("1.2", 1): [call(1, 9.0)]}
    (one,) = history([attempt(1, Status.CHANGED, seconds=5.25)], rounds, steps)
    assert (one.cost, one.tokens, one.is_plain) == (0.75, Tokens(2000, 20), False)
    assert str(one).endswith("changed, 5.2 s, $0.75, tokens: 2.0k in, 20 out")
    assert [str(each) for each in one.rounds] == [
        "try 1: verify `make test`: exit code 2, 2.0 s, $0.25, tokens: 1.0k in, 10 out",
        "try 2 (repair after verify `make test`: exit code 2): succeeded, 3.0 s, tokens: 1.0k in, 10 out",
    ]

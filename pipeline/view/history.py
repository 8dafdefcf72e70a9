"""The attempts at a task in a run, and their rounds: why each was made, how it ended, what it used."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.events import timestamp
from pipeline.store.records import StoredAttempt, StoredRound, StoredStep
from pipeline.store.store import Store
from tasks.agent_report import NO_TOKENS, Tokens
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import Failure, Status
from tasks.text import first_line
from tasks.usage import Usage, total

FIRST, RETRY, RESUMED, AGAIN = "first", "retry", "after an interrupt", "run again"
WITH_FEEDBACK = "retry with feedback"
"""Why an attempt was made that no conflict is the cause of."""


@dataclass(frozen=True, slots=True)
class RoundPart:
    """A round of an attempt that ended: the agent, or the commands, and the verification after them.

    `why` is what it repairs, and empty for the first; `ended` how it ended, in a few words. `seconds` is wall
    time, `cost` in US dollars.
    """

    number: int
    why: str
    ended: str
    seconds: float
    cost: float | None = None
    tokens: Tokens = NO_TOKENS

    @property
    def usage(self) -> Usage:
        """What its agent used."""
        return Usage(self.cost, self.tokens)

    def __str__(self) -> str:
        """Say it in one line."""
        return _line(f"try {self.number}", self.why, self.ended, self.seconds, self.usage)


@dataclass(frozen=True, slots=True)
class AttemptPart:
    """An attempt at a task.

    `why` says why it was made: it was the first, it followed a conflict or a rerun of another task, or the user
    asked for it. `start` is the commit that it started from. `status` is `None` while it runs, or when its end
    was not recorded. `seconds` is wall time, `cost` in US dollars. An attempt that succeeded in its first round
    has no `rounds`.
    """

    number: int
    why: str
    started_at: str
    start: str | None = None
    status: str | None = None
    seconds: float = 0.0
    error: str | None = None
    cost: float | None = None
    tokens: Tokens = NO_TOKENS
    rounds: tuple[RoundPart, ...] = ()

    @property
    def usage(self) -> Usage:
        """What its agent used."""
        return Usage(self.cost, self.tokens)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say of it that the task does not say."""
        return self.number == 1 and len(self.rounds) <= 1

    def __str__(self) -> str:
        """Say it in one line."""
        ended = (self.status or "without an end").replace("_", " ")
        on = f", from {self.start[:12]}" if self.start else ""
        return _line(f"attempt {self.number}", self.why + on, ended, self.seconds, self.usage)


def history(
    attempts: Iterable[StoredAttempt],
    rounds: Iterable[StoredRound],
    steps: Mapping[tuple[str, int], Sequence[StoredStep]],
) -> tuple[AttemptPart, ...]:
    """Return the attempts at one task, the oldest first.

    Args:
        attempts: Its stored attempts.
        rounds: Its stored rounds.
        steps: The finished steps by task and number of the attempt.
    """
    ended: dict[int, list[StoredRound]] = {}
    for one in rounds:
        ended.setdefault(one.attempt, []).append(one)
    found, before = list[AttemptPart](), None
    for attempt in sorted(attempts, key=lambda attempt: attempt.number):
        usage = total(step.usage for step in steps.get((attempt.task, attempt.number), ()))
        found.append(
            AttemptPart(
                number=attempt.number,
                why=_why(attempt, before),
                started_at=timestamp(attempt.started_at),
                start=attempt.start,
                status=None if attempt.status is None else str(attempt.status),
                seconds=round(attempt.seconds, 3),
                error=first_line(attempt.error) if attempt.error else None,
                cost=usage.cost,
                tokens=usage.tokens,
                rounds=tuple(_rounds(ended.get(attempt.number, ()))),
            )
        )
        before = attempt
    return tuple(found)


def histories(store: Store, run: str) -> Mapping[str, tuple[AttemptPart, ...]]:
    """Return the histories of all tasks of a run, by task. Blocking."""
    attempts: dict[str, list[StoredAttempt]] = {}
    rounds: dict[str, list[StoredRound]] = {}
    for attempt in store.attempts(run):
        attempts.setdefault(attempt.task, []).append(attempt)
    for one in store.rounds(run):
        rounds.setdefault(one.task, []).append(one)
    steps = store.steps_of_run(run)
    return {task: history(own, rounds.get(task, ()), steps) for task, own in attempts.items()}


def _why(attempt: StoredAttempt, before: StoredAttempt | None) -> str:
    if attempt.cause:
        return str(attempt.cause)
    if attempt.feedback and before is not None:
        return WITH_FEEDBACK
    if before is None:
        return FIRST
    if before.status in {Status.FAILED, Status.TIMED_OUT}:
        return RETRY
    return RESUMED if before.status in {None, Status.CANCELLED} else AGAIN


def _rounds(ended: Iterable[StoredRound]) -> Iterator[RoundPart]:
    before: Failure | None = None
    for one in ended:
        why = f"repair after {_failure(before)}" if before else ""
        how = _failure(one.failure) if one.failure else "succeeded"
        yield RoundPart(one.number, why, how, round(one.seconds, 3), one.cost, one.tokens)
        before = one.failure


def _failure(failure: Failure) -> str:
    how = "timed out" if failure.timed_out else f"exit code {failure.exit_code}"
    return f"{failure.kind} `{failure.step}`: {failure.error or how}"


def _line(what: str, why: str, ended: str, seconds: float, usage: Usage) -> str:
    reason, used = f" ({why})" if why else "", f", {usage}" if usage else ""
    return f"{what}{reason}: {ended}, {seconds:.1f} s{used}"

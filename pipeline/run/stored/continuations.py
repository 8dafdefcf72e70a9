"""What the next attempts at tasks continue: an interrupted one where it was, or a failed one as a new try.

Blocking.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pipeline.run.context import Continuation
from pipeline.store.records import StoredAttempt, StoredRound
from pipeline.store.store import Store
from tasks.outcome import Status

FAILURES = frozenset({Status.FAILED, Status.TIMED_OUT})


def continuations(store: Store, run: str, *, keep: bool = False) -> Mapping[str, Continuation]:
    """Return what the next attempt at each task of a run continues, for those with a failure to report.

    Args:
        store: The store that has the run.
        run: The run's id.
        keep: Whether a new try starts from what the failed one left.
    """
    attempts: dict[str, list[StoredAttempt]] = {}
    for attempt in store.attempts(run):
        attempts.setdefault(attempt.task, []).append(attempt)
    rounds: dict[tuple[str, int], list[StoredRound]] = {}
    for ended in store.rounds(run):
        rounds.setdefault((ended.task, ended.attempt), []).append(ended)
    found = {}
    for task, made in attempts.items():
        latest = sorted(made, key=lambda attempt: attempt.number, reverse=True)
        if one := _continuation(latest, rounds, keep=keep):
            found[task] = one
    for task, text in store.feedback(run).items():
        before = found.get(task) or _after_success(attempts.get(task, ()), keep=keep)
        found[task] = replace(before, feedback=text)
    return found


def _after_success(made: Iterable[StoredAttempt], *, keep: bool) -> Continuation:
    """Return what follows attempts without a failure to report."""
    last = max(made, key=lambda attempt: attempt.number, default=None)
    return Continuation(None, patch=last.patch if last and keep else None)


def _with_patch(ended: Sequence[StoredRound], attempt: StoredAttempt) -> list[StoredRound]:
    """Return the rounds of an attempt; a last one that was not to be repaired left what the attempt did."""
    return [
        replace(one, patch=attempt.patch) if one is ended[-1] and one.failure and one.patch is None else one
        for one in ended
    ]


def _continuation(
    latest: Iterable[StoredAttempt], rounds: Mapping[tuple[str, int], list[StoredRound]], *, keep: bool
) -> Continuation | None:
    """Return what follows the attempts at a task, the latest first."""
    done: list[StoredRound] = []  # of attempts that continued each other, the latest first
    for attempt in latest:
        ended = _with_patch(rounds.get((attempt.task, attempt.number), []), attempt)
        is_over = attempt.exit_code is not None or attempt.status is Status.TIMED_OUT
        if attempt.status in FAILURES and is_over and not done:
            last = ended[-1] if ended else None
            if last is None or last.failure is None:
                return None
            return Continuation(last.failure, patch=last.patch if keep else None)
        if attempt.status not in {Status.CANCELLED, Status.FAILED}:
            break
        done += reversed(ended)
        if done and done[-1].number == 1:
            break
    last = next((one for one in done if one.failure is not None), None)
    if last is None or last.failure is None or last.patch is None:
        return None
    success = done[0] if done[0].failure is None else None
    before = [one for one in done if success or one.number <= last.number]
    return Continuation(
        last.failure,
        rounds=last.number,
        patch=last.patch,
        ended=success,
        seconds=sum(one.seconds for one in before),
    )

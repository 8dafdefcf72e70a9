"""What verification gives where tasks start, before any of them has changed something there."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import field

import anyio

from pipeline.store.records import BaseCheck
from tasks.keys import TaskInputs, canonical, place_of
from tasks.lazy.dataclasses import dataclass
from tasks.model import Step, StepKind
from tasks.outcome import Failure


@dataclass(slots=True)
class BaseChecks:
    """The checks of one run: each command runs once at each start point, for all tasks that have it.

    Args:
        known: Those of earlier processes of the run, by key.
    """

    known: dict[str, BaseCheck] = field(default_factory=dict)
    _claimed: dict[str, anyio.Event] = field(default_factory=dict)  # set when the check has ended
    _of_task: dict[str, tuple[BaseCheck, ...]] = field(default_factory=dict)

    def claim(self, wanted: Mapping[str, Step]) -> dict[str, Step]:
        """Return those of some commands, by key, that the caller has to run; it calls `release` afterwards."""
        own = {key: step for key, step in wanted.items() if key not in self.known and key not in self._claimed}
        self._claimed |= {key: anyio.Event() for key in own}
        return own

    def release(self, keys: Iterable[str]) -> None:
        """Let those continue that wait for some checks. One without a result is not made again."""
        for key in keys:
            self._claimed[key].set()

    async def wait(self, keys: Iterable[str]) -> None:
        """Wait until some checks have ended."""
        for key in keys:
            if key in self._claimed:
                await self._claimed[key].wait()

    def assign(self, task: str, keys: Iterable[str]) -> None:
        """Note which checks are those of a task's start point, for its next attempt."""
        self._of_task[task] = tuple(self.known[key] for key in keys if key in self.known)

    def keys(self, task: str) -> tuple[str, ...]:
        """Return the keys of the checks of a task's start point."""
        return tuple(check.key for check in self._of_task.get(task, ()))

    def fail_at(self, start: str, steps: Iterable[Step]) -> tuple[str, ...]:
        """Return the commands of a verification that are known to fail at a commit, by their titles."""
        titles = {step.title for step in steps if step.kind is StepKind.VERIFY}
        failed = {one.command for one in self.known.values() if one.start == start and one.failure}
        return tuple(sorted(titles & failed))

    def failures(self, task: str) -> tuple[Failure, ...]:
        """Return why commands of a task's verification fail where it starts."""
        failures = (check.failure for check in self._of_task.get(task, ()))
        return tuple(failure for failure in failures if failure)


def check_key(start: str, made_from: TaskInputs, step: Step) -> str:
    """Return the key of a check: a hash of the commit, the command, and the place where it runs.

    Values of the environment are included as hashes, secrets as names; see `tasks.keys.key`.
    """
    record = {"start": start, "step": [step.argv, step.stdin], **place_of(made_from)}
    return hashlib.sha256(canonical(record)).hexdigest()

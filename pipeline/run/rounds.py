"""Rounds of one attempt: the agent, or the commands, with the verification after them, until that succeeds."""

from dataclasses import field, replace
from time import perf_counter

from containers.agents.prompt import before_note, feedback_prompt, repair_prompt
from containers.processes import NOT_EXECUTABLE, NOT_FOUND
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import Continuation
from pipeline.store.records import StoredRound
from tasks.agent_report import AgentReport
from tasks.lazy.dataclasses import dataclass
from tasks.model import Step, StepKind
from tasks.outcome import Failure, Patch, StepResult
from tasks.secrets import Secrets
from tasks.usage import NO_USAGE, Usage

REPAIRABLE = frozenset({StepKind.AGENT, StepKind.RUN, StepKind.VERIFY})
"""Steps after whose failure another round may succeed; a set-up that failed would fail again."""


@dataclass(slots=True)
class Rounds:
    """The rounds of one attempt, and the steps of each.

    `number` is that of the present one. `report` is what the agent said of its last call, and `said` its last
    message of all. `asked` are the steps that were started or will be, of all rounds, without what was found at
    the start point: that follows from it and from the verification.

    Args:
        spec: The task.
        attempt: The number of the attempt.
        secrets: Masked in what an agent is given.
        continued: What the attempt continues, if anything.
        before: Why commands of the verification fail at the start point already, if that is known.
    """

    spec: TaskSpec
    attempt: int
    secrets: Secrets
    continued: Continuation | None = None
    before: tuple[Failure, ...] = ()
    number: int = field(init=False)
    report: AgentReport = field(init=False, default=AgentReport())
    said: str | None = field(init=False, default=None)
    asked: tuple[Step, ...] = field(init=False)
    _base: tuple[Step, ...] = field(init=False)  # those of a first try
    _began: float = field(init=False, default_factory=perf_counter)
    _steps: tuple[Step, ...] = field(init=False)  # of the present round, as `_usage` is
    _usage: Usage = field(init=False, default=NO_USAGE)

    def __post_init__(self) -> None:
        last = self.continued
        self.number = 1 + min(last.rounds if last else 0, self.spec.repairs)
        self._base = self._with_feedback(self.spec.steps)
        self.asked = self._base
        if last is not None and last.failure is not None:
            self.asked = self._with_prompt(self._base, last.failure, "", is_kept=last.patch is not None)
        self._steps = self.asked

    @property
    def most(self) -> int:
        """How many rounds there may be."""
        return 1 + self.spec.repairs

    def add_report(self, report: AgentReport) -> None:
        """Add what an agent says of its step."""
        self.report = report
        self.said = report.last_message or self.said
        self._usage += Usage(report.cost, report.tokens)

    def may_repair(self, last: StepResult) -> bool:
        """Whether another round may help after a step that failed.

        Not after the time limit, which is for all rounds together, nor if the step could not be started.
        """
        could_start = (
            last.exit_code not in {None, NOT_FOUND, NOT_EXECUTABLE} or last.step.kind is StepKind.VERIFY
        )
        return (
            not (last.ok or last.timed_out or last.cancelled or last.error)
            and last.step.kind in REPAIRABLE
            and could_start
            and self.number < self.most
        )

    def is_stored(self, last: StepResult) -> bool:
        """Whether the round that ended with a step is worth storing: the only one of a success is not."""
        return self.number > 1 if last.ok else self.spec.agent is not None or self.spec.repairs > 0

    def ended(self, last: StepResult, patch: Patch | None) -> StoredRound:
        """Return the record of the present round, which ended with a step."""
        now = perf_counter()
        record = StoredRound(
            task=self.spec.id,
            attempt=self.attempt,
            number=self.number,
            seconds=now - self._began,
            cost=self._usage.cost,
            failure=None if last.ok else Failure.of(last),
            patch=patch,
            tokens=self._usage.tokens,
            said=self.said,
        )
        self._began, self._usage = now, NO_USAGE
        return record

    def fails_before(self, step: Step) -> bool:
        """Whether a step of the verification is known to fail at the start point already."""
        return step.kind is StepKind.VERIFY and any(step.title == failure.step for failure in self.before)

    def first_steps(self) -> tuple[Step, ...]:
        """Return the steps that the attempt begins with."""
        return self._noted(self._steps)

    def same_steps(self) -> tuple[Step, ...]:
        """Return the steps of the present round, to begin it again."""
        return self._noted(_without_setup(self._steps))

    def next_steps(self, failure: Failure, changed: str) -> tuple[Step, ...]:
        """Begin the next round, and return its steps; `changed` is what has changed so far, for the agent."""
        self.number += 1
        steps = _without_setup(self._base)
        self._steps = self._with_prompt(steps, failure, changed, is_kept=True)
        self.asked += self._steps
        return self._noted(self._steps)

    def _with_feedback(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return steps of which the agent's says what the user said of the last attempt, if anything."""
        last = self.continued
        if last is None or last.feedback is None:
            return steps
        said, is_kept = self.secrets.for_prompt(last.feedback), last.patch is not None
        return tuple(
            replace(step, stdin=feedback_prompt(step.stdin or "", said, is_kept=is_kept))
            if step.kind is StepKind.AGENT
            else step
            for step in steps
        )

    def _with_prompt(
        self, steps: tuple[Step, ...], failure: Failure, changed: str, *, is_kept: bool
    ) -> tuple[Step, ...]:
        """Return steps of which the agent's says what failed."""
        masked = self._masked(failure)
        return tuple(
            replace(
                step,
                stdin=repair_prompt(
                    step.stdin or "",
                    masked,
                    number=self.number,
                    of=self.most,
                    changed=self.secrets.for_prompt(changed),
                    is_kept=is_kept,
                    fails_before=failure.step in {one.step for one in self.before},
                ),
            )
            if step.kind is StepKind.AGENT
            else step
            for step in steps
        )

    def _noted(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        """Return steps of which the agent's says what fails at the start point already."""
        if not self.before:
            return steps
        note = before_note([self._masked(failure) for failure in self.before])
        return tuple(
            replace(step, stdin=f"{step.stdin or ''}\n{note}") if step.kind is StepKind.AGENT else step
            for step in steps
        )

    def _masked(self, failure: Failure) -> Failure:
        shown = self.secrets.for_prompt
        error = failure.error and shown(failure.error)
        return replace(failure, step=shown(failure.step), error=error, output=shown(failure.output))


def _without_setup(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(step for step in steps if step.kind is not StepKind.SETUP)

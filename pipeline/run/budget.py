"""What a run and each of its tasks have used, and may cost."""

from collections.abc import Mapping
from dataclasses import field
from threading import Lock

from tasks.lazy.dataclasses import dataclass
from tasks.usage import NO_USAGE, Usage, Work, budget_spent, total


@dataclass(slots=True)
class Budget:
    """The work on the tasks of a run so far, and the limits of its cost, in US dollars; `None` for no limit.

    Safe for several threads.

    Args:
        run: What all calls of agents in the run may cost.
        task: What those of one task may cost, in all its attempts.
        before: The work of earlier processes of the run, by task.
    """

    run: float | None = None
    task: float | None = None
    before: Mapping[str, Work] = field(default_factory=dict)
    _work: dict[str, Work] = field(init=False)
    _total: Usage = field(init=False)
    _without_cost: set[str] = field(init=False, default_factory=set)
    _adding: Lock = field(init=False, default_factory=Lock)

    def __post_init__(self) -> None:
        self._work = dict(self.before)
        self._total = total(work.usage for work in self._work.values())

    @property
    def total(self) -> Usage:
        """What all calls of agents in the run have used so far."""
        return self._total

    def of(self, task: str) -> Work:
        """Return the work on a task so far."""
        return self._work.get(task, Work())

    def is_new_without_cost(self, agent: str) -> bool:
        """Whether it matters that an agent did not say what it cost, for the first time."""
        is_new = (self.run is not None or self.task is not None) and agent not in self._without_cost
        self._without_cost.add(agent)
        return is_new

    def add(self, task: str, usage: Usage = NO_USAGE, seconds: float = 0.0) -> None:
        """Add what a call of a task's agent used, or the seconds that an attempt at the task took."""
        with self._adding:
            before = self.of(task)
            self._work[task] = Work(before.seconds + seconds, before.usage + usage)
            self._total += usage

    def obstacle(self, task: str | None = None) -> str | None:
        """Return why no further call of an agent may begin, for a task; `None` if one may.

        Without a task, only the limit of the run counts.
        """
        spent = self.total.cost or 0.0
        if self.run is not None and spent >= self.run:
            return budget_spent("run", self.run, spent)
        spent = self.of(task).usage.cost or 0.0 if task is not None else 0.0
        if task is not None and self.task is not None and spent >= self.task:
            return budget_spent("task", self.task, spent)
        return None

"""What a run and each of its tasks may cost."""

from dataclasses import dataclass, field

from tasks.text import dollars


@dataclass(slots=True)
class Budget:
    """The cost of a run so far, and its limits, in US dollars; `None` for no limit.

    Args:
        run: What all calls of agents in the run may cost.
        task: What those of one task may cost.
        spent: What earlier processes of the run have spent.
    """

    run: float | None = None
    task: float | None = None
    spent: float = 0.0
    _without_cost: set[str] = field(default_factory=set)
    _is_known: bool = False

    @property
    def total(self) -> float | None:
        """What the run has spent so far, in US dollars; `None` if no agent said what it cost."""
        return self.spent if self.spent or self._is_known else None

    def is_new_without_cost(self, agent: str) -> bool:
        """Whether it matters that an agent did not say what it cost, for the first time."""
        is_new = (self.run is not None or self.task is not None) and agent not in self._without_cost
        self._without_cost.add(agent)
        return is_new

    def add(self, cost: float | None) -> None:
        """Add what a call of an agent cost, in US dollars."""
        self.spent += cost or 0.0
        self._is_known = self._is_known or cost is not None

    def obstacle(self, task_cost: float | None = None) -> str | None:
        """Return why no further call of an agent may begin, as a sentence; `None` if one may.

        Args:
            task_cost: What the calls for the same task have cost so far.
        """
        if self.run is not None and self.spent >= self.run:
            return f"the budget of the run, {dollars(self.run)}, is spent ({dollars(self.spent)})"
        if self.task is not None and (task_cost or 0.0) >= self.task:
            return f"the budget of the task, {dollars(self.task)}, is spent ({dollars(task_cost or 0.0)})"
        return None

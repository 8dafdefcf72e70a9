"""When the tasks of a batch start: as soon as what they need has ended, and not many before they can run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.model import Task
from tasks.order import Line


class TaskStarts:
    """Starts the tasks of a batch, each once; only as many at a time as can run soon, however many may start.

    Args:
        line: The tasks that have not started.
        most: How many may be started that have not ended.
        start: Starts a task.
    """

    def __init__(self, line: Line, most: int, start: Callable[[Task], None]) -> None:
        self._line = line
        self._free = most
        self._start = start

    def begin(self) -> None:
        """Start the tasks that may start now."""
        for task in self._line.ready(self._free):
            self._free -= 1
            self._start(task)

    def end(self, task: str | None) -> None:
        """Note that a task has ended, and start others; `None` if it has no outcome yet, which others need."""
        if task is not None:
            self._line.finish(task)
        self._free += 1
        self.begin()

    @contextmanager
    def others_first(self) -> Iterator[None]:
        """Let another task start in place of one that waits for something else than a worktree."""
        self._free += 1
        self.begin()
        try:
            yield
        finally:
            self._free -= 1

"""The verdict of a run does not look through what each of thousands of tasks builds on."""

from collections.abc import Iterator
from datetime import UTC, datetime

from pipeline.run.stored.verdicts import make_verdict
from pipeline.store.records import Run, StoredTask
from tasks.lineage import Lineage
from tasks.outcome import Conflict, Outcome, RunStatus, Status

START = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run("r", "p.md", "p", "P", "", "a" * 40, "main", 1, RunStatus.FAILED, START, seconds=1.0)


class LookedUp(Lineage):
    """What a task builds on, which may be asked, and not listed."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("every task is listed")


def test_what_tasks_were_built_without_is_looked_up() -> None:
    below = Lineage(["1.1", "1.2"])
    stored = [
        StoredTask(Outcome(task, task, int(task[0]), Status.CHANGED, "wt-1", 1.0, START), builds_on=builds_on)
        for task, builds_on in (
            ("1.3", Lineage(["1.1"])),
            ("2.1", LookedUp(["1.4"], below)),
            ("2.2", LookedUp(["1.3"], below)),
            ("2.3", LookedUp(["1.2"])),
        )
    ]
    conflicts = [Conflict(1, ("1.1", "1.3"), ("a",))]
    for known, without in ((conflicts, {"2.1": ("1.3",)}), ([], {})):
        verdict = make_verdict(RUN, RUN.status, plan=None, tasks=stored, conflicts=known)
        assert verdict.without == without

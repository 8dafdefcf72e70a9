"""What the tasks of a report build on: what many of them have in common is in it once."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType

from pipeline.report.parts import FoundationPart, Report, StartPart
from pipeline.store.foundations import divide
from tasks.lineage import Lineage
from tasks.text import without_unprintable

MOST_SHOWN = 40
"""Characters of a value that a message shows."""


def foundations_of(lineages: Iterable[Lineage]) -> tuple[FoundationPart, ...]:
    """Return what tasks that build on these have in common, each after the one that it adds to."""
    found: dict[str, FoundationPart] = {}
    for lineage in {id(one): one for one in lineages}.values():
        shared = divide(lineage)[1]
        new = []
        for link in shared.links() if shared else ():
            if link.digest in found:
                break
            new.append(link)
        for link in reversed(new):
            below = link.below.digest if link.below else None
            found[link.digest] = FoundationPart(link.digest, below, link.names)
    return tuple(found.values())


class ReportedLineages:
    """What the tasks of a report build on.

    Args:
        report: The report. What it names that is not in it is left out: `problems` says so.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._shared: dict[str, Lineage] = {}
        for one in report.foundations:
            below = self._shared.get(one.below) if one.below else None
            self._shared[one.key] = Lineage(one.tasks, below)

    def of(self, start: StartPart | None) -> Lineage:
        """Return the tasks whose changes a start point contains."""
        if start is None:
            return Lineage()
        shared = self._shared.get(start.foundation or "")
        return shared.with_names(start.builds_on) if shared else Lineage(start.builds_on)

    def problems(self, known: Collection[str]) -> Iterator[str]:
        """Yield a message for each part that no run writes; `known` are the tasks of the plan."""
        before: set[str] = set()
        for one in self._report.foundations:
            if one.key in before or (one.below is not None and one.below not in before):
                yield f"foundation {one.key[:MOST_SHOWN]!a} is there twice, or before the one that it adds to"
            before.add(one.key)
            for name in one.tasks:
                if name not in known:
                    shown = without_unprintable(name[:MOST_SHOWN])
                    yield f"a foundation has task {shown!r}, which is not in its plan"
        for task in self._report.tasks:
            if task.start and task.start.foundation is not None and task.start.foundation not in before:
                yield f"what task {task.task} builds on is not among its foundations"


class Containment:
    """Which tasks commits contain, as a bit for each task.

    Args:
        base: The commit that contains none.
        tasks: The ids of all tasks.
    """

    def __init__(self, base: str, tasks: Iterable[str]) -> None:
        self._bits: Mapping[str, int] = MappingProxyType({task: 1 << n for n, task in enumerate(tasks)})
        self._commits = {base: 0}
        self._of_lineages: dict[int, tuple[Lineage, int]] = {}  # with each, so that its id stays its own

    def add(self, commit: str, parents: Iterable[str], task: str | None) -> None:
        """Note a commit, after its parents; `task` is the one that made it."""
        bits = self._bits.get(task or "", 0)
        for parent in parents:
            bits |= self._commits.get(parent, 0)
        self._commits[commit] = bits

    def has_all(self, commit: str, lineage: Lineage) -> bool:
        """Whether a commit contains every task of a lineage."""
        wanted = 0
        for link in reversed(list(lineage.links())):
            if id(link) not in self._of_lineages:
                own = sum(self._bits.get(name, 0) for name in link.names)
                self._of_lineages[id(link)] = link, wanted | own
            wanted = self._of_lineages[id(link)][1]
        return wanted & ~self._commits.get(commit, 0) == 0

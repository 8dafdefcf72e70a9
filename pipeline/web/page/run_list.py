"""The list of runs: what each line says, and which runs are shown."""

from collections.abc import Mapping

from pipeline.web.services import Services
from pipeline.web.snapshot import Snapshot
from tasks.lazy.dataclasses import dataclass
from tasks.outcome import RunStatus
from tasks.text import without_surrogates

RUNS_SHOWN = 100
"""Runs of the list; older ones are on the next page."""


@dataclass(frozen=True, slots=True)
class ListedRun:
    """A line of the list. `counts` is the number of tasks by state, in the order of the bar."""

    seen: Snapshot
    counts: Mapping[str, int]

    @property
    def title(self) -> str:
        """The title of its plan, else its path."""
        return self.seen.run.plan_title or self.seen.run.plan_path

    @property
    def status(self) -> RunStatus:
        """Its status, as its own page has it."""
        activity = self.seen.activity
        claims = activity.has_worker and activity.displayed_status is RunStatus.PENDING
        return RunStatus.RUNNING if claims else activity.status

    @property
    def tasks(self) -> int:
        """The number of its tasks."""
        return sum(self.counts.values())

    @property
    def is_live(self) -> bool:
        """Whether it will change without a new request."""
        return self.seen.activity.expects_changes


@dataclass(frozen=True, slots=True)
class RunList:
    """The runs that are shown, and the filter that chose them; `total` counts all that it matches."""

    runs: tuple[ListedRun, ...]
    total: int
    repositories: tuple[str, ...]
    repository: str | None = None
    status: RunStatus | None = None
    offset: int = 0

    @property
    def is_filtered(self) -> bool:
        """Whether some runs are left out on purpose."""
        return self.repository is not None or self.status is not None

    @property
    def is_live(self) -> bool:
        """Whether any of the runs will change without a new request."""
        return any(run.is_live for run in self.runs)

    @property
    def older(self) -> int:
        """How many runs follow on the next pages."""
        return max(0, self.total - self.offset - len(self.runs))


async def read_run_list(
    services: Services, *, repository: str | None = None, status: RunStatus | None = None, offset: int = 0
) -> RunList:
    """Return the runs that match a filter, the newest first."""
    found, total = await services.listed(offset, RUNS_SHOWN, repository=repository, status=status)
    known = await services.call(services.repositories.all)
    return RunList(
        runs=tuple(ListedRun(seen, _counts(seen)) for seen in found),
        total=total,
        repositories=tuple(sorted(without_surrogates(str(one.root)) for one in known)),
        repository=repository,
        status=status,
        offset=offset,
    )


def _counts(seen: Snapshot) -> Mapping[str, int]:
    """Return the number of tasks of a run by state, those without an outcome included."""
    return {str(kind): number for kind, number in seen.verdict.counts.items()}

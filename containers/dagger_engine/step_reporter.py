"""Tells the log and the watcher of steps that a script ran one after another, when it has ended."""

from collections.abc import Mapping

from anyio import to_thread

from containers.dagger_engine.step_script import Report
from containers.runner import Watcher
from containers.task_log import TaskLog
from tasks.model import Step, StepResult

UNTIMED = "its image has no `timeout` (coreutils or busybox), which a time limit needs; or set --timeout none"


class StepReporter:
    """Tells the log and the watcher how the steps of a task went."""

    def __init__(self, watcher: Watcher, log: TaskLog) -> None:
        self._watcher = watcher
        self._log = log
        self._running: tuple[int, Step] | None = None
        self.results: list[StepResult] = []

    @property
    def failed(self) -> bool:
        """Whether the next step may not begin."""
        return bool(self.results) and not self.results[-1].ok

    async def begin(self, steps: Mapping[int, Step]) -> None:
        """Tell that the first of some steps begins."""
        self._running = next(iter(steps.items()))
        await self._watcher.step_started(*self._running)

    async def ended(
        self,
        steps: Mapping[int, Step],
        report: Report,
        seconds: float,
        *,
        cached: bool = False,
        error: str | None = None,
    ) -> None:
        """Tell how steps went, in order, up to the first that failed.

        Args:
            steps: The steps by their numbers.
            report: What the script said of them.
            seconds: How long all of it took.
            cached: Whether it was run earlier.
            error: Why the report is not whole.
        """
        for number, step in steps.items():
            result = _result(number, step, report, cached=cached)
            if result is None:
                result = StepResult(step, None, seconds, error=error or "it left no trace in its container")
            late = result.timed_out and result.exit_code is None
            if self._running is None and not late:
                await self._watcher.step_started(number, step)
            await self._end(number, result, report.outputs.get(number, ""))
            if not result.ok:
                return

    async def interrupted(self, seconds: float) -> None:
        """Tell that the step which was under way was cancelled."""
        if self._running is not None:
            number, step = self._running
            await self._end(number, StepResult(step, None, seconds, cancelled=True), "")

    async def _end(self, number: int, result: StepResult, output: str) -> None:
        def write() -> StepResult:
            self._log.begin(result.step)
            self._log.write(output.encode(errors="surrogateescape"))
            return self._log.end(result)

        result = await to_thread.run_sync(write)
        self._running = None
        self.results.append(result)
        await self._watcher.step_finished(number, result)


def _result(number: int, step: Step, report: Report, *, cached: bool) -> StepResult | None:
    """Return how a step went by what the script said of it; `None` if it said nothing."""
    record = report.records.get(number)
    if record is None:
        return None
    errors = {"missing": f"there is no program {step.argv[0]} on PATH", "untimed": UNTIMED}
    return StepResult(
        step,
        record.exit_code,
        record.seconds,
        timed_out=record.timed_out,
        cached=cached,
        error=errors.get(record.why or ""),
    )

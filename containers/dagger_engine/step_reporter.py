"""Report the results of a step script to the task log and the watcher."""

from collections.abc import Mapping

from anyio import to_thread

from containers.dagger_engine.step_script import Report
from containers.runner import Round, Watcher
from containers.task_log import TaskLog
from tasks.model import Step
from tasks.outcome import StepResult

UNTIMED = "its image has no `timeout` (coreutils or busybox), which a time limit needs; or set --timeout none"


OVERDUE = (
    "[its container did not end at the time limit: a process in it stopped or replaced what ends the step; "
    "the container was removed, with its output and changes]\n"
)


class StepReporter:
    """Reports the steps of a task to its log and its watcher, and collects their results."""

    def __init__(self, watcher: Watcher, log: TaskLog) -> None:
        self._watcher = watcher
        self._log = log
        self._running: tuple[int, Step] | None = None
        self.results: list[StepResult] = []

    @property
    def failed(self) -> bool:
        """Whether a step failed, so that the next one must not start."""
        return bool(self.results) and not self.results[-1].ok

    async def next_round(self) -> Round | None:
        """Return another round; `None` if there is none."""
        return await self._watcher.next_round(self.results[-1]) if self.results else None

    async def report_start(self, steps: Mapping[int, Step]) -> None:
        """Report that the first of some steps starts."""
        self._running = next(iter(steps.items()))
        await self._watcher.step_started(*self._running)

    async def report_results(
        self,
        steps: Mapping[int, Step],
        report: Report,
        seconds: float,
        *,
        cached: bool = False,
        error: str | None = None,
    ) -> None:
        """Report the results of steps in order, up to the first that failed.

        Args:
            steps: The steps by their numbers.
            report: The report of the script that ran them.
            seconds: Duration of all of them, in seconds.
            cached: Whether the result is a cache hit.
            error: Why the report is incomplete.
        """
        for number, step in steps.items():
            result = _result(number, step, report, cached=cached)
            if result is None:
                result = StepResult(step, None, seconds, error=error or "the script did not report it")
            late = result.timed_out and result.exit_code is None
            if self._running is None and not late:
                await self._watcher.step_started(number, step)
            await self._end(number, result, report.outputs.get(number, ""))
            if not result.ok:
                return

    async def report_interruption(self, seconds: float) -> None:
        """Report that the running step was cancelled, `seconds` after the start."""
        if self._running is not None:
            number, step = self._running
            await self._end(number, StepResult(step, None, seconds, cancelled=True), "")

    async def report_overdue(self, seconds: float) -> None:
        """Report that the running step was ended from outside, `seconds` after the start."""
        if self._running is not None:
            number, step = self._running
            await self._end(number, StepResult(step, None, seconds, timed_out=True), OVERDUE)

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
    """Return the result of a step from the script's report; `None` if the report does not have it."""
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

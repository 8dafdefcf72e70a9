"""The steps of one attempt: what is stored and reported of each, and whether another round follows."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import perf_counter

from anyio import to_thread

from containers.git.repository import GitError
from containers.git.working_tree.errors import SecretFoundError
from containers.raw_log import raw_log_path
from containers.runner import Round
from containers.worktrees.worktree import AttemptRecord, Worktree
from pipeline.events import Notice, RepairStarted, StepFinished, StepStarted, TaskWaiting, now, timestamp
from pipeline.run.agent_limits import describe
from pipeline.run.call.task_spec import TaskSpec
from pipeline.run.context import RunContext
from pipeline.run.results.bases import StartPoint
from pipeline.run.rounds import Rounds
from pipeline.store.store import Store
from tasks.agent_report import AgentReport, Limit
from tasks.durations import format_duration
from tasks.model import Step, StepKind
from tasks.outcome import Patch, StepResult
from tasks.usage import NO_USAGE, Usage

OUTPUT_BYTES = 1 << 20
"""Bytes at the end of an agent's output that its own patterns are searched in."""


class AttemptSteps:
    """The watcher of an attempt's steps.

    `results` are those of the steps that have ended. `has_begun` is whether one has started, so that there may
    be changes. `why_stopped` says why no further round follows, although one might help: then `resume` runs the
    task again.

    Args:
        context: The run's.
        spec: The task.
        start: What it starts from.
        worktree: Where it runs.
        rounds: The rounds of the attempt.
    """

    def __init__(
        self, context: RunContext, spec: TaskSpec, start: StartPoint, worktree: Worktree, rounds: Rounds
    ) -> None:
        self.results: list[StepResult] = []
        self.has_begun = False
        self.why_stopped: str | None = None
        self._context = context
        self._spec = spec
        self._start = start
        self._worktree = worktree
        self._rounds = rounds
        self._log = context.log(spec.id)
        self._log_size = 0  # in bytes, before the agent's output
        self._baseline: str | None = None  # the tree after set-up, which is not part of the patch
        self._exclude = context.pool.exclude
        self._waited = 0.0  # seconds

    async def step_started(self, number: int, step: Step) -> None:
        """Notify the listener that a step starts."""
        self.has_begun = True
        if step.kind is StepKind.AGENT:
            from pipeline.run.recording.prompts import keep_prompt  # noqa: PLC0415 - start-up stays quick

            self._log_size = await to_thread.run_sync(self._size_of_log)
            given = self._context.secrets.for_prompt(step.stdin or "")
            await to_thread.run_sync(keep_prompt, self._log, self._rounds.number, given)
        self._context.listener.notify(
            StepStarted(
                task=self._spec.id,
                worktree=self._worktree.name,
                number=number,
                kind=step.kind,
                command=step.title,
            ),
        )

    def take_refused(self, results: Sequence[StepResult]) -> None:
        """Take over what the sandbox refused after the last step, from the results that the runner returned."""
        if results and self.results:
            self.results[-1] = replace(self.results[-1], refused=results[-1].refused)

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Store the result of a step, then notify the listener."""
        self.results.append(result)
        self._context.step_time.seconds += result.seconds
        usage = NO_USAGE
        if result.step.kind is StepKind.AGENT:
            usage = self._add_report(await to_thread.run_sync(self._read_report, result), cached=result.cached)
            if result.ok and self._spec.agent:
                self._context.limits.worked(self._spec.agent.name)
        await self._context.recorder.call(
            Store.keep_step,
            self._context.run.id,
            self._spec.id,
            number,
            result,
            self._rounds.attempt,
            usage=usage,
        )
        if result.step.kind is StepKind.SETUP and number == len(self._context.settings.setup):
            checkout = self._worktree.checkout
            self._baseline = await to_thread.run_sync(lambda: checkout.snapshot(exclude=self._exclude))
            await to_thread.run_sync(self.record)
        self._context.listener.notify(
            StepFinished(
                task=self._spec.id,
                worktree=self._worktree.name,
                number=number,
                kind=result.step.kind,
                command=result.step.title,
                exit_code=result.exit_code,
                seconds=result.seconds,
            ),
        )

    async def next_round(self, last: StepResult) -> Round | None:
        """Store the round that ended, and return the next one; `None` if there is none.

        A round that ended at a limit of the agent's provider is begun again when that allows it.
        """
        context, rounds = self._context, self._rounds
        if not (last.timed_out or last.cancelled):  # an agent may end with 0 all the same
            if self._refused():
                return None
            if limit := rounds.report.limit:
                return await self._after_limit(limit)
        elif last.timed_out and last.step.kind is StepKind.AGENT and (limit := rounds.report.limit):
            self._stop_at(limit)  # a round that did not end
            return None
        if not rounds.is_stored(last):
            return None
        is_repaired = rounds.may_repair(last)
        if is_repaired and self._spec.agent and (reason := context.budget.obstacle(self._spec.id)):
            is_repaired, self.why_stopped = False, f"it was not repaired: {reason}"
        if await self._is_useless(last):
            is_repaired = False
        # Of a failure that is not repaired, the attempt itself has the patch, once its processes have ended.
        patch = await to_thread.run_sync(self._patch_so_far) if is_repaired or last.ok else None
        ended = rounds.ended(last, patch)
        await context.recorder.call(Store.keep_round, context.run.id, ended)
        if not is_repaired or ended.failure is None:
            return None
        changed = ""
        if patch:
            changed = await to_thread.run_sync(context.repository.history.stat, patch.start, patch.tree)
        steps = rounds.next_steps(ended.failure, changed)
        started = RepairStarted(
            task=self._spec.id,
            worktree=self._worktree.name,
            round=rounds.number,
            rounds=rounds.most,
            step=ended.failure.step,
            exit_code=ended.failure.exit_code,
        )
        context.listener.notify(started)
        return Round(steps, rounds.number)

    def _refused(self) -> bool:
        """Whether the provider does not accept the agent; note it for the other tasks of the agent."""
        agent, reason = self._spec.agent, self._rounds.report.refused
        if agent is None or reason is None:
            return False
        names = " or ".join(agent.secrets)
        hint = f"set {names}, or log in" if names else "log in"
        self.why_stopped = f"agent {agent.name} cannot be used ({reason}); {hint}, then `patchyard resume`"
        if agent.name not in self._context.limits.refused:
            self._context.limits.refused[agent.name] = self.why_stopped
            self._context.listener.notify(Notice(message=self.why_stopped, level="error"))
        return True

    async def _is_useless(self, last: StepResult) -> bool:
        """Whether the agent ends the same way whatever the task; note it for the other tasks of the agent."""
        agent, limits = self._spec.agent, self._context.limits
        if agent is None or last.step.kind is not StepKind.AGENT or not limits.may_be_useless(agent.name, last):
            return False
        patch = await to_thread.run_sync(self._patch_so_far)
        if patch and patch.files:
            limits.worked(agent.name)
            return False
        reason = limits.failed_at_once(agent.name, self._spec.id, last)
        if reason and agent.name not in limits.refused:
            limits.refused[agent.name] = reason
            self._context.listener.notify(Notice(message=reason, level="error"))
        return agent.name in limits.refused

    def _stop_at(self, limit: Limit) -> None:
        """Note that the task's time ended while its agent waited by itself at a limit of its provider."""
        if (agent := self._spec.agent) is not None:
            self._context.limits.add(agent.name, limit)  # other tasks of it need not try
            self.why_stopped = describe(agent.name, limit)

    async def _after_limit(self, limit: Limit) -> Round | None:
        """Wait until the agent may be called again; return the same round, or `None` if that takes too long."""
        context, agent = self._context, self._spec.agent
        if agent is None:
            return None
        limits, sentence = context.limits, describe(agent.name, limit)
        until = limits.add(agent.name, limit)
        left = limits.longest - self._waited
        if limits.remaining(agent.name) > left:
            waited = f", after {format_duration(self._waited)}" if self._waited else ""
            longest = format_duration(limits.longest) if limits.longest else "0"
            self.why_stopped = f"{sentence}; it may not wait longer{waited} (wait_for_limits is {longest})"
            return None
        if self._must_stop(agent.name):
            return None
        await self._announce_wait(until, sentence)
        began = perf_counter()
        await limits.wait(agent.name)
        self._waited += perf_counter() - began
        await self._announce_wait(None, sentence)
        if self._must_stop(agent.name):  # other tasks may have spent the budget meanwhile
            return None
        return Round(self._rounds.same_steps(), self._rounds.number)

    def _must_stop(self, agent: str) -> bool:
        """Whether an agent that ended at a limit must not be called again; note why."""
        context = self._context
        reason = context.limits.refused.get(agent) or context.budget.obstacle(self._spec.id)
        self.why_stopped = reason and f"it was not called again: {reason}"
        return reason is not None

    async def _announce_wait(self, until: datetime | None, reason: str) -> None:
        """Store and report until when the task waits; `None` when it continues."""
        run, task, worktree = self._context.run.id, self._spec.id, self._worktree.name
        await self._context.recorder.call(Store.keep_wait, run, task, self._rounds.attempt, until)
        waiting = TaskWaiting(
            task=task, worktree=worktree, until=timestamp(until) if until else None, reason=reason
        )
        self._context.listener.notify(waiting)

    def _add_report(self, report: AgentReport, *, cached: bool) -> Usage:
        """Add what the agent says of a step; return what it used in it: nothing, if its result was `cached`."""
        context, agent = self._context, self._spec.agent
        if cached:
            self._rounds.said = report.last_message or self._rounds.said
            return NO_USAGE
        if (
            agent
            and report.cost is None
            and report.tokens
            and (price := context.settings.prices.get(agent.name))
        ):
            report = replace(report, cost=price.cost_of(report.tokens))
        if agent and report.cost is None and context.budget.is_new_without_cost(agent.name):
            context.listener.notify(Notice(message=_without_cost(agent.name), level="warning"))
        self._rounds.add_report(report)
        if agent and report.limit is None:
            context.limits.clear(agent.name)
        usage = Usage(report.cost, report.tokens)
        context.budget.add(self._spec.id, usage)
        return usage

    def _patch_so_far(self) -> Patch | None:
        """Return the patch in the middle of an attempt; `None` if it cannot be taken now. Blocking."""
        try:
            return self.patch()
        except (GitError, SecretFoundError):
            return None

    def _output_log(self) -> Path:
        """Return the file that has the agent's output as it was printed."""
        agent = self._spec.agent
        return raw_log_path(self._log) if agent and agent.format else self._log

    def _size_of_log(self) -> int:
        """Return the size of that file in bytes. Blocking."""
        path = self._output_log()
        return path.stat().st_size if path.exists() else 0

    def _read_report(self, result: StepResult) -> AgentReport:
        """Return what the agent says in its output, also by its own patterns. Blocking."""
        agent, report = self._spec.agent, result.report or AgentReport()
        if agent is None or (agent.cost is None and agent.limit is None):
            return report
        from containers.agents.patterns import with_patterns  # noqa: PLC0415 - start-up stays quick

        with suppress(OSError), self._output_log().open("rb") as log:
            log.seek(max(self._log_size, self._size_of_log() - OUTPUT_BYTES))
            return with_patterns(agent, report, log.read().decode(errors="replace"), now())
        return report

    def record(self) -> None:
        """Note in the worktree which attempt uses it, so that its patch can be recovered. Blocking."""
        run, task, start = self._context.run.id, self._spec.id, self._start.commit
        record = AttemptRecord(run, task, self._rounds.attempt, start, self._exclude, self._baseline)
        self._context.pool.record_attempt(self._worktree, record)

    def patch(self) -> Patch:
        """Take the patch. Blocks."""
        return self._worktree.checkout.patch(
            self._start.commit,
            baseline=self._baseline,
            exclude=self._exclude,
            secrets=self._context.secrets,
            limit=self._context.settings.max_patch,
        )


def _without_cost(agent: str) -> str:
    return (
        f"agent {agent} did not report what it cost, so the budget cannot be kept for it; set [prices.{agent}] "
        "if it reports tokens"
    )

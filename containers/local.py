"""Runner that runs the steps of a task as processes on this machine."""

import fcntl
import os
import selectors
import struct
import termios
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from subprocess import DEVNULL
from time import monotonic, perf_counter, sleep
from typing import IO, TYPE_CHECKING

from anyio import CancelScope, get_cancelled_exc_class, move_on_after, run_process
from anyio.lowlevel import checkpoint_if_cancelled

from containers.agents.agent import first_line
from containers.agents.builtin import Agent
from containers.concurrency import run_to_end, short_work
from containers.limits.limits import UNLIMITED, Limits
from containers.limits.resource_limits import limited_command
from containers.local_environment import ceilings, task_environment, user_environment
from containers.process_marks import ProcessMark
from containers.processes import (
    Group,
    describe_start_failure,
    find_escaped_processes,
    may_have_escaped,
    open_pipe,
    require_program,
    signal_escaped_process,
)
from containers.runner import (
    ROUND_VARIABLE,
    Deadline,
    Job,
    Watcher,
    slot_variables,
    with_prompt_file,
)
from containers.task_log import RunnerError, TaskLog
from containers.temporary import held_directory
from containers.worktrees.worktree import Worktree
from tasks.model import Step
from tasks.outcome import Refusal, StepResult
from tasks.refusals import add_up
from tasks.text import plural

if TYPE_CHECKING:
    from containers.limits.group import ControlGroup
    from containers.limits.groups import RunGroups
    from containers.sandbox.room import Room
    from containers.sandbox.sandbox import Sandbox

JOB_VARIABLE = "PATCHYARD_JOB"
"""Variable whose random value identifies the processes of one attempt at a task."""
CHUNK = 65536
FULL_LOG_PAUSE = 0.001
"""Seconds between two reads of output that no log keeps: at most 65 MB a second."""
LONGEST_WAIT = 3600.0
STARTING_TIMES = (0.0005, 0.001, 0.002, 0.004, 0.008)
"""Seconds between looks whether the output is still open."""
POLL_INTERVAL = 0.02
"""Seconds between checks of a process where the system has no pidfd_open(2)."""
KILL_TIMEOUT = 10.0
"""Seconds that a process may take to exit after SIGKILL."""
VERSION_TIMEOUT = 10.0
"""Seconds that an agent may take to print its version."""


class LocalRunner:
    """Runs the steps of a task as processes on this machine, each in a process group.

    A step ends when its process exits. Background processes that it started may run during later steps; after
    the last step, all process groups of the task are terminated before `run` returns. An escaped process (below
    `timeout` or `setsid`, or a daemon) is identified by a mark (`process_marks.py`), and terminated with the
    others. Not found on other systems than Linux are a process without the mark's variable, and a daemon that
    closed its output and whose task ended by itself. Those of another user (below `sudo`) are not signalled.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        sandbox: "Sandbox | None" = None,
        limits: Limits = UNLIMITED,
        groups: "RunGroups | None" = None,
    ) -> None:
        self._environ = dict(environ)
        self._sandbox = sandbox
        self._limits = limits
        self._groups = groups

    @property
    def is_sandboxed(self) -> bool:
        """Whether tasks run in the sandbox."""
        return self._sandbox is not None

    @property
    def limits(self) -> Mapping[str, str]:
        """By what each limit holds, by its name."""
        return self._limits.kinds(self._groups.limits.names if self._groups else ())

    async def version(self, agent: Agent, _image: str | None) -> str | None:
        """Return the version that an agent on this machine prints; `None` if it does not run."""
        environment = {**user_environment(self._environ), **agent.environment}
        command = ["sh", "-c", agent.version or ""]
        with move_on_after(VERSION_TIMEOUT), suppress(OSError):
            process = await run_process(command, check=False, stderr=DEVNULL, env=environment)
            return first_line(process.stdout.decode(errors="replace"))
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in order; see `Runner.run`."""
        own = slot_variables(job, worktree) | {"PATCHYARD_WORKTREE": str(worktree.path)}
        environment = task_environment(self._environ, job) | own | ceilings(self._environ, worktree.path)
        processes = _Processes(
            job, worktree, environment, self._sandbox, limits=self._limits, groups=self._groups
        )
        results: list[StepResult] = []
        try:
            await run_to_end(processes.open, limiter=short_work())
            with job.haste.calling(processes.stop):
                await self._rounds(job, processes, watcher, results)
        finally:
            with CancelScope(shield=True):
                await run_to_end(processes.close)
        if results and (late := processes.take_refused()):
            results[-1] = replace(results[-1], refused=add_up((*results[-1].refused, *late)))
        return tuple(results)

    async def _rounds(
        self, job: Job, processes: "_Processes", watcher: Watcher, results: list[StepResult]
    ) -> None:
        """Run the steps of each round, until the watcher has no other."""
        steps, number = job.steps, 0
        while steps:
            for step in steps:
                number += 1
                await self._step(number, step, processes, watcher, results)
                if not results[-1].ok:
                    break
            began = monotonic()
            following = await watcher.next_round(results[-1])
            processes.deadline.extend(monotonic() - began)  # it may have waited for a provider
            steps = following.steps if following else ()
            processes.round = following.number if following else 0

    async def _step(
        self, number: int, step: Step, processes: "_Processes", watcher: Watcher, results: list[StepResult]
    ) -> None:
        await checkpoint_if_cancelled()
        begun = not processes.deadline.passed
        found: list[StepResult] = []
        try:
            if begun:
                await watcher.step_started(number, step)
            await run_to_end(lambda: found.append(processes.run(step)), processes.stop)
        except get_cancelled_exc_class():
            found = found or [StepResult(step, None, 0.0, cancelled=True)]
            raise
        finally:
            if found:
                results.append(found[0])
                with CancelScope(shield=True):
                    await watcher.step_finished(number, found[0])


class _Processes:
    """Processes of one task. All methods but `stop` block, and are called by one thread at a time."""

    def __init__(  # noqa: PLR0913 - what all tasks of a runner have in common, by name
        self,
        job: Job,
        worktree: Worktree,
        environment: Mapping[str, str],
        sandbox: "Sandbox | None",
        *,
        limits: Limits,
        groups: "RunGroups | None",
    ) -> None:
        self.deadline = Deadline(job.timeout)
        self.round = job.first_round
        self._job = job
        self._directory = worktree.path
        self._worktree = worktree
        self._sandbox = sandbox
        self._limits = limits
        self._run_groups = groups
        self._resource_limits = limits.without(groups.limits.names if groups else ())
        self._control_group: ControlGroup | None = None
        self._room: Room | None = None
        self._refused: Counter[str] = Counter()  # by hosts, as far as results have it
        self._mark = ProcessMark({JOB_VARIABLE: os.urandom(16).hex()})
        self._environment = environment
        self._resources = ExitStack()
        self._groups: list[Group] = []
        self._stopped = False
        self._has_scratch = False

    def open(self) -> None:
        """Open the log, the pipes and the sandbox.

        Raises:
            RunnerError: They cannot be opened.
            SandboxError: The sandbox cannot be made.
            LimitsError: The control group cannot be made.
        """
        with ExitStack() as resources:
            log = TaskLog(self._job.log, self._job.secrets, self._job.log_limit, self._job.format)
            self._log = resources.enter_context(log)
            try:
                self._output, self._input = resources.enter_context(open_pipe())
                self._wake, self._stop = resources.enter_context(open_pipe())
                os.set_blocking(self._stop.fileno(), False)
            except OSError as error:
                raise RunnerError(f"no pipe can be made for a task's output: {error.strerror}") from error
            self._selector = resources.enter_context(selectors.PollSelector())
            self._selector.register(self._output, selectors.EVENT_READ)
            self._selector.register(self._wake, selectors.EVENT_READ)
            if self._sandbox:
                try:
                    self._scratch(resources)  # the file system of the task has it from the beginning
                except OSError as error:
                    raise RunnerError(f"cannot create {error.filename}: {error.strerror}") from error
                self._room = resources.enter_context(self._sandbox.room(self._job, self._worktree, self._mark))
            if self._run_groups:
                self._control_group = resources.enter_context(self._run_groups.task())
            self._resources = resources.pop_all()

    def stop(self) -> None:
        """Cancel the running step, or the next one at its start. Does not block; called by another thread."""
        self._stopped = True
        self._stop.write(b"\0")

    def run(self, step: Step) -> StepResult:
        """Run a step until its process exits, or its time limit passes."""
        self._log.begin(step)
        began = perf_counter()
        result = StepResult(step, None, 0.0, timed_out=self.deadline.passed, cancelled=self._stopped)
        if not (result.timed_out or result.cancelled):
            result = self._start(step, result)
        return self._log.end(replace(result, seconds=perf_counter() - began, refused=self.take_refused()))

    def close(self) -> None:
        """Terminate the task's remaining processes, log the rest of their output, and close all files."""
        with self._resources:
            if self._groups:
                self._terminate_background()
            for host, count in self._room.refused.items() if self._room else ():
                self._log.note(f"the sandbox refused {plural(count, 'request')} to {host}")
            for group in self._groups:
                group.release()

    def take_refused(self) -> tuple[Refusal, ...]:
        """Return what the sandbox refused since the last call, also to processes that outlived their step."""
        counts = Counter(self._room.refused) if self._room else Counter[str]()
        new, self._refused = counts - self._refused, counts
        return add_up(Refusal(self._job.secrets.mask_text(host), count) for host, count in new.items())

    def _start(self, step: Step, result: StepResult) -> StepResult:
        with ExitStack() as files:
            try:
                stdin = None if step.stdin is None else files.enter_context(self._stdin(step.stdin))
                argv = self._arguments(step)
            except OSError as error:
                return replace(result, error=f"its prompt could not be written: {error.strerror}")
            environment, room = {**self._environment, ROUND_VARIABLE: str(self.round)}, self._room
            try:
                if room or self._limits:
                    require_program(argv, self._directory, environment.get("PATH", os.defpath))
                argv = limited_command(self._resource_limits, argv, self._worktree.slot)
                command = room.command(argv, environment) if room else argv
                start = partial(
                    Group,
                    self._control_group.command(command) if self._control_group else command,
                    directory=self._directory,
                    environment=room.environment(environment) if room else environment,
                    stdin=stdin,
                    output=self._input.fileno(),
                    mark=self._mark,
                    descriptors=room.descriptors if room else (),
                )
                group = room.start(start) if room else start()
            except (OSError, ValueError) as error:
                path = self._environment.get("PATH", os.defpath)
                code, reason = describe_start_failure(error, argv, self._directory, path)
                return replace(result, exit_code=code, error=reason)
        self._groups.append(group)
        return self._watch(group, result)

    def _watch(self, group: Group, result: StepResult) -> StepResult:
        """Wait for the end of a step; terminate it if its time limit passes or it is cancelled."""
        with self._watched(group):
            while group.exit_code() is None and not (self._stopped or self.deadline.passed):
                self._wait(
                    min(
                        self.deadline.remaining, LONGEST_WAIT if group.descriptor is not None else POLL_INTERVAL
                    )
                )
        if group.exit_code() is None:
            result = replace(result, cancelled=self._stopped, timed_out=not self._stopped)
            self._terminate_groups()
            self._terminate_escaped()
        self._drain()
        code = group.exit_code()
        ended = self._control_group.out_of_memory() if self._control_group else None
        return replace(result, exit_code=code, out_of_memory=ended if code else None)

    @contextmanager
    def _watched(self, group: Group) -> Iterator[None]:
        if group.descriptor is None:
            yield
            return
        self._selector.register(group.descriptor, selectors.EVENT_READ)
        try:
            yield
        finally:
            self._selector.unregister(group.descriptor)

    def _wait(self, seconds: float) -> None:
        """Wait for an event or for some seconds; write output to the log."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.fileobj is self._wake:
                self._wake.read(CHUNK)
            elif key.fileobj is self._output:
                self._read()

    def _read(self, size: int = CHUNK) -> int:
        """Write available output to the log, and return its number of bytes; wait for the first one."""
        data = os.read(self._output.fileno(), min(size, CHUNK))
        if not data:  # end of file: select would return at once again
            self._selector.unregister(self._output)
        self._log.write(data)
        if self._log.is_full:  # the rest is only thrown away: its process may wait, so that no core is taken
            sleep(FULL_LOG_PAUSE)
        return len(data)

    def _drain(self) -> None:
        """Write the pipe's present content to the log, and no more: a process may write without end."""
        left: int
        (left,) = struct.unpack("i", fcntl.ioctl(self._output.fileno(), termios.FIONREAD, bytes(4)))
        while left > 0:
            left -= self._read(left)

    def _terminate_groups(self) -> None:
        """Terminate the task's process groups."""
        self._terminate(lambda: {group.id: group.signal for group in self._groups if group.is_alive()})

    def _terminate_escaped(self) -> None:
        """Terminate the task's escaped processes; in a sandbox, all of them are killed."""
        if self._room:
            self._room.end_processes()
            return
        self._terminate(
            lambda: {
                process.pid: partial(signal_escaped_process, process)
                for process in find_escaped_processes(self._mark)
            }
        )

    def _terminate_background(self) -> None:
        """Terminate background processes, and escaped ones, so that none writes into the next task's files."""
        if any(group.is_alive() for group in self._groups):
            self._log.note("ending what is still running")
            self._terminate_groups()
        self._drain()
        self._input.close()
        if self._is_output_open() or (self._room is None and may_have_escaped(self._mark, self._groups[0].id)):
            self._terminate_escaped()
            self._drain()

    def _is_output_open(self) -> bool:
        """Whether any process still has the output open.

        A process that this one starts for another task has it until it executes its program: a few milliseconds
        are waited for that, which take less than a search for the processes of this task.
        """
        os.set_blocking(self._output.fileno(), False)
        for pause in STARTING_TIMES:
            try:
                if not self._read():
                    return False
            except BlockingIOError:
                sleep(pause)
        return True

    def _terminate(self, living: Callable[[], dict[int, Callable[[Signals], None]]]) -> None:
        """Send SIGTERM to processes, and SIGKILL after the grace period; return when none is left.

        A process that starts during the grace period gets SIGTERM, too. One that does not exit after SIGKILL,
        because it waits for the kernel (a dead network disk), is left.
        """
        signalled: set[int] = set()
        kill_at = monotonic() + self._job.grace
        pause = 0.001
        while (targets := living()) and monotonic() < kill_at + KILL_TIMEOUT:
            for number, signal in targets.items():
                if monotonic() >= kill_at or self._job.haste.begun:
                    signal(SIGKILL)
                elif number not in signalled:
                    signal(SIGTERM)
            signalled.update(targets)
            self._wait(pause)
            pause = min(2 * pause, POLL_INTERVAL)

    def _scratch(self, resources: ExitStack | None = None) -> Path:
        """Return the task's directory for prompt files; created at the first call."""
        if not self._has_scratch:
            (resources or self._resources).enter_context(held_directory(self._job.scratch))
            self._has_scratch = True
        return self._job.scratch

    def _stdin(self, text: str) -> IO[bytes]:
        """Return an unnamed file with `text`; a pipe would need a thread that writes it."""
        from tempfile import TemporaryFile  # noqa: PLC0415 - start-up stays quick

        file = TemporaryFile(dir=self._scratch())  # noqa: SIM115 - the caller closes it
        file.write(text.encode(errors="surrogateescape"))
        file.seek(0)
        return file

    def _arguments(self, step: Step) -> tuple[str, ...]:
        """Return the argument vector of a step, with the path of its prompt file."""
        if not step.prompt_file:
            return step.argv
        path = self._scratch() / f"prompt-{len(self._groups) + 1}.md"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write((step.stdin or "").encode(errors="surrogateescape"))
        return with_prompt_file(step.argv, str(path))

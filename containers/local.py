"""A place to run tasks: processes on this machine."""

import fcntl
import os
import selectors
import shutil
import struct
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from io import FileIO
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from subprocess import DEVNULL
from time import monotonic, perf_counter
from typing import IO

from anyio import (
    CancelScope,
    get_cancelled_exc_class,
    move_on_after,
    run_process,
)
from anyio.lowlevel import checkpoint_if_cancelled

from containers.agents.agent import first_line
from containers.agents.builtin import Agent
from containers.concurrency import run_to_end
from containers.processes import Group, describe_start_failure, find_escaped_processes, signal_stray
from containers.runner import Deadline, Job, Watcher, task_variables, with_prompt_file
from containers.task_log import RunnerError, TaskLog
from containers.worktrees.worktree import Worktree
from tasks.model import Step, StepResult
from tasks.secrets import FORGE_TOKENS

OWN = frozenset({"PATCHYARD_DATABASE", "PATCHYARD_NOTIFY", "PATCHYARD_TOKEN"})
"""Variables of the program's own that give access to something: its store, its server, whoever it notifies."""
LOCATIONS = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    },
)
"""Variables by which git in a worktree would work on another repository (a hook of the user's sets them)."""
MARK = "PATCHYARD_JOB"
"""A variable by which the processes of one task are told from all others, also from those of another run."""
CHUNK = 65536
LONGEST_WAIT = 3600.0
POLL = 0.02
"""Seconds between two looks at a process where the system does not say that it ended."""
PATIENCE = 10.0
"""Seconds that a process may take to end after KILL."""


class LocalRunner:
    """Runs the steps of a task as processes on this machine, each as its own process group.

    A step ends when its process ends. What it leaves running may go on through later steps; when the steps
    are over, whatever is left of the task's process groups is ended before `run` returns. What left its group
    (below `timeout` or `setsid`) is known by a variable, on Linux: it is ended after a timeout or
    an interruption, and after other tasks if it still has the task's output open. Not seen are a daemon that
    closed its output and whose task succeeded or failed by itself, and one that dropped the variable. What
    another user's rights protect (below `sudo`) is left alone.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)

    async def version(self, agent: Agent, _image: str | None) -> str | None:
        """Return what an agent of this machine says of its version; `None` where it does not run."""
        environment = {**_theirs(self._environ), **agent.environment}
        command = ["sh", "-c", agent.version or ""]
        with move_on_after(PATIENCE), suppress(OSError):
            process = await run_process(command, check=False, stderr=DEVNULL, env=environment)
            return first_line(process.stdout.decode(errors="replace"))
        return None

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in order; see `Runner.run`."""
        processes = _Processes(job, worktree.path, task_environment(self._environ, job))
        results: list[StepResult] = []
        try:
            await run_to_end(processes.open)
            for number, step in enumerate(job.steps, start=1):
                await self._step(number, step, processes, watcher, results)
                if not results[-1].ok:
                    break
        finally:
            with CancelScope(shield=True):
                await run_to_end(processes.close)
        return tuple(results)

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


def task_environment(environ: Mapping[str, str], job: Job) -> dict[str, str]:
    """Return a task's environment: the user's, without the forge's tokens and what leads git elsewhere."""
    return _theirs(environ) | task_variables(job)


def _theirs(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environ.items()
        if name not in FORGE_TOKENS
        and name not in OWN
        and name not in LOCATIONS
        and not name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }


class _Processes:
    """The processes of one task. Everything but `stop` blocks; one thread at a time calls it."""

    def __init__(self, job: Job, directory: Path, environment: Mapping[str, str]) -> None:
        self.deadline = Deadline(job.timeout)
        self._job = job
        self._directory = directory
        self._mark = {MARK: os.urandom(16).hex()}
        self._environment = {**environment, **self._mark}
        self._resources = ExitStack()
        self._groups: list[Group] = []
        self._stopped = False
        self._has_scratch = False

    def open(self) -> None:
        """Open the log and the pipes.

        Raises:
            RunnerError: They cannot be opened.
        """
        with ExitStack() as resources:
            self._log = resources.enter_context(TaskLog(self._job.log, self._job.secrets))
            try:
                self._output, self._input = _pipe(resources)
                self._wake, self._stop = _pipe(resources)
                os.set_blocking(self._stop.fileno(), False)
            except OSError as error:
                raise RunnerError(f"no pipe can be made for a task's output: {error.strerror}") from error
            self._selector = resources.enter_context(selectors.PollSelector())
            self._selector.register(self._output, selectors.EVENT_READ)
            self._selector.register(self._wake, selectors.EVENT_READ)
            self._resources = resources.pop_all()

    def stop(self) -> None:
        """End the step that runs, or the next at its start. Does not block; another thread calls it."""
        self._stopped = True
        self._stop.write(b"\0")

    def run(self, step: Step) -> StepResult:
        """Run a step to its end, in time or not."""
        self._log.begin(step)
        began = perf_counter()
        result = StepResult(step, None, 0.0, timed_out=self.deadline.passed, cancelled=self._stopped)
        if not (result.timed_out or result.cancelled):
            result = self._start(step, result)
        return self._log.end(replace(result, seconds=perf_counter() - began))

    def close(self) -> None:
        """End what is left of the task, keep the rest of its output, and close everything."""
        with self._resources:
            if self._groups:
                self._end_leftovers()
            for group in self._groups:
                group.release()
        if self._has_scratch:
            shutil.rmtree(self._job.scratch, ignore_errors=True)

    def _start(self, step: Step, result: StepResult) -> StepResult:
        with ExitStack() as files:
            try:
                stdin = None if step.stdin is None else files.enter_context(self._stdin(step.stdin))
                argv = self._arguments(step)
            except OSError as error:
                return replace(result, error=f"its prompt could not be written: {error.strerror}")
            try:
                group = Group(
                    argv,
                    directory=self._directory,
                    environment=self._environment,
                    stdin=stdin,
                    output=self._input.fileno(),
                )
            except (OSError, ValueError) as error:
                path = self._environment.get("PATH", os.defpath)
                code, reason = describe_start_failure(error, argv, self._directory, path)
                return replace(result, exit_code=code, error=reason)
        self._groups.append(group)
        return self._watch(group, result)

    def _watch(self, group: Group, result: StepResult) -> StepResult:
        """Wait for the end of a step, and bring it about where its time is over."""
        with self._watched(group):
            while group.exit_code() is None and not (self._stopped or self.deadline.passed):
                self._wait(min(self.deadline.remaining, LONGEST_WAIT if group.descriptor is not None else POLL))
        if group.exit_code() is None:
            result = replace(result, cancelled=self._stopped, timed_out=not self._stopped)
            self._end_groups()
            self._end_strays()
        self._drain()
        return replace(result, exit_code=group.exit_code())

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
        """Wait until something happens or the time is over; output that has come goes to the log."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.fileobj is self._wake:
                self._wake.read(CHUNK)
            elif key.fileobj is self._output:
                self._read()

    def _read(self, size: int = CHUNK) -> int:
        """Write to the log what there is, and return how many bytes; it waits for the first of them."""
        data = os.read(self._output.fileno(), min(size, CHUNK))
        if not data:  # the end: to wait for more would be to spin
            self._selector.unregister(self._output)
        self._log.write(data)
        return len(data)

    def _drain(self) -> None:
        """Write to the log what is in the pipe now, and no more: something may go on to write for ever."""
        left: int
        (left,) = struct.unpack("i", fcntl.ioctl(self._output.fileno(), termios.FIONREAD, bytes(4)))
        while left > 0:
            left -= self._read(left)

    def _end_groups(self) -> None:
        """End whatever is left of the task's process groups."""
        self._end(lambda: {group.id: group.signal for group in self._groups if group.is_alive()})

    def _end_strays(self) -> None:
        """End the task's processes that are in no group of it any more (as below `timeout` or `setsid`)."""
        self._end(
            lambda: {pid: partial(signal_stray, pid, self._mark) for pid in find_escaped_processes(self._mark)}
        )

    def _end_leftovers(self) -> None:
        """End what the steps left running, also what moved to another session and still holds the output."""
        if any(group.is_alive() for group in self._groups):
            self._log.note("ending what is still running")
            self._end_groups()
        self._drain()
        self._input.close()
        if self._is_held():
            self._end_strays()
            self._drain()

    def _is_held(self) -> bool:
        """Whether any process still has the output open."""
        os.set_blocking(self._output.fileno(), False)
        try:
            return self._read() > 0
        except BlockingIOError:
            return True

    def _end(self, living: Callable[[], dict[int, Callable[[Signals], None]]]) -> None:
        """Send TERM to what lives, and KILL after the grace to what still does; return when nothing does.

        What is started meanwhile gets its TERM too. A process that even KILL does not end, because the
        system holds it (a dead network disk), is left.
        """
        told: set[int] = set()
        kill_at = monotonic() + self._job.grace
        pause = 0.001
        while (targets := living()) and monotonic() < kill_at + PATIENCE:
            for number, signal in targets.items():
                if monotonic() >= kill_at:
                    signal(SIGKILL)
                elif number not in told:
                    signal(SIGTERM)
            told.update(targets)
            self._wait(pause)
            pause = min(2 * pause, POLL)

    def _scratch(self) -> Path:
        """Return the task's directory for files of the runner's own; made when it is first needed."""
        self._has_scratch = True
        self._job.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._job.scratch

    def _stdin(self, text: str) -> IO[bytes]:
        """Return a file without a name to read `text` from; a pipe would have to be fed."""
        file = tempfile.TemporaryFile(dir=self._scratch())  # noqa: SIM115 - the caller closes it
        file.write(text.encode(errors="surrogateescape"))
        file.seek(0)
        return file

    def _arguments(self, step: Step) -> tuple[str, ...]:
        """Return the argument vector, with the prompt's file where the step names it."""
        if not step.prompt_file:
            return step.argv
        path = self._scratch() / f"prompt-{len(self._groups) + 1}.md"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write((step.stdin or "").encode(errors="surrogateescape"))
        return with_prompt_file(step.argv, str(path))


def _pipe(resources: ExitStack) -> tuple[FileIO, FileIO]:
    """Return the two ends of a pipe, to read and to write."""
    reading, writing = os.pipe()
    return resources.enter_context(FileIO(reading, "rb")), resources.enter_context(FileIO(writing, "wb"))

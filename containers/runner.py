"""The Runner protocol, and what every runner shares."""

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Protocol, Self

from containers.agents.agent import PROMPT_FILE
from containers.worktrees.pool import Worktree
from tasks.errors import PatchyardError
from tasks.model import Step, StepResult
from tasks.secrets import Masker, Secrets

TAIL_BYTES = 4096
TAIL_LINES = 20


class RunnerError(PatchyardError):
    """The place where tasks are run cannot run any."""


@dataclass(frozen=True, slots=True)
class Job:
    """A task made ready to run.

    `environment` is the plan's and the program's own, on top of what the place itself gives. `timeout` is in
    seconds for all steps together, `None` for no limit. `grace` is how long, in seconds, a process may take
    to end after TERM before it is killed. `log` is the file that the output goes to. `scratch` is a directory
    of the task's own, outside of the worktree, for prompt files and the like; the runner makes it. `start` is
    the commit that the worktree stands at. `image` and `layers` are for containers: what they are made from,
    and the commands that every container of the same agent shares.
    """

    run: str
    task: str
    steps: tuple[Step, ...]
    log: Path
    scratch: Path
    start: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets)
    timeout: float | None = None
    grace: float = 5.0
    image: str | None = None
    layers: tuple[str, ...] = ()


class Watcher(Protocol):
    """Is told of each step; `number` counts from 1. A runner awaits it before it goes on."""

    async def step_started(self, number: int, step: Step) -> None:
        """Step `number` is about to begin."""

    async def step_finished(self, number: int, result: StepResult) -> None:
        """Step `number` has ended, however it ended; what this stores is durable when it returns."""


class Runner(Protocol):
    """A place to run tasks."""

    async def run(self, job: Job, worktree: Worktree, watcher: Watcher) -> tuple[StepResult, ...]:
        """Run the job's steps in order over the worktree until one is not `ok`, and return their results.

        What the steps changed stands in the worktree's directory afterwards. A step that fails or times out
        is a result, not an exception. When the caller is cancelled, whatever still runs is ended first, the
        watcher is told (`cancelled=True`), and the cancellation goes on.

        Raises:
            PatchyardError: The place itself cannot run anything (and so no other task either).
        """
        ...


def task_variables(job: Job) -> dict[str, str]:
    """Return the variables that a task gets on top of what its place gives; the later ones win."""
    own = {"PATCHYARD_TASK": job.task, "PATCHYARD_RUN": job.run}
    return {**job.environment, **job.secrets.values, **own}


def with_prompt_file(argv: Sequence[str], path: str) -> tuple[str, ...]:
    """Return an argument vector, which a shell reads, with the prompt's file where it is named.

    `{prompt_file}` may stand in quotes or not.
    """
    name = shlex.quote(path)
    forms = (f'"{PROMPT_FILE}"', f"'{PROMPT_FILE}'", PROMPT_FILE)
    named = list(argv)
    for form in forms:
        named = [argument.replace(form, name) for argument in named]
    return tuple(named)


class Deadline:
    """When the time of a task is over; counted from its making."""

    def __init__(self, timeout: float | None) -> None:
        self._at = math.inf if timeout is None else monotonic() + timeout

    @property
    def passed(self) -> bool:
        """Whether nothing more may begin, and what runs has to end."""
        return self.remaining <= 0

    @property
    def remaining(self) -> float:
        """Seconds that are left; infinity without a limit."""
        return self._at - monotonic()


class TaskLog:
    """The log of a task: what its steps are, what they print as they print it, and how they end.

    Output is kept byte for byte, with secrets masked; nothing limits its size. Where the log cannot be
    written (a full disk) the step goes on: what could not be kept is missing, and the log and the tail of
    the step say so. A log that exists is added to. Everything here blocks.
    """

    def __init__(self, path: Path, secrets: Secrets) -> None:
        self._path = path
        self._secrets = secrets
        self._masker = Masker(secrets)
        self._tail = b""
        self._lost: str | None = None  # why the latest output could not be written
        self._missing: str | None = None  # why some output of this step could not be written
        self._last = b"\n"

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RunnerError: It cannot be opened.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab", buffering=0)
            self._begun = self._file.tell() > 0
        except OSError as error:
            raise RunnerError(f"the log {self._path} cannot be written: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._put(self._masker.flush())
        self._file.close()

    def begin(self, step: Step) -> None:
        """Write the line that says what runs, and start a new tail."""
        self._line(f"$ {step.title}", before=b"\n" if self._begun else b"")
        self._begun = True
        self._tail = b""
        self._missing = self._lost

    def write(self, output: bytes) -> None:
        """Write what a step printed: any bytes, cut anywhere."""
        self._output(self._masker.feed(output))

    def end(self, result: StepResult) -> StepResult:
        """Write the line that says how a step ended, and return its result with the tail."""
        self._output(self._masker.flush())
        error = None if result.error is None else self._secrets.mask_text(result.error)
        tail = tail_text(self._tail)
        if self._missing:
            tail += "\n" * (tail[-1:] not in {"", "\n"}) + f"[the log is not complete: {self._missing}]\n"
        result = replace(result, tail=tail, error=error)
        self._line(f"[{_ending(result)}]")
        return result

    def note(self, text: str) -> None:
        """Write a line of the runner's own."""
        self._line(f"[{text}]")

    def _line(self, text: str, before: bytes = b"") -> None:
        line = self._secrets.mask_text(" ".join(text.splitlines())).encode(errors="surrogateescape")
        self._put((b"" if self._last == b"\n" else b"\n") + before + line + b"\n")

    def _output(self, shown: bytes) -> None:
        if shown:
            self._tail = (self._tail + shown[-TAIL_BYTES:])[-TAIL_BYTES:]
            self._put(shown)

    def _put(self, data: bytes) -> None:
        if not data:
            return
        try:
            if self._lost:
                self._write_all(f"\n[output is missing here: {self._lost}]\n".encode())
                self._lost = None
            self._write_all(data)
        except OSError as error:
            self._lost = self._missing = error.strerror or str(error)
        self._last = data[-1:]

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]


def tail_text(output: bytes) -> str:
    """Return the end of some output as text for people: the last lines, without what steers a terminal.

    Of a line that was written over (a progress bar), what stood there last.
    """
    cut = output[-TAIL_BYTES:]
    if len(output) >= TAIL_BYTES:
        cut = cut.lstrip(bytes(range(0x80, 0xC0)))  # the rest of a character that was cut
    text = _TERMINAL.sub("", cut.decode(errors="replace").replace("\r\n", "\n"))
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    ends = 1 if lines[-1] == "" else 0
    return _CONTROL.sub("", "\n".join(lines[-TAIL_LINES - ends :]))


_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _ending(result: StepResult) -> str:
    """Say how a step ended, in a few words."""
    seconds = f"{result.seconds:.2f} s"
    code = "" if result.exit_code is None else f", exit code {result.exit_code}"
    if result.timed_out or result.cancelled:
        how = "timed out" if result.timed_out else "interrupted"
        began = code or seconds != "0.00 s"
        return f"{how}{code}, {seconds}" if began else f"{how} before it began"
    if result.error is not None:
        return f"{result.error}{code}"
    return f"exit code {result.exit_code}, {seconds}"

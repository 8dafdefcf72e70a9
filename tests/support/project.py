"""A user's project with a repository and plans, on which the real command runs."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol, Self

from preloaded import IS_USABLE, ForkedProcess
from repositories import Clone

from tasks.outcome import Status

COMMAND = (sys.executable, "-P", "-m", "pipeline")
PATIENCE = 60.0
"""Time limit of waits in tests, in seconds; nothing should take that long."""
Record = dict[str, Any]


class Process(Protocol):
    """What the tests use of `subprocess.Popen`."""

    pid: int
    returncode: int | None
    stdout: IO[str] | None
    stderr: IO[str] | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def communicate(self, *, timeout: float | None = None) -> tuple[str, str]: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


def started(  # noqa: PLR0913 - what a process is started with
    arguments: Sequence[str | Path],
    cwd: Path,
    environ: Mapping[str, str],
    *,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    session: bool = False,
    preloaded: bool = IS_USABLE,
) -> Process:
    """Start `patchyard`; see `ForkedProcess`. If not `preloaded`, it has an interpreter of its own."""
    if preloaded:
        return ForkedProcess(
            arguments, cwd, environ, stdin=stdin, stdout=stdout, stderr=stderr, session=session
        )
    return subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environ,
        stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE,
        stderr=stderr or subprocess.PIPE,
        encoding="utf-8",
        start_new_session=session,
    )


@dataclass(frozen=True)
class Done:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[Record]:
        """Standard output, parsed as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def events(self, name: str) -> list[Record]:
        """Return the events with a name."""
        return [record for record in self.records if record["event"] == name]

    @property
    def finished(self) -> Record:
        """The last event, which must be `run_finished`."""
        last = self.records[-1]
        assert last["event"] == "run_finished", self
        return last

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.finished["run"])

    def outcome(self, task: str) -> Record:
        """Return a task's outcome."""
        return next(outcome for outcome in self.finished["outcomes"] if outcome["task"] == task)

    @property
    def statuses(self) -> dict[str, str]:
        """The status of every task, by id."""
        return {outcome["task"]: outcome["status"] for outcome in self.finished["outcomes"]}

    def expect(self, code: int = 0) -> "Done":
        """Check the exit code, and return this result."""
        assert self.code == code, f"exit code {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err, self.err
        return self


class Started:
    """A running command in a session of its own; a context manager that kills it."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the command if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    def signal(self, number: int) -> None:
        """Send a signal to the process only, not to its children."""
        self.process.send_signal(number)

    def done(self, patience: float = PATIENCE) -> Done:
        """Wait until the command ends."""
        out, err = self.process.communicate(timeout=patience)
        return Done(self.process.wait(), out, err)


@dataclass
class Project:
    """A user's repository, plans next to it, and a directory that the tasks of a test can use."""

    clone: Clone
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plans.mkdir(exist_ok=True)
        self.shared.mkdir(exist_ok=True)
        self.environ = {**self.clone.user.environ, "SHARED": str(self.shared), **self.environ}

    @property
    def root(self) -> Path:
        """The user's checkout."""
        return self.clone.path

    @property
    def plans(self) -> Path:
        """The directory that plans are written to."""
        return self.root.parent / "plans"

    @property
    def shared(self) -> Path:
        """A directory for files of tasks; `$SHARED` in their environment."""
        return self.root.parent / "shared"

    @property
    def worktrees(self) -> Path:
        """Default directory of the worktree pool."""
        return self.root.parent / f"{self.root.name}-worktrees"

    @property
    def state(self) -> Path:
        """The program's directory in the common git directory."""
        return self.root / ".git" / "patchyard"

    def plan(self, text: str, name: str = "plan.md") -> Path:
        """Write a plan outside of the repository."""
        path = self.plans / name
        path.write_text(text, encoding="utf-8")
        return path

    def tasks(  # noqa: PLR0913 - the parts of a plan, by name
        self,
        scripts: Mapping[str, str],
        name: str = "plan.md",
        *,
        title: str = "Demo",
        front: str = "",
        fields: Mapping[str, str] | None = None,
        batches: Mapping[str, str] | None = None,
    ) -> Path:
        """Write a plan whose tasks run one script each; see `plan_text`."""
        return self.plan(plan_text(scripts, title=title, front=front, fields=fields, batches=batches), name)

    def configure(self, text: str, *, trusted: bool = True) -> None:
        """Write the configuration file, which is not committed; its settings are trusted."""
        (self.root / "patchyard.toml").write_text(text, encoding="utf-8")
        self.environ |= {"PATCHYARD_TRUST": str(trusted).lower()}

    def declare_agent(self, script: str, **fields: str) -> None:
        """Declare an agent `mine` that runs a script, for all tasks without commands; see `[agents.NAME]`."""
        path = self.shared / "agent"
        path.write_text(script, encoding="utf-8")
        more = "".join(f"{name} = '{value}'\n" for name, value in fields.items())
        self.configure(f'agent = "mine"\n[agents.mine]\ncommand = "sh \'{path}\'"\n{more}')

    def call(  # noqa: PLR0913 - the parts of a call, by name
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        stdout: Path | None = None,
        patience: float = PATIENCE,
        preloaded: bool = IS_USABLE,
    ) -> Done:
        """Run `patchyard` until it ends, by default in the repository; `stdout` is a file to write to.

        If not `preloaded`, the process is one that was started with the environment of the command.
        """
        with ExitStack() as files:
            given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            given.write(stdin)
            given.seek(0)
            to = files.enter_context(stdout.open("wb")) if stdout else out
            process = started(
                arguments,
                cwd or self.root,
                {**self.environ, **(environ or {})},
                stdin=given,
                stdout=to,
                stderr=err,
                preloaded=preloaded,
            )
            try:
                code = process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
            out.seek(0)
            err.seek(0)
            return Done(code, out.read().decode(), err.read().decode())

    def run(self, plan: Path, *arguments: str | Path, environ: Mapping[str, str] | None = None) -> Done:
        """Run `patchyard run PLAN --json`."""
        return self.call("run", plan, "--json", *arguments, environ=environ)

    def start(
        self,
        *arguments: str | Path,
        environ: Mapping[str, str] | None = None,
        preloaded: bool = IS_USABLE,
    ) -> Started:
        """Start `patchyard` in a session of its own."""
        return Started(
            started(
                arguments, self.root, {**self.environ, **(environ or {})}, session=True, preloaded=preloaded
            )
        )

    def branches(self) -> dict[str, str]:
        """Return all branches with their commits."""
        lines = self.clone.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads")
        return dict(line.split(" ") for line in lines.splitlines())

    def show(self, revision: str) -> str:
        """Return a file of a commit, such as `main:a.txt`."""
        return self.clone.git("show", revision)

    def log(self, run: str, task: str) -> str:
        """Return the log of a task."""
        return (self.state / "runs" / run / f"{task}.log").read_text(encoding="utf-8")


def plan_text(
    scripts: Mapping[str, str],
    *,
    title: str = "Demo",
    front: str = "",
    fields: Mapping[str, str] | None = None,
    batches: Mapping[str, str] | None = None,
) -> str:
    """Return a plan with one task per script, in the batch of the first number of its id.

    Args:
        scripts: Shell scripts by task id; an empty one is a task without `Run`.
        title: Title of the plan.
        front: YAML front matter.
        fields: More Markdown by task id, inserted before the script.
        batches: More Markdown by batch number.
    """
    lines = [f"---\n{front.strip()}\n---\n"] if front else []
    lines.append(f"# {title}\n")
    batch = ""
    for task, script in scripts.items():
        if batch != (batch := task.split(".", maxsplit=1)[0]):
            lines.append(f"## Batch {batch}: Batch {batch}\n\n{(batches or {}).get(batch, '')}\n")
        lines.append(f"### Task {task}: Do {task}\n\n{(fields or {}).get(task, '')}\n")
        if script:
            lines.append(f"**Run:**\n\n```sh\n{script.strip()}\n```\n")
    return "\n".join(lines)


def meet(number: int, name: str = "meeting") -> str:
    """Return a script that continues once `number` tasks run it concurrently, and fails otherwise."""
    return (
        f'mkdir -p "$SHARED/{name}"; touch "$SHARED/{name}/$PATCHYARD_TASK"; tries=0\n'
        f'while [ "$(ls "$SHARED/{name}" | wc -l)" -lt {number} ]; do\n'
        '  tries=$((tries + 1)); [ "$tries" -lt 1500 ] || exit 9; sleep 0.02\n'
        "done\n"
    )


SAVE_ENVIRONMENTS = """
p=$PPID
while [ "$p" -gt 1 ]; do
  { echo "process $p"; cat "/proc/$p/environ"; } >> "$SHARED/environments" 2> /dev/null || true
  p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status")
done
"""
"""Script that appends the environments of the processes above it to `$SHARED/environments`."""


def wait_for(ready: Callable[[], object], what: str = "it") -> None:
    """Wait until a condition holds, and fail after `PATIENCE` seconds."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)


def runs(pids: Iterable[int]) -> list[int]:
    """Return the processes that are still running; zombies are not."""
    return [pid for pid in pids if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not Path("/proc/self").exists()


def fingerprint(root: Path, *leave_out: str) -> dict[str, tuple[int, bytes]]:
    """Return every file below a directory with its mode and content, except below the names in `leave_out`."""
    found: dict[str, tuple[int, bytes]] = {}
    for parent, directories, names in os.walk(root):
        here = Path(parent)
        relative = here.relative_to(root)
        directories[:] = [name for name in directories if str(relative / name) not in leave_out]
        for name in names:
            path = here / name
            if str(relative / name) not in leave_out:
                content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
                found[str(relative / name)] = (path.lstat().st_mode, content)
    return found


def one_sentence(done: Done, code: int = 2) -> str:
    """Return the one-line message of a command that failed with exit code `code`, without its prefix."""
    done.expect(code)
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("patchyard: ")
    return lines[0].removeprefix("patchyard: ")


STATUSES = frozenset(map(str, Status))

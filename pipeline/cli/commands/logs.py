"""Command `logs`: what tasks printed."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from containers.filesystem import open_regular
from containers.raw_log import raw_log_path
from containers.terminal_text import strip_terminal
from pipeline.cli.chosen import choose_one
from pipeline.cli.commands.show import task_of
from pipeline.cli.options import attempt_option, database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.run.control import host_name
from pipeline.run.paths import base_log_path, log_path, run_directory
from pipeline.run.recording.prompts import read_prompts
from pipeline.run.stored.status import current_status, is_dead
from pipeline.store.records import Run, StoredAttempt
from pipeline.store.store import Store, UnknownRunError
from pipeline.view.log_lines import LogLine, TimedLog, in_order
from pipeline.view.log_text import LogText
from tasks.lazy.dataclasses import dataclass
from tasks.text import plural, printable

POLL_INTERVAL = 0.1
"""Seconds between two reads of a growing log."""


@click.command()
@click.argument("names", metavar="[RUN] [TASK]", nargs=-1)
@repo_option
@database_option
@click.option("--follow", "-f", is_flag=True, help="Keep printing as logs grow, until the end of TASK or RUN.")
@click.option("--timestamps", "-t", is_flag=True, help="Print when each line was written.")
@click.option("--raw", is_flag=True, help="Print what the task's agent printed, as it was.")
@click.option("--prompt", is_flag=True, help="Print what the task's agent was given, in each round.")
@click.option("--base", is_flag=True, help="Print the output of its verification before any change.")
@attempt_option
def logs(  # noqa: PLR0913 - one per option
    names: tuple[str, ...],
    repo: Path,
    *,
    follow: bool,
    timestamps: bool,
    raw: bool,
    prompt: bool,
    base: bool,
    number: int | None,
) -> None:
    """Print the output of TASK in RUN; without a TASK that of all its tasks, each line with its task.

    The lines of several tasks are in the order in which they were printed. Without a RUN, the newest is meant.
    """
    with repository_and_store(repo) as (repository, store):
        run, task = choose_one(store, names)
        directory = run_directory(repository.common, run.id)
        if task is None:
            if raw or prompt or base or number is not None:
                raise click.UsageError("--raw, --prompt, --base and --attempt need a TASK.")
            _print_all(store, run, directory, follow=follow, timestamps=timestamps)
            return
        shown = _OneLog(store, run, directory, task, number)
        if prompt:
            shown.check_host()
            _print_prompts(read_prompts(shown.path), f"task {task} of run {run.id}")
        elif base:
            for path in shown.base_logs():
                _print_log(path, lambda: True)
        elif timestamps and not raw:
            shown.find(shown.path, follow=follow)
            log = TimedLog("", shown.path, _milliseconds(shown.attempt))
            _follow(lambda: [log], lambda: shown.has_ended(follow=follow), timestamps=True)
        else:
            path = raw_log_path(shown.path) if raw else shown.path
            shown.find(path, follow=follow)
            if sys.stdout.isatty() and not raw:
                _name_prompt(shown.path, run, task)
            _print_log(path, lambda: shown.has_ended(follow=follow))


@dataclass(frozen=True, slots=True)
class _OneLog:
    """The log of an attempt at a task; of the last one without a number."""

    store: Store
    run: Run
    directory: Path
    task: str
    number: int | None

    @property
    def wanted(self) -> int:
        """The number of the attempt."""
        numbers = [attempt.number for attempt in self.store.attempts(self.run.id, self.task)]
        return self.number or max(numbers, default=1)

    @property
    def attempt(self) -> StoredAttempt | None:
        """The attempt, if it is stored."""
        found = self.store.attempts(self.run.id, self.task)
        return next((attempt for attempt in found if attempt.number == self.wanted), None)

    @property
    def path(self) -> Path:
        """The log."""
        return log_path(self.directory, self.task, self.wanted)

    def has_ended(self, *, follow: bool) -> bool:
        """Whether nothing is added to the log any more, or it is not followed."""
        if not follow or self.store.has_ended(self.run.id, self.task):
            return True
        return is_dead(self.store, self.store.run(self.run.id), environment())

    def find(self, path: Path, *, follow: bool) -> None:
        """Wait until a log of the attempt is there.

        Raises:
            UnknownRunError: It will not be; the message says why.
        """
        while True:
            last = self.has_ended(follow=follow)
            if path.exists():
                return
            if last:
                raise self._missing(path)
            time.sleep(POLL_INTERVAL)

    def _missing(self, path: Path) -> UnknownRunError:
        self.check_host()
        outcome = task_of(self.store, self.run, self.task).outcome
        why = outcome.error or ("its result was cached" if outcome.cached else "the log was removed")
        task = f"task {self.task}"
        which = f"attempt {self.number} of {task}" if self.number else task
        if path != self.path and self.path.exists():
            why = "it has no agent whose output is shown otherwise, so `patchyard logs` prints all of it"
            return UnknownRunError(f"{which} of run {self.run.id} has no raw log: {why}")
        return UnknownRunError(f"{which} of run {self.run.id} has no log ({outcome.status}): {why}")

    def base_logs(self) -> list[Path]:
        """Return the logs of what `--check-base` ran at the start point of the attempt, each once.

        Raises:
            UnknownRunError: There is none.
        """
        keys = set(self.attempt.base_checks) if self.attempt else set()
        checks = [check for check in self.store.base_checks(self.run.id) if check.key in keys]
        paths = [self.directory / check.log.name for check in checks if check.log]
        paths.append(base_log_path(self.directory, self.task, self.wanted))
        found = [path for path in dict.fromkeys(paths) if path.exists()]
        if not found:
            self.check_host()
            raise UnknownRunError(
                f"task {self.task} of run {self.run.id} has no log of its verification before any change: "
                "`--check-base` was not given, or nothing had to be checked"
            )
        return found

    def check_host(self) -> None:
        """Check that the log was written on this host.

        Raises:
            UnknownRunError: It was written on another host; the message names it.
        """
        attempt = self.attempt
        if attempt and attempt.host not in {None, host_name(environment())}:
            raise UnknownRunError(
                f"task {self.task} of run {self.run.id} ran on host {attempt.host}; "
                "its log is only available there"
            )


def _name_prompt(log: Path, run: Run, task: str) -> None:
    """Print, for people, how to see what the agent was given, if there was one."""
    if prompts := read_prompts(log):
        lines = plural(len(prompts[min(prompts)].splitlines()), "line")
        click.echo(
            f"[the agent was given {lines}: `patchyard logs {run.id} {task} --prompt` prints them]", err=True
        )


def _print_prompts(prompts: Mapping[int, str], task: str) -> None:
    """Print what an agent was given; `task` names the task.

    Raises:
        UnknownRunError: Nothing is known of it.
    """
    if not prompts:
        raise UnknownRunError(f"{task} has no prompt: no agent was called, or its files were removed")
    for number, text in prompts.items():
        if len(prompts) > 1:
            click.echo(f"--- round {number} ---\n")
        click.echo(printable(text))


def _print_log(path: Path, ended: Callable[[], bool]) -> None:
    """Copy a log to standard output until `ended` returns true, up to its end at that moment. Blocking.

    A terminal gets no control sequence of it; a file or a pipe gets every byte.

    Raises:
        UnknownRunError: It is not a plain file: a pipe would block.
    """
    out, text = sys.stdout.buffer, LogText() if sys.stdout.isatty() else None
    if (log := open_regular(path)) is None:
        raise UnknownRunError(f"{path} is not a plain file, so it is not printed")
    with log:
        while True:
            last = ended()
            while data := log.read(65536):
                out.write(printable(text.add(data)).encode() if text else data)
            if last and text:
                out.write(printable(text.rest).encode())
            out.flush()
            if last:
                return
            time.sleep(POLL_INTERVAL)


def _print_all(store: Store, run: Run, directory: Path, *, follow: bool, timestamps: bool) -> None:
    """Print the logs of all attempts of a run, line by line in the order of their times. Blocking.

    Raises:
        UnknownRunError: The run has no log on this host.
    """
    here, opened = host_name(environment()), dict[Path, TimedLog]()

    def logs_so_far() -> list[TimedLog]:
        for attempt in store.attempts(run.id):
            path = log_path(directory, attempt.task, attempt.number)
            if attempt.host in {None, here} and path not in opened:
                again = f"/{attempt.number}" if attempt.number > 1 else ""
                opened[path] = TimedLog(f"{attempt.task}{again}", path, _milliseconds(attempt))
        return list(opened.values())

    def has_ended() -> bool:
        return not follow or not current_status(store, store.run(run.id), environment()).is_active

    if not _follow(logs_so_far, has_ended, timestamps=timestamps):
        elsewhere = {attempt.host for attempt in store.attempts(run.id)} - {None, here}
        where = f"; it ran on host {', '.join(map(str, elsewhere))}" if elsewhere else ""
        raise UnknownRunError(f"run {run.id} has no logs here{where}")


def _milliseconds(attempt: StoredAttempt | None) -> int:
    return int(attempt.started_at.timestamp() * 1000) if attempt else 0


def _follow(logs: Callable[[], list[TimedLog]], ended: Callable[[], bool], *, timestamps: bool) -> bool:
    """Print the lines of logs until `ended` returns true; return whether there were any. Blocking."""
    out, safe, printed = sys.stdout.buffer, sys.stdout.isatty(), False
    while True:
        last = ended()
        found = logs()
        width = max((len(log.name) for log in found), default=0)
        for line in in_order(found, is_last=last):
            printed = True
            out.write(_shown(line, width, timestamps=timestamps, safe=safe))
        out.flush()
        if last:
            return printed
        time.sleep(POLL_INTERVAL)


def _shown(line: LogLine, width: int, *, timestamps: bool, safe: bool) -> bytes:
    """Return a line with what is before it; `safe` for a terminal."""
    name = f"{line.name:{width}} | " if width else ""
    before = f"{line.time:23} {name}" if timestamps else name
    if not safe:
        return before.encode() + line.data + b"\n"
    text = strip_terminal(line.data.decode(errors="replace")).rstrip("\r").rpartition("\r")[2]
    return printable(f"{before}{text}\n").encode()

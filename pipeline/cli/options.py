"""Options and arguments that several commands share."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from pipeline.store.engine import VARIABLE

STDOUT, STDERR = 1, 2
F = TypeVar("F", bound=Callable[..., Any])


def environment() -> Mapping[str, str]:
    """Return the process's environment, with the database that --database names; only the doors read it."""
    context = click.get_current_context(silent=True)
    told = {VARIABLE: context.meta[VARIABLE]} if context and VARIABLE in context.meta else {}
    return {**os.environ, **told}


def leave(code: int) -> NoReturn:
    """End the command with an exit code."""
    click.get_current_context().exit(code)


def interruptible() -> None:
    """Let TERM end the command as Ctrl-C does, by `KeyboardInterrupt`; one that is ignored stays so."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def plain_streams() -> None:
    """Let standard output and error take every text, also where the locale does not have its characters.

    Those that the program was started without go nowhere.
    """
    if sys.stdout is None or sys.stderr is None:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:  # else files would stand in their place
            pass
        os.close(descriptor)
        sys.stdout = sys.stdout or os.fdopen(STDOUT, "w")
        sys.stderr = sys.stderr or os.fdopen(STDERR, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Let what follows go nowhere: whoever read standard output has gone."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)


def tell_wait(seconds: float) -> None:
    """Say that GitHub keeps us waiting."""
    click.echo(f"GitHub cannot answer now: trying again in {seconds:.0f} s", err=True)


def repo_option(function: F) -> F:
    """Add --repo."""
    return click.option(
        "--repo",
        type=click.Path(path_type=Path),
        default=Path(),
        show_default="the current directory",
        help="The git repository, or any directory in it.",
    )(function)


def database_option(function: F) -> F:
    """Add --database, which is as if the variable were set."""

    def tell(context: click.Context, _: click.Parameter, url: str | None) -> None:
        if url is not None:
            context.meta[VARIABLE] = url

    return click.option(
        "--database",
        metavar="URL",
        expose_value=False,
        callback=tell,
        help=f"Keep runs there; for several machines.  [default: {VARIABLE}, or a file in the repository]",
    )(function)


def plan_arguments(function: F) -> F:
    """Add PLAN, which may also be written --plan PLAN."""
    function = click.option("--plan", "plan_option", metavar="PLAN", help="The same as the argument PLAN.")(
        function
    )
    return click.argument("plan_argument", metavar="PLAN", required=False)(function)


def plan_path(argument: str | None, option: str | None) -> str:
    """Return the plan's path from either of the two ways to name it."""
    if argument and option and argument != option:
        raise click.UsageError(f"two plans are named, {argument} and {option}; name one.")
    path = argument or option
    if not path:
        raise click.UsageError("no plan is named; try `patchyard run plan.md`.")
    return path


RUN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--base", metavar="REF", help="Branch, tag or commit to start from.  [default: the current branch]"
    ),
    click.option(
        "--mode",
        type=click.Choice(["local", "parallel", "dagger"]),
        help="One by one, side by side, or in containers.  [default: what the plan says, else parallel]",
    ),
    click.option(
        "--image", metavar="REF", help="Image of the tasks' containers, in mode dagger.  [default: python:3.13]"
    ),
    click.option(
        "--engine",
        "engines",
        multiple=True,
        metavar="URL[=N]",
        help="A Dagger engine, and how many tasks it takes; may be given several times.",
    ),
    click.option(
        "--locked",
        is_flag=True,
        default=None,
        help="In mode dagger, take no image whose digest is not in patchyard.lock.",
    ),
    click.option(
        "--fresh", is_flag=True, default=None, help="Run every task again, also what has a result already."
    ),
    click.option(
        "--no-cache",
        is_flag=True,
        default=None,
        help="Neither take the results of earlier runs nor keep those of this one.",
    ),
    click.option(
        "--pool-size",
        type=click.IntRange(min=1),
        metavar="N",
        help="How many worktrees, and so tasks at once.  [default: 3]",
    ),
    click.option("--start-batch", type=int, metavar="N", help="The first batch to run."),
    click.option("--end-batch", type=int, metavar="N", help="The last batch to run."),
    click.option(
        "--task", "tasks", multiple=True, metavar="ID", help="Run this task only; may be given several times."
    ),
    click.option(
        "--agent", metavar="NAME|COMMAND", help="Who gets the text of tasks that have no Run commands."
    ),
    click.option(
        "--timeout", metavar="DURATION", help="How long a task may take: 90s, 10m, 1h, none.  [default: 1h]"
    ),
    click.option(
        "--worktrees",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where the worktrees stand.  [default: <repository>-worktrees beside the repository]",
    ),
    click.option(
        "--branch",
        metavar="TEMPLATE",
        help="Names of the branches, with {plan}, {task}, {run}.  [default: patchyard/{plan}/{task}]",
    ),
    click.option(
        "--publish/--no-publish",
        default=None,
        help="Push the branches and open pull requests.  [default: no-publish]",
    ),
    click.option("--remote", metavar="NAME", help="The remote to push to.  [default: origin]"),
    click.option(
        "--github", metavar="OWNER/REPO", help="The repository on GitHub.  [default: from the remote's URL]"
    ),
    click.option("--draft", is_flag=True, default=None, help="Open the pull requests as drafts."),
    click.option(
        "--auto-merge",
        is_flag=True,
        default=None,
        help="Turn on GitHub's auto-merge, or merge where nothing is required.",
    ),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="LABEL",
        help="Label of the pull requests; may be given several times.",
    ),
    click.option(
        "--reviewer",
        "reviewers",
        multiple=True,
        metavar="LOGIN",
        help="Who is asked for a review; may be given several times.",
    ),
    click.option(
        "--notify",
        metavar="URL",
        help="Tell this URL, as Slack and the like have them, of the run's end. A secret one is better in "
        "PATCHYARD_NOTIFY: others see a command's options.",
    ),
    click.option("--fail-fast", is_flag=True, default=None, help="End the run when the first task fails."),
    click.option(
        "--keep-going",
        is_flag=True,
        default=None,
        help="After a failure, skip only the tasks that name the failed one.",
    ),
)


def run_options(function: F) -> F:
    """Add what a run can be told."""
    for option in reversed(RUN_OPTIONS):
        function = option(function)
    return function

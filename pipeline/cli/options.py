"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.store.engine import VARIABLE

F = TypeVar("F", bound=Callable[..., Any])


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
    """Add --database, which overrides the environment variable (see `process.environment`)."""

    def remember(context: click.Context, _: click.Parameter, url: str | None) -> None:
        if url is not None:
            context.meta[VARIABLE] = url

    return click.option(
        "--database",
        metavar="URL",
        expose_value=False,
        callback=remember,
        help="Database of the runs, which several machines can share.  "
        f"[default: {VARIABLE}, or a file in the repository]",
    )(function)


def plan_arguments(function: F) -> F:
    """Add the argument PLAN and its alias --plan PLAN."""
    function = click.option("--plan", "plan_option", metavar="PLAN", help="Same as the argument PLAN.")(
        function
    )
    return click.argument("plan_argument", metavar="PLAN", required=False)(function)


def plan_path(argument: str | None, option: str | None) -> str:
    """Return the plan's path, from the argument or from --plan.

    Raises:
        click.UsageError: None is given, or two different ones.
    """
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
    """Add the options of a run."""
    for option in reversed(RUN_OPTIONS):
        function = option(function)
    return function

"""Options and arguments that several commands share."""

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from pipeline.config.settings import SETTINGS
from pipeline.config.table import Setting
from pipeline.store.database_url import VARIABLE

REPEATABLE = "; can be repeated."
F = TypeVar("F", bound=Callable[..., Any])


attempt_option = click.option(
    "--attempt",
    "number",
    type=click.IntRange(min=1),
    metavar="N",
    help="The Nth attempt of TASK.  [default: the last]",
)


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


prompt_option = click.option(
    "--prompt",
    "prompt_of",
    metavar="TASK",
    help="Print what the agent of TASK will be given, and nothing else.",
)


def plan_path(argument: str | None, option: str | None, command: str) -> str:
    """Return the plan's path, from the argument or from --plan, of a command.

    Raises:
        click.UsageError: None is given, or two different ones.
    """
    if argument and option and argument != option:
        raise click.UsageError(f"two plans are named, {argument} and {option}; name one.")
    path = argument or option
    if not path:
        raise click.UsageError(f"no plan is named; try `patchyard {command} plan.md`.")
    return path


SELECTION_OPTIONS = (
    click.option("--start-batch", type=int, metavar="N", help="The first batch to run."),
    click.option("--end-batch", type=int, metavar="N", help="The last batch to run."),
    click.option(
        "--task", "tasks", multiple=True, metavar="ID", help=f"Run this task and what it builds on{REPEATABLE}"
    ),
    click.option(
        "--only", multiple=True, metavar="ID", help=f"Run this task without what it builds on{REPEATABLE}"
    ),
)


def setting_option(item: Setting) -> Callable[[F], F]:
    """Return the click option of a setting; without it on the command line, its value is `None` or empty."""
    help_text = item.help_with_default
    if item.is_flag:
        negation = f"/--no-{item.flag.removeprefix('--')}" if item.option and item.option.negatable else ""
        return click.option(item.flag + negation, item.name, is_flag=True, default=None, help=help_text)
    if item.is_list:
        help_text = help_text.replace(".", REPEATABLE, 1)
    return click.option(
        item.flag,
        item.name,
        type=_type_of(item),
        multiple=item.is_list,
        metavar=item.option and item.option.metavar,
        help=help_text,
    )


def _type_of(item: Setting) -> "click.ParamType[Any] | None":
    """Return what click makes of the value of a setting; `None` for text."""
    if item.kind is int:
        limits = (item.api.minimum, item.api.maximum) if item.api else (1, None)
        return click.IntRange(*limits)
    if item.kind is Path:
        return click.Path(path_type=Path)
    if isinstance(item.kind, type) and issubclass(item.kind, StrEnum):
        return click.Choice([str(value) for value in item.kind])
    return None


def reading_options(function: F) -> F:
    """Add the options that decide how a plan is read."""
    for name in reversed(("agent", "dialect", "unit", "order", "optional", "tag")):
        function = setting_option(SETTINGS[name])(function)
    return function


def setting_options(settings: Iterable[Setting]) -> tuple[Callable[[Any], Any], ...]:
    """Return the click options of those settings that have one, in order."""
    return tuple(setting_option(item) for item in settings if item.option)


def run_options(function: F) -> F:
    """Add the options that select tasks, and one option per setting."""
    for option in reversed((*SELECTION_OPTIONS, *setting_options(SETTINGS.values()))):
        function = option(function)
    return function

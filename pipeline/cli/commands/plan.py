"""Commands `run` and `check`: their options. `run.py` and `check.py` do the work, and are slow to import."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from pipeline.cli.command_list import RUN_OPTIONS
from pipeline.cli.help import OptionGroups
from pipeline.cli.options import (
    database_option,
    plan_arguments,
    plan_path,
    prompt_option,
    reading_options,
    repo_option,
    run_options,
    setting_option,
)
from pipeline.cli.process import environment, exit_with
from pipeline.config.settings import SETTINGS


@click.command(cls=OptionGroups, option_groups=RUN_OPTIONS)
@plan_arguments
@repo_option
@database_option
@run_options
@click.option("--json", "as_json", is_flag=True, help="Write only JSON lines to standard output.")
@click.option("--dry-run", is_flag=True, help="Show what would run, without changing anything.")
@prompt_option
def run(  # noqa: PLR0913 - the command's own parameters
    plan_argument: str | None,
    plan_option: str | None,
    repo: Path,
    *,
    start_batch: int | None,
    end_batch: int | None,
    tasks: tuple[str, ...],
    only: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    prompt_of: str | None,
    **flags: object,
) -> None:
    """Run the tasks of PLAN; each task that changes files leaves a patch, a commit and a branch.

    Exit code: 0 all tasks succeeded, 1 a task failed, 2 the plan or the options are invalid, 3 GitHub refused a
    request, 4 no Dagger engine is available, 130 cancelled (Ctrl-C).
    """
    from containers.git.discovery import discovering_ahead  # noqa: PLC0415 - start-up stays quick

    path, environ = plan_path(plan_argument, plan_option, "run"), environment()
    start: Callable[..., int]
    with discovering_ahead(repo, environ) as git:  # while what runs a plan is loaded
        if dry_run or prompt_of:
            from pipeline.cli.commands.check import show_plan  # noqa: PLC0415 - start-up stays quick

            start = partial(show_plan, prompt_of=prompt_of)
        else:
            from pipeline.cli.commands.run import run_plan as start  # noqa: PLC0415 - start-up stays quick
        from containers.git.repository import Repository  # noqa: PLC0415 - likewise
        from pipeline.run.call.prepare import Call  # noqa: PLC0415 - likewise
        from pipeline.store.run_options import Selection  # noqa: PLC0415 - likewise

        selection = Selection.of(start_batch, end_batch, tasks=tasks, only=only)
        repository = Repository.open(repo, environ, git)
    call = Call(plan_path=path, repo=repo, environ=environ, flags=flags, selection=selection)
    exit_with(start(call, repository, as_json=as_json))


@click.command()
@plan_arguments
@repo_option
@reading_options
@setting_option(SETTINGS["serialize"])
@click.option("--graph", is_flag=True, help="Show only which tasks wait for which, and why.")
@click.option(
    "--format",
    "graph_format",
    type=click.Choice(["text", "mermaid"]),
    default="text",
    help="Format of --graph.",
    show_default=True,
)
@prompt_option
@click.option("--verbose", "-v", is_flag=True, help="Show whole scripts, not a line of each.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to standard output.")
def check(  # noqa: PLR0913 - the options of a command
    plan_argument: str | None,
    plan_option: str | None,
    repo: Path,
    *,
    graph: bool,
    graph_format: str,
    prompt_of: str | None,
    verbose: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Check PLAN, and show which of its text is run as commands and which goes to the agent.

    All errors are reported at once, each with its line and column. Exit code: 0 the plan has none, 2 it has
    some.
    """
    from pipeline.cli.commands.check import check_plan  # noqa: PLC0415 - start-up stays quick

    path = plan_path(plan_argument, plan_option, "check")
    shown = graph_format if graph else None
    exit_with(
        check_plan(
            path,
            repo,
            environment(),
            flags=flags,
            as_json=as_json,
            graph=shown,
            prompt_of=prompt_of,
            verbose=verbose,
        )
    )

"""Door 1: the command line."""

from pathlib import Path
from typing import Any

import click

from pipeline.cli import clean as cleaning
from pipeline.cli import report as reporting
from pipeline.cli import resume as going_on
from pipeline.cli import serve as serving
from pipeline.cli import show as afterwards
from pipeline.cli.options import (
    database_option,
    discard_output,
    environment,
    leave,
    plain_streams,
    plan_arguments,
    plan_path,
    repo_option,
    run_options,
)
from tasks.errors import PatchyardError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 + SIGINT, as shells have it."""


class Group(click.Group):
    """Prints the program's own errors as one sentence, and ends with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PatchyardError as error:
            from tasks.plan.parser import PlanError  # noqa: PLC0415 - only needed here

            if isinstance(error, PlanError):
                for diagnostic in error.diagnostics:
                    click.echo(str(diagnostic), err=True)
            else:
                click.echo(f"patchyard: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            discard_output()
            ctx.exit(1)
        except OSError as error:
            discard_output()
            where = f"{error.filename}: " if error.filename else "the output could not be written: "
            click.echo(f"patchyard: {where}{error.strerror or error}", err=True)
            ctx.exit(1)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="patchyard")
def main() -> None:
    """Turn a Markdown plan into pull requests.

    Every task of the plan runs in a git worktree of its own, side by side with the others; each task's changes
    become a patch, a commit on a branch of its own and, with --publish, a pull request. Your checkout is never
    touched.
    """
    plain_streams()


@main.command()
@plan_arguments
@repo_option
@database_option
@run_options
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, and nothing else, to standard output.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and change nothing.")
def run(  # noqa: PLR0913 - the command's own parameters
    plan_argument: str | None,
    plan_option: str | None,
    repo: Path,
    *,
    start_batch: int | None,
    end_batch: int | None,
    tasks: tuple[str, ...],
    as_json: bool,
    dry_run: bool,
    **flags: object,
) -> None:
    """Run the tasks of PLAN, and keep a patch, a commit and a branch of each.

    Exit code: 0 all tasks succeeded, 1 a task failed, 2 the plan or the call is wrong, 3 GitHub said no, 4 no
    Dagger engine answers, 130 after Ctrl-C.
    """
    from pipeline.cli.run import run_plan, show_plan  # noqa: PLC0415 - start-up stays quick
    from pipeline.run.prepare import Call  # noqa: PLC0415 - start-up stays quick
    from pipeline.store.run_options import Selection  # noqa: PLC0415 - start-up stays quick

    call = Call(
        plan_path=plan_path(plan_argument, plan_option),
        repo=repo,
        environ=environment(),
        flags=flags,
        selection=Selection(start_batch, end_batch, tasks),
    )
    code = show_plan(call, as_json=as_json) if dry_run else run_plan(call, as_json=as_json)
    leave(code)


@main.command()
@plan_arguments
@repo_option
@click.option("--agent", metavar="NAME|COMMAND", help="Who gets the text of tasks that have no Run commands.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines to standard output.")
def check(
    plan_argument: str | None, plan_option: str | None, repo: Path, agent: str | None, *, as_json: bool
) -> None:
    """Check PLAN, and show what of it is run and what goes to the agent.

    All mistakes are reported at once, each with its line and column. Exit code: 0 the plan can be run, 2 it has
    mistakes.
    """
    from pipeline.cli.run import check_plan  # noqa: PLC0415 - start-up stays quick

    path = plan_path(plan_argument, plan_option)
    leave(check_plan(path, repo, environment(), agent=agent, as_json=as_json))


for command in (
    *afterwards.COMMANDS,
    *going_on.COMMANDS,
    *cleaning.COMMANDS,
    *reporting.COMMANDS,
    *serving.COMMANDS,
):
    main.add_command(command)

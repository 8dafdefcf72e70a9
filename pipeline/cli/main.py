"""The command line: the group of all commands, and how their errors are reported."""

from typing import Any

import click

from pipeline.cli.command_list import COMMANDS, EXAMPLES
from pipeline.cli.help import LazyGroup
from pipeline.cli.process import INTERRUPTED, configure_streams, discard_output, exit_with
from tasks.errors import PatchyardError, first_error
from tasks.text import printable


class ErrorReportingGroup(LazyGroup):
    """Command group that prints expected errors as one sentence and exits with their exit code."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BaseExceptionGroup as errors:
            error = first_error(errors)
            if (code := _report(error)) is None:
                raise error from errors
        except BaseException as error:
            if (code := _report(error)) is None:
                raise
        return exit_with(code)


def _report(error: BaseException) -> int | None:
    """Print an expected error as one sentence, and return the exit code; `None` for an error of the program."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case PatchyardError():
            _print_error(error)
            return error.exit_code
        case BrokenPipeError():
            discard_output()
        case OSError():
            discard_output()
            where = f"{error.filename}: " if error.filename else "cannot write the output: "
            click.echo(printable(f"patchyard: {where}{error.strerror or error}"), err=True)
        case RecursionError():
            click.echo("patchyard: a file or a directory is nested too deeply; make it flatter", err=True)
        case RuntimeError() if "Symlink loop" in str(error):  # Path.resolve before Python 3.13
            click.echo(printable(f"patchyard: a symbolic link leads to itself: {_after_from(error)}"), err=True)
        case RuntimeError() if "can't start new thread" in str(error):
            click.echo("patchyard: the system permits no more threads; raise the limit", err=True)
        case MemoryError():
            click.echo(
                "patchyard: there is not enough memory; close other programs, or raise the limit", err=True
            )
        case _:
            return None
    return 1


def _after_from(error: RuntimeError) -> str:
    return str(error).partition(" from ")[2].strip("'")


def _print_error(error: PatchyardError) -> None:
    from pipeline.config.files import ConfigFileError  # noqa: PLC0415 - start-up stays quick
    from tasks.plan.parser import PlanError  # noqa: PLC0415 - likewise

    if isinstance(error, (PlanError, ConfigFileError)):
        for diagnostic in error.diagnostics:
            click.echo(printable(str(diagnostic)), err=True)
    else:
        click.echo(printable(f"patchyard: {error}"), err=True)


@click.group(
    cls=ErrorReportingGroup,
    commands_by_group=COMMANDS,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="patchyard")
def main() -> None:
    """Turn a Markdown plan into pull requests.

    Each task of the plan runs in its own git worktree, in parallel with the others. The changes of a task
    become a patch, a commit on a branch of its own and, with --publish, a pull request. Only
    `patchyard apply` changes your checkout.
    """
    configure_streams()

"""Command `convert`: write a plan of any dialect as a plan of the native format."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from containers.filesystem import is_directory
from containers.git.repository import Repository
from containers.temporary import write_atomically
from pipeline.cli.commands.remarks import print_diagnostics
from pipeline.cli.options import plan_arguments, plan_path, reading_options, repo_option
from pipeline.cli.process import BAD_PLAN, environment, exit_with, repository_if_any
from pipeline.config.sources import load
from pipeline.run.call.plan_file import (
    CallError,
    documents_in,
    parse_plan,
    read_plan,
    with_existing_neighbours,
)
from tasks.dialects.wording import named
from tasks.model import NATIVE, Plan
from tasks.plan.parser import parse
from tasks.plan.writer import differing, native_text
from tasks.text import plural, printable


@click.command()
@plan_arguments
@repo_option
@reading_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="The file to write.  [default: standard output]",
)
@click.option("--force", is_flag=True, help="Overwrite FILE if it exists.")
def convert(
    plan_argument: str | None,
    plan_option: str | None,
    repo: Path,
    *,
    output: Path | None,
    force: bool,
    **flags: object,
) -> None:
    """Write PLAN, of any dialect, as a plan of the native format.

    The result has the same tasks, in the same order, with the same prompts. Edit it, check it and run it as any
    plan; PLAN stays as it is. A plan of the native format is written unchanged.

    Exit code: 0 it is written, 2 PLAN has errors, or FILE exists.
    """
    path = plan_path(plan_argument, plan_option, "convert")
    target = None if output is None or str(output) == "-" else output
    exit_with(convert_plan(path, repo, environment(), flags=flags, output=target, force=force))


def convert_plan(  # noqa: PLR0913 - what is read, and where it is written
    path: str,
    repo: Path,
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, object],
    output: Path | None,
    force: bool,
) -> int:
    """Write a plan as a native one, to standard output without `output`; return the exit code. Blocking.

    Errors and warnings of the plan go to standard error. Nothing is written of a plan with errors.

    Raises:
        PatchyardError: The plan cannot be read, the configuration is invalid, or the file exists.
    """
    if output is not None:
        _check_output(output, force=force)
    repository, root = repository_if_any(repo, environ)
    sources = load(flags, environ, root)
    file = read_plan(path)
    parsed = parse_plan(file, sources, environ)
    print_diagnostics(parsed.diagnostics)
    plan = parsed.plan
    if plan is None:
        return BAD_PLAN
    if plan.dialect == NATIVE:
        _write(file.data, output)
    else:
        base = sources.resolve(plan.settings).base or "HEAD"
        documents = _documents(plan, repository, base, output)
        _write(_text(replace(plan, neighbours=documents)).encode(), output)
    if output is not None:
        what = f"{plural(len(plan.tasks), 'task')} of {named(plan.dialect)}"
        click.echo(printable(f"{output}: {what}"))
    return 0


def _check_output(output: Path, *, force: bool) -> None:
    if is_directory(output):
        raise CallError(f"{output} is a directory; name the file to write")
    if output.exists() and not force:
        raise CallError(f"{output} exists already; name another file, or overwrite it with --force")


def _text(plan: Plan) -> str:
    """Return the native plan, and warn of what is read from it otherwise."""
    text = native_text(plan)
    for name in differing(plan, parse(text, plan.path, agent="agent").plan):
        click.echo(
            printable(f"task {name} is not read the same from the result: compare `check --json` of both"),
            err=True,
        )
    return text


def _documents(plan: Plan, repository: Repository | None, base: str, output: Path | None) -> tuple[str, ...]:
    """Return the documents of a plan that are at the base or on the disk, named for where the result will be.

    In a repository they are named from its root, with a `/` first.
    """
    if repository is None:
        directory = output.parent if output is not None else Path()
        beside = with_existing_neighbours(plan, None, base).neighbours
        return tuple(Path(os.path.relpath(path, directory)).as_posix() for path in beside)
    names = documents_in(plan, repository)
    at_base = set(repository.paths_in(base, names))
    root = repository.root.resolve()
    return tuple(dict.fromkeys(f"/{name}" for name in names if name in at_base or (root / name).exists()))


def _write(content: bytes, output: Path | None) -> None:
    if output is None:
        click.echo(content, nl=False)
        return
    path = output.resolve()
    write_atomically(path, content, mode=path.stat().st_mode & 0o777 if path.exists() else None)

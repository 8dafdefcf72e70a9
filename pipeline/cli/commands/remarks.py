"""What commands print of a plan beside their result: mistakes, warnings and remarks."""

from collections.abc import Iterable

import click

from pipeline.run.call.prepare import Prepared, left_out_warning
from pipeline.run.call.remarks import remarks
from tasks.diagnostics import Diagnostic
from tasks.text import printable


def print_warnings(prepared: Prepared) -> None:
    """Print the warnings about the plan, the trusted settings, and what the run does not see or do."""
    print_diagnostics(prepared.warnings)
    for grant in prepared.grants:
        click.echo(printable(f"trusted: {grant}"), err=True)
    if warning := left_out_warning(prepared):
        click.echo(warning, err=True)
    base = prepared.base_name or prepared.base[:12]
    print_remarks(remarks(prepared.repository, prepared.plan, prepared.settings, base))


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print errors and warnings about a plan, a line each."""
    for found in diagnostics:
        click.echo(printable(str(found)), err=True)


def print_remarks(found: Iterable[str]) -> None:
    """Print what a user should know before anything runs, a line each."""
    for text in found:
        click.echo(printable(f"warning: {text}"), err=True)

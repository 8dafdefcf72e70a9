"""Command `report`."""

import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import click

from containers.git.repository import Repository
from pipeline.cli.options import database_option, repo_option
from pipeline.cli.process import environment, repository_and_store
from pipeline.events import now
from pipeline.run.stored.status import current_status, known_plan
from pipeline.store.records import Run
from pipeline.store.store import Store
from tasks.text import printable

FORMATS = MappingProxyType(
    {".json": "json", ".md": "markdown", ".html": "html", ".htm": "html", ".xml": "junit"}
)
"""Format of a report by the suffix of its file."""


@click.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@repo_option
@database_option
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["json", "markdown", "html", "junit"]),
    show_default="from the suffix of FILE, else markdown",
    help="For programs (json), the summary of a CI job (markdown), a browser (html), or a CI server's test "
    "results (junit).",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write.  [default: standard output]",
)
def report(run_name: str | None, repo: Path, as_format: str | None, output: Path | None) -> None:
    """Report on RUN, or on the newest run: its inputs, its course and its results.

    The html report is a single self-contained file with the timeline, the table of tasks and their diffs.

    The key of a task is a hash of all its inputs: its text and commands, the trees that it starts from, its
    image, agent and environment. Tasks with the same key and no agent produce the same patch.
    """
    from pipeline.report.model import ReportError  # noqa: PLC0415 - start-up stays quick

    chosen = as_format or FORMATS.get(output.suffix.lower() if output else "", "markdown")
    with repository_and_store(repo) as (repository, store):
        text = _render(repository, store, store.run(run_name), chosen)
    if output is None:
        shown = printable(text) if sys.stdout.isatty() else text
        click.echo(text.encode() if chosen in {"html", "junit"} else shown, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"cannot write {output}: {error.strerror}") from None


def _render(repository: Repository, store: Store, run: Run, as_format: str) -> str:
    """Return the report of a run in one of the formats. Blocking."""
    if as_format in {"html", "junit"}:
        return _render_timeline(store, run, as_format)
    from pipeline.report.markdown import markdown  # noqa: PLC0415 - start-up stays quick
    from pipeline.report.model import build_report  # noqa: PLC0415 - start-up stays quick

    current = replace(run, status=current_status(store, run, environment()))
    made = build_report(repository, store, current)
    return made.as_json if as_format == "json" else markdown(made)


def _render_timeline(store: Store, run: Run, as_format: str) -> str:
    """Return the HTML or JUnit report of a run, which may still be running. Blocking."""
    from pipeline.report.html import html_report  # noqa: PLC0415 - start-up stays quick
    from pipeline.report.junit import junit  # noqa: PLC0415 - start-up stays quick
    from pipeline.view.history import histories  # noqa: PLC0415 - start-up stays quick
    from pipeline.view.source import source_of  # noqa: PLC0415 - start-up stays quick
    from pipeline.view.timeline_builder import timeline  # noqa: PLC0415 - start-up stays quick

    plan, moment = known_plan(run), now()
    status = current_status(store, run, environment())
    source = source_of(store, run, status, plan)
    view = timeline(source, moment)
    made = histories(store, run.id)
    return junit(view, made) if as_format == "junit" else html_report(view, source.tasks, moment, made)

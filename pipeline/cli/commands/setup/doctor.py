"""Command `doctor`: check all that patchyard needs."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from pipeline.cli.commands.setup.checks import State, Subject, findings
from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, exit_with
from tasks.text import plural, printable

COLORS = {State.OK: "green", State.NOTE: "blue", State.WARNING: "yellow", State.ERROR: "red"}


@click.command()
@repo_option
@click.option("--offline", is_flag=True, help="Ask nothing of GitHub.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per finding.")
def doctor(repo: Path, *, offline: bool, as_json: bool) -> None:
    """Check git, the settings, the disk, agents, sandbox, engine and GitHub, and say what to do.

    Nothing is changed. Exit code: 0 all is there that the settings use, 1 something is not.
    """
    errors = 0
    for found in findings(Subject(repo, environment()), offline=offline):
        errors += found.state is State.ERROR
        if as_json:
            click.echo(json.dumps({**asdict(found), "state": str(found.state)}))
            continue
        word = click.style(f"{found.state:8}", fg=COLORS[found.state])
        click.echo(f"{word} {found.area:10} {printable(found.text)}")
    if errors and not as_json:
        click.echo(f"{plural(errors, 'error')} to mend", err=True)
    exit_with(1 if errors else 0)

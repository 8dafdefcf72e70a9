"""Command `init`: write a commented file of settings and a first plan."""

from pathlib import Path

import click

from containers.agents.builtin import BUILT_IN
from containers.agents.presence import installed
from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, repository_if_any
from pipeline.config.files import FILE, PROJECT, SECTION, read_settings_file
from pipeline.config.starter import plan_text, settings_text
from tasks.text import printable

PLAN = "plan.md"


@click.command()
@click.argument("plan", metavar="[PLAN]", default=PLAN)
@repo_option
def init(plan: str, repo: Path) -> None:
    """Write patchyard.toml, with every setting as a comment, and a first plan, plan.md, which can be run.

    A file that is there already is left as it is.
    """
    environ = environment()
    repository, root = repository_if_any(repo, environ)
    here = installed(BUILT_IN.values(), environ)
    path = root / plan
    if has_own := (root / PROJECT).is_file() and bool(read_settings_file(root / PROJECT, SECTION).values):
        click.echo(printable(f"{PROJECT} has the settings, in [tool.patchyard], so {FILE} is not written"))
    for file, text in ((root / FILE, settings_text(here)), (path, plan_text(plan, here))):
        if not (has_own and file.name == FILE):
            _write(file, text)
    if repository is None:
        click.echo(
            "there is no git repository with a commit here yet: make one first, since tasks start from it"
        )
    click.echo(printable(f"next: `patchyard check {plan}`, then `patchyard run {plan}`"))
    if here:
        click.echo(f"agents that are installed: {', '.join(here)}")
    else:
        click.echo(
            "no agent is installed; the first plan needs none, `patchyard agents` lists those that can be"
        )


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        click.echo(printable(f"{path} is there already, and is left as it is"))
    else:
        click.echo(printable(f"wrote {path}"))

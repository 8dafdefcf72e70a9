"""Command `completion`: the script with which a shell completes patchyard's commands."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "patchyard"
VARIABLE = "_PATCHYARD_COMPLETE"
"""The variable that click looks for: it follows from the name of the program."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which SHELL completes commands, options, runs and tasks.

    For bash, add it to ~/.bashrc; for zsh, to ~/.zshrc below `compinit`; for fish, write it to
    ~/.config/fish/completions/patchyard.fish.
    """
    if kind := get_completion_class(shell):
        click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())

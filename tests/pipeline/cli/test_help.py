"""What `--help` lists, and how."""

import shlex
import subprocess
import sys

import click
import pytest
from project import Project

from pipeline.cli.command_list import COMMANDS, EXAMPLES, RUN_OPTIONS
from pipeline.cli.help import OTHER, HelpGroup
from pipeline.cli.main import main

CONTEXT = click.Context(main, info_name="patchyard")
EVERY = {name: command for name in main.list_commands(CONTEXT) if (command := main.get_command(CONTEXT, name))}


def test_commands_are_listed_in_groups_with_whole_summaries(project: Project) -> None:
    text = project.call("--help", environ={"COLUMNS": "80"}).expect(0).out
    assert [line[:-1] for line in text.splitlines() if line[:-1] in [*HelpGroup]] == [*HelpGroup]
    words = " ".join(text.split())
    for name, command in EVERY.items():
        summary = command.get_short_help_str(1000)
        assert command.name == name
        assert f"{name} {summary}" in words
    assert "..." not in text.replace("[ARGS]...", "")
    assert "Examples: patchyard check plan.md" in words


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, examples in EXAMPLES.items() for line, _ in examples]
)
def test_examples_are_valid_calls(name: str, line: str) -> None:
    program, command, *arguments = shlex.split(line.partition(" >")[0])
    assert program == "patchyard"
    assert command == name or not name
    EVERY[command].make_context(command, arguments)
    if name:
        assert line in EVERY[name].get_help(click.Context(EVERY[name]))


def test_every_option_of_run_has_a_heading() -> None:
    text = EVERY["run"].get_help(click.Context(EVERY["run"]))
    assert [line[:-1] for line in text.splitlines() if line[:-1] in RUN_OPTIONS] == [*RUN_OPTIONS]
    _, _, rest = text.partition(f"{OTHER}:\n")
    others = [line.split()[0].rstrip(",") for line in rest.splitlines() if line.startswith("  -")]
    assert others == ["--repo", "--database", "--trust", "--help"], "give it a heading in RUN_OPTIONS"


def test_every_command_takes_a_repository() -> None:
    without = {
        name for name, command in EVERY.items() if not any("--repo" in item.opts for item in command.params)
    }
    assert without == {"completion"}


def test_a_misspelt_command_has_a_proposal(project: Project) -> None:
    assert (
        "Error: no such command 'chekc'; did you mean check?" in project.call("chekc", "plan.md").expect(2).err
    )
    assert "No such command 'xyzzy'" in project.call("xyzzy").expect(2).err


def test_commands_are_imported_when_they_are_called() -> None:
    seen = "import sys, pipeline.cli.main; print([m for m in sys.modules if 'cli.commands.' in m])"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert len(EVERY) == sum(map(len, COMMANDS.values()))

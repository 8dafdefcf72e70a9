"""How commands and their options are listed: in groups, with whole summaries and examples."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

from tasks.lazy.dataclasses import dataclass
from tasks.text import closest

OTHER = "Other options"


class HelpGroup(StrEnum):
    """What a command is for: the heading that it is listed below."""

    RUN = "Run plans"
    LOOK = "Look at runs"
    PUBLISH = "Publish"
    HOUSE = "Keep house"


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """A command that is not imported yet: where it is, as `module:name`, and its summary."""

    place: str
    summary: str


class LazyGroup(click.Group):
    """A group of commands that imports a command when it is asked for.

    Args:
        commands_by_group: The commands, by name and below their headings.
        examples: Command lines with what they do, by the name of the command; those of `""` are of the group.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click's own signature
        commands_by_group: Mapping[HelpGroup, Mapping[str, CommandEntry]] = MappingProxyType({}),
        examples: Mapping[str, Sequence[tuple[str, str]]] = MappingProxyType({}),
        **options: Any,  # noqa: ANN401 - likewise
    ) -> None:
        super().__init__(*arguments, **options)
        self.commands_by_group = commands_by_group
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names of the commands, as they are listed."""
        return [name for named in self.commands_by_group.values() for name in named]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now; `None` if there is none of this name."""
        for named in self.commands_by_group.values():
            if entry := named.get(cmd_name):
                module, _, name = entry.place.partition(":")
                command: click.Command = getattr(import_module(module), name)
                command.epilog = command.epilog or epilog(self.examples.get(cmd_name, ()))
                if ctx.resilient_parsing:  # a shell completes it
                    from pipeline.cli.completion import with_completion  # noqa: PLC0415 - start-up stays quick

                    command = with_completion(command)
                return command
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called.

        Raises:
            click.UsageError: There is none of this name; the message proposes the one that is probably meant.
        """
        name, known = args[0], self.list_commands(ctx)
        is_misspelt = name not in known and name[:1] != "-" and not ctx.resilient_parsing
        if is_misspelt and (similar := closest(name, known)):
            ctx.fail(f"no such command {name!r}; did you mean {similar}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        """Write the commands below their headings, each with its whole summary."""
        for group, named in self.commands_by_group.items():
            with formatter.section(group):
                formatter.write_dl([(name, entry.summary) for name, entry in named.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples of the group."""
        self.epilog = self.epilog or epilog(self.examples.get("", ()))
        super().format_epilog(ctx, formatter)


def epilog(examples: Sequence[tuple[str, str]]) -> str | None:
    """Return the text of examples, which click does not wrap; `None` without any."""
    if not examples:
        return None
    width = max(len(line) for line, _ in examples)
    return "\n".join(["\b", "Examples:", *(f"  {line:{width}}  {what}".rstrip() for line, what in examples)])


class OptionGroups(click.Command):
    """A command whose options are listed in groups.

    Args:
        option_groups: The names of the parameters below each heading; others are below `OTHER`.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 - click's own signature
        option_groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
        **options: Any,  # noqa: ANN401 - likewise
    ) -> None:
        super().__init__(*arguments, **options)
        self.option_groups = option_groups

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options below their headings."""
        options = (item for item in self.get_params(ctx) if isinstance(item, click.Option))
        records = {item.name or "": record for item in options if (record := item.get_help_record(ctx))}
        for title, names in self.option_groups.items():
            if rows := [records.pop(name) for name in names if name in records]:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if records:
            with formatter.section(OTHER):
                formatter.write_dl(list(records.values()))

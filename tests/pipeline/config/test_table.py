"""The table of settings: one declaration reaches every entry point."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import click
from click.testing import CliRunner
from pydantic import create_model

from pipeline.cli.options import run_options, setting_options
from pipeline.config.converters import parse_list, parse_pool_size
from pipeline.config.settings import SECTIONS, SETTINGS, Settings
from pipeline.config.table import (
    ApiField,
    ModuleArgument,
    Option,
    Setting,
    declared_settings,
    readme_table,
    setting,
)
from pipeline.dagger_module.signature import setting_parameters
from pipeline.web.schemas import Body, Start, setting_fields
from tasks.model import PlanSettings


@dataclass(frozen=True, slots=True)
class MoreSettings(Settings):
    """The settings with one more."""

    retries: int = setting(
        2,
        parse_pool_size,
        "How often a failed step runs again.",
        option=Option("N"),
        module=ModuleArgument(),
        api=ApiField(maximum=9),
    )


MORE = declared_settings(MoreSettings)


def command_with(settings: Mapping[str, Setting]) -> click.Command:
    @click.command()
    def run(**values: object) -> None:
        click.echo(repr(values))

    for option in setting_options(settings.values()):
        run = option(run)
    return run


def test_one_declaration_reaches_every_entry_point() -> None:
    assert {*MORE} - {*SETTINGS} == {"retries"}
    assert len(command_with(MORE).params) == len(command_with(SETTINGS).params) + 1
    assert len(setting_parameters(MORE.values())) == len(setting_parameters(SETTINGS.values())) + 1
    assert len(setting_fields(MORE.values())) == len(setting_fields(SETTINGS.values())) + 1
    rows, more = (readme_table(settings.values()).splitlines() for settings in (SETTINGS, MORE))
    assert [row for row in more if row not in rows] == [
        "| `retries` | `--retries` | `PATCHYARD_RETRIES` | `2` | how often a failed step runs again |"
    ]


def test_declared_setting_is_an_option() -> None:
    runner, command = CliRunner(), command_with(MORE)
    assert "--retries N" in (shown := runner.invoke(command, ["--help"]).output)
    assert "How often a failed step runs again.  [default: 2]" in " ".join(shown.split()).replace(
        "again. [", "again.  ["
    )
    assert "'retries': 4" in runner.invoke(command, ["--retries", "4"]).output
    assert "'retries': None" in runner.invoke(command, []).output


def test_declared_setting_is_a_field_of_the_api() -> None:
    model = create_model("Model", __base__=Body, **setting_fields(MORE.values()))
    schema = model.model_json_schema()["properties"]["retries"]
    assert schema["anyOf"] == [{"maximum": 9, "minimum": 1, "type": "integer"}, {"type": "null"}]
    assert schema["description"] == "How often a failed step runs again."


def test_declared_setting_is_an_argument_of_the_module() -> None:
    parameter = setting_parameters(MORE.values())[-1]
    assert (parameter.name, parameter.default) == ("retries", None)
    assert "How often a failed step runs again [default: 2]" in str(parameter.annotation)


def test_every_field_of_a_plan_is_a_setting() -> None:
    assert {item.name for item in fields(PlanSettings)} <= {*SETTINGS}


def test_only_resolved_values_are_not_declared() -> None:
    assert {item.name for item in fields(Settings)} - {*SETTINGS} == {"forced"}


def test_sections_hold_their_settings() -> None:
    assert SECTIONS == {
        "limits": ("cpus", "memory", "processes", "files"),
        "worktree": (
            "copy",
            "setup",
            "teardown",
            "teardown_timeout",
            "keep",
            "sparse",
            "port_base",
            "port_width",
        ),
        "container": ("caches", "depth", "services"),
    }


def test_setting_in_a_section_has_no_variable() -> None:
    item = SETTINGS["caches"]
    assert (item.key, item.variable, item.flag) == ("container.caches", None, "--cache")
    assert SETTINGS["environment"].variable is None
    assert SETTINGS["pool_size"].variable == "PATCHYARD_POOL_SIZE"


def test_webhook_url_is_not_in_the_repr() -> None:
    assert "hooks.example" not in repr(Settings(notify="https://hooks.example/secret"))


def test_start_passes_every_setting_of_the_api() -> None:
    start = Start(plan_path="plan.md", execution_mode="local", pool_size=2)  # type: ignore[call-arg]  # built from the table
    flags = {name: value for name, value in start.flags.items() if value is not None}
    assert flags == {"mode": "local", "pool_size": 2}


def test_repeatable_option_collects_a_list() -> None:
    @run_options
    def run() -> None:
        """Do nothing; only the options count."""

    options = {option.name: option for option in run.__click_params__}  # type: ignore[attr-defined]  # set by click
    assert {name for name, item in options.items() if item.multiple} == {
        *("tasks", "only"),
        *(name for name, item in SETTINGS.items() if item.option and item.convert is parse_list),
        "engines",
    }

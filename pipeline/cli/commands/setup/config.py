"""Command `config`: each setting, its value, and where that comes from; the JSON schemas of the files."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from pipeline.cli.options import repo_option
from pipeline.cli.process import environment, repository_if_any
from pipeline.config.schema import plan_schema, settings_schema
from pipeline.config.settings import SETTINGS
from pipeline.config.sources import Sources, load
from pipeline.config.table import Setting
from pipeline.renderables import Table, show
from pipeline.run.call.plan_file import parse_plan, read_plan
from tasks.lazy.patterns import regex
from tasks.model import PlanSettings
from tasks.plan.parser import PlanError
from tasks.secrets import Secrets
from tasks.text import without_credentials

MASK = "***"
DEFAULT = "default"
SCHEMAS = {"settings": settings_schema, "plan": plan_schema}
_SECRET = regex(r"(?i)key|token|secret|passw|credential|auth|url|dsn")


@click.command()
@click.argument("plan", metavar="[PLAN]", required=False)
@repo_option
@click.option("--set", "only_set", is_flag=True, help="Leave out the settings that have their default.")
@click.option(
    "--schema",
    type=click.Choice([*SCHEMAS]),
    help="Print the JSON schema of patchyard.toml, or of a plan's front matter, for editors.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON line per setting.")
def config(plan: str | None, repo: Path, *, only_set: bool, schema: str | None, as_json: bool) -> None:
    """Show each setting, its value, and where it comes from; with PLAN, also of its front matter.

    Values that may be secret are masked.
    """
    if schema:
        click.echo(json.dumps(SCHEMAS[schema](), indent=2, ensure_ascii=False))
        return
    environ = environment()
    _, root = repository_if_any(repo, environ)
    sources, settings = load({}, environ, root), PlanSettings()
    if plan is not None:
        parsed = parse_plan(read_plan(plan), sources, environ)
        if parsed.plan is None:
            raise PlanError(parsed.diagnostics)
        settings = parsed.plan.settings
    records = _records(sources, settings, plan or "", environ)
    shown = [record for record in records if not (only_set and record["origin"] == DEFAULT)]
    if as_json:
        for record in shown:
            click.echo(json.dumps(record, ensure_ascii=False))
        return
    if not shown:
        click.echo("every setting has its default")
        return
    rows = [(record["setting"], _as_text(record["value"]), record["origin"]) for record in shown]
    show(Table(("setting", "value", "from"), rows), sys.stdout)


def _records(
    sources: Sources, plan: PlanSettings, plan_path: str, environ: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Yield the record of each setting."""
    names = {*sources.resolve(plan).secrets}
    secrets = Secrets({name: environ[name] for name in names if environ.get(name)})
    for name, item in SETTINGS.items():
        value: object = item.default_text
        origin = DEFAULT
        given = getattr(plan, name, None)
        if (found := sources.origins.get(name)) is not None:
            value, origin = found.value, found.where
        if given and not (found and name in sources.forced):
            value, origin = _of_plan(given, found.value if found else None), plan_path
        yield {
            "setting": item.key,
            "value": value if origin == DEFAULT else _masked(item, value, secrets),
            "origin": origin,
            "default": item.default_text,
            "environment": item.variable,
            "flag": item.flag if item.option else None,
        }


def _of_plan(given: Any, below: object) -> object:  # noqa: ANN401 - the value of any setting
    """Return the value that a plan gives to a setting; a table is added to that of the files."""
    if isinstance(given, Mapping):
        return {**(below if isinstance(below, dict) else {}), **given}
    return given if isinstance(given, str | int | bool) else str(given)


def _masked(item: Setting, value: object, secrets: Secrets, key: str = "") -> object:
    """Return a value without what may be secret, as JSON has it."""
    if isinstance(value, Mapping):
        return {str(name): _masked(item, one, secrets, str(name)) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(item, one, secrets, key) for one in value]
    if item.is_secret or (item.name in {"environment", "agents"} and key != "secrets" and _SECRET.search(key)):
        return MASK
    if isinstance(value, bool | int | float):
        return value
    return secrets.mask_text(without_credentials(str(value)))


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

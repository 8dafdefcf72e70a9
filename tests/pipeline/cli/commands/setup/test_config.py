"""The command `config`: what holds, where it is set, and the schemas for editors."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its types are a package of their own
import pytest
from project import Project

from pipeline.config.schema import plan_schema, settings_schema
from pipeline.config.settings import SETTINGS
from tasks.plan.parser import parse

ROOT = Path(__file__).parents[5]
OWN = 'labels = ["mine"]\ngrace = "9s"\n'
FILE = """\
secrets = ["MY_KEY"]
pool_size = 2
grace = "7s"
agent = "run --with abc-secret"
[environment]
CI = "1"
MY_TOKEN = "t0ken"
[agents.mine]
command = "mine"
secrets = ["OWN_KEY"]
environment = { API_KEY = "k3y" }
"""


def by_setting(records: list[dict[str, Any]]) -> dict[str, tuple[Any, str]]:
    return {record["setting"]: (record["value"], record["origin"]) for record in records}


def test_each_setting_has_its_value_and_where_it_comes_from(project: Project) -> None:
    own = Path(project.environ["HOME"], ".config/patchyard/config.toml")
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text(OWN)
    project.configure(FILE)
    given = {"MY_KEY": "abc-secret", "PATCHYARD_NOTIFY": "https://hooks.example/s3cret", "PATCHYARD_TRUST": ""}
    plan = project.plan("---\npool_size: 5\nenvironment:\n  MORE: x\n---\n### Task 1: A\n**Run:** `true`\n")

    shown = by_setting(project.call("config", "--json", environ=given).expect(0).records)

    where = f"{project.root}/patchyard.toml"
    assert list(shown) == [item.key for item in SETTINGS.values()]
    assert shown["labels"] == (["mine"], f"{own}:1")
    assert shown["grace"] == ("7s", f"{where}:3")
    assert shown["agent"] == ("run --with ***", f"{where}:4")
    assert shown["notify"] == ("***", "the environment variable PATCHYARD_NOTIFY")
    assert shown["environment"] == ({"CI": "1", "MY_TOKEN": "***"}, f"{where}:5")
    assert shown["agents"][0]["mine"] == {
        "command": "mine",
        "secrets": ["OWN_KEY"],
        "environment": {"API_KEY": "***"},
    }
    assert shown["worktree.copy"] == ("none", "default")

    text = project.call("config", plan, "--set", environ=given | {"COLUMNS": "200"}).expect(0).out
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert lines["pool_size"].split()[:2] == ["pool_size", "5"]
    assert '"MORE": "x"' in lines["environment"]
    assert "worktree.copy" not in lines
    assert not any(secret in text for secret in ("abc-secret", "s3cret", "t0ken", "k3y"))


@pytest.mark.parametrize(("name", "schema"), [("settings", settings_schema()), ("plan", plan_schema())])
def test_schema_in_the_repository_is_current(project: Project, name: str, schema: dict[str, Any]) -> None:
    printed = project.call("config", "--schema", name).expect(0).out
    path = ROOT / "docs/schemas" / f"{name}.schema.json"
    assert json.loads(printed) == schema
    assert path.read_text() == printed, f"`patchyard config --schema {name} > {path}` renews it"
    jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        (FILE, True),
        ('mode = "dagger"\nbudget = 2.5\ntimeout = "10m"\n[prices.x]\ninput = 3\n', True),
        ('[worktree]\ncopy = ".env"\nport_width = 0\n[container.services]\nmodel = "localhost:1"\n', True),
        ('agents = { a = "command" }\nrepairs = 0\nbranch = "x/{task}"\n', True),
        ("pool_sise = 3", False),
        ("pool_size = 0", False),
        ('mode = "fast"', False),
        ("trust = true", False),
        ('branch = "x"', False),
        ("[worktree]\ncopi = []", False),
        ('[agents.x]\ncomand = "x"', False),
        ("labels = [1]", False),
    ],
)
def test_schema_of_the_settings_says_what_the_program_says(
    project: Project, text: str, *, is_valid: bool
) -> None:
    found = list(jsonschema.Draft7Validator(settings_schema()).iter_errors(tomllib.loads(text)))
    assert (not found) is is_valid
    project.configure(text)
    project.call("config").expect(0 if is_valid else 2)


def test_schema_of_the_front_matter_has_the_keys_of_the_parser() -> None:
    parsed = parse("---\nnothing_like_it: 1\n---\n### Task 1: A\n**Run:** `true`\n", "p.md")
    (message,) = [found.message for found in parsed.errors]
    assert set(message.partition("expected one of ")[2].split(", ")) == {*plan_schema()["properties"]}

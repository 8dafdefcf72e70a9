"""All mistakes of a file of settings are reported at once, each with line and column."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from project import Project

from pipeline.config.sources import ConfigFileError, load
from pipeline.config.toml_positions import positions
from tasks.model import PlanSettings

WRONG = """\
pool_sise = 3  # a comment = 1
"mode" = "fast"
  timeout   =   [1]
labels = [ # which ones
  "a = b", 3,
]
[worktree]
copy = ["../x"]
keep = ["a", 'b']
setup = '''
keep = 3
'''
[agents.mine]
comand = "x"
cost = "("
[agents]
other = { command = "o", image = 3 }
[environment]
"A=B" = "x"
"""
EXPECTED = [
    "1:1: error: pool_sise: no such setting; did you mean pool_size?",
    "2:10: error: mode: expected one of local, parallel, dagger",
    "3:17: error: timeout: expected a duration such as 90s, 10m or 1h",
    "4:10: error: labels: expected a list of strings",
    "8:8: error: worktree.copy: '../x' leaves the repository",
    "14:10: error: agents: mine.comand: an agent has command, image, setup",
    "15:8: error: agents: mine.cost: '(' is not a regular expression",
    "17:34: error: agents: other.image: expected a non-empty string",
    "19:9: error: environment: 'A=B' is not a valid variable name",
]


def mistakes(root: Path, environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(ConfigFileError) as caught:
        load({}, environ, root)
    return [str(found) for found in caught.value.diagnostics]


def test_all_mistakes_have_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "patchyard.toml").write_text(WRONG)
    (tmp_path / "home/.config/patchyard").mkdir(parents=True)
    own = tmp_path / "home/.config/patchyard/config.toml"
    own.write_text("\nfresh = 3\n")
    found = mistakes(tmp_path, {"HOME": str(tmp_path / "home")})
    expected = [f"{tmp_path}/patchyard.toml:{line}" for line in EXPECTED]
    expected.append(f"{own}:2:9: error: fresh: expected true or false")
    assert len(found) == len(expected)
    assert [one[: len(two)] for one, two in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = \n", "1:5: error: not valid TOML: Invalid value"),
        (
            "draft = true\n[worktree\n",
            "2:10: error: not valid TOML: Expected ']' at the end of a table declaration",
        ),
        ("worktree = 3", "1:12: error: worktree: expected a table with copy, setup"),
        ("[agents.mine]\nimage = 'x'\n", '1:2: error: agents: mine needs command = "…"'),
        (
            "[prices.mine]\ninput = 1\nouput = 2\n",
            "1:2: error: prices: mine should be a table with input, output",
        ),
    ],
)
def test_place_of_a_mistake(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "patchyard.toml").write_text(text)
    (found,) = mistakes(tmp_path, {})
    assert found.startswith(f"{tmp_path}/patchyard.toml:{message}")


def test_mistakes_in_the_file_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n\n[tool.patchyard]\nmode = 1\nfrech = true\n'
    )
    assert [line.removeprefix(f"{tmp_path}/") for line in mistakes(tmp_path, {})] == [
        "pyproject.toml:5:8: error: tool.patchyard.mode: expected one of local, parallel, dagger",
        "pyproject.toml:6:1: error: tool.patchyard.frech: no such setting; did you mean fresh?",
    ]


def test_mistakes_are_shown_by_every_command(project: Project) -> None:
    project.configure("pool_size = 0\nfresh = 3\n", trusted=False)
    for command in (["check", project.tasks({"1.1": "true"})], ["agents"]):
        done = project.call(*command).expect(2)
        assert done.err.splitlines() == [
            f"{project.root}/patchyard.toml:1:13: error: pool_size: expected a whole number from 1 to 1000",
            f"{project.root}/patchyard.toml:2:9: error: fresh: expected true or false",
        ]


VALID = r'''
a."b.c" . d = 1 # x = 3
"q\"uote" = """
no = 1 \""" still = 2
"""
[ t . u ]
list = [[1, 2], ["x = 1", { inner = 'y]', other = { deep = true } }], # ] = 3
]
date = 1979-05-27T07:32:00Z
'lit\eral' = -1.5e3
[[tables]]
x = "\u00e9"
[[tables]]
"\u00e9" = {}
'''


def keys(table: Mapping[str, Any], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        yield (*before, name)
        for inner in value if isinstance(value, list) else [value]:
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, dict):
                    yield from keys(one, (*before, name))


def test_every_key_has_its_place() -> None:
    found = positions(VALID)
    lines = VALID.split("\n")
    for key in keys(tomllib.loads(VALID)):
        if key in {("a",), ("a", "b.c"), ("t",)}:
            continue  # they are made by a dotted key
        place = found[key].key
        shown = lines[place.line - 1][place.column - 1 :]
        assert shown.lstrip("\"'").startswith((key[0][0], key[-1][0], "\\u00e9")), key
    assert found["a", "b.c", "d"].key == (2, 1)
    assert found["t", "u", "list", "other", "deep"] == ((7, 53), (7, 60))


def test_origin_of_a_setting(tmp_path: Path) -> None:
    (tmp_path / "patchyard.toml").write_text(
        '# mine\npool_size = 2\ntimeout = "5m"\n[worktree]\ncopy = ".env"\n'
    )
    sources = load({"draft": True}, {"PATCHYARD_POOL_SIZE": "7"}, tmp_path)
    assert sources.resolve(PlanSettings()).pool_size == 7
    assert {name: (origin.where, origin.value) for name, origin in sources.origins.items()} == {
        "pool_size": ("the environment variable PATCHYARD_POOL_SIZE", "7"),
        "timeout": (f"{tmp_path}/patchyard.toml:3", "5m"),
        "copy": (f"{tmp_path}/patchyard.toml:5", ".env"),
        "draft": ("--draft", True),
    }

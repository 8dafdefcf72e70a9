"""The YAML front matter of a plan."""

import math

import pytest

from tasks.conflicts import OnConflict, Serialize
from tasks.model import Mode, PlanSettings
from tasks.plan.parser import Parsed, parse

TASK = "### Task 1: A\n**Run:** a\n"


def read(front: str) -> Parsed:
    return parse(f"---\n{front}---\n{TASK}", "p.md")


def settings(front: str) -> PlanSettings:
    parsed = read(front)
    assert [str(found) for found in parsed.diagnostics] == []
    assert parsed.plan is not None
    return parsed.plan.settings


def said(front: str) -> list[str]:
    return [str(found).removeprefix("p.md:") for found in read(front).diagnostics]


def test_everything_that_can_be_set() -> None:
    assert settings(
        "base: main\nmode: Dagger\nagent: mine\nimage: python:3.13\ntimeout: 1h 30m\npool_size: 8\n"
        "on_conflict: Agent\nserialize: declared\ncheck_base: yes\n"
        "environment:\n  PORT: 8080\n  DEBUG: yes\n  VERSION: 1.10\n  EMPTY:\n  QUOTED: 'a: b'\n"
        "agents:\n  mine: python agent.py {prompt_file}\n  yours:\n    command: claude -p\n"
    ) == PlanSettings(
        base="main",
        mode=Mode.DAGGER,
        agent="mine",
        image="python:3.13",
        timeout=5400.0,
        pool_size=8,
        on_conflict=OnConflict.AGENT,
        serialize=Serialize.DECLARED,
        check_base=True,
        environment={"PORT": "8080", "DEBUG": "yes", "VERSION": "1.10", "EMPTY": "", "QUOTED": "a: b"},
        agents={"mine": "python agent.py {prompt_file}", "yours": "claude -p"},
    )


@pytest.mark.parametrize(
    "front", ["", "\n", "# a comment\n", "~\n", "base:\nmode: null\nenvironment:\nagents: ~\n"]
)
def test_nothing_is_set(front: str) -> None:
    assert settings(front) == PlanSettings()


@pytest.mark.parametrize(
    ("front", "seconds"), [("timeout: 90\n", 90.0), ("timeout: '2m'\n", 120.0), ("timeout: none\n", math.inf)]
)
def test_timeout(front: str, seconds: float) -> None:
    assert settings(front).timeout == seconds


def test_numeric_base_is_a_string() -> None:
    assert settings("base: 0123456\n").base == "0123456"
    assert settings("base: 1.10\n").base == "1.10"


def test_lines_below_the_front_matter_keep_their_numbers() -> None:
    parsed = parse(f"---\nbase: main\n...\n\n{TASK}", "p.md")
    assert parsed.plan is not None
    assert parsed.plan.tasks[0].line == 5


def test_separator_elsewhere_is_not_front_matter() -> None:
    parsed = parse(f"\n---\nbase: main\n---\n{TASK}", "p.md")
    assert parsed.plan is not None
    assert parsed.plan.settings == PlanSettings()


@pytest.mark.parametrize(
    ("front", "messages"),
    [
        ("bsae: main\n", ["2:1: error: unknown key `bsae`: did you mean `base`?"]),
        ("pool-size: 3\n", ["2:1: error: unknown key `pool-size`: did you mean `pool_size`?"]),
        (
            "zzz: 1\n",
            [
                ("2:1: error: unknown key `zzz`: expected one of base, mode, agent, image, timeout, pool_size,"
                " budget, task_budget, on_conflict, serialize, check_base, sandbox, environment,"
                " agents, patchyard, title, documents")
            ],
        ),
        (
            "base: main\nauthor: me\ntags: [a]\npool-size: 3\nmodes: local\n",
            [
                ("3:1: error: unknown keys `author`, `tags`, `pool-size` (line 5; did you mean `pool_size`?),"
                " `modes` (line 6; did you mean `mode`?): expected one of base, mode, agent, image, timeout,"
                " pool_size, budget, task_budget, on_conflict, serialize, check_base, sandbox, environment,"
                " agents, patchyard, title, documents")
            ],
        ),
        (
            "".join(f"key{number}: 1\n" for number in range(10, 21)),
            [
                ("2:1: error: unknown keys `key10`, `key11`, `key12`, `key13`, `key14`, `key15`, `key16`,"
                " `key17` and 3 more: expected one of base, mode, agent, image, timeout, pool_size,"
                " budget, task_budget, on_conflict, serialize, check_base, sandbox, environment,"
                " agents, patchyard, title, documents")
            ],
        ),
        ("base: main\nbase: other\n", ["3:1: error: duplicate key `base` in the front matter"]),
        ("base: [main]\n", ["2:7: error: expected a string, not a sequence"]),
        ("base: ''\n", ["2:7: error: expected a non-empty string"]),
        ("mode: fast\n", ["2:7: error: unknown mode `fast`; expected one of local, parallel, dagger"]),
        ("on_conflict: ask\n", ["2:14: error: unknown on_conflict `ask`; expected one of rerun, agent, stop"]),
        ("serialize: all\n", ["2:12: error: unknown serialize `all`; expected one of none, declared"]),
        ("serialize: [none]\n", ["2:12: error: expected one of none, declared, not a sequence"]),
        ("check_base: often\n", ["2:13: error: expected true or false, not `often`"]),
        ("mode: {a: b}\n", ["2:7: error: expected one of local, parallel, dagger, not a mapping"]),
        (
            "timeout: soon\n",
            ["2:10: error: 'soon' is not a duration; write for example 90s, 10m or 1h 30m"],
        ),
        ("timeout: [1]\n", ["2:10: error: expected a duration such as 90s or 10m, not a sequence"]),
        ("pool_size: 0\n", ["2:12: error: expected a whole number from 1 to 1000, not `0`"]),
        ("pool_size: 2.5\n", ["2:12: error: expected a whole number from 1 to 1000, not `2.5`"]),
        ("pool_size: yes\n", ["2:12: error: expected a whole number from 1 to 1000, not `yes`"]),
        ("pool_size: 1001\n", ["2:12: error: expected a whole number from 1 to 1000, not `1001`"]),
        ("pool_size: 9999999\n", ["2:12: error: expected a whole number from 1 to 1000, not `9999999`"]),
        ("environment: 3\n", ["2:14: error: `environment` must be a mapping, such as `key: value`"]),
        ("environment:\n  A=B: c\n", ["3:3: error: `A=B` is not a valid variable name"]),
        ("environment:\n  A: [b]\n", ["3:6: error: expected a string, not a sequence"]),
        (
            'environment:\n  A: "\\0"\n',
            ["3:6: error: expected a string without NUL characters or unpaired surrogates"],
        ),
        ("environment:\n  [a]: b\n", ["3:3: error: a key of `environment` must be a word"]),
        ("agents:\n  a: 1\n  b: {}\n", ["4:6: error: an agent needs a `command`"]),
        ("agents:\n  a: {comand: b}\n", [
            "3:6: error: an agent needs a `command`",
            "3:7: error: unknown key `comand`: did you mean `command`?",
        ]),
        ("- a\n", ["2:1: error: the front matter must be a mapping, such as `key: value`"]),
        (
            "a: b: c\n",
            ["2:5: error: invalid YAML in the front matter: mapping values are not allowed here"],
        ),
        (
            "a: *b\n",
            ["2:4: error: invalid YAML in the front matter: found undefined alias 'b'"],
        ),
        ("base: a\x07b\n", ["2:8: error: invalid YAML in the front matter: this character is not allowed"]),
        (
            'base: "\\UFFFFFFFF"\n',
            ["1:1: error: invalid YAML in the front matter: an escape sequence is not a valid character"],
        ),
        ("base: " + "[" * 5000 + "\n", ["1:1: error: the front matter is nested too deeply"]),
        ("# " + "x" * 100_000 + "\n", ["1:1: error: the front matter is longer than 100,000 characters"]),
        ("mode: fast\npool_size: 0\nagnet: x\n", [
            "2:7: error: unknown mode `fast`; expected one of local, parallel, dagger",
            "3:12: error: expected a whole number from 1 to 1000, not `0`",
            "4:1: error: unknown key `agnet`: did you mean `agent`?",
        ]),
    ],
)  # fmt: skip
def test_errors_in_front_matter(front: str, messages: list[str]) -> None:
    assert said(front) == messages


def test_unclosed_front_matter() -> None:
    parsed = parse(f"---\nbase: main\n\n{TASK}", "p.md")
    assert [str(found) for found in parsed.diagnostics] == [
        "p.md:1:1: error: the front matter is not closed: write `---` on a line of its own below it"
    ]


def test_yaml_tags_have_no_effect() -> None:
    assert settings("base: !!python/name:os.system x\n").base == "x"
    assert settings("base: 2024-99-99\n").base == "2024-99-99"

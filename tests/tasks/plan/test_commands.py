"""Which items under **Verification:** are commands, and which are prose."""

import pytest

from tasks.model import Step, StepKind, hidden_script
from tasks.plan.commands import command_in, reads_as_command, run_step, title_of, unwrap

COMMANDS = [
    "cat a.txt",
    "cat LICENSE",
    "python -m pytest",
    "python3 scripts/check.py --fast",
    "pytest",
    "pytest -q",
    "pytest tests/unit -k 'not slow and fast'",
    "mypy src",
    "ruff check",
    "ruff check .",
    "npm test",
    "npm run lint",
    "yarn build",
    "cargo test",
    "cargo clean",
    "go test ./...",
    "go vet",
    "make",
    "make test",
    "make lint test",
    "make -C docs html",
    "./check.sh",
    "./check.sh all",
    "../tools/verify",
    "scripts/check.sh",
    "bin/verify --all",
    "test -f a.txt",
    "test -s out/a.txt && test -s out/b.txt",
    'test "$(cat a.txt)" = hello',
    "[ -f a.txt ]",
    "[[ -d src ]]",
    "! grep -q TODO src/app.py",
    "grep -q x file",
    'grep -q "this is the one" README.md',
    "git diff --exit-code",
    "git status",
    "git ls-files | grep -q a.txt",
    "diff a.txt b.txt",
    "find . -name '*.py'",
    "ls",
    "ls src/",
    "wc -l a.txt",
    "touch a.txt",
    "echo done",
    "docker compose up",
    "curl -f http://localhost:8000/health",
    "node dist/index.js --version",
    "FOO=1 BAR=2 pytest",
    "sudo ls",
    "cd src && make and more",
    "cat a.txt  # shows the greeting",
    "for f in *.sh; do sh -n $f; done",
    "if test -f a; then cat a; fi",
    "pytest \\\n  -q tests",
    "$ anything goes after a prompt",
    "true",
]

PROSE = [
    "Test file exists",
    "test file exists",
    "test coverage is above 80%",
    "test output.txt",
    "make sure it works",
    "make sure that `a.txt` exists",
    "make everything work again",
    "check that the file exists",
    "File a.txt exists",
    "file a.txt exists",
    "go over the docs",
    "go",
    "git",
    "git history stays clean",
    "find all references",
    "sort order is stable",
    "Run the tests",
    "running tests",
    "Make test",
    "Python 3.11 is used",
    "python files are formatted",
    "python",
    "npm install works",
    "docker image builds",
    "pytest passes",
    "pytest green",
    "pytest -q passes with no errors",
    "pytest: all of it",
    "mypy is clean",
    "cat",
    "cat videos load",
    "ls shows the new file",
    "cat a.txt shows hello",
    "cat a file",
    "curl -f http://localhost/health returns 200",
    "/health responds",
    "and/or is handled",
    "read/write access granted",
    "docs/readme.md",
    "main.py runs",
    "time spent in parsing is low",
    "just works",
    "don't break ls -l",
    "head of the file is a comment",
    "All tests pass.",
    "no errors",
    "pytest\nruff check",
    "for all files, run the linter",
    "if it fails, look at the log",
    "[ ] to be done",
    "ls -l everything.",
    "",
    "…",
    "1.",
    "a.txt",
]


@pytest.mark.parametrize("text", COMMANDS)
def test_reads_as_a_command(text: str) -> None:
    assert reads_as_command(text)
    assert command_in(text) == text.removeprefix("$ ")


@pytest.mark.parametrize("text", PROSE)
def test_reads_as_prose(text: str) -> None:
    assert not reads_as_command(text)
    assert command_in(text) is None


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("`cat a.txt`", "cat a.txt"),
        ("`anything at all`", "anything at all"),
        ("``echo `date` ``", "echo `date`"),
        ("`$ pytest -q`", "pytest -q"),
        ("`pytest -q`.", "pytest -q"),
        ("Run `scripts/anything`", "scripts/anything"),
        ("Run: `pytest -q`", "pytest -q"),
        ("run the command `pytest -q`.", "pytest -q"),
        ("Execute `pytest -q` without errors", "pytest -q"),
        ("Run pytest -q", "pytest -q"),
        ("`pytest -q` passes", "pytest -q"),
        ("`npm test` succeeds.", "npm test"),
        ("`make lint` is clean", "make lint"),
        ("`./check.sh` exits with code 0", "./check.sh"),
        ("`ruff check` should pass", "ruff check"),
    ],
)
def test_backticks_with_only_a_claim_of_success_are_a_command(text: str, command: str) -> None:
    assert command_in(text) == command


@pytest.mark.parametrize(
    "text",
    [
        "`a.txt` exists",
        "`main.py` works",
        "`parse` returns a plan",
        "`Plan` passes",
        "`cat a.txt` shows `hello`",
        "`grep -r old src` finds nothing",
        "`pytest` and `mypy` pass",
        "Run `pytest` and see it pass",
        "the output of `ls`",
        "Test `a.txt`",
        "` `",
        "`unclosed",
    ],
)
def test_a_sentence_about_a_command_is_prose(text: str) -> None:
    assert command_in(text) is None


@pytest.mark.parametrize("length", [1_000, 50_000])
@pytest.mark.parametrize("piece", [" ", "`", "` ", "'", '"', "a ", "; do ", "-", "\\\n"])
def test_a_long_text_ends(piece: str, length: int) -> None:
    assert command_in("for x" + piece * length + "x y") is None
    assert command_in(f"`pytest`{piece * length}x") is None


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("`make`", "make"),
        ("`` a`b ``", "a`b"),
        ("`a` and `b`", "`a` and `b`"),
        ("make", "make"),
        ("`", "`"),
        ("``", "``"),
        ("` `", ""),
    ],
)
def test_unwrap_removes_backticks_around_the_whole_text(text: str, inside: str) -> None:
    assert unwrap(text) == inside


def test_a_step_names_its_interpreter_and_its_first_line() -> None:
    assert run_step(StepKind.RUN, "\n  make all\nmake test\n", "bash") == Step(
        StepKind.RUN, "make all (+1 line)", ("bash", "-e", "-c", "\n  make all\nmake test\n")
    )
    assert run_step(StepKind.VERIFY, "print(1)", "py").argv == ("python3", "-c", "print(1)")
    assert run_step(StepKind.VERIFY, "ls").argv == ("sh", "-e", "-c", "ls")


def test_a_title_is_cut_to_eighty_characters() -> None:
    assert title_of("x" * 80) == "x" * 80
    assert title_of("x" * 81) == "x" * 79 + "…"
    assert title_of("\n\n") == ""
    assert title_of("x" * 81 + "\ny") == "x" * 69 + "… (+1 line)"


@pytest.mark.parametrize(
    ("script", "title"),
    [
        ("# tidy up\nrm -rf important", "rm -rf important (+1 line)"),
        ("#!/bin/sh\nset -euo pipefail\n\ncd src\nmake\nmake test", "make (+4 lines)"),
        ("curl -f \\\n  https://example.test \\\n  > page", "curl -f https://example.test > page"),
        ("cd src && make", "cd src && make"),
        ("cd src", "cd src"),
        ("# only\n# comments", "# only (+1 line)"),
        ("export MODE=x\nrun", "run (+1 line)"),
        ("settle", "settle"),
        ("sleep 0.5\ntouch a", "touch a (+1 line)"),
        ("sleep 60; touch a", "sleep 60; touch a"),
        ("sleep 1", "sleep 1"),
    ],
)
def test_a_title_is_the_first_line_that_does_something(script: str, title: str) -> None:
    assert title_of(script) == title


def test_a_title_names_what_interprets_a_script() -> None:
    script = "import time\nfrom os import path\n\ntime.sleep(1)\nprint(path)"
    assert title_of(script, "python3") == "print(path) (python3, +3 lines)"
    assert title_of("print(1)", "python3") == "print(1) (python3)"


def test_a_script_is_hidden_if_its_title_does_not_show_it() -> None:
    step = run_step(StepKind.RUN, "\n  # a\n  b\n")
    assert hidden_script(step.title, step.script) == "# a\nb"
    for script, language in (("ls", ""), ("print(1)", "py")):
        step = run_step(StepKind.RUN, script, language)
        assert hidden_script(step.title, step.script) is None
    long = run_step(StepKind.RUN, "x" * 100)
    assert hidden_script(long.title, long.script) == "x" * 100
    assert Step(StepKind.AGENT, "claude", ("sh", "-c", "claude -p"), stdin="prompt").script is None

"""The README and docs/ match the program: settings, options, links and command lines."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

import click
import pytest
from output_page import documented

from pipeline.cli import main as cli
from pipeline.config.settings import SETTINGS, Settings
from pipeline.config.sources import load
from pipeline.config.table import readme_table
from pipeline.events import NAMES, ConflictFound, Published, RunFinished, as_record, outcome_fields
from tasks.agent_report import Tokens
from tasks.model import Batch, PlanSettings, Task
from tasks.outcome import Conflict, Outcome, PullRequest, Refusal, RunStatus, Status

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^(`{3,})([^\n`]*)\n(.*?)^\1`*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(text: str) -> str:
    """Return a page without code, where links and headings are only examples."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def commands() -> Mapping[str, click.Command]:
    """Return all commands of the program, by name."""
    context = click.Context(cli.main)
    found = {name: cli.main.get_command(context, name) for name in cli.main.list_commands(context)}
    return {name: command for name, command in found.items() if command}


def test_configuration_table_matches_the_declared_settings() -> None:
    """After a change of the settings, paste the table that `make settings` prints."""
    assert readme_table(SETTINGS.values()) in read(ROOT / "README.md")


def test_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    """A default written as a value is the program's; a phrase or "none" means `None` or empty."""
    settings = load({}, {}, tmp_path).resolve(PlanSettings())
    for name, item in SETTINGS.items():
        text = item.default_text
        default = getattr(settings, name)
        try:
            converted = item.convert(int(text) if text.isdecimal() else text)
        except ValueError:
            converted = None
        if default in (None, (), {}):
            assert text == "none" or " " in text or name == "image", f"{name} has no default, not {text}"
        else:
            assert converted == default, f"{name} is {default!r}, not {text}"


def test_documented_default_image_is_used_for_tasks() -> None:
    task = Task(id="1", title="", batch=1)
    batch = Batch(number=1, title="", tasks=(task,))
    assert SETTINGS["image"].default_text == Settings().image_for(task, batch)


def test_every_command_and_option_is_documented() -> None:
    text = "\n".join(map(read, PAGES))
    for name, command in commands().items():
        assert f"patchyard {name}" in text, f"no page shows `patchyard {name}`"
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--") and not getattr(parameter, "hidden", False):
                    assert option in text, f"no page documents {option} of `patchyard {name}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for target in LINK.findall(prose(read(page))):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), f"{target} is neither a file nor https"
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}, which does not exist"
        assert path.resolve().is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(path), f"{path.name} has no heading #{anchor}"


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub generates for the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", read(path)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown_command_lines() -> Iterator[tuple[str, str]]:
    """Yield every `patchyard …` command line in a code fence, with the name of its page."""
    for page in PAGES:
        for _, language, content in FENCE.findall(read(page)):
            if language.strip() in {"console", "sh", "shell", "bash", "yaml"}:
                for line in content.splitlines():
                    words = line.strip().removeprefix("$ ").removeprefix("- run: ").removeprefix("run: ")
                    if words.startswith("patchyard "):
                        yield page.name, words


def test_command_lines_are_shown() -> None:
    assert {page for page, _ in shown_command_lines()} >= {"README.md"}


@pytest.mark.parametrize(("page", "line"), list(shown_command_lines()))
def test_command_lines_parse(page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "patches").mkdir()  # created by a command line before it
    monkeypatch.chdir(tmp_path)
    words = list(shlex.shlex(line, posix=True, punctuation_chars=">|&"))
    arguments = shlex.split(line, comments=True)
    operators = [word for word in words if word in {">", "|", "&&", ">>"}]
    if operators:
        arguments = arguments[: arguments.index(operators[0])]
    _, name, *rest = arguments
    if name.startswith("-"):
        return
    assert name in commands(), f"{page}: unknown command `patchyard {name}`"
    parent = click.Context(cli.main, info_name="patchyard")
    try:
        commands()[name].make_context(name, rest, parent=parent)
    except click.exceptions.Exit:
        return  # --help
    except click.ClickException as error:
        pytest.fail(f"{page}: `{line}`: {error.format_message()}")


def documented_fields(event: str) -> set[str]:
    """Return the fields in the row of an event in docs/output.md."""
    row = re.search(rf"^\| `{event}` \|(.*)\|$", read(ROOT / "docs" / "output.md"), re.MULTILINE)
    assert row, f"docs/output.md does not document {event}"
    return set(re.findall(r"`(\w+)`", row[1]))


def test_every_event_and_its_fields_are_documented() -> None:
    """The fields of an outcome have a separate table."""
    request = PullRequest(task="1", number=1, url="", branch="", base="", action="opened")
    records = {
        "conflict": as_record(ConflictFound(conflict=Conflict(1, ("1", "2"), ("a",)))),
        "pull_request": as_record(Published(request=request)),
        "run_finished": as_record(
            RunFinished(run="", status=RunStatus.FAILED, seconds=0.0, speedup=0.0, efficiency=0.0, outcomes=())
        ),
    }
    for event, name in NAMES.items():
        expected = set(records.get(name, (item.name for item in fields(event)))) - {"event", "time", "outcome"}
        known = documented_fields(name) | (documented()["verdict"] if name == "run_finished" else set())
        assert not expected - known, f"docs/output.md does not document every field of {name}"


def test_every_field_of_an_outcome_is_documented() -> None:
    table = (
        read(ROOT / "docs" / "output.md")
        .partition("An outcome has these fields:\n")[2]
        .partition("\n\nA task")[0]
    )
    names = {name for line in table.splitlines()[3:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    every = Outcome(
        task="1",
        title="",
        batch=1,
        status=Status.CHANGED,
        cost=0.5,
        tokens=Tokens(1),
        said="Done.",
        fails_before=("make test",),
        refused=(Refusal("pypi.org", 1),),
    )
    assert names == set(outcome_fields(every))


def test_contributing_guide_shows_the_tree() -> None:
    tree = read(ROOT / "CONTRIBUTING.md").partition("<!-- tree -->")[2].partition("<!-- /tree -->")[0]
    shown, parents = set(), list[str]()
    for line in tree.splitlines():
        if found := re.match(r"( *)(\w+)/ ", line):
            parents = [*parents[: len(found[1]) // 2], found[2]]
            shown.add("/".join(parents))
    packages = ("tasks", "containers", "pipeline")
    folders = {
        path.parent.relative_to(ROOT).as_posix() for name in packages for path in ROOT.glob(f"{name}/**/*.py")
    }
    folders = {folder for folder in folders if not folder.startswith("pipeline/store/")} | {"pipeline/store"}
    assert shown == {*packages, *folders, "tests", "benchmarks", "docs"}


def test_files_named_in_the_contributing_guide_exist() -> None:
    named = re.findall(r"`((?:tasks|containers|pipeline|tests|docs)/[\w/.-]+)", read(ROOT / "CONTRIBUTING.md"))
    named += re.findall(
        r"`((?:tasks|containers|pipeline|tests)/[\w/.-]+)", read(ROOT / "docs" / "internals.md")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_architecture_diagram_matches_the_code() -> None:
    script = ROOT / "docs" / "import_graph.py"
    done = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True, cwd=ROOT)
    page = read(ROOT / "docs" / "architecture.md")
    assert page.partition("<!-- picture -->\n")[2].partition("<!-- /picture -->")[0] == done.stdout

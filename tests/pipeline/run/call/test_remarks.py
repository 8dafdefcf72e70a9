"""What a user should know of a call before anything runs."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from repositories import Clone

from containers.git.repository import Repository
from pipeline.config.settings import SETTINGS, Settings
from pipeline.run.call.remarks import NO_SETTINGS, remarks
from tasks.plan.parser import parse

SEEN = "is not part of the run, which starts from main; commit what its tasks need"


def said(clone: Clone, environ: Mapping[str, str] | None = None, **settings: object) -> list[str]:
    plan = parse("### Task 1: A\n**Run:** `true`\n", str(clone.path / "plan.md")).plan
    assert plan
    repository = Repository.open(clone.path, {**clone.user.environ, **(environ or {})})
    return list(remarks(repository, plan, Settings(**settings), "main"))  # type: ignore[arg-type]  # by name


def test_what_is_not_committed_is_counted_in_one_line(clone: Clone) -> None:
    assert said(clone) == []
    clone.write({"README.md": "changed\n", "plan.md": "the plan", "patchyard.toml": "", "a.log": "ignored"})
    index = (clone.path / ".git/index").read_bytes()
    assert said(clone) == [f"1 changed path of the checkout {SEEN}"]
    assert (clone.path / ".git/index").read_bytes() == index
    clone.git("mv", "src/app.py", "src/main.py")
    clone.write({"new/one.py": "1", "new/two.py": "2", "other.py": "3"})
    assert said(clone) == [
        f"2 changed paths and 2 untracked paths of the checkout {SEEN.replace('is', 'are', 1)}"
    ]


def test_what_is_to_be_copied_and_is_not_there_is_named(clone: Clone) -> None:
    clone.write({".env": "A=1\n"})
    missing = f"copy: {{}} is not in {clone.path}, so no worktree gets it"
    assert said(clone, copy=(".env", "local/*.key", "missing")) == [
        missing.format("local/*.key"),
        missing.format("missing"),
    ]


def test_a_bare_repository_has_no_checkout(clone: Clone, tmp_path: Path) -> None:
    clone.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))
    repository = Repository.open(tmp_path / "bare", clone.user.environ)
    plan = parse("### Task 1: A\n**Run:** `true`\n", "plan.md").plan
    assert plan
    assert list(remarks(repository, plan, Settings(copy=(".env",)), "main")) == []


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("PATCHYARD_POOLSIZE", "PATCHYARD_POOL_SIZE"),
        ("PATCHYARD_BUDGETS", "PATCHYARD_BUDGET"),
        ("PATCHYARD_KEEPGOING", "PATCHYARD_KEEP_GOING"),
    ],
)
def test_misspelt_variables_are_named(clone: Clone, variable: str, meant: str) -> None:
    assert said(clone, {variable: "3"}) == [f"{variable} has no effect; did you mean {meant}?"]


def test_other_variables_are_not_taken_for_misspelt_ones(clone: Clone) -> None:
    settings = {item.variable for item in SETTINGS.values() if item.variable}
    names = {*settings, *NO_SETTINGS, "PATCHYARD_OF_SOMEBODY", "POOLSIZE"}
    assert said(clone, dict.fromkeys(names, "1")) == []


def test_every_variable_of_the_program_is_known() -> None:
    root = Path(__file__).parents[4]
    files = [path for name in ("containers", "pipeline", "tasks") for path in (root / name).rglob("*.py")]
    written = {name for path in files for name in re.findall(r'"(PATCHYARD_[A-Z_]+)"', path.read_text())}
    settings = {item.variable for item in SETTINGS.values() if item.variable}
    assert written >= {"PATCHYARD_DATABASE", "PATCHYARD_TASK"}
    assert written <= settings | NO_SETTINGS

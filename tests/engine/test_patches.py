"""A plan creates the same patches in every mode, byte for byte."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import engine_access
import pytest
from project import Project
from repositories import Clone, User, make_repository

from pipeline.store.store import Store
from tasks.outcome import Patch

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MODES = ("local", "parallel", "dagger")
PATIENCE = 800
FILES: Mapping[str, str | bytes] = {
    "README.md": "# Sample\n\nA line.\n",
    "run.sh": "#!/bin/sh\n",
    "src/app.py": "print('app')\n",
    "src/lib/util.py": "x = 1\n",
    "docs/a b\nü.txt": "odd\n",
    "docs/-dash": "odd\n",
    'docs/"quoted" *?[x]\\': "odd\n",
    "crlf.dat": "one\r\ntwo\r\n",
    "blob.bin": bytes(range(256)),
    "empty": "",
    "forced/kept.log": "tracked, although ignored\n",
    "forced/build/kept": "tracked, although ignored\n",
    "outside/file": "target of a link\n",
    ".gitignore": "*.log\nbuild/\nnode_modules/\n",
    "src/.gitignore": "*.tmp\n!keep.tmp\n",
}
CHANGES = Path(__file__).with_name("changes.sh").read_text(encoding="utf-8")
SCRIPTS = dict(part.split("\n", maxsplit=1) for part in CHANGES.split("\n### ")[1:])
"""Scripts of tasks, by name."""


@dataclass(frozen=True)
class Compared:
    """The patches of all tasks in each mode, by script name."""

    patches: Mapping[str, Mapping[str, Patch | None]]


def furnish(clone: Clone) -> None:
    """Add modes, links, file names that are not UTF-8, and ignored files."""
    (clone.path / "run.sh").chmod(0o755)
    (clone.path / "link").symlink_to("README.md")
    (clone.path / "link-to-directory").symlink_to("outside")
    (clone.path / "moved-link").symlink_to("nowhere")
    (clone.path / "latin").mkdir()
    for name in (b"e\xe9", b"g\xe0\xff"):
        (clone.path / "latin" / os.fsdecode(name)).write_text("latin\n")
    clone.git("add", "-A", "-f")
    clone.git("commit", "-q", "-m", "furnished")


def compare(clone: Clone, scripts: Mapping[str, str], image: str) -> Compared:
    """Run one task per script in every mode, from the same commit."""
    project = Project(clone, engine_access.variables(os.environ))
    plan = project.tasks({f"1.{number}": script for number, script in enumerate(scripts.values(), 1)})
    found: dict[str, dict[str, Patch | None]] = {}
    for mode in MODES:
        flags = ("--mode", mode, "--branch", f"{mode}/{{task}}", "--pool-size", "4", "--image", image)
        same = ("--on-conflict", "stop")  # each is compared from the same commit
        done = project.call("run", plan, "--json", "--fresh", *flags, *same, patience=PATIENCE)
        assert done.code in {0, 1}, done
        with Store.beside(project.state.parent) as store:
            outcomes = {task.outcome.task: task.outcome for task in store.tasks(done.run)}
        for number, name in enumerate(scripts, 1):
            outcome = outcomes[f"1.{number}"]
            assert outcome.worktree, outcome
            assert (outcome.exit_code != 0) == name.endswith(" after changes"), outcome
            found.setdefault(name, {})[mode] = outcome.patch
    return Compared(found)


@pytest.fixture(scope="module")
def compared(
    engine_obstacle: str | None, tmp_path_factory: pytest.TempPathFactory, test_image: str
) -> Compared:
    if engine_obstacle:
        return Compared({})
    directory = tmp_path_factory.mktemp("patches")
    clone = make_repository(User.at(directory / "user"), directory / "repo", FILES)
    furnish(clone)
    return compare(clone, SCRIPTS, test_image)


@pytest.mark.parametrize("name", SCRIPTS)
def test_patch_is_the_same_in_every_mode(compared: Compared, name: str) -> None:
    patches = compared.patches[name]
    assert (patches["local"] is None) == (name in {"nothing", "touched, and no more"})
    for mode in MODES[1:]:
        assert patches[mode] == patches["local"], mode

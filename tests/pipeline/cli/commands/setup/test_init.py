"""The command `init`: a commented file of settings, and a first plan that runs."""

import re
import tomllib
from pathlib import Path

from project import Project

from pipeline.config.files import read_settings_file
from pipeline.config.settings import SETTINGS, Settings
from pipeline.config.starter import EXAMPLES, settings_text


def test_first_plan_runs_as_it_is(project: Project) -> None:
    done = project.call("init").expect(0)
    assert f"wrote {project.root}/patchyard.toml\nwrote {project.root}/plan.md\n" in done.out
    assert tomllib.loads((project.root / "patchyard.toml").read_text()) == {
        "limits": {},
        "worktree": {},
        "container": {},
    }
    checked = project.call("check", "plan.md").expect(0)
    assert "warning" not in checked.err
    assert "plan.md: 3 tasks in 2 batches: the plan can be run" in checked.out

    ran = project.call("run", "plan.md", "--json").expect(0)

    assert set(ran.statuses.values()) == {"changed"}


def test_nothing_is_overwritten(project: Project) -> None:
    (project.root / "patchyard.toml").write_text("pool_size = 2\n")
    (project.root / "plans").mkdir()
    (project.root / "plans/first.md").write_text("mine")
    done = project.call("init", "plans/first.md").expect(0)
    assert done.out.count("is there already, and is left as it is") == 2
    assert (project.root / "patchyard.toml").read_text() == "pool_size = 2\n"
    assert (project.root / "plans/first.md").read_text() == "mine"


def test_without_a_repository_it_is_said_what_comes_first(project: Project) -> None:
    done = project.call("init", cwd=project.shared).expect(0)
    assert "there is no git repository with a commit here yet" in done.out
    assert (project.shared / "plan.md").is_file()
    assert project.call(
        "config", "--set", cwd=project.shared, environ={"PATCHYARD_TRUST": "", "PATCHYARD_SANDBOX": ""}
    ).out == ("every setting has its default\n")


def test_settings_of_the_project_file_are_not_hidden_by_a_new_file(project: Project) -> None:
    (project.root / "pyproject.toml").write_text("[tool.patchyard]\npool_size = 7\n")
    assert "pyproject.toml has the settings" in project.call("init").expect(0).out
    assert not (project.root / "patchyard.toml").exists()
    assert (project.root / "plan.md").is_file()


def test_every_comment_is_a_valid_setting(tmp_path: Path) -> None:
    text = settings_text(["codex", "aider"])
    assert "Installed here: codex, aider." in text
    assert 'agent = "codex"' in text
    path = tmp_path / "patchyard.toml"
    path.write_text(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    found = read_settings_file(path)
    assert found.mistakes == []
    assert {*found.values} == {name for name, item in SETTINGS.items() if item.in_file}
    default = Settings()
    for name, value in found.values.items():
        if name not in {*EXAMPLES, "agent"}:
            assert value == getattr(default, name), name

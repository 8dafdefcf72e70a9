"""The plan's part of branch names: no two plans share one."""

from pathlib import Path

import pytest
from project import Project


def names(project: Project) -> list[str]:
    """The branches of tasks, without their prefix."""
    return sorted(name.removeprefix("patchyard/") for name in project.branches() if name != "main")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Fix bugs", "Fix: bugs!"),
        (f"{'Long words ' * 6}one", f"{'Long words ' * 6}two"),
        ("Исправить ошибки", "Добавить тесты"),
        ("Café", "Cafe"),
    ],
)
def test_plans_of_other_titles_have_branches_of_their_own(project: Project, first: str, second: str) -> None:
    project.run(project.tasks({"1.1": "echo 1 > a.txt"}, title=first)).expect(0)
    plan = project.tasks({"1.1": "echo 2 > a.txt"}, title=second)
    project.run(plan).expect(0)
    before = project.branches()
    assert len(before) == 3

    project.run(plan, "--no-cache").expect(0)

    assert before.keys() == project.branches().keys(), "the next run has the branches of the one before"
    assert sorted(project.show(f"{name}:a.txt") for name in before if name != "main") == ["1", "2"]


def test_plans_of_one_title_in_two_files_have_branches_of_their_own(project: Project) -> None:
    one, two = (project.tasks({"1.1": f"echo {name} > a.txt"}, name) for name in ("one.md", "two.md"))
    project.run(one).expect(0)
    done = project.run(two).expect(0)
    again = project.run(two, "--no-cache").expect(0)

    assert len(project.branches()) == 3
    assert done.outcome("1.1")["branch"] == again.outcome("1.1")["branch"] != "patchyard/demo/1.1"
    assert project.show("patchyard/demo/1.1:a.txt") == "one.md"


def test_a_plan_that_is_named_by_another_path_is_the_same(project: Project, tmp_path: Path) -> None:
    plan = project.tasks({"1.1": "date +%N > a.txt"})
    project.run(plan).expect(0)
    project.run(Path(f"../{plan.parent.name}/{plan.name}")).expect(0)
    project.run(plan.rename(tmp_path / "moved.md")).expect(0)

    assert names(project) == ["demo/1.1"]


def test_a_resumed_run_keeps_the_name_of_its_plan(project: Project) -> None:
    one = project.tasks({"1.1": "echo 1 > a.txt"}, "one.md")
    two = project.tasks({"1.1": "echo 2 > a.txt", "1.2": 'test -e "$SHARED/go"; touch b.txt'}, "two.md")
    project.run(one).expect(0)
    done = project.run(two).expect(1)
    (project.shared / "go").touch()
    again = project.call("retry", done.run, "--json").expect(0)

    name = done.outcome("1.1")["branch"].rpartition("/")[0]
    assert name.startswith("patchyard/demo-")
    assert again.outcome("1.2")["branch"] == f"{name}/1.2"

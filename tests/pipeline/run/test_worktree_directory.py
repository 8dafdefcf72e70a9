"""Where the worktrees are by default: never in a checkout, of whatever repository."""

from pathlib import Path

import pytest
from project import Done, Project, one_sentence
from repositories import Clone, make_repository, write

TASK = {"1.1": "touch new; git add new; git commit --quiet --message mine; git log --oneline"}


@pytest.fixture
def outer(project: Project, tmp_path: Path) -> Clone:
    """Another repository of the user, with a checkout."""
    return make_repository(project.clone.user, tmp_path / "outer", {"file": "1\n"})


def run_in(project: Project, place: Path, *options: str) -> Done:
    """Run a small task in a repository, check its patch, and return the result."""
    done = project.call("run", project.tasks(TASK), "--json", *options, cwd=place).expect(0)
    assert done.outcome("1.1")["files"] == ["new"]
    return done


def directory_of(done: Done) -> Path:
    """Return the directory of the worktrees of a run."""
    return Path(done.events("run_started")[0]["worktrees"])


def notices(done: Done) -> str:
    """Return the messages of a run."""
    return "\n".join(record["message"] for record in done.events("notice"))


def add_submodule(project: Project, outer: Clone) -> Path:
    """Add the project to the outer repository as a submodule, and return its directory."""
    outer.git("submodule", "--quiet", "add", project.root, "lib")
    outer.git("commit", "--quiet", "--message", "submodule")
    return outer.path / "lib"


def test_of_a_submodule_are_not_in_the_superproject(project: Project, outer: Clone) -> None:
    submodule = add_submodule(project, outer)

    done = run_in(project, submodule)

    assert outer.git("status", "--porcelain", "--ignored") == ""
    assert project.clone.user.git("status", "--porcelain", "--ignored", cwd=submodule) == ""
    directory = directory_of(done)
    assert directory.is_relative_to(project.clone.user.home / ".local/state/patchyard/worktrees")
    assert f"in {directory}: beside the repository they would be in the checkout of {outer.path}" in (
        notices(done)
    )
    assert directory_of(run_in(project, submodule, "--no-cache")) == directory
    assert "removed wt-1" in project.call("clean", cwd=submodule).expect(0).out
    assert not directory.exists()


def test_two_repositories_of_one_name_have_directories_of_their_own(project: Project, outer: Clone) -> None:
    places = [outer.path / "a" / "lib", outer.path / "b" / "lib"]
    for place in places:
        make_repository(project.clone.user, place, {"file": "1\n"})

    one, two = (directory_of(run_in(project, place)) for place in places)

    assert one != two
    assert outer.git("status", "--porcelain").splitlines() == ["?? a/", "?? b/"]
    assert sorted(child.name for child in (outer.path / "a").iterdir()) == ["lib"]


def test_of_a_linked_worktree_are_not_in_the_main_checkout(project: Project) -> None:
    linked = project.root / "branches" / "feature"
    project.clone.git("worktree", "add", "--quiet", "-b", "feature", linked)

    done = run_in(project, linked)

    assert [child.name for child in linked.parent.iterdir()] == ["feature"]
    assert f"the checkout of {project.root}" in notices(done)


def test_of_a_bare_repository_inside_of_another(project: Project, outer: Clone) -> None:
    bare = outer.path / "mirror.git"
    outer.git("clone", "--quiet", "--bare", project.root, bare)

    directory = directory_of(run_in(project, bare))

    assert not directory.is_relative_to(outer.path)
    assert not (outer.path / "mirror-worktrees").exists()


def test_are_beside_the_repository_where_the_other_one_ignores_them(project: Project, outer: Clone) -> None:
    inner = make_repository(project.clone.user, outer.path / "work" / "inner", {"file": "1\n"})
    outer.commit({".gitignore": "/work/\n"})

    done = run_in(project, inner.path)

    assert directory_of(done) == outer.path / "work" / "inner-worktrees"
    assert "checkout" not in notices(done)
    assert outer.git("status", "--porcelain") == ""


def test_are_in_the_git_directory_where_the_home_is_a_checkout_too(project: Project, outer: Clone) -> None:
    user = project.clone.user
    make_repository(user, user.home / "dot", None)
    user.git("init", "--quiet", cwd=user.home)
    submodule = add_submodule(project, outer)

    done = run_in(project, submodule)

    assert directory_of(done) == outer.path / ".git/modules/lib/patchyard/worktrees"
    assert not (user.home / ".local").exists()
    assert outer.git("status", "--porcelain") == ""


def test_are_in_the_state_directory_that_the_environment_names(
    project: Project, outer: Clone, tmp_path: Path
) -> None:
    project.environ["XDG_STATE_HOME"] = str(tmp_path / "state")
    done = run_in(project, add_submodule(project, outer))

    assert directory_of(done).parent == tmp_path / "state/patchyard/worktrees"


def test_beside_the_worktrees_of_a_bare_repository(project: Project, tmp_path: Path) -> None:
    """The layout `all/.git` (bare), `all/main`, `all/feature`: `all` is not a checkout."""
    user, place = project.clone.user, tmp_path / "all"
    place.mkdir()
    user.git("clone", "--quiet", "--bare", project.root, ".git", cwd=place)
    user.git("worktree", "add", "--quiet", "feature", cwd=place)

    assert directory_of(run_in(project, place / "feature")) == place / "feature-worktrees"


def test_a_setting_may_not_lead_into_another_checkout(project: Project, outer: Clone) -> None:
    plan = project.tasks(TASK)

    done = project.run(plan, "--worktrees", outer.path / "pool")

    assert f"pool is inside the checkout {outer.path}, whose `git status` would" in one_sentence(done)
    assert outer.git("status", "--porcelain") == ""


@pytest.mark.parametrize("place", [".", "src/lib", ".git"])
def test_of_a_repository_that_is_called_bare_by_accident(project: Project, place: str) -> None:
    project.configure('branch = "mine/{task}"\n')
    write(project.root, {"ignored.log": "1\n"})
    project.clone.git("config", "core.bare", "true")

    done = run_in(project, project.root / place)

    project.clone.git("config", "core.bare", "false")
    assert directory_of(done) == project.worktrees
    assert done.outcome("1.1")["branch"] == "mine/1.1"
    assert project.clone.git("status", "--porcelain") == "?? patchyard.toml"


def test_of_a_submodule_that_is_called_bare_by_accident(project: Project, outer: Clone) -> None:
    submodule = add_submodule(project, outer)
    config = outer.path / ".git/modules/lib/config"
    project.clone.user.git("config", "--file", config, "core.bare", "true", cwd=outer.path)

    done = run_in(project, submodule)

    project.clone.user.git("config", "--file", config, "core.bare", "false", cwd=outer.path)
    assert f"the checkout of {outer.path}" in notices(done)
    assert outer.git("status", "--porcelain", "--ignored") == ""
    assert list((outer.path / ".git/modules").iterdir()) == [outer.path / ".git/modules/lib"]

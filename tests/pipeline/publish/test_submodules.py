"""A branch that names a commit of a submodule is pushed only if the submodule's remote has that commit."""

from pathlib import Path

import pytest
from github_server import GitHubServer
from project import Done, Project
from repositories import Clone, make_repository

NAME = "octo/demo"
FILL = "git submodule update -q --init"
UNKNOWN = f"{FILL}; cd lib; echo 2 > a; git commit -qam two; git update-ref refs/remotes/origin/main HEAD"
"""Makes a commit in a submodule that nobody has, and calls it one of the submodule's remote."""


@pytest.fixture
def library(hosted: Project, github: GitHubServer, tmp_path: Path) -> Clone:
    """The remote of a submodule `lib` of the project."""
    library = make_repository(hosted.clone.user, tmp_path / "library", {"a": "1"})
    hosted.clone.git("submodule", "add", "-q", str(library.path), "lib")
    hosted.clone.commit()
    hosted.clone.git("push", "-q", github.repository(NAME).path, "main")
    return library


def errors(done: Done) -> list[str]:
    return [record["message"] for record in done.events("notice") if record["level"] == "error"]


def heads(github: GitHubServer) -> set[str]:
    return {
        name
        for name in github.repository(NAME).git("for-each-ref", "--format=%(refname:lstrip=2)").split()
        if name.startswith("patchyard/")
    }


def test_a_commit_that_nobody_has_is_not_published(
    hosted: Project, github: GitHubServer, library: Clone
) -> None:
    known = library.commit({"a": "2"})
    tasks = {"1.1": UNKNOWN, "1.2": f"{FILL}; git -C lib checkout -q {known}", "1.3": "echo 1 > one.txt"}
    plan = hosted.tasks(tasks, fields={"1.3": "**Dependencies:** Task 1.1"})

    done = hosted.run(plan, "--publish", "--json", "--on-conflict", "stop")

    assert [done.outcome(task)["error"] for task in tasks] == [None] * 3
    assert (done.code, done.statuses) == (1, dict.fromkeys(tasks, "changed"))  # two of them conflict
    assert heads(github) == {"patchyard/demo/1.2"}
    first, second = errors(done)
    assert "of the submodule lib is not on the submodule's remote; push it there first (" in first
    assert "of the submodule lib is not on the submodule's remote" in second


def test_the_base_says_where_a_submodule_is(hosted: Project, github: GitHubServer, library: Clone) -> None:
    other = make_repository(hosted.clone.user, library.path.parent / "other", {"b": "1"})
    moved = f"git config -f .gitmodules submodule.lib.url {other.path}"
    fetch = f"git -C lib fetch -q {other.path} main:refs/remotes/origin/other"
    script = f"{FILL}; {moved}; {fetch}; git -C lib checkout -q {other.head}"

    done = hosted.run(hosted.tasks({"1.1": script}), "--publish", "--json").expect(3)

    assert "of the submodule lib is not on the submodule's remote" in errors(done)[0]
    assert heads(github) == set()


def test_a_report_does_not_publish_a_commit_that_nobody_has(
    hosted: Project, github: GitHubServer, library: Clone, tmp_path: Path
) -> None:
    assert library.head
    run = hosted.run(hosted.tasks({"1.1": UNKNOWN})).expect(0).run
    hosted.call("patches", run, "--output", tmp_path / "out").expect(0)
    other = tmp_path / "elsewhere"
    hosted.clone.user.git("clone", "-q", github.repository(NAME).path, other, cwd=tmp_path)
    here = Project(Clone(hosted.clone.user, other))
    here.clone.git("remote", "set-url", "origin", github.clone_url(NAME))

    done = here.call("publish", "--from", tmp_path / "out", "--json", environ=hosted.environ).expect(3)

    assert "of the submodule lib is not on the submodule's remote" in errors(done)[0]
    assert heads(github) == set()


@pytest.mark.parametrize("url", ["../library.git", "./../library.git"])
def test_urls_of_submodules_may_be_relative(
    hosted: Project, github: GitHubServer, library: Clone, url: str
) -> None:
    hub, other = github.repository(NAME).path, github.add_repository("octo/library")
    library.git("push", "-q", other, "main")
    hosted.clone.git("config", "-f", ".gitmodules", "submodule.lib.url", url)
    hosted.clone.commit()
    hosted.clone.git("push", "-q", hub, "main")
    known = library.commit({"a": "2"})
    library.git("push", "-q", other, "main")
    script = f"""\
        git clone -q {other} lib
        git -C lib checkout -q {known}
        """

    done = hosted.run(hosted.tasks({"1.1": script}), "--publish", "--json")

    assert (done.code, errors(done)) == (0, [])
    assert heads(github) == {"patchyard/demo/1.1"}


def test_work_in_a_submodule_is_taken_when_its_remote_has_it(hosted: Project, library: Clone) -> None:
    """From the worktree that was set aside: the task does not run again."""
    script = f"echo ran >> $SHARED/ran; {FILL}; cd lib; echo 2 > a; git commit -qam two"
    done = hosted.run(hosted.tasks({"1.1": script})).expect(1)
    assert "made commits in the submodule lib" in done.outcome("1.1")["error"]
    aside = hosted.worktrees / done.outcome("1.1")["worktree"] / "lib"
    for _ in range(2):
        hosted.call("resume", done.run).expect(1)
    hosted.clone.user.git("push", "-q", "origin", "HEAD:refs/heads/two", cwd=aside)

    hosted.call("resume", done.run).expect(0)

    commit = library.git("rev-parse", "two")
    assert hosted.clone.git("rev-parse", "patchyard/demo/1.1:lib") == commit
    assert (hosted.shared / "ran").read_text() == "ran\n"
    assert [path.name for path in hosted.worktrees.glob("wt-*")] == ["wt-1"]

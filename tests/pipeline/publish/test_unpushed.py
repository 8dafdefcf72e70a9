"""Commits of the user that are not on the remote are not published with a run."""

import re
from pathlib import Path

import pytest
from github_server import GitHubServer
from project import Project, one_sentence
from repositories import Clone

NAME = "octo/demo"
SCRIPTS = {"1.1": 'touch "$SHARED/ran"; echo one > one.txt', "1.2": "echo two > two.txt"}


def private(hosted: Project, files: tuple[str, ...] = ("notes.txt",)) -> list[str]:
    """Make commits that are not pushed, one per file."""
    return [hosted.clone.commit({name: "mine\n"}, f"private {name}") for name in files]


def is_on_remote(github: GitHubServer, commit: str) -> bool:
    return github.repository(NAME).git("rev-list", "--all").find(commit) >= 0


def heads(github: GitHubServer) -> set[str]:
    return {pull.head for pull in github.pull_requests(NAME)}


def test_run_is_refused_before_a_task_runs(hosted: Project, github: GitHubServer) -> None:
    first, last = private(hosted, ("a.txt", "b.txt"))

    said = one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish"), 3)

    assert said == (
        f"the base main ({last[:10]}) has 2 commits that are not on main of origin, and every pull request "
        f'would publish them; the first is {first[:10]} "private a.txt"; push them first, start a run with '
        "`--base origin/main`, or allow it with --allow-unpushed"
    )
    assert not (hosted.shared / "ran").exists()
    assert not is_on_remote(github, first)


def test_remote_tracking_ref_is_not_trusted(hosted: Project, github: GitHubServer) -> None:
    (commit,) = private(hosted)
    hosted.clone.git("update-ref", "refs/remotes/origin/main", commit)

    said = one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish"), 3)

    assert "has 1 commit that is not on main of origin" in said
    assert not is_on_remote(github, commit)


def test_remote_that_is_ahead_has_the_base(hosted: Project, github: GitHubServer) -> None:
    github.repository(NAME).write("main", {"later.txt": "1\n"}, "a person's work")
    before = hosted.clone.git("for-each-ref")

    hosted.run(hosted.tasks({"1.1": "true", "1.2": "echo two > two.txt"}), "--publish").expect(0)

    assert heads(github) == {"patchyard/demo/1.2"}
    after = hosted.clone.git("for-each-ref").splitlines()
    assert [line for line in after if "patchyard/" not in line] == before.splitlines()


def test_allowed_commits_are_published_with_the_run_and_later(hosted: Project, github: GitHubServer) -> None:
    private(hosted)
    plan = hosted.tasks(SCRIPTS)
    done = hosted.run(plan, "--publish", "--allow-unpushed").expect(0)

    assert len(heads(github)) == 2
    hosted.call("publish", done.run).expect(0)
    hosted.run(plan, "--publish", environ={"PATCHYARD_ALLOW_UNPUSHED": "true"}).expect(0)


def test_file_of_the_repository_does_not_allow_it(hosted: Project) -> None:
    private(hosted)
    hosted.configure("allow_unpushed = true\n")

    assert "--allow-unpushed" in one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish"), 3)


def test_base_that_a_plan_names_is_checked(hosted: Project, github: GitHubServer) -> None:
    hosted.clone.git("checkout", "-q", "-b", "secret-work")
    (commit,) = private(hosted)
    hosted.clone.git("checkout", "-q", "main")

    said = one_sentence(hosted.run(hosted.tasks(SCRIPTS, front="base: secret-work"), "--publish"), 3)

    assert f"the base secret-work ({commit[:10]}) has 1 commit that is not on main of origin" in said
    assert not is_on_remote(github, commit)


def test_run_without_publishing_is_checked_when_it_is_published(hosted: Project, github: GitHubServer) -> None:
    (commit,) = private(hosted)
    done = hosted.run(hosted.tasks(SCRIPTS)).expect(0)

    assert "has 1 commit that is not on main of origin" in one_sentence(hosted.call("publish", done.run), 3)
    assert heads(github) == set()
    assert not is_on_remote(github, commit)
    hosted.call("publish", done.run, "--allow-unpushed").expect(0)
    assert len(heads(github)) == 2


def test_commits_that_were_pushed_since_do_not_stop_it(hosted: Project, github: GitHubServer) -> None:
    private(hosted)
    done = hosted.run(hosted.tasks(SCRIPTS)).expect(0)
    hosted.clone.git("push", "-q", github.repository(NAME).path, "main")

    hosted.call("publish", done.run).expect(0)

    assert len(heads(github)) == 2


def test_branch_that_moved_back_during_the_run_stops_the_push(hosted: Project, github: GitHubServer) -> None:
    old = hosted.clone.head
    (commit,) = private(hosted)
    bare = github.repository(NAME).path
    hosted.clone.git("push", "-q", bare, "main")
    plan = hosted.tasks({"1.1": f"git --git-dir={bare} update-ref refs/heads/main {old}; echo 1 > one.txt"})

    done = hosted.run(plan, "--publish").expect(3)

    errors = [record["message"] for record in done.events("notice") if record["level"] == "error"]
    assert any("has 1 commit that is not on main of origin" in message for message in errors)
    assert not is_on_remote(github, commit)


@pytest.mark.parametrize("is_tip", [True, False], ids=["its tip", "below its tip"])
def test_base_on_another_branch_of_the_remote(hosted: Project, github: GitHubServer, is_tip: bool) -> None:  # noqa: FBT001 - a parameter
    commits = private(hosted, ("a.txt", "b.txt"))
    hosted.clone.git("push", "-q", github.repository(NAME).path, "HEAD:dev")
    hosted.clone.git("checkout", "-q", "--detach", commits[is_tip])

    said = one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish"), 3)

    where = "the branch dev" if is_tip else "other branches"
    assert (
        f"not on main of origin, only on {where} there, and every pull request against main would show" in said
    )
    assert ("`--base origin/dev`" in said) is is_tip
    hosted.clone.git("fetch", "-q", github.repository(NAME).path, "dev:refs/remotes/origin/dev")
    hosted.run(hosted.tasks(SCRIPTS), "--publish", "--base", "origin/dev").expect(0)
    assert {pull.base for pull in github.pull_requests(NAME)} == {"dev"}


def test_remote_without_the_branch(hosted: Project, github: GitHubServer) -> None:
    github.add_repository("octo/empty")
    hosted.clone.git("remote", "add", "fresh", github.clone_url("octo/empty"))

    said = one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish", "--remote", "fresh"), 3)

    assert "not on fresh, which has no branch main yet; the first is" in said
    assert re.search("push main first, or allow it with --allow-unpushed$", said)


@pytest.mark.parametrize("unpushed", [0, 1])
def test_shallow_clone(hosted: Project, github: GitHubServer, tmp_path: Path, unpushed: int) -> None:
    hosted.clone.commit({"more.txt": "1\n"})
    hosted.clone.git("push", "-q", github.repository(NAME).path, "main")
    shallow = Clone(hosted.clone.user, tmp_path / "shallow")
    hosted.clone.git("clone", "-q", "--depth=1", f"file://{github.repository(NAME).path}", shallow.path)
    shallow.git("remote", "set-url", "origin", github.clone_url(NAME))
    project = Project(shallow, hosted.environ)
    github.repository(NAME).write("main", {"later.txt": "1\n"}, "a person's work")
    private(project, ("notes.txt",) * unpushed)

    done = project.run(project.tasks(SCRIPTS), "--publish").expect(3 if unpushed else 0)

    assert ("has 1 commit that is not on main of origin" in done.err) is bool(unpushed)
    assert shallow.git("rev-list", "--count", "HEAD") == str(1 + unpushed)


def test_base_below_the_history_of_a_shallow_clone(
    hosted: Project, github: GitHubServer, tmp_path: Path
) -> None:
    first = hosted.clone.head
    hosted.clone.commit({"more.txt": "1\n"})
    hosted.clone.git("push", "-q", github.repository(NAME).path, "main")
    shallow = Clone(hosted.clone.user, tmp_path / "shallow")
    hosted.clone.git("clone", "-q", "--depth=1", f"file://{github.repository(NAME).path}", shallow.path)
    shallow.git("fetch", "-q", "--depth=1", "origin", first)
    shallow.git("remote", "set-url", "origin", github.clone_url(NAME))
    project, before = Project(shallow, hosted.environ), (shallow.path / ".git/shallow").read_text()

    project.run(project.tasks(SCRIPTS), "--publish", "--base", first).expect(0)

    assert heads(github) == {"patchyard/demo/1.1", "patchyard/demo/1.2"}
    assert (shallow.path / ".git/shallow").read_text() == before


def test_control_characters_of_a_subject_are_not_shown(hosted: Project) -> None:
    hosted.clone.commit({"a.txt": "1\n"}, "red \x1b[31m alert")

    assert '"red ?[31m alert"' in one_sentence(hosted.run(hosted.tasks(SCRIPTS), "--publish"), 3)

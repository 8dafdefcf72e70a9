"""`patchyard apply`: the one command that changes the user's checkout; all of it or nothing, with real git."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from project import Project, fingerprint

SCRIPTS = {
    "1.1": "echo one > one.txt; printf '\\0\\377' > bin; rm src/app.py",
    "1.2": "mkdir -p deep/er; echo two > deep/er/two.txt; chmod +x README.md",
    "2.1": "cat one.txt > three.txt; echo more >> one.txt",
}


def status(project: Project) -> str:
    return project.clone.git("status", "--porcelain")


def apply(project: Project, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.call("apply", *arguments, "--json").expect(code).out)
    return found


def refused(project: Project, *arguments: str, code: int = 2) -> str:
    """Return why nothing was applied, and check that nothing has changed: neither files nor index."""
    before = fingerprint(project.root, ".git"), status(project), project.clone.git("ls-files", "--stage")
    said = project.call("apply", *arguments).expect(code).err
    assert (
        fingerprint(project.root, ".git"),
        status(project),
        project.clone.git("ls-files", "--stage"),
    ) == before
    return said


def test_all_patches_are_in_the_files_and_the_index(project: Project) -> None:
    run = project.run(project.tasks(SCRIPTS)).expect(0).run
    head, branches = project.clone.head, project.branches()
    (project.root / "mine.txt").write_text("untracked\n")
    hooks = project.root / ".git" / "hooks"
    for name in ("post-checkout", "post-index-change", "pre-commit", "post-merge"):
        (hooks / name).write_text("#!/bin/sh\ntouch hook-ran\n")
        (hooks / name).chmod(0o755)

    planned = apply(project, "--dry-run")
    assert (project.root / "src/app.py").exists()
    found = project.call("apply", cwd=project.root / "src").expect(0).out
    assert not (project.root / "hook-ran").exists()
    for hook in hooks.glob("p*-*"):
        hook.unlink()

    assert (planned["applied"], planned["already"], planned["conflict"]) == (["1.1", "1.2", "2.1"], [], None)
    assert f"applied tasks 1.1, 1.2, 2.1 of run {run} to {project.root}: 6 files in the index" in found
    assert sorted(status(project).splitlines()) == [
        "?? mine.txt",
        "A  bin",
        "A  deep/er/two.txt",
        "A  one.txt",
        "A  three.txt",
        "D  src/app.py",
        "M  README.md",
    ]
    assert (project.root / "one.txt").read_text() == "one\nmore\n"
    assert (project.root / "bin").read_bytes() == b"\0\xff"
    assert os.access(project.root / "README.md", os.X_OK)
    assert (project.clone.head, project.branches()) == (head, branches)
    assert "has changes (" in refused(project)
    project.clone.git("commit", "--quiet", "--no-verify", "--message", "applied")
    assert apply(project)["already"] == ["1.1", "1.2", "2.1"]


def test_a_task_has_what_it_builds_on_unless_only_it_is_wanted(project: Project) -> None:
    fields = {"2.1": "**Depends on:** Task 1.1"}
    scripts = {"1.1": "echo one > one.txt", "1.2": "touch other", "2.1": "touch two"}
    project.run(project.tasks(scripts, fields=fields)).expect(0)

    only = apply(project, "2.1", "--only", "--dry-run")
    found = apply(project, "2.1")

    assert (only["applied"], only["files"]) == (["2.1"], ["two"])
    assert (found["applied"][0], found["applied"][-1]) == ("1.1", "2.1")
    assert "1.1" in found["added"]


def test_the_checkout_may_have_other_commits_and_be_a_linked_worktree(project: Project) -> None:
    project.run(project.tasks({"1.1": "seq 40 > src/app.py"})).expect(0)
    other = project.root.parent / "other"
    project.clone.git("worktree", "add", "--quiet", "--detach", other)
    project.clone.user.git("rm", "--quiet", "README.md", cwd=other)
    project.clone.user.git("commit", "--quiet", "--message", "mine", cwd=other)

    project.call("apply", cwd=other).expect(0)

    assert project.clone.user.git("status", "--porcelain", cwd=other) == "M  src/app.py"
    assert (other / "src" / "app.py").read_text().endswith("40\n")
    assert status(project) == ""


@pytest.mark.parametrize("change", ["unstaged", "staged", "removed"])
def test_a_checkout_with_changes_is_refused(project: Project, change: str) -> None:
    project.run(project.tasks(SCRIPTS)).expect(0)
    (project.root / "README.md").write_text("mine\n")
    if change != "unstaged":
        project.clone.git(
            "rm" if change == "removed" else "add", *(["--force"] * (change == "removed")), "README.md"
        )

    assert "has changes (README.md): commit or stash them, or use --3way" in refused(project)


@pytest.mark.parametrize(
    "where", ["one.txt", "deep", "deep/er/two.txt/mine", "one.txt (ignored)", "deep (link)"]
)
def test_what_git_does_not_track_is_never_overwritten(project: Project, where: str) -> None:
    project.run(project.tasks(SCRIPTS)).expect(0)
    path = project.root / where.partition(" ")[0]
    if "ignored" in where:
        (project.root / ".git" / "info" / "exclude").write_text("one.txt\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in where:
        (project.root.parent / "elsewhere").mkdir()
        path.symlink_to(project.root.parent / "elsewhere")
    else:
        path.write_text("mine\n")

    assert f"nothing was applied: {where.partition(' ')[0]} in" in refused(project)


def test_a_conflict_changes_nothing_without_3way(project: Project) -> None:
    scripts = {"1.1": "echo first > a.txt", "1.2": "echo 1.2 > src/app.py", "1.3": "touch last"}
    run = project.run(project.tasks(scripts)).expect(0).run
    project.clone.commit({"src/app.py": "mine\n"})

    said = refused(project, code=1)
    assert "nothing was applied: task 1.2 conflicts in src/app.py" in said
    assert f"`patchyard apply {run} --3way` applies what it can" in refused(project, run, code=1)
    assert "--onto" not in said

    found = apply(project, "--3way", code=1)

    assert (found["applied"], found["conflict"], found["conflicting"], found["left"]) == (
        ["1.1"],
        "1.2",
        ["src/app.py"],
        ["1.3"],
    )
    assert sorted(status(project).splitlines()) == ["A  a.txt", "UU src/app.py"]
    assert "<<<<<<< ours\nmine\n=======\n1.2\n>>>>>>> theirs\n" in (project.root / "src/app.py").read_text()
    assert "has conflicts already" in refused(project, "1.3", "--3way")
    (project.root / "src/app.py").write_text("both\n")
    project.clone.git("add", "src/app.py")
    assert apply(project, "1.3", "--3way")["applied"] == ["1.3"]


def test_3way_keeps_the_changes_of_a_person(project: Project) -> None:
    project.run(project.tasks(SCRIPTS)).expect(0)
    (project.root / "README.md").write_text("mine\n")

    assert "README.md has unstaged changes; `git add` or stash them" in refused(project, "--3way")
    found = apply(project, "1.1", "--3way")

    assert found["applied"] == ["1.1"]
    assert (project.root / "README.md").read_text() == "mine\n"
    assert " M README.md" in status(project).splitlines()[-1] or " M README.md" in project.clone.git(
        "status", "--porcelain", "--untracked-files=no"
    )


def test_the_settings_of_the_user_apply_to_line_ends_and_filters(project: Project) -> None:
    project.clone.commit({".gitattributes": "*.up filter=up\n*.win text eol=crlf\n"})
    project.clone.git("config", "filter.up.smudge", "tr a-z A-Z")
    project.clone.git("config", "filter.up.clean", "tr A-Z a-z")
    project.run(project.tasks({"1.1": "printf 'x\\n' > a.up; printf 'one\\ntwo\\n' > a.win"})).expect(0)

    apply(project)

    assert (project.root / "a.up").read_text() == "X\n"
    assert (project.root / "a.win").read_bytes() == b"one\r\ntwo\r\n"
    assert status(project) == "A  a.up\nA  a.win"


def test_a_filter_that_fails_leaves_everything_as_it_was(project: Project) -> None:
    project.clone.commit({".gitattributes": "*.up filter=up\n"})
    project.run(
        project.tasks({"1.1": "mkdir new; echo x > new/a.txt; echo x > z.up; echo x > README.md"})
    ).expect(0)
    project.clone.git("config", "filter.up.smudge", "false")
    project.clone.git("config", "filter.up.required", "true")

    assert "nothing was applied" in refused(project)
    assert not (project.root / "new").exists()


def test_a_sparse_checkout_stays_one(project: Project) -> None:
    project.clone.commit({"docs/a.md": "a\n", "src/b.py": "b\n"})
    project.run(
        project.tasks({"1.1": "echo more >> docs/a.md; echo more >> src/b.py; echo n > docs/new"})
    ).expect(0)
    project.clone.git("sparse-checkout", "set", "src")

    out = project.call("apply").expect(0).out

    assert "outside of the sparse checkout, so only in the index: docs/a.md, docs/new" in out
    assert not (project.root / "docs").exists()
    assert (project.root / "src/b.py").read_text() == "b\nmore\n"
    assert project.clone.git("diff", "--cached", "--name-only").split() == ["docs/a.md", "docs/new", "src/b.py"]
    assert project.clone.git("diff", "--name-only") == ""


def test_a_bare_repository_has_no_checkout(project: Project, tmp_path: Path) -> None:
    run = project.run(project.tasks({"1.1": "touch a"})).expect(0).run
    bare = tmp_path / "bare.git"
    project.root.joinpath(".git").rename(bare)
    project.clone.user.git("config", "core.bare", "true", cwd=bare)

    assert "has no checkout" in project.call("apply", run, "--repo", bare, cwd=tmp_path).expect(2).err


def test_tasks_that_did_not_succeed_are_named(project: Project) -> None:
    project.run(project.tasks({"1.1": "touch a", "1.2": "touch b; exit 3", "2.1": "touch c"})).expect(1)
    found = project.call("apply").expect(0).out
    assert "without task 1.2 (failed), task 2.1 (skipped), which did not succeed" in found

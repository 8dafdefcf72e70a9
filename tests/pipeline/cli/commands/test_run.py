"""`patchyard run`, from a plan to commits on branches: the real command on real repositories."""

import re
from pathlib import Path

import pytest
from project import Project, fingerprint, plan_text
from repositories import User, make_repository

from pipeline.console import line
from pipeline.events import StepFinished

SIX = {
    "1.1": "echo new > new.txt",
    "1.2": "cat README.md",
    "1.3": "echo half > half.txt; echo first; echo last words >&2; exit 7",
    "1.4": "echo part > part.txt; sleep 30",
    "1.5": "echo never > never.txt",
    "1.6": "echo never > never.txt",
}
SIX_FIELDS = {
    "1.4": "**Timeout:** 0.5s",
    "1.5": "**Status:** completed",
    "1.6": "**Dependencies:** Task 1.3",
}


def test_a_changed_task_is_one_commit_on_a_branch_of_its_own(project: Project) -> None:
    base = project.clone.head
    plan = project.tasks({"1.1": "echo hello > hello.txt; echo more >> README.md"}, title="Größe: a Plan!")

    done = project.run(plan).expect(0)

    outcome = done.outcome("1.1")
    branch = outcome["branch"]
    assert re.fullmatch("patchyard/groe-a-plan-[0-9a-f]{6}/1.1", branch)
    assert project.branches() == {"main": base, branch: outcome["commit"]}
    assert project.clone.git("rev-parse", f"{branch}^@") == base
    assert project.show(f"{branch}:hello.txt") == "hello"
    assert project.show(f"{branch}:README.md") == "# Sample\nmore"
    assert outcome["files"] == ["README.md", "hello.txt"]
    assert project.clone.git("log", "-1", "--format=%B", branch) == (
        f"Do 1.1\n\nPlan-Task: 1.1\nPatchyard-Run: {done.run}"
    )
    assert project.clone.git("log", "-1", "--format=%an <%ae> %cn <%ce>", branch) == (
        "Uma User <uma@example.com> Uma User <uma@example.com>"
    )
    trailers = project.clone.git("log", "-1", "--format=%(trailers:only)", branch).splitlines()
    assert trailers == ["Plan-Task: 1.1", f"Patchyard-Run: {done.run}"]


def test_every_outcome_says_how_its_task_ended(project: Project) -> None:
    plan = project.tasks(SIX, fields=SIX_FIELDS)

    done = project.run(plan).expect(1)

    assert done.statuses == {
        "1.1": "changed",
        "1.2": "unchanged",
        "1.3": "failed",
        "1.4": "timed_out",
        "1.5": "skipped",
        "1.6": "skipped",
    }
    assert done.finished["status"] == "failed"
    failed = done.outcome("1.3")
    assert failed["exit_code"] == 7
    assert failed["step"].startswith("echo half > half.txt")
    first, *tail = failed["error"].splitlines()
    assert "exit code 7" in first
    assert tail == ["first", "last words"]
    assert (failed["files"], failed["branch"], failed["commit"]) == (["half.txt"], None, None)
    timed_out = done.outcome("1.4")
    assert "timed out after 0.5 s" in timed_out["error"]
    assert timed_out["files"] == ["part.txt"]
    assert timed_out["seconds"] >= 0.5
    assert done.outcome("1.2")["branch"] is None
    assert done.outcome("1.5")["error"] == "the plan says that it is completed"
    assert done.outcome("1.6")["error"] == "it depends on task 1.3, which failed"
    assert [done.outcome(task)["worktree"] for task in ("1.5", "1.6")] == [None, None]
    assert set(project.branches()) == {"main", "patchyard/demo/1.1"}
    assert done.outcome("1.1")["exit_code"] == done.outcome("1.2")["exit_code"] == 0
    kept = project.call("diff", done.run).expect(0).out
    assert "+half" in kept
    assert "+part" in kept
    assert kept.count("diff --git ") == 3


def test_exit_code_is_0_if_all_tasks_succeed(project: Project) -> None:
    plan = project.tasks({"1.1": "true", "1.2": "false"}, fields={"1.2": "**Status:** completed"})

    done = project.run(plan).expect(0)

    assert done.finished["status"] == "succeeded"
    assert done.statuses == {"1.1": "unchanged", "1.2": "skipped"}


def test_other_tasks_of_a_batch_run_after_a_failure(project: Project) -> None:
    done = project.run(project.tasks({"1.1": "exit 1", "1.2": "sleep 0.2; echo a > a", "1.3": "echo b > b"}))

    assert done.expect(1).statuses == {"1.1": "failed", "1.2": "changed", "1.3": "changed"}


def test_no_step_runs_after_a_failed_one(project: Project) -> None:
    plan = project.plan(
        """# Steps
### Task 1: Steps
**Run:**
- `touch one`
- `sh -c 'exit 3'`
- `touch three`
**Verification:**
- `touch four`
"""
    )

    done = project.run(plan).expect(1)

    assert done.outcome("1")["files"] == ["one"]
    assert done.outcome("1")["exit_code"] == 3
    assert [record["number"] for record in done.events("step_finished")] == [1, 2]


def test_a_failing_verification_fails_the_task(project: Project) -> None:
    plan = project.plan(
        """# Verified
### Task 1: Good
**Run:** `echo good > good.txt`
**Verification:**
- `test -s good.txt`
- Somebody has read it
### Task 2: Bad
**Run:** `echo bad > bad.txt`
**Verification:**
- `grep -q good bad.txt`
"""
    )

    done = project.run(plan).expect(1)

    assert done.statuses == {"1": "changed", "2": "failed"}
    assert done.outcome("2")["step"] == "grep -q good bad.txt"
    assert [record["kind"] for record in done.events("step_started") if record["task"] == "1"] == [
        "run",
        "verify",
    ]


def test_the_commit_message_is_the_plans(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a"}, fields={"1.1": "**Commit:** feat: add a"})

    done = project.run(plan).expect(0)

    assert project.clone.git("log", "-1", "--format=%s", done.outcome("1.1")["branch"]) == "feat: add a"


def test_without_an_identity_patchyards_own_is_the_author(tmp_path: Path) -> None:
    user = User.at(tmp_path / "nobody")
    clone = make_repository(user, tmp_path / "repo", {"a": "a"})
    user.git("config", "--global", "--remove-section", "user", cwd=tmp_path)
    project = Project(clone)

    done = project.run(project.tasks({"1.1": "touch b"})).expect(0)

    assert clone.git("log", "-1", "--format=%an %ae", done.outcome("1.1")["branch"]) == (
        "patchyard patchyard@localhost"
    )


def test_the_branch_template_names_the_branches(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a", "2.1": "touch b"}, title="My Plan")

    done = project.run(plan, "--branch", "bot/{plan}-{run}/{task}").expect(0)

    names = [f"bot/my-plan-{done.run}/{task}" for task in ("1.1", "2.1", "batch-1")]
    assert sorted(project.branches()) == [*names, "main"]
    assert [done.outcome(task)["branch"] for task in ("1.1", "2.1")] == names[:2]


def test_a_second_run_moves_the_branches_of_the_first(project: Project) -> None:
    plan = project.tasks({"1.1": "echo $PATCHYARD_RUN > run.txt", "2.1": "touch b"})
    first = project.run(plan).expect(0)

    second = project.run(plan, "--no-cache").expect(0)

    assert first.outcome("1.1")["commit"] != second.outcome("1.1")["commit"]
    assert project.show("patchyard/demo/1.1:run.txt") == second.run
    assert project.branches()["patchyard/demo/2.1"] == second.outcome("2.1")["commit"]


@pytest.mark.parametrize("person", ["commits", "amends", "makes it"])
def test_a_branch_with_commits_of_a_person_is_never_moved(project: Project, person: str) -> None:
    plan = project.tasks({"1.1": "date +%N > a.txt", "1.2": "touch other"})
    git = project.clone.git
    if person == "makes it":
        git("branch", "patchyard/demo/1.1")
    else:
        project.run(plan).expect(0)
        git("checkout", "--quiet", "patchyard/demo/1.1")
        (project.root / "mine.txt").write_text("mine")
        git("add", "-A")
        git("commit", "--quiet", *(["-m", "mine"] if person == "commits" else ["--amend", "--no-edit"]))
        git("checkout", "--quiet", "main")
    before = project.branches()["patchyard/demo/1.1"]

    done = project.run(plan).expect(1)

    assert project.branches()["patchyard/demo/1.1"] == before
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}
    assert "branch patchyard/demo/1.1 has commits that patchyard did not make" in done.outcome("1.1")["error"]
    assert done.outcome("1.1")["worktree"] is None, "nothing of it was run"


def test_an_amended_commit_from_elsewhere_is_never_moved(project: Project) -> None:
    """The run that the trailers name is not stored in this clone."""
    plan, git = project.tasks({"1.1": "date +%N > a.txt", "1.2": "touch other"}), project.clone.git
    git("checkout", "--quiet", "-b", "patchyard/demo/1.1")
    git(
        "commit",
        "--quiet",
        "--allow-empty",
        "-m",
        "Do 1.1\n\nPlan-Task: 1.1\nPatchyard-Run: 20260101-000000-abcd",
    )
    git("checkout", "--quiet", "main")
    before = project.branches()["patchyard/demo/1.1"]

    done = project.run(plan).expect(1)

    assert project.branches()["patchyard/demo/1.1"] == before
    assert done.statuses == {"1.1": "failed", "1.2": "changed"}


def test_a_branch_that_is_checked_out_is_never_moved(project: Project) -> None:
    plan = project.tasks({"1.1": "date +%N > a.txt"})
    project.run(plan).expect(0)
    project.clone.git("checkout", "--quiet", "patchyard/demo/1.1")
    before = fingerprint(project.root, ".git/patchyard", ".git/worktrees", ".git/objects")

    done = project.run(plan).expect(1)

    assert "is checked out in" in done.outcome("1.1")["error"]
    assert fingerprint(project.root, ".git/patchyard", ".git/worktrees", ".git/objects") == before


def test_a_branch_that_is_checked_out_while_its_task_runs_is_not_moved(project: Project) -> None:
    plan = project.tasks({"1.1": 'date +%N > a.txt; eval "$DO"'})
    project.run(plan).expect(0)
    before = project.branches()["patchyard/demo/1.1"]
    switch = f"git -C '{project.root}' checkout --quiet patchyard/demo/1.1"

    done = project.call("run", plan, "--json", "--no-cache", environ={"DO": switch}).expect(1)

    assert "is checked out in" in done.outcome("1.1")["error"]
    assert "a.txt" in done.outcome("1.1")["files"], "its patch is kept"
    assert project.branches()["patchyard/demo/1.1"] == before


def test_a_batch_branch_of_a_person_is_never_moved(project: Project) -> None:
    plan = project.tasks({"1.1": "touch a", "1.2": "touch b", "2.1": "touch c", "2.2": "true"})
    project.clone.git("branch", "patchyard/demo/batch-1")
    before = project.branches()["patchyard/demo/batch-1"]

    done = project.run(plan).expect(1)

    assert project.branches()["patchyard/demo/batch-1"] == before
    assert done.statuses["1.1"] == done.statuses["1.2"] == "changed"
    assert done.statuses["2.1"] == "failed"
    assert "branch patchyard/demo/batch-1 has commits" in done.outcome("2.1")["error"]


def test_a_file_outside_of_the_repository_fails_its_task_before_anything_of_it_runs(project: Project) -> None:
    plan = project.tasks(
        {"1.1": 'touch "$SHARED/ran"', "1.2": "touch b", "1.3": "touch c"},
        fields={"1.1": "**Files:**\n- Create: `../escape.txt`", "1.3": "**Dependencies:** Task 1.1"},
    )

    done = project.run(plan).expect(1)

    assert done.statuses == {"1.1": "failed", "1.2": "changed", "1.3": "skipped"}
    assert "../escape.txt" in done.outcome("1.1")["error"]
    assert "outside of the repository" in done.outcome("1.1")["error"]
    assert not (project.shared / "ran").exists()
    assert [record["task"] for record in done.events("task_started")] == ["1.2"]
    assert "outside of the repository" in done.err
    assert re.search(r"plan\.md:\d+:\d+: warning: ", done.err)


def test_the_base_is_the_commit_of_the_current_branch_unless_named(project: Project) -> None:
    first = project.clone.head
    project.clone.git("checkout", "--quiet", "-b", "work")
    second = project.clone.commit({"w.txt": "w"})
    project.clone.git("checkout", "--quiet", "--detach", "main")
    plan = project.tasks({"1.1": "ls > list.txt"})

    detached = project.run(plan).expect(0)
    named = project.run(plan, "--base", "work").expect(0)
    by_front_matter = project.run(project.tasks({"1.1": "ls > list.txt"}, "b.md", front="base: work")).expect(0)

    assert detached.events("run_started")[0]["base"] == first
    assert named.events("run_started")[0]["base"] == by_front_matter.events("run_started")[0]["base"] == second
    assert "w.txt" in project.show("patchyard/demo/1.1:list.txt")


def test_files_of_the_user_are_unchanged(project: Project) -> None:
    git = project.clone.git
    project.clone.write({"README.md": "stashed\n"})
    git("stash", "push", "--quiet")
    project.clone.write(
        {"README.md": "changed\n", "untracked.txt": "u", "debug.log": "ignored", "staged.txt": "s"}
    )
    git("add", "staged.txt")
    git("branch", "other")
    own = (".git/patchyard", ".git/worktrees", ".git/objects", ".git/refs/heads/patchyard")
    logs = ".git/logs/refs/heads/patchyard"
    before = fingerprint(project.root, *own, logs)
    plan = project.tasks(
        {
            "1.1": "echo x > README.md; git add -A; git commit -qm own; git stash list",
            "2.1": "rm -rf src; exit 1",
        }
    )

    project.run(plan).expect(1)

    assert fingerprint(project.root, *own, logs) == before
    assert git("status", "--porcelain").splitlines() == [" M README.md", "A  staged.txt", "?? untracked.txt"]
    assert git("fsck", "--strict", "--no-dangling") == ""


def test_a_task_that_commits_deletes_and_renames_is_one_patch(project: Project) -> None:
    script = """
git mv src/app.py src/main.py
git commit -qm "mine"
git rm -q src/lib/util.py
git commit -qm "mine too"
ln -s main.py src/link
chmod +x src/main.py
printf '\\000\\001' > blob.bin
"""
    done = project.run(project.tasks({"1.1": script})).expect(0)

    outcome = done.outcome("1.1")
    assert outcome["files"] == ["blob.bin", "src/app.py", "src/lib/util.py", "src/link", "src/main.py"]
    assert project.clone.git("log", "--format=%s", f"main..{outcome['branch']}") == "Do 1.1"
    modes = project.clone.git("ls-tree", "-r", "--format=%(objectmode) %(path)", outcome["branch"]).splitlines()
    assert {"100755 src/main.py", "120000 src/link"} <= set(modes)


def test_from_a_subfolder_a_linked_worktree_and_a_bare_repository(project: Project, tmp_path: Path) -> None:
    plan = project.plan(plan_text({"1.1": "pwd > where.txt; touch at-root.txt"}))
    linked, bare = tmp_path / "linked", tmp_path / "bare.git"
    project.clone.git("worktree", "add", "--quiet", "--detach", linked)
    project.clone.git("clone", "--quiet", "--bare", project.root, bare)

    for place in (project.root / "src" / "lib", linked, bare):
        done = project.call("run", plan, "--json", cwd=place).expect(0)
        assert done.outcome("1.1")["files"] == ["at-root.txt", "where.txt"], place
        assert project.call("status", "--json", cwd=place).expect(0).records[0]["run"] == done.run
    assert (tmp_path / "bare-worktrees" / "wt-1").is_dir()


def test_the_repo_option_names_the_repository(project: Project, tmp_path: Path) -> None:
    plan = project.tasks({"1.1": "touch a"})

    done = project.call("run", "--plan", plan, "--repo", project.root, "--json", cwd=tmp_path).expect(0)

    assert done.statuses == {"1.1": "changed"}
    assert project.call("status", "--repo", project.root, cwd=tmp_path).expect(0).out.count("1.1") >= 1


def test_a_plan_can_come_from_standard_input(project: Project) -> None:
    text = plan_text({"1.1": "touch a"})

    done = project.call("run", "-", "--json", stdin=text.encode()).expect(0)

    assert done.statuses == {"1.1": "changed"}


def test_a_repository_in_an_odd_directory(user: User, tmp_path: Path) -> None:
    clone = make_repository(user, tmp_path / "odd ?#%'ü*" / "re po", {"a": "a"})
    project = Project(clone)

    done = project.run(project.tasks({"1.1": "touch b", "2.1": "touch c"})).expect(0)

    assert done.statuses == {"1.1": "changed", "2.1": "changed"}
    assert project.call("diff", done.run).expect(0).out.count("diff --git") == 2
    assert project.call("clean").expect(0).code == 0
    assert not project.worktrees.exists()


def test_withheld_work_is_kept_in_its_worktree(project: Project) -> None:
    """Where no patch can be taken, the worktree is set aside: no later run resets it."""
    objects = f"{project.root}/.git/objects"
    script = f"echo precious > precious.txt; mv '{objects}' '{objects}.away'; touch '{objects}'"
    plan = project.tasks({"1.1": script})

    done = project.run(plan)
    Path(objects).unlink()
    Path(f"{objects}.away").rename(objects)

    assert done.code == 1
    assert "what it changed stays in" in done.outcome("1.1")["error"]
    assert (project.worktrees / "wt-1" / "precious.txt").read_text() == "precious\n"
    second = project.run(project.tasks({"1.1": "true"}, "second.md")).expect(0)
    assert second.outcome("1.1")["worktree"] == "wt-2"
    assert f"kept {project.worktrees / 'wt-1'}: it holds work" in project.call("clean").expect(0).out
    assert (project.worktrees / "wt-1" / "precious.txt").exists()


def test_signal_is_named_if_known(project: Project) -> None:
    done = project.run(project.tasks({"1.1": "exit 200", "1.2": "exit 192", "1.3": "kill -TERM $$"})).expect(1)
    said = [done.outcome(task)["error"].partition(" ended ")[2] for task in ("1.1", "1.2", "1.3")]
    assert said == ["with exit code 200", "with exit code 192 (signal 64)", "with exit code 143 (signal 15)"]


def test_a_step_without_an_exit_code_may_have_run() -> None:
    event = StepFinished(
        task="1.1", worktree="wt-1", number=2, kind="run", command="sleep 9", exit_code=None, seconds=2.625
    )
    assert line(event) == "wt-1 1.1 run 2: no exit code after 2.625 s"

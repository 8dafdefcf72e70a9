"""Whatever a task does with git, the user's repository and other tasks do not see it."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from project import Project

GIT_COMMANDS = {
    "stash": "echo x >> README.md; git stash; git stash pop; git stash; git stash drop",
    "stash of the user": "git stash list; git stash pop || true; git stash clear",
    "config": "git config user.email agent@bot.test; git config core.bare true; git config --unset core.bare",
    "a filter": "git config filter.e.clean cat; echo '* filter=e' > .gitattributes",
    "a broken config": "echo '[[[' >> $(git rev-parse --git-common-dir)/config",
    "branch": "git branch b; git branch -f main HEAD; git branch -D main; git update-ref refs/heads/main HEAD",
    "tag": "git tag v9; git tag -d v1 || true",
    "remote": "git remote add evil http://127.0.0.1:1/x; git remote set-url origin http://127.0.0.1:1/y",
    "push url": "git config remote.origin.pushurl http://127.0.0.1:1/x; git config url.http://x/.insteadOf /",
    "push": "git commit -q --allow-empty -m e; git push -q . HEAD:refs/heads/pushed; git push -q . :main",
    "push to the user's remotes": "for r in me here; do git push -q $r HEAD:refs/heads/b || true; "
    "git push -q $r :topic || true; done",
    "worktree": "git worktree add -q --detach ../nested; git worktree prune --expire=now; git worktree list",
    "gc": "git gc -q --prune=now; git prune --expire=now; git repack -adq; git maintenance run || true",
    "reflog": "git reflog expire --expire=now --all",
    "submodule": "git submodule init; git submodule deinit --all --force || true",
    "lfs install": "git lfs install --local || true",
    "rebase": "git commit -q --allow-empty -m a; git rebase -q --onto HEAD~1 HEAD~1 HEAD || true",
    "a rebase half-way": "git rebase -q -x false HEAD~0 --force-rebase || true; git rebase -q -i HEAD || true",
    "bisect": "git bisect start; git bisect bad; git bisect reset",
    "hooks": "h=$(git rev-parse --git-path hooks); printf '#!/bin/sh\\nexit 1\\n' > $h/pre-commit; "
    "chmod +x $h/pre-commit; git config core.hooksPath .husky",
    "notes": "git notes add -m note HEAD",
    "replace": "git replace -f HEAD $(git commit-tree HEAD^{tree} -m r)",
    "sparse checkout": "git sparse-checkout set docs; git sparse-checkout disable",
    "clean": "git clean -xfdq",
    "other branches": "git checkout -q topic; git checkout -q --ignore-other-worktrees main; git switch -c x",
    "an orphan branch": "git checkout -q --orphan o; git commit -q --allow-empty -m o",
    "a reset": "git reset -q --hard HEAD; git commit -q --allow-empty -m r; git reset -q --hard HEAD~1",
    "exclude": "echo '*' >> $(git rev-parse --git-path info/exclude)",
    "attributes": "echo '* -text' >> $(git rev-parse --git-path info/attributes)",
    "stale locks": "d=$(git rev-parse --git-common-dir); touch $d/packed-refs.lock $d/config.lock $d/HEAD.lock",
    "grafts": "d=$(git rev-parse --git-common-dir); git rev-parse HEAD | tee $d/shallow > $d/info/grafts",
    "alternates": "echo /nowhere > $(git rev-parse --git-path objects/info/alternates)",
    "worktree settings": "git config extensions.worktreeConfig true; git config --worktree core.bare true",
    "no .git": "rm -rf .git",
    "another .git": "rm -rf .git; git init -q; git add -A; git commit -qm own",
}


def digest(root: Path) -> dict[str, str]:
    """Return every file of the user's repository with a digest, without what is patchyard's own."""
    found = {}
    for parent, directories, names in os.walk(root):
        here = Path(parent).relative_to(root).as_posix()
        if here == ".git":
            directories[:] = [name for name in directories if name not in {"patchyard", "worktrees", "objects"}]
        if here in {".git/refs/heads", ".git/logs/refs/heads"}:
            directories[:] = [name for name in directories if name != "patchyard"]
        for name in names:
            path = Path(parent, name)
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found[f"{here}/{name}"] = hashlib.sha256(content).hexdigest()
    return found


def prepare_user(project: Project) -> None:
    """Give the user's repository whatever a task could touch."""
    git = project.clone.git
    git("branch", "topic")
    git("tag", "v1")
    git("remote", "add", "origin", str(project.plans / "origin.git"))
    git("remote", "add", "me", ".")
    git("remote", "add", "here", f"file://{project.root}/.git")
    project.clone.write({"README.md": "a change of the user\n"})
    git("stash", "push", "--quiet", "-m", "of the user")
    project.clone.write({"not-committed.txt": "of the user\n"})


@pytest.mark.parametrize("command", GIT_COMMANDS.values(), ids=GIT_COMMANDS)
def test_git_commands_of_tasks_reach_no_repository_but_their_own(project: Project, command: str) -> None:
    prepare_user(project)
    stash, refs = project.clone.git("stash", "list"), project.clone.git("for-each-ref")
    before = digest(project.root)
    # Both tasks are at the same place at the same time.
    meet = (
        'touch "$SHARED/$PATCHYARD_TASK"; until test -e "$SHARED/1.1" -a -e "$SHARED/1.2"; do sleep 0.01; done'
    )
    scripts = {f"1.{n}": f"{meet}\nset +e; ({command}); set -e\necho {n} > own-{n}.txt\n" for n in (1, 2)}

    done = project.run(project.tasks(scripts)).expect(0)

    assert digest(project.root) == before
    assert project.clone.git("stash", "list") == stash
    own = "--format=%(objectname) %(objecttype)\t%(refname)"
    left = [line for line in project.clone.git("for-each-ref", own).split("\n") if "/patchyard/" not in line]
    assert left == refs.split("\n")
    for number in (1, 2):
        files = done.outcome(f"1.{number}")["files"]
        assert f"own-{number}.txt" in files
        assert f"own-{3 - number}.txt" not in files
        assert "README.md" not in files
    assert f"{project.worktrees / 'wt-1'}" in project.clone.git("worktree", "list")
    assert project.call("run", project.tasks({"1.1": "echo later > later.txt"}, "later.md")).expect(0)


WALKS = {
    "up from a worktree without a repository": "rm -rf .git; git add -A; git commit -qm x",
    "from a directory in it": "rm -rf .git; mkdir d; cd d; git stash clear; git tag evil; git config a.b c",
    "from beside it": "cd ..; git stash clear; git tag evil; git config a.b c",
}


@pytest.mark.parametrize("inside", ["ignored/trees", ".git/trees"])
@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
def test_git_of_a_task_does_not_find_the_repository_around_its_worktree(
    project: Project, walk: str, inside: str
) -> None:
    project.clone.commit({".gitignore": "ignored\n"})
    prepare_user(project)
    directory = project.root / inside
    directory.mkdir(parents=True)
    stash, refs = project.clone.git("stash", "list"), project.clone.git("for-each-ref")
    before = {name: value for name, value in digest(project.root).items() if inside not in name}

    plan = project.tasks({"1.1": f"set +e; here=$PWD; {walk}; cd $here; echo own > own.txt"})
    done = project.call("run", plan, "--json", "--worktrees", str(directory)).expect(0)

    assert done.outcome("1.1")["files"] == ["own.txt"]
    assert {name: value for name, value in digest(project.root).items() if inside not in name} == before
    assert project.clone.git("stash", "list") == stash
    assert [
        one for one in project.clone.git("for-each-ref").split("\n") if "/patchyard/" not in one
    ] == refs.split("\n")


NESTED = {
    "a filter": "git config filter.e.clean \"touch $SHARED/ran; cat\"; echo '* filter=e' > .gitattributes",
    "fsmonitor": 'git config core.fsmonitor "touch $SHARED/ran; false"',
    "a hook": 'printf "#!/bin/sh\\ntouch $SHARED/ran\\n" > .git/hooks/post-index-change; chmod +x .git/hooks/*',
    "work tree elsewhere": 'git config core.worktree "$SHARED"; git config core.fsmonitor "touch $SHARED/ran"',
}
PLACES = {
    "declared": "",
    "by a .git file": "mv .git ../plain; echo 'gitdir: ../plain' > .git",
    "by a .git file into the task's repository": "mkdir -p ../.git/modules; mv .git ../.git/modules/sub; "
    "echo 'gitdir: ../.git/modules/sub' > .git",
    "without a declaration": "rm ../.gitmodules",
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("setting", NESTED.values(), ids=NESTED)
def test_programs_of_a_nested_repository_never_run(project: Project, setting: str, place: str) -> None:
    """Git runs them in `git status`, which `git add` starts in submodules."""
    script = f"""
        printf '[submodule "sub"]\\n\\tpath = sub\\n\\turl = ./sub\\n' > .gitmodules
        mkdir sub other
        (cd other; git init -q; echo y > y; git add y; git commit -qm y)
        cd sub; git init -q; echo x > x; git add x; git commit -qm x
        {setting}
        echo z > x; touch -d 2001-01-01 x
        {place}
        rm -f "$SHARED/ran"
    """
    project.run(project.tasks({"1.1": script, "2.1": "echo b > b"}))
    assert not (project.shared / "ran").exists()
    project.run(project.tasks({"1.1": "echo c > c"}, "next.md")).expect(0)
    assert not (project.shared / "ran").exists()


def test_programs_of_a_changed_submodule_never_run(project: Project) -> None:
    library = project.plans / "library"
    project.clone.user.git("clone", "--quiet", str(project.root), str(library), cwd=project.plans)
    project.clone.git("submodule", "add", "--quiet", str(library), "lib")
    project.clone.commit()
    script = 'git submodule update -q --init; cd lib; echo > x; git config core.fsmonitor "touch $SHARED/ran"'
    done = project.run(project.tasks({"1.1": script}), "--json").expect(1)
    assert "in the submodule lib" in done.outcome("1.1")["error"]
    assert not (project.shared / "ran").exists()


SPECIAL = {
    "an ignore file": "mkfifo .gitignore-new; rm -f .gitignore; mv .gitignore-new d/.gitignore",
    "attributes": "mkfifo .gitattributes d/.gitattributes",
    "the list of submodules": "mkfifo .gitmodules",
    "a socket": "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"d/.gitignore\")'",
    "its own .git": "rm -rf .git; mkfifo .git",
    "a huge .git": "rm -rf .git; truncate -s 6G .git",
    "a HEAD": "rm .git/HEAD; mkfifo .git/HEAD",
    "a nested .git": "mkfifo d/.git",
    "a nested HEAD": "git init -q d; rm d/.git/HEAD; mkfifo d/.git/HEAD; mkfifo d/.git/config.lock",
    "in an untracked directory": "mkdir -p d/e/f; mkfifo d/e/f/.gitignore d/e/.gitattributes; echo x > d/e/f/x",
}


@pytest.mark.timeout(60)
def test_pipes_and_repositories_in_files_that_are_kept_are_found(project: Project) -> None:
    """The tracked directory that they are in did not change."""
    project.configure('[worktree]\nkeep = ["src/cache"]')
    project.clone.commit({"src/app.py": "x\n"})
    below = "git init -q; echo z > z; git add z; git commit -qm z; mkfifo .gitignore ../.gitattributes"
    ran = 'git config core.fsmonitor "touch $SHARED/ran; false"'
    scripts = {
        "1.1": "mkdir -p src/cache/pkg/deep; echo 1 > src/cache/pkg/f; echo a > a.txt",
        "2.1": f"(cd src/cache/pkg/deep; {below}; {ran}); printf '!cache\\n' > .gitignore; echo b > b.txt",
    }
    done = project.run(project.tasks(scripts), "--pool-size", "1").expect(0)
    assert done.outcome("2.1")["files"] == [".gitignore", "b.txt"]
    project.run(project.tasks({"1.1": "echo c > c.txt"}, "next.md"), "--pool-size", "1").expect(0)
    assert not (project.shared / "ran").exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("script", SPECIAL.values(), ids=SPECIAL)
def test_pipes_and_devices_in_place_of_git_files_block_nothing(project: Project, script: str) -> None:
    plan = project.tasks({"1.1": f"mkdir -p d; echo x > d/x; {script}"})
    done = project.run(plan, "--pool-size", "1").expect(0)
    assert "d/x" in done.outcome("1.1")["files"]
    project.call("run", project.tasks({"1.1": "echo y > y"}, "next.md"), "--pool-size", "1").expect(0)
    project.call("clean").expect(0)
    assert not project.worktrees.exists()


IN_THE_WAY = {
    "a directory": "mkdir ../wt-2; echo mine > ../wt-2/mine",
    "a worktree of the task": "git worktree add -q ../wt-2",
    "its own worktree, moved": "cd ..; mv wt-1 wt-2; mkdir wt-1",
    "a directory in place of the lock": "mkdir ../.wt-2.lock",
}


@pytest.mark.parametrize("script", IN_THE_WAY.values(), ids=IN_THE_WAY)
def test_what_a_task_leaves_in_place_of_another_worktree_stops_no_run(project: Project, script: str) -> None:
    project.run(project.tasks({"1.1": script}), "--pool-size", "1")
    plan = project.tasks({"1.1": "echo a > a", "1.2": "echo b > b"}, "next.md")
    done = project.run(plan, "--pool-size", "2").expect(0)
    assert [done.outcome(task)["files"] for task in ("1.1", "1.2")] == [["a"], ["b"]]
    project.call("clean").expect(0)


def test_files_that_a_task_mounts_in_its_worktree_are_not_removed(project: Project) -> None:
    """The worktree is set aside, and can be removed when nothing is mounted in it any more."""
    outside = project.plans / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    try:
        subprocess.run(["mount", "--bind", outside, outside], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user cannot mount file systems")
    subprocess.run(["umount", outside], check=True)
    kept = project.worktrees / "wt-1"
    script = f"mkdir 'a b'; mount --bind {outside} 'a b'; echo a > a.txt"
    try:
        project.run(project.tasks({"1.1": script}), "--pool-size", "1").expect(0)
        done = project.run(project.tasks({"1.1": "echo b > b.txt"}, "next.md"), "--pool-size", "1").expect(0)
        assert f"cannot remove {kept}/a b: a file system is mounted there; unmount it" in done.out
        assert done.outcome("1.1")["worktree"] == "wt-2"
        project.call("clean")
        assert (outside / "precious").read_text() == "mine"
    finally:
        subprocess.run(["umount", kept / "a b"], check=True)
    kept.with_name("wt-1.kept").unlink()
    project.call("clean").expect(0)
    assert not project.worktrees.exists()


def test_worktree_that_was_pruned_is_used_again(project: Project, tmp_path: Path) -> None:
    project.run(project.tasks({"1.1": "echo a > a"})).expect(0)
    away = tmp_path / "away"
    project.worktrees.rename(away)
    project.clone.git("worktree", "prune")
    away.rename(project.worktrees)
    done = project.run(project.tasks({"1.1": "echo b > b"}, "next.md")).expect(0)
    assert done.outcome("1.1")["worktree"] == "wt-1"
    project.call("clean").expect(0)
    assert not project.worktrees.exists()


def test_directories_too_deep_for_a_path_are_reported_and_removed(project: Project) -> None:
    script = (
        'python3 -c \'\nimport os\nfor _ in range(1500):\n    os.mkdir("abcdefgh"); os.chdir("abcdefgh")\n\''
    )
    try:
        done = project.run(project.tasks({"1.1": script}), "--pool-size", "1").expect(1)
        assert "deeper than a path may be long" in done.outcome("1.1")["error"]
        done = project.run(project.tasks({"1.1": "echo b > b"}, "next.md"), "--pool-size", "1").expect(0)
        assert done.outcome("1.1")["worktree"] == "wt-1"
        project.call("clean").expect(0)
    finally:  # pytest cannot remove it
        subprocess.run(["rm", "-rf", project.worktrees], check=True)


def test_clean_of_many_nested_directories(project: Project) -> None:
    script = "i=0; while [ $i -lt 1200 ]; do mkdir d; cd d; i=$((i + 1)); done; echo x > x"
    try:
        project.run(project.tasks({"1.1": script})).expect(0)
        project.call("clean").expect(0)
        assert not project.worktrees.exists()
    finally:
        subprocess.run(["rm", "-rf", project.worktrees], check=True)


def test_a_stash_that_is_left_is_named(project: Project) -> None:
    scripts = {
        "1.1": "echo x >> README.md; git stash; touch a",
        "1.2": "echo x >> README.md; git stash; git stash pop",
    }
    packed = "echo x >> README.md; git stash; git pack-refs --all; touch b"
    done = project.run(project.tasks({**scripts, "1.3": packed})).expect(0)
    said = [one["message"] for one in done.events("notice") if one["level"] == "warning"]
    assert sorted(said) == [
        f"task {task} left a stash, which is not part of its patch" for task in ("1.1", "1.3")
    ]


def test_commits_that_are_left_on_another_branch_are_named(project: Project) -> None:
    commit = "date +%N > f$$; git add .; git commit -qm work"
    scripts = {
        "1.1": f"git switch -qc lost; {commit}; git checkout -q -; touch a",
        "1.2": f"git switch -qc kept; {commit}",
        "1.3": f"git switch -qc merged; {commit}; git checkout -q HEAD~; git merge -q --no-ff -m m merged",
        "1.4": "git switch -qc empty; git checkout -q -; git branch another",
    }
    done = project.run(project.tasks(scripts)).expect(0)
    said = [one["message"] for one in done.events("notice") if one["level"] == "warning"]
    assert said == ["task 1.1 left commits on lost, which are not part of its patch"]


def test_a_task_of_a_user_without_a_name_commits(project: Project) -> None:
    script = "echo x > x; git add x; git commit -qm inside; git log -1 --format=by:%ae"
    done = project.run(project.tasks({"1": script}), environ={"GIT_CONFIG_GLOBAL": os.devnull}).expect()
    assert "by:patchyard@" in project.log(done.run, "1")

"""A task that uses git gets the right patch in repositories of every layout."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from project import Project, one_sentence

SCRIPT = """
test -z "$(git status --porcelain)"
git log --format=%s -1 | grep -x first
echo new > new.txt; echo more >> README.md
git add --all; git commit --quiet --message mine
test -z "$(git status --porcelain)"
git log --format=%s -1 | grep -x mine
echo loose > loose.txt
"""
FILES = ["README.md", "loose.txt", "new.txt"]
Layout = Callable[[Project, Path], Path]


def shallow(project: Project, place: Path) -> Path:
    """A shallow clone."""
    project.clone.git("clone", "--quiet", "--depth=1", f"file://{project.root}", place)
    return place


def partial(project: Project, place: Path) -> Path:
    """A partial clone whose remote has a relative URL."""
    project.clone.git("config", "uploadpack.allowFilter", "true")
    project.clone.git(
        "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{project.root}", place
    )
    project.clone.user.git("config", "remote.origin.url", f"../{project.root.name}", cwd=place)
    return place


def sparse(project: Project, place: Path, *options: str) -> Path:
    """A clone with a sparse checkout."""
    project.clone.git("clone", "--quiet", "--no-checkout", project.root, place)
    project.clone.user.git("sparse-checkout", "set", *options, cwd=place)
    project.clone.user.git("checkout", "--quiet", "main", cwd=place)
    return place


def sparse_cone(project: Project, place: Path) -> Path:
    """A sparse checkout of one directory."""
    return sparse(project, place, "--cone", "src/lib")


def sparse_patterns(project: Project, place: Path) -> Path:
    """A sparse checkout by patterns."""
    return sparse(project, place, "--no-cone", "/src/")


def sparse_index(project: Project, place: Path) -> Path:
    """A sparse checkout with a sparse index."""
    return sparse(project, place, "--cone", "--sparse-index", "src/lib")


def worktree_config(project: Project, place: Path) -> Path:
    """A linked worktree with a configuration of its own."""
    project.clone.git("config", "extensions.worktreeConfig", "true")
    project.clone.git("worktree", "add", "--quiet", "--detach", place)
    project.clone.user.git("config", "--worktree", "core.sparseCheckout", "true", cwd=place)
    return place


def sha256(project: Project, place: Path) -> Path:
    """A repository with SHA-256 ids."""
    user = project.clone.user
    user.git("init", "--quiet", "--object-format=sha256", place, cwd=place.parent)
    (place / "README.md").write_text("# Sample\n")
    user.git("add", "--all", cwd=place)
    user.git("commit", "--quiet", "--message", "first", cwd=place)
    return place


def reftable(project: Project, place: Path) -> Path:
    """A repository with its refs in tables."""
    needs_git(2, 45)
    project.clone.user.git("clone", "--quiet", "--ref-format=reftable", project.root, place, cwd=place.parent)
    project.clone.user.git("tag", "v1", cwd=place)
    return place


def relative_worktrees(project: Project, place: Path) -> Path:
    """A repository whose worktrees are known by relative paths."""
    needs_git(2, 48)
    user = project.clone.user
    project.clone.git("clone", "--quiet", project.root, place)
    user.git("config", "--global", "worktree.useRelativePaths", "true", cwd=user.home)
    user.git("worktree", "add", "--quiet", "--detach", place.with_name("of-the-user"), cwd=place)
    return place


def bare(project: Project, place: Path) -> Path:
    """A bare repository."""
    project.clone.git("clone", "--quiet", "--bare", project.root, place)
    return place


def linked_path(project: Project, place: Path) -> Path:
    """A symbolic link to a repository."""
    place.symlink_to(project.root)
    return place


def odd_name(project: Project, place: Path) -> Path:
    """A path with a space, quotes, and characters beyond ASCII."""
    there = place.with_name('it\'s "ça" $HOME — 木')
    project.clone.git("clone", "--quiet", project.root, there)
    return there


def separate_git_dir(project: Project, place: Path) -> Path:
    """A checkout whose git directory is elsewhere."""
    elsewhere = f"--separate-git-dir={place.with_name('elsewhere')}"
    project.clone.git("clone", "--quiet", elsewhere, project.root, place)
    return place


def include_if(project: Project, place: Path) -> Path:
    """A configuration that includes another for this directory."""
    user = project.clone.user
    project.clone.git("clone", "--quiet", project.root, place)
    (user.home / "work").write_text("[user]\n\tname = At Work\n\temail = work@example.com\n")
    user.git("config", "--global", f"includeIf.gitdir:{place}/.path", str(user.home / "work"), cwd=user.home)
    return place


def quoted(value: str) -> str:
    """Return a value as git quotes it in `GIT_CONFIG_PARAMETERS`."""
    return value.replace("'", r"'\''").replace("!", r"'\!'")


def needs_git(*version: int) -> None:
    """Skip the test where git is older."""
    found = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", found)[:2]) < version:
        pytest.skip(f"needs git {'.'.join(map(str, version))} or newer")


LAYOUTS = [
    shallow, partial, sparse_cone, sparse_patterns, sparse_index, worktree_config, sha256, reftable,
    relative_worktrees, bare, linked_path, odd_name, separate_git_dir, include_if,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_patch_in_a_layout(project: Project, tmp_path: Path, layout: Layout) -> None:
    place = layout(project, tmp_path / "place")

    # Git adds a file outside of a sparse checkout only if it is asked to.
    script = SCRIPT.replace("add --all", "add --all --sparse") if layout is sparse_patterns else SCRIPT
    done = project.call("run", project.tasks({"1.1": script}), "--json", cwd=place).expect(0)

    outcome = done.outcome("1.1")
    assert outcome["files"] == FILES
    changed = project.clone.user.git("diff", "--name-only", "HEAD", outcome["branch"], cwd=place)
    assert changed.split("\n") == FILES
    if layout is include_if:
        author = project.clone.user.git("log", "-1", "--format=%an", outcome["branch"], cwd=place)
        assert author == "At Work"


LISTED = "find . -path ./.git -prune -o -type f -print | sort > listed.txt"


def test_tasks_have_the_files_of_a_sparse_checkout(project: Project, tmp_path: Path) -> None:
    project.clone.commit({"docs/a.md": "a\n", "src/lib/b.py": "b\n"})
    place, plan = sparse_cone(project, tmp_path / "place"), project.tasks({"1.1": LISTED})

    def listed(*, cached: bool) -> list[str]:
        done = project.call("run", plan, "--json", cwd=place).expect(0)
        outcome = done.outcome("1.1")
        assert (outcome["files"], outcome["cached"]) == (["listed.txt"], cached)
        return project.clone.user.git("show", f"{outcome['branch']}:listed.txt", cwd=place).split("\n")

    few = listed(cached=False)
    assert "./README.md" in few
    assert not any(path.startswith("./docs/") for path in few)
    assert listed(cached=True) == few
    (place / "patchyard.toml").write_text("[worktree]\nsparse = false\n")
    every = listed(cached=False)
    assert any(path.startswith("./docs/") for path in every)
    (place / "patchyard.toml").unlink()
    assert listed(cached=True) == few


def test_relative_worktrees_of_the_user_change_no_configuration(project: Project) -> None:
    needs_git(2, 48)
    user, config = project.clone.user, project.root / ".git" / "config"
    user.git("config", "--global", "worktree.useRelativePaths", "true", cwd=user.home)
    before = config.read_text()
    project.run(project.tasks({"1.1": SCRIPT})).expect(0)
    assert config.read_text() == before


@pytest.mark.parametrize("ids", ["sha1", "sha256"])
@pytest.mark.parametrize("refs", ["files", "reftable"])
def test_submodule_at_another_commit_of_its_remote(
    project: Project, tmp_path: Path, refs: str, ids: str
) -> None:
    """What a task's git creates is in the formats of the user's configuration."""
    if refs == "reftable":
        needs_git(2, 45)
    user = project.clone.user
    user.git("config", "--global", "init.defaultRefFormat", refs, cwd=user.home)
    library, place = tmp_path / "library", tmp_path / "place"
    for path in (library, place):
        user.git("init", "--quiet", f"--object-format={ids}", path, cwd=tmp_path)
        for number in (1, 2):
            (path / "README.md").write_text(f"{number}\n")
            user.git("add", "--all", cwd=path)
            user.git("commit", "--quiet", "--message", str(number), cwd=path)
    user.git("submodule", "--quiet", "add", str(library), "lib", cwd=place)
    user.git("checkout", "--quiet", "HEAD~1", cwd=place / "lib")
    user.git("commit", "--quiet", "--all", "--message", "a submodule", cwd=place)

    scripts = {
        "1.1": "git submodule update --quiet --init; echo a > a",
        "1.2": "git submodule update --quiet --init; git -C lib checkout --quiet origin/main",
        "1.3": "git submodule update --quiet --init; git -C lib commit --quiet --allow-empty -m own",
    }
    done = project.call("run", project.tasks(scripts), "--keep-going", "--json", cwd=place).expect(1)

    assert [done.outcome(task)["files"] for task in ("1.1", "1.2")] == [["a"], ["lib"]]
    assert (
        "commits in the submodule lib that the submodule's remote does not have" in done.outcome("1.3")["error"]
    )


@pytest.mark.parametrize("how", ["count", "parameters"])
def test_settings_in_the_environment(project: Project, how: str) -> None:
    settings = {"user.name": "Env 'User'!", "core.autocrlf": "true", "core.hooksPath": os.devnull}
    if how == "count":
        environ = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            environ |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    else:
        environ = {
            "GIT_CONFIG_PARAMETERS": " ".join(f"'{key}'='{quoted(value)}'" for key, value in settings.items())
        }

    done = project.run(project.tasks({"1.1": SCRIPT}), environ=environ).expect(0)

    assert done.outcome("1.1")["files"] == FILES
    assert project.show(f"{done.outcome('1.1')['branch']}:new.txt") == "new"
    author = project.clone.git("log", "-1", "--format=%an", done.outcome("1.1")["branch"])
    assert author == "Env 'User'!"


def test_branch_without_a_commit_with_a_base(project: Project) -> None:
    plan = project.tasks({"1.1": SCRIPT})
    project.clone.git("switch", "--quiet", "--orphan", "empty")

    done = project.run(plan, "--base", "main").expect(0)

    assert done.outcome("1.1")["files"] == FILES
    assert "has no commit yet; create one, or name one with --base" in one_sentence(project.run(plan))
    assert project.clone.git("symbolic-ref", "HEAD") == "refs/heads/empty"

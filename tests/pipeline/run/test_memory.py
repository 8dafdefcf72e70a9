"""A patch of any size passes through the program in pieces: its memory use does not depend on the size."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from github_server import TOKEN, GitHubServer
from peak_memory import MEGABYTE, measured, peak
from project import Project
from repositories import Clone
from served import API, Serving

SIZE = 16 * MEGABYTE
MOST = 80 * MEGABYTE
"""How much memory the program may use: 40 to 67 MB without a large patch. A copy of one makes it more."""
KINDS = {
    "binary": f"head -c {SIZE} /dev/urandom > big",
    "a long line": f"base64 -w 0 /dev/urandom | head -c {SIZE} > big",
}


def plan_of(project: Project, kind: str) -> Path:
    """Write a plan whose first task makes a large file; its second fails."""
    return project.tasks({"1.1": KINDS[kind], "1.2": "echo small > small; exit 3"})


def latest(project: Project) -> str:
    """Return the id of the newest run."""
    return str(json.loads(project.call("runs", "--json").expect().out.splitlines()[0])["run"])


def forget_objects(clone: Clone) -> None:
    """Remove what git has of the tasks, so that it is made again from the stored patches."""
    for branch in clone.git("branch", "--list", "patchyard/*", "--format=%(refname:short)").split():
        clone.git("branch", "-q", "-D", branch)
    clone.git("-c", "gc.reflogExpire=now", "gc", "--quiet", "--prune=now")


@pytest.mark.parametrize("kind", KINDS)
def test_large_patch_is_never_in_memory(project: Project, kind: str, tmp_path: Path) -> None:
    """From the task's end to reports, a retry, a hit of the cache, and the search for secrets."""
    out, large = tmp_path / "out", plan_of(project, kind)

    def use(*arguments: str | Path, code: int = 0, **environ: str) -> int:
        return measured(project.root, {**project.environ, **environ}, out, *arguments, code=code)

    peaks = {"run": use("run", large, "--keep-going", code=1)}
    run, made = latest(project), project.clone.git("rev-parse", "patchyard/demo/1.1")
    forget_objects(project.clone)
    peaks["retry"] = use("retry", run, code=1)
    assert project.clone.git("cat-file", "-s", f"{made}:big") == str(SIZE)
    peaks["diff"] = use("diff", run, "1.1")
    assert out.stat().st_size > SIZE
    peaks["patches"] = use("patches", run, "--output", tmp_path / "exported")
    assert (tmp_path / "exported" / "1.1.patch").read_bytes() == out_of(project, run, tmp_path)
    peaks["report"] = use("report", run, "--format", "html")
    forget_objects(project.clone)
    peaks["cached"] = use("run", large, "--keep-going", code=1)
    secrets = {"PATCHYARD_SECRETS": "SECRET", "SECRET": "not in the patch"}
    peaks["secrets"] = use("run", large, "--keep-going", "--no-cache", code=1, **secrets)
    assert {name: used for name, used in peaks.items() if used > MOST} == {}


def out_of(project: Project, run: str, directory: Path) -> bytes:
    """Return what `patchyard diff` prints."""
    file = directory / "printed.patch"
    project.call("diff", run, "1.1", stdout=file).expect()
    return file.read_bytes()


def test_what_the_set_up_of_a_worktree_makes_is_never_in_memory(project: Project, tmp_path: Path) -> None:
    project.configure(f'[worktree]\nsetup = ["head -c {SIZE} /dev/urandom > made"]\n')
    plan = project.tasks({"1.1": "echo small > small"})

    used = measured(project.root, project.environ, tmp_path / "out", "run", plan)

    assert used < MOST
    assert project.clone.git("show", "--format=", "--name-only", "patchyard/demo/1.1") == "small"


def test_many_files_take_little_memory_each(project: Project, tmp_path: Path) -> None:
    def use(count: int) -> int:
        plan = project.tasks({"1.1": f"mkdir many; cd many; seq {count} | xargs touch"})
        return measured(project.root, project.environ, tmp_path / "out", "run", plan)

    assert use(20_000) - use(1) < 20_000 * 1000


def test_server_streams_a_large_patch_and_its_page_shows_the_beginning(project: Project) -> None:
    project.run(plan_of(project, "a long line"), "--keep-going").expect(1)
    run = latest(project)
    with Serving(project, preloaded=False) as server:
        path, size = f"/{run}/tasks/1.1/diff", 0
        with server.client.stream("GET", f"{API}{path}") as response:
            for block in response.iter_bytes():
                size += len(block)
            assert size == int(response.headers["content-length"]) > SIZE
        page = server.client.get(f"/runs/{run}/tasks/1.1").text
        assert f'<a href="{API}{path}?attempt=1">the whole patch</a>' in page
        assert len(page) < 4 * MEGABYTE
        assert peak(server.process.pid) < MOST + 16 * MEGABYTE  # its libraries are larger


def test_directory_with_a_large_patch_is_published(
    project: Project, github: GitHubServer, tmp_path: Path
) -> None:
    name = "octo/demo"
    github.add_repository(name)
    hub = github.repository(name)
    project.clone.git("push", "-q", str(hub.path), "main")
    other = tmp_path / "machine" / "demo"
    other.parent.mkdir()
    project.clone.user.git("clone", "-q", hub.path, other, cwd=tmp_path)
    here = Project(Clone(project.clone.user, other))
    here.clone.git("remote", "set-url", "origin", github.clone_url(name))
    run = project.run(project.tasks({"1.1": KINDS["binary"]})).expect().run
    project.call("patches", run, "--output", tmp_path / "exported").expect()
    environ = {**here.environ, "GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": github.url}

    use = measured(here.root, environ, tmp_path / "out", "publish", "--from", tmp_path / "exported")

    assert use < MOST + 16 * MEGABYTE  # with the libraries for GitHub
    assert here.clone.git("cat-file", "-s", "patchyard/demo/1.1:big") == str(SIZE)


def test_large_patch_is_many_rows_which_go_with_their_run(project: Project) -> None:
    project.run(project.tasks({"1.1": KINDS["binary"]})).expect()

    def rows() -> tuple[int, int]:
        with closing(sqlite3.connect(project.state / "patchyard.db")) as database:
            query = "SELECT count(*), coalesce(max(length(data)), 0) FROM patch_chunks"
            count, longest = database.execute(query).fetchone()
            return int(count), int(longest)

    count, longest = rows()
    assert count > SIZE // MEGABYTE
    assert longest <= 1 << 20
    project.call("clean", "--older-than", "0s").expect()
    assert rows() == (0, 0)

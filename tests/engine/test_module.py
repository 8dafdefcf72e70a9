"""The Dagger module, called with the real `dagger` command from this and another repository."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from anyio import to_thread
from github_server import LOGIN, TOKEN, GitHubServer
from host_port import reachable
from repositories import Clone

from containers.dagger_engine.session import Session
from containers.git.repository import Repository
from pipeline.report.importer import ImportedRun
from pipeline.store.store import Store

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PLAN = """\
# Greetings

## Batch 1: Words
### Task 1.1: Say hello
**Run:**
- `echo hello > hello.txt`
**Verification:**
- `cat hello.txt`
### Task 1.2: See where it runs
**Run:**
```sh
git status --short > status.txt
git log -1 --format=%s > log.txt
```

## Batch 2: More words
### Task 2.1: Say hello again
**Run:**
- `cat hello.txt hello.txt > twice.txt`
"""


@dataclass(frozen=True)
class Module:
    """The module, as somebody with another repository calls it."""

    path: Path
    caller: Clone
    image: str

    def call(self, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Call a function of the module from the caller's repository, or from a directory in it."""
        dagger = os.environ.get("_EXPERIMENTAL_DAGGER_CLI_BIN") or "dagger"
        return subprocess.run(
            [dagger, "--progress", "plain", "call", "-m", str(self.path), *arguments],
            cwd=cwd or self.caller.path,
            env={**os.environ, "NO_COLOR": "1", "DAGGER_NO_NAG": "1", "DO_NOT_TRACK": "1"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def run(self, *arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Call `run` with the test image."""
        return self.call("run", "--image", self.image, *arguments, cwd=cwd)


@pytest.fixture(scope="session")
def module_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files of this repository that the module consists of."""
    path = tmp_path_factory.mktemp("module") / "patchyard"
    path.mkdir()
    for name in ("dagger.json", "pyproject.toml", "README.md", "LICENSE", "conftest.py"):
        shutil.copy(ROOT / name, path)
    for name in ("tasks", "containers", "pipeline"):
        shutil.copytree(ROOT / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["git", "init", "--quiet"], cwd=path, check=True)
    return path


@pytest.fixture
def module(module_source: Path, clone: Clone, test_image: str) -> Module:
    """The module, called from another repository."""
    (clone.path / "plan.md").write_text(PLAN)
    return Module(module_source, clone, test_image)


def test_run_prints_the_table_and_does_not_change_the_caller(module: Module) -> None:
    before = module.caller.git("status", "--porcelain", "--ignored")
    done = module.run("--plan", "plan.md")
    assert done.returncode == 0, done.stderr
    assert "1.1   Say hello" in done.stdout
    assert "succeeded: 3 changed, in " in done.stdout
    assert "3 tasks in" in done.stdout
    assert module.caller.git("status", "--porcelain", "--ignored") == before
    assert module.caller.git("branch", "--list", "patchyard/*") == ""
    again = module.run("--plan", "plan.md")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("cached") == 3
    fresh = module.run("--plan", "plan.md", "--fresh", "--task", "1.1")
    assert fresh.returncode == 0, fresh.stderr
    assert "cached" not in fresh.stdout


def test_tasks_have_their_names_in_daggers_output(module: Module) -> None:
    done = module.run("--plan", "plan.md", "--fresh")
    assert "batch 1: Words" in done.stderr
    assert "task 1.1: Say hello" in done.stderr
    assert "step 2: cat hello.txt" in done.stderr


def test_failed_task_fails_the_call_and_prints_the_table(module: Module) -> None:
    (module.caller.path / "bad.md").write_text(
        "# Bad\n### Task 1: Fail\n**Run:**\n- `echo oops; exit 7`\n### Task 2: Go\n**Run:**\n- `echo > x`\n"
    )
    done = module.run("--plan", "bad.md")
    assert done.returncode == 1
    assert "1 failed (" in done.stderr
    assert "ended with exit code 7" in done.stderr
    assert "oops" in done.stderr
    assert "ExceptionGroup" not in done.stderr
    assert "Traceback" not in done.stderr


def test_patches_are_exported_and_apply(module: Module, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = module.call("patches", "--plan", "plan.md", "--image", module.image, "export", "--path", str(out))
    assert done.returncode == 0, done.stderr
    names = {path.name for path in out.iterdir()}
    assert {"1.1.patch", "1.2.patch", "2.1.patch", "report.json", "report.md"} <= names
    module.caller.git("apply", "--index", str(out / "1.1.patch"))
    module.caller.git("apply", "--index", str(out / "2.1.patch"))
    assert (module.caller.path / "twice.txt").read_text() == "hello\nhello\n"


def test_exported_results_become_commits_in_another_clone(module: Module, tmp_path: Path) -> None:
    out, caller, user = tmp_path / "out", module.caller, module.caller.user
    done = module.call("patches", "--plan", "plan.md", "--image", module.image, "export", "--path", str(out))
    assert done.returncode == 0, done.stderr
    user.git("clone", "--quiet", "--no-local", caller.path, tmp_path / "other", cwd=tmp_path)
    repository = Repository.open(tmp_path / "other", user.environ)
    with Store.beside(repository.common) as store:
        carried = ImportedRun.read(out)
        carried.recreate(repository, store)
        assert store.run().id == carried.report.run
    (image,) = carried.report.images
    assert (image.name, image.digest is not None) == (module.image, True)
    other = Clone(user, tmp_path / "other")
    assert other.git("show", "patchyard/greetings/2.1:twice.txt") == "hello\nhello"
    assert other.git("rev-parse", "patchyard/greetings/1.1^") == caller.head
    who = other.git("log", "-1", "--format=%an <%ae>", "patchyard/greetings/1.1")
    assert who == "Uma User <uma@example.com>"


def test_git_works_inside_at_the_base_commit(module: Module, tmp_path: Path) -> None:
    done = module.call(
        "patches", "--plan", "plan.md", "--image", module.image, "export", "--path", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stderr
    module.caller.git("apply", str(tmp_path / "out" / "1.2.patch"))
    assert (module.caller.path / "status.txt").read_text() == "?? status.txt\n"
    assert (module.caller.path / "log.txt").read_text() == module.caller.git("log", "-1", "--format=%s") + "\n"


def test_changes_only_touch_the_changed_files_of_the_caller(module: Module) -> None:
    caller = module.caller
    caller.commit({"top.txt": "old\n", "dir/in.txt": "old\n", "dir/gone.txt": "old\n"})
    plan = f"{PLAN}### Task 2.2: Remove\n**Run:**\n- `rm dir/gone.txt`\n"
    mine = dict.fromkeys(("top.txt", "dir/in.txt", "dir/untracked.txt"), "not committed\n")
    caller.write({"plan.md": plan, **mine})
    done = module.call("changes", "--plan", "plan.md", "--image", module.image, "-y")
    assert done.returncode == 0, done.stderr
    assert (caller.path / "hello.txt").read_text() == "hello\n"
    assert (caller.path / "twice.txt").read_text() == "hello\nhello\n"
    assert not (caller.path / "dir" / "gone.txt").exists()
    assert {name: (caller.path / name).read_text() for name in mine} == mine

    done = module.call("changes", "--plan", "../plan.md", "-y", cwd=caller.path / "dir")
    assert done.returncode == 1
    assert "which is dir of the repository; call it from the repository's root" in done.stderr
    assert sorted(path.name for path in (caller.path / "dir").iterdir()) == ["in.txt", "untracked.txt"]


def test_conflicting_changes_are_reported(module: Module) -> None:
    tasks = "".join(f"### Task {n}: T{n}\n**Run:**\n- `echo {n} > same.txt`\n" for n in (1, 2))
    (module.caller.path / "plan.md").write_text(f"# Conflict\n{tasks}")
    done = module.call("changes", "--plan", "plan.md", "--image", module.image, "--on-conflict", "stop", "-y")
    assert done.returncode == 1
    assert "conflicts with task 1 in same.txt" in done.stderr


def test_call_from_a_subdirectory_and_with_another_source(module: Module, tmp_path: Path) -> None:
    folder = module.caller.path / "deep" / "er"
    folder.mkdir(parents=True)
    done = module.run("--plan", "../../plan.md", "--task", "1.1", cwd=folder)
    assert done.returncode == 0, done.stderr
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "hello.txt").write_text("from elsewhere\n")
    done = module.run("--plan", "plan.md", "--source", str(plain), "--task", "2.1")
    assert done.returncode == 0, done.stderr
    assert "succeeded: " in done.stdout
    assert "3 tasks in " in done.stdout  # with what 2.1 builds on


def test_check_reports_every_error(module: Module, tmp_path: Path) -> None:
    assert "3 tasks in 2 batches: the plan can be run" in module.call("check", "--plan", "plan.md").stdout
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "plan.md").write_text("# Plain\n### Task 1: A\n**Run:**\n- `true`\n")
    assert "plan.md: 1 task in 1 batch" in module.call("check", "--source", str(plain)).stdout
    (module.caller.path / "bad.md").write_text("# Bad\n### Task 1: A\n### Task 1: B\n**Timeout:** soon\n")
    done = module.call("check", "--plan", "bad.md")
    assert done.returncode == 1
    assert "bad.md:3:1: error:" in done.stderr
    assert "bad.md:4:" in done.stderr


def test_secret_is_set_in_the_task_and_masked_in_the_output(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_SECRET", "very-secret-value")
    (module.caller.path / "plan.md").write_text(
        "# Secret\n### Task 1: Use it\n**Run:**\n"
        '- `echo "$THE_SECRET"; test "$THE_SECRET" = very"-secret-"value`\n'
        '### Task 2: Leak it\n**Run:**\n- `echo "$THE_SECRET" > leak.txt`\n'
    )
    done = module.run("--plan", "plan.md", "--secret", "env:THE_SECRET")
    assert done.returncode == 1
    assert "holds the value of THE_SECRET" in done.stderr
    assert "1 failed (" in done.stderr
    assert "very-secret-value" not in done.stdout + done.stderr


HUB = "octo/demo"
OTHER = "ghp_9876543210zyxwvutsrqZYXWVUTSRQ987654"
SEEN = """\
### Task 2.2: Print the environment
**Run:**
- `env | sort > env.txt; cat .git/config >> env.txt`
"""


@pytest.fixture
def hub(module: Module, tmp_path: Path) -> Iterator[GitHubServer]:
    """A GitHub with the caller's repository."""
    with GitHubServer(tmp_path / "hub") as hub:
        module.caller.git("push", "--quiet", hub.add_repository(HUB), "main")
        yield hub


@pytest.mark.anyio
async def test_module_publishes_and_updates_pull_requests(
    module: Module, hub: GitHubServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    (module.caller.path / "plan.md").write_text(PLAN + SEEN)
    hub.tokens[OTHER] = LOGIN

    async def publish(token: str) -> "subprocess.CompletedProcess[str]":
        monkeypatch.setenv("THE_TOKEN", token)
        given = ("--github-token", "env:THE_TOKEN", "--github-api", f"http://{address}:{hub.port}")
        call = ("-vvv", "run", "--image", module.image, "--plan", "plan.md", *given)
        return await to_thread.run_sync(lambda: module.call(*call))

    async with reachable(session.client, hub.port, module.image) as address:
        # The caller's remote uses SSH, but from the container the push uses HTTP.
        module.caller.git("remote", "add", "origin", f"git@{address}:{HUB}.git")
        first = await publish(TOKEN)
        second = await publish(OTHER)
        asked = len(hub.requests)
        refused = await publish("ghp_that-was-revoked-long-ago")

    assert first.returncode == 0, first.stderr
    assert "1.1 pull request #1 opened: " in first.stdout
    assert "cached" not in first.stdout
    pulls = {pull.head: pull.base for pull in hub.pull_requests(HUB)}
    branch = "patchyard/greetings"
    assert pulls == {
        f"{branch}/1.1": "main",
        f"{branch}/1.2": "main",
        f"{branch}/2.1": f"{branch}/batch-1",
        f"{branch}/2.2": f"{branch}/batch-1",
    }
    bare = hub.repository(HUB).path
    assert module.caller.user.git("show", f"{branch}/2.1:twice.txt", cwd=bare) == "hello\nhello"

    # The token is not in the cache key.
    assert second.returncode == 0, second.stderr
    assert "1.1 pull request #1 updated: " in second.stdout
    assert second.stdout.count("cached") == len(hub.pull_requests(HUB)) == 4

    assert refused.returncode == 1
    assert "Error: patchyard: " in refused.stderr
    assert f"does not accept the token for {HUB} (401: Bad credentials)" in refused.stderr
    assert "task 1.1" not in refused.stderr, "permission to publish is checked before any task runs"
    assert len(hub.requests) == asked + 1

    said = "".join(done.stdout + done.stderr for done in (first, second, refused))
    seen = module.caller.user.git("show", f"{branch}/2.2:env.txt", cwd=bare)
    assert "PATCHYARD_TASK=2.2" in seen
    assert not [secret for secret in (TOKEN, OTHER, "ghp_that", "THE_TOKEN=") if secret in said + seen]
    assert "GITHUB" not in seen


@pytest.mark.anyio
async def test_successful_tasks_are_published_when_another_task_failed(
    module: Module, hub: GitHubServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_TOKEN", TOKEN)
    (module.caller.path / "plan.md").write_text(
        "# Half\n### Task 1: Fail\n**Run:**\n- `false`\n### Task 2: Go\n**Run:**\n- `echo > x`\n"
    )
    async with reachable(session.client, hub.port, module.image) as address:
        module.caller.git("remote", "add", "origin", f"http://{address}:{hub.port}/{HUB}.git")
        given = ("--github-token", "env:THE_TOKEN", "--github-api", f"http://{address}:{hub.port}", "--draft")
        done = await to_thread.run_sync(lambda: module.run("--plan", "plan.md", *given))
    assert done.returncode == 1
    assert "Error: patchyard: failed: " in done.stderr
    assert "2 pull request #1 opened: " in done.stderr
    assert [(pull.head, pull.draft) for pull in hub.pull_requests(HUB)] == [("patchyard/half/2", True)]


@pytest.mark.parametrize("command", ["worktree add --quiet --detach", "clone --quiet --shared ."])
def test_source_without_history_has_its_files(module: Module, tmp_path: Path, command: str) -> None:
    linked = tmp_path / "linked"
    module.caller.git(*command.split(), linked)
    (linked / "plan.md").write_text(PLAN)
    done = module.run("--plan", "plan.md", "--task", "1.1", cwd=linked)
    assert done.returncode == 0, done.stderr
    assert "changed" in done.stdout
    token = ("--github-token", "env:PATH", "--github", HUB)
    refused = module.run("--plan", "plan.md", "--task", "1.1", *token, cwd=linked)
    assert refused.returncode == 1
    assert "patchyard: pull requests need the repository's history" in refused.stderr


def test_module_runs_on_this_repository(module_source: Path, test_image: str) -> None:
    plan = module_source / "plan.md"
    plan.write_text("# Own\n### Task 1: Count\n**Run:**\n- `ls pipeline > listing.txt`\n")
    git = ["git", "-c", "user.name=U", "-c", "user.email=u@example.com"]
    subprocess.run([*git, "add", "--all"], cwd=module_source, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "all"], cwd=module_source, check=True)
    own = Module(Path(), Clone(user=None, path=module_source), test_image)  # type: ignore[arg-type]  # its git is never run
    done = own.run("--plan", "plan.md")
    assert done.returncode == 0, done.stderr
    assert "1     Count" in done.stdout

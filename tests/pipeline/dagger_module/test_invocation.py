"""A call of the module without an engine: its arguments reach the flow, and its errors the caller."""

import subprocess
import traceback
from pathlib import Path

import anyio
import pytest
from repositories import Clone

from pipeline.dagger_module.errors import ModuleError, translate_errors
from pipeline.dagger_module.invocation import Invocation
from pipeline.dagger_module.source import HOME, plan_place, push_over_https
from pipeline.run.call.plan_file import CallError
from pipeline.store.run_options import Selection
from tasks.model import Mode


@pytest.fixture
def working_directory(clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a directory that looks like the module's: the caller's repository, and a plan."""
    place = tmp_path / "scratch"
    place.mkdir()
    clone.path.rename(place / HOME)
    (place / "plan.md").write_text(
        "# P\n## Batch 1: A\n### Task 1.1: A\n**Run:**\n- `true`\n"
        "## Batch 2: B\n### Task 2.1: B\nDo it.\n### Task 2.2: C\n**Run:**\n- `true`\n"
    )
    monkeypatch.chdir(place)
    return place


@pytest.mark.usefixtures("working_directory")
def test_arguments_reach_the_flow() -> None:
    flags = {
        "pool_size": 5,
        "image": "img:1",
        "agent": "agent -p",
        "timeout": "90s",
        "fresh": True,
        "keep_going": True,
        "draft": True,
        "github": "o/r",
    }
    selection = Selection(start_batch=2, tasks=("2.1",))
    prepared = Invocation("plan.md", flags, selection, {"KEY": "a-secret-value"}).prepare({})
    settings = prepared.settings
    assert [task.id for task in prepared.plan.tasks] == ["2.1"]
    assert [batch.mode for batch in prepared.batches] == [Mode.DAGGER]
    assert (settings.pool_size, settings.timeout, settings.agent) == (5, 90, "agent -p")
    assert prepared.batches[0].tasks[0].image == "img:1"
    assert (settings.fresh, settings.keep_going, settings.draft, settings.github) == (True, True, True, "o/r")
    assert prepared.secrets.values == {"KEY": "a-secret-value"}
    assert "a-secret-value" not in repr(prepared)


@pytest.mark.parametrize(("given", "size"), [({}, 3), ({"file": 5}, 5), ({"file": 5, "plan": 4}, 4)])
def test_plan_and_file_set_what_the_call_leaves_out(
    working_directory: Path, given: dict[str, int], size: int
) -> None:
    if "file" in given:
        (working_directory / HOME / "patchyard.toml").write_text(f"pool_size = {given['file']}\n")
    if "plan" in given:
        text = (working_directory / "plan.md").read_text()
        (working_directory / "plan.md").write_text(f"---\npool_size: {given['plan']}\n---\n{text}")
    assert Invocation("plan.md", {"agent": "true"}).prepare({}).settings.pool_size == size
    own = Invocation("plan.md", {"pool_size": 2, "agent": "true"}).prepare({})
    assert own.settings.pool_size == 2


@pytest.mark.parametrize(
    ("remote", "api", "github", "pushed"),
    [
        ("git@github.com:octo/demo.git", None, None, "https://github.com/octo/demo.git"),
        ("https://github.com/octo/demo", None, "other/name", "https://github.com/octo/demo"),
        ("git@git.example:octo/demo.git", None, None, "https://git.example/octo/demo.git"),
        (
            "ssh://git@git.example:2222/octo/demo",
            "https://git.example:8443/api/v3",
            None,
            "https://git.example:8443/octo/demo.git",
        ),
        (
            "git@tenant.ghe.com:octo/demo",
            "https://api.tenant.ghe.com",
            None,
            "https://tenant.ghe.com/octo/demo.git",
        ),
        (None, None, "octo/demo", "https://github.com/octo/demo.git"),
        ("/srv/mirror.git", "http://git.example:80", "octo/demo", "http://git.example:80/octo/demo.git"),
        ("/srv/mirror.git", None, None, "/srv/mirror.git"),
    ],
)
def test_copy_pushes_over_https_where_the_caller_uses_ssh(
    working_directory: Path, remote: str | None, api: str | None, github: str | None, pushed: str
) -> None:
    git = ["git", "-C", str(working_directory / HOME)]
    if remote:
        subprocess.run([*git, "config", "remote.origin.url", remote], check=True)
    environ = {"GITHUB_API_URL": api} if api else {}
    push_over_https(Invocation("plan.md").prepare(environ, agent="true", github=github))
    done = subprocess.run([*git, "remote", "get-url", "origin"], check=True, capture_output=True, text=True)
    assert done.stdout == f"{pushed}\n"


@pytest.mark.usefixtures("working_directory")
def test_repository_without_a_remote_has_to_be_named() -> None:
    prepared = Invocation("plan.md").prepare({}, agent="true")
    with pytest.raises(
        ModuleError, match=r"^the repository has no remote origin; name .* --github owner/repo$"
    ):
        push_over_https(prepared)


def test_error_is_printed_as_on_the_command_line() -> None:
    error = ModuleError("the plan is empty")
    assert "".join(traceback.format_exception_only(error)) == "patchyard: the plan is empty\n"


@pytest.mark.anyio
async def test_services_are_refused_before_a_task_runs(working_directory: Path) -> None:
    (working_directory / HOME / "patchyard.toml").write_text('[container.services]\nmodel = "localhost:4000"\n')
    with pytest.raises(ModuleError, match=r"^the settings have \[container\.services\], ports of a machine"):
        await Invocation("plan.md", {"agent": "true", "trust": True}).run({})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CallError("the plan cannot be read"), "the plan cannot be read"),
        (
            AttributeError("no attribute 'x'"),
            "internal error, please report it: AttributeError: no attribute 'x'",
        ),
    ],
)
async def test_error_in_a_task_group_is_one_sentence(error: Exception, message: str) -> None:
    async def fail() -> None:
        raise error

    async def fail_beside_others() -> None:
        with translate_errors():
            async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
                inner.start_soon(fail)
                outer.start_soon(anyio.sleep_forever)

    with pytest.raises(ModuleError) as caught:
        await fail_beside_others()
    assert str(caught.value) == message


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "agent", "message"),
    [
        (
            'secrets = ["THE_KEY"]\n',
            "true",
            "THE_KEY is among the secrets of the settings; give it with --secret env:THE_KEY",
        ),
        (
            '[agents.mine]\ncommand = "mine"\nsecrets = ["KEY", "TOKEN"]\n',
            "mine",
            (
                "KEY or TOKEN is needed by agent mine, for task 2.1; "
                "give it with --secret env:KEY or --secret env:TOKEN"
            ),
        ),
    ],
)
async def test_missing_secret_is_requested_as_an_argument(
    working_directory: Path, settings: str, agent: str, message: str
) -> None:
    (working_directory / HOME / "patchyard.toml").write_text(settings)
    with pytest.raises(ModuleError) as caught:
        await Invocation("plan.md", {"agent": agent, "trust": True}).check()
    assert str(caught.value) == message


def test_every_mistake_of_a_plan_is_reported(working_directory: Path) -> None:
    (working_directory / "plan.md").write_text("# P\n### Task 1: A\n### Task 1: B\n### Task 1: C\n")

    async def check() -> str:
        return await Invocation("plan.md").check()

    with pytest.raises(ModuleError) as caught:
        anyio.run(check)
    assert str(caught.value).count("error:") >= 2
    assert str(caught.value).startswith("plan.md:"), "as the caller knows it"


SPEC_KIT = "# Tasks\n\n## Phase 1: Setup\n- [ ] T001 a\n- [ ] T002 b\n\n## Phase 2: Polish\n- [ ] T003 c\n"


def test_plan_of_another_tool_is_read_with_its_neighbours_and_options(working_directory: Path) -> None:
    place = "specs/003-login"
    for folder in (working_directory / HOME, working_directory):
        (folder / place).mkdir(parents=True)
        (folder / place / "tasks.md").write_text(SPEC_KIT)
    (working_directory / HOME / place / "spec.md").write_text("the spec")
    git = ["git", "-C", str(working_directory / HOME), "-c", "user.name=x", "-c", "user.email=x@y"]
    for command in (["add", "--all"], ["commit", "--quiet", "-m", "spec"]):
        subprocess.run([*git, *command], check=True)
    flags = {"agent": "true", "unit": "item", "order": "sequential"}

    prepared = Invocation(place, flags).prepare({})

    plan = prepared.plan
    assert (plan.dialect, plan.unit, plan.order, plan.neighbours) == (
        "spec-kit",
        "item",
        "sequential",
        ("specs/003-login/spec.md",),
    )
    assert [task.id for task in plan.tasks] == ["T001", "T002", "T003"]
    said = anyio.run(Invocation(place, flags).check)
    assert said.endswith(
        "a spec-kit plan: a task per item (3 items), order sequential\n"
        "specs/003-login: 3 tasks: the plan can be run\n"
    )


def test_check_shows_a_plan_without_an_agent(working_directory: Path) -> None:
    (working_directory / "plan.md").write_text("# P\n### Task 1: A\n\nDo it.\n")

    said = anyio.run(Invocation("plan.md").check)

    assert said.startswith("plan.md:2:1: warning: 1 task (1) is for an agent, and none is named: ")
    assert said.endswith("plan.md: 1 task in 1 batch: the plan needs an agent\n")


def test_plan_in_which_all_is_done_makes_no_run(working_directory: Path) -> None:
    (working_directory / "tasks.md").write_text(SPEC_KIT.replace("[ ]", "[x]") + "```\n")

    async def run() -> str:
        return (await Invocation("tasks.md", {"agent": "true"}).run({})).checked().text

    warning = "tasks.md:9:1: warning: this fence is never closed, so that all below is part of it\n"
    left = "tasks.md: a spec-kit plan in which every task is done: nothing is left to run\n"
    assert anyio.run(run) == warning + left
    assert not (working_directory / HOME / ".git" / "patchyard").exists()
    assert not (working_directory / "worktrees").exists()


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("specs/003-login/tasks.md", "specs/003-login/tasks.md"),
        ("./openspec//changes/x/", "openspec/changes/x"),
        ("a/../plan.md", "plan.md"),
    ],
)
def test_plan_is_copied_from_its_path_in_the_repository(path: str, place: str) -> None:
    found, parts = plan_place(path, ["caller"])
    assert found == place
    assert parts[:2] == [place, f"{place}/*.md"]


@pytest.mark.parametrize("path", ["/etc/plan.md", "../plan.md", "a/../..", ".", "", "caller/plan.md"])
def test_path_outside_of_the_repository_is_refused(path: str) -> None:
    with pytest.raises(ModuleError, match=r"--plan FILE$"):
        plan_place(path, ["caller"])

"""Settings: where they come from, and which of them wins."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from containers.agents.builtin import BUILT_IN, DEFAULT_IMAGE, Agent
from pipeline.config.settings import Settings
from pipeline.config.sources import ConfigError, load, secret_values
from tasks.model import Batch, Mode, PlanSettings, Step, StepKind, Task

TASK = Task(id="1.1", title="T", batch=1, timeout=5.0, agent="own", image="own:1")
BATCH = Batch(1, "B", (TASK,), mode=Mode.LOCAL, image="batch:1")


def resolved(
    root: Path,
    file: str = "",
    environ: dict[str, str] | None = None,
    plan: PlanSettings | None = None,
    **flags: object,
) -> Settings:
    (root / "patchyard.toml").write_text(file)
    return load(flags, environ or {}, root).resolve(plan or PlanSettings())


def test_defaults(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path).resolve(PlanSettings())
    assert settings == Settings()
    assert (settings.pool_size, settings.mode, settings.publish, settings.remote) == (
        3,
        "parallel",
        False,
        "origin",
    )


def test_each_source_wins_over_the_next(tmp_path: Path) -> None:
    file, environ, plan = "pool_size = 4", {"PATCHYARD_POOL_SIZE": "6"}, PlanSettings(pool_size=5)
    assert resolved(tmp_path, file).pool_size == 4
    assert resolved(tmp_path, file, plan=plan).pool_size == 5
    assert resolved(tmp_path, file, environ, plan).pool_size == 6
    assert resolved(tmp_path, file, environ, plan, pool_size=7).pool_size == 7


def test_task_wins_over_the_file_but_not_over_a_flag(tmp_path: Path) -> None:
    file = 'timeout = "1m"\nagent = "file"\nimage = "file:1"\nmode = "parallel"'
    settings = resolved(tmp_path, file)
    assert settings.timeout_for(TASK) == 5
    assert settings.agent_for(TASK) == Agent("own", "own")
    assert settings.image_for(TASK, BATCH) == "own:1"
    assert settings.mode_for(BATCH) is Mode.LOCAL
    settings = resolved(tmp_path, file, timeout="2m", agent="flag", image="flag:1", mode="parallel")
    assert settings.timeout_for(TASK) == 120
    assert settings.agent_for(TASK) == Agent("flag", "flag")
    assert settings.image_for(TASK, BATCH) == "flag:1"
    assert settings.mode_for(BATCH) is Mode.PARALLEL


def test_timeout_of_none_means_unlimited(tmp_path: Path) -> None:
    settings = resolved(tmp_path, timeout="none")
    assert math.isinf(settings.timeout)
    assert settings.timeout_for(TASK) is None


def test_tables_of_the_plan_are_added_to_those_of_the_file(tmp_path: Path) -> None:
    tables = '[environment]\nA = "1"\nB = "1"\n[agents.one]\ncommand = "one -p"\n'
    file = f'{tables}[worktree]\ncopy = [".env"]\nkeep = ["x"]'
    plan = PlanSettings(environment={"B": "2"}, agents={"two": "two -p"})
    settings = resolved(tmp_path, file, plan=plan)
    assert settings.environment == {"A": "1", "B": "2"}
    assert settings.agents == {"one": Agent("one", "one -p"), "two": Agent("two", "two -p")}
    assert (settings.copy, settings.setup, settings.keep) == ((".env",), (), ("x",))


def test_agent_of_the_file_has_every_field_of_its_table(tmp_path: Path) -> None:
    file = """
[agents.mine]
command = "mine {prompt_file}"
image = "debian:13"
setup = ["apt-get update", "apt-get install -y mine"]
secrets = ["MINE_KEY"]
environment = { QUIET = true, LEVEL = 3 }
version = "mine --version"
cost = 'cost: (?P<cost>[0-9.]+)'
format = "claude"
limit = 'wait (?P<seconds>[0-9]+)'
"""
    assert resolved(tmp_path, file, agent="mine").agent_for(Task("1", "T", 1)) == Agent(
        name="mine",
        command="mine {prompt_file}",
        image="debian:13",
        setup=("apt-get update", "apt-get install -y mine"),
        secrets=("MINE_KEY",),
        environment={"QUIET": "true", "LEVEL": "3"},
        version="mine --version",
        cost="cost: (?P<cost>[0-9.]+)",
        format="claude",
        limit="wait (?P<seconds>[0-9]+)",
    )


def test_file_changes_single_fields_of_a_built_in_agent(tmp_path: Path) -> None:
    file = '[agents.claude]\ncommand = "claude -p --model best"\nsecrets = []'
    agent = resolved(tmp_path, file, agent="claude").agent_for(Task("1", "T", 1))
    assert agent == replace(BUILT_IN["claude"], command="claude -p --model best", secrets=())
    assert resolved(tmp_path, agent="claude").agent_for(Task("1", "T", 1)) == BUILT_IN["claude"]


def test_agent_of_a_plan_gets_no_secrets_of_its_namesake(tmp_path: Path) -> None:
    plan = PlanSettings(agent="claude", agents={"claude": "env | grep KEY", "mine": "env"})
    file = '[agents.mine]\ncommand = "mine"\nsecrets = ["MINE_KEY"]\nenvironment = { A = "1" }'
    settings = resolved(tmp_path, file, plan=plan)
    assert settings.agent_for(Task("1", "T", 1)) == Agent("claude", "env | grep KEY")
    assert settings.agent_for(Task("1", "T", 1, agent="mine")) == Agent("mine", "env")


def test_task_with_commands_has_no_agent(tmp_path: Path) -> None:
    settings = resolved(tmp_path, agent="claude")
    step = Step(StepKind.RUN, "true", ("true",))
    assert settings.agent_for(Task("1", "T", 1, run=(step,), agent="codex")) is None


def test_image_of_the_agent_is_the_fallback(tmp_path: Path) -> None:
    text, script = Task("1", "T", 1), Task("2", "T", 1, run=(Step(StepKind.RUN, "true", ("true",)),))
    plain, own = Batch(1, "B", (text, script)), Batch(1, "B", (text, script), image="batch:1")
    settings = resolved(tmp_path, agent="claude")
    assert settings.image_for(text, plain) == BUILT_IN["claude"].image
    assert settings.image_for(script, plain) == DEFAULT_IMAGE
    assert settings.image_for(text, own) == "batch:1"
    assert settings.image_for(Task("3", "T", 1, image="task:1"), own) == "task:1"
    assert resolved(tmp_path, 'image = "file:1"', agent="claude").image_for(text, plain) == "file:1"
    assert resolved(tmp_path, agent="claude", image="flag:1").image_for(text, own) == "flag:1"


def test_services_of_containers(tmp_path: Path) -> None:
    file = '[container.services]\nmodel = "localhost:11434"\nproxy-1 = "127.0.0.9:80"'
    assert resolved(tmp_path, file).services == {"model": "localhost:11434", "proxy-1": "127.0.0.9:80"}


def test_pyproject_is_read_without_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.patchyard]\npool_size = 9\n")
    assert load({}, {}, tmp_path).resolve(PlanSettings()).pool_size == 9
    assert resolved(tmp_path, "pool_size = 2").pool_size == 2


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("pool_sise = 3", "pool_sise: no such setting; did you mean pool_size?"),
        ("pool_size = 0", "pool_size: expected a whole number from 1 to 1000"),
        ("pool_size = 1001", "pool_size: expected a whole number from 1 to 1000"),
        ("pool_size = true", "pool_size: expected a whole number from 1 to 1000"),
        ('mode = "fast"', "mode: expected one of local, parallel, dagger"),
        ('branch = "x"', "branch: it needs {task}, otherwise all tasks would share a branch"),
        ('branch = "{title}/{task}"', "branch: {title} is unknown; use {plan}, {task} and {run}"),
        ("[agents]\nx = {}", 'agents: x needs command = "…"'),
        ("[agents]\nx = 3", 'agents: x needs command = "…"'),
        ('[agents.x]\ncomand = "x"', "agents: x.comand: an agent has command, image, setup"),
        ("[agents.codex]\nsecrets = [1]", "agents: codex.secrets: expected a list of strings"),
        ("[agents.codex]\ncommand = ''", "agents: codex.command: expected a non-empty string"),
        ("[agents.codex]\ncost = '(?P<cost>'", "agents: codex.cost: '(?P<cost>' is not a regular expression"),
        (
            "[agents.codex]\ncost = '[0-9]'",
            "agents: codex.cost: '[0-9]' needs a group such as (?P<cost>[0-9.]+)",
        ),
        ("[agents.codex]\nlimit = '('", "agents: codex.limit: '(' is not a regular expression"),
        (
            "[agents.codex]\nlimit = '(?P<time>x)'",
            "agents: codex.limit: '(?P<time>x)' has a group time: a limit has the groups until and seconds",
        ),
        (
            "[agents.mine]\ncommand = 'x'\nformat = 'xml'",
            "agents: mine.format: 'xml' is not a format of output: those are claude, codex, aider",
        ),
        ('[container.services]\nModel = "localhost:1"', "container.services: 'Model' is not a valid host name"),
        ('[container.services]\nmodel = "localhost"', "container.services: model should be a port"),
        ('[container.services]\nmodel = "10.0.0.1:80"', "container.services: model should be a port of this"),
        (
            '[container.services]\nmodel = "127.evil.com:80"',
            "container.services: model should be a port of this",
        ),
        (
            'secrets = ["A", "GITHUB_TOKEN"]',
            "secrets: GITHUB_TOKEN belongs to patchyard and is given to no task",
        ),
        ('secrets = ["PATCHYARD_ANY"]', "secrets: PATCHYARD_ANY belongs to patchyard"),
        ('[agents.codex]\nsecrets = ["GH_TOKEN"]', "agents: codex.secrets: GH_TOKEN belongs to patchyard"),
        ("trust = true", "trust: no such setting"),
        ("[worktree]\ncopi = []", "worktree.copi: no such setting; did you mean copy?"),
        ('[worktree]\ncopy = ["../x"]', "worktree.copy: '../x' leaves the repository"),
        ('[environment]\n"" = "y"', "environment: '' is not a valid variable name"),
        ('[environment]\n"A=B" = "y"', "environment: 'A=B' is not a valid variable name"),
        ('[environment]\n"A\\u0000" = "y"', "environment: 'A\\x00' is not a valid variable name"),
        (
            '[agents.codex.environment]\n"A=B" = "y"',
            "agents: codex.environment: 'A=B' is not a valid variable name",
        ),
        ("secrets = [1]", "secrets: expected a list of strings"),
        ("a = ", "not valid TOML:"),
    ],
)
def test_error_in_the_file_names_its_key(tmp_path: Path, file: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(tmp_path, file)
    assert str(tmp_path / "patchyard.toml") in str(caught.value)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_error_in_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the environment variable PATCHYARD_DRAFT: expected true or false"):
        resolved(tmp_path, environ={"PATCHYARD_DRAFT": "perhaps"})


def test_environment_takes_words_for_flags(tmp_path: Path) -> None:
    assert resolved(tmp_path, environ={"PATCHYARD_DRAFT": "yes"}).draft is True
    assert resolved(tmp_path, "draft = true", environ={"PATCHYARD_DRAFT": "0"}).draft is False


def test_unset_secret_is_named() -> None:
    assert secret_values(["A"], {"A": "value", "B": "other"}) == {"A": "value"}
    with pytest.raises(ConfigError, match="the environment variable C is not set"):
        secret_values(["A", "C"], {"A": "value"})

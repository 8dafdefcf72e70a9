"""Which settings of a repository need trust, and what remembered trust covers."""

from pathlib import Path

import pytest

from pipeline.config.sources import ConfigError, load
from pipeline.config.trust import Grant, TrustStore, UntrustedError, needed_grants, require_trust
from tasks.model import Batch, Mode, PlanSettings

NEEDS_TRUST = {
    'secrets = ["KEY"]': 'secrets = ["KEY"]',
    'engines = ["tcp://host:1"]': 'engines = ["tcp://host:1"]',
    'notify = "http://host/x"': 'notify = "http://host/x"',
    'remote = "other"': 'remote = "other"',
    'github = "octo/demo"': 'github = "octo/demo"',
    'agent = "sh -c evil"': 'agent = "sh -c evil"',
    'agent = "evil"': 'agent = "evil"',
    '[agents.claude]\nimage = "evil"': "agents.claude = ",
    '[agents.mine]\ncommand = "evil"': 'agents.mine = {"command": "evil"}',
    'worktrees = "../pool"': "worktrees = ",
    'worktrees = "/etc"': 'worktrees = "/etc"',
    'worktrees = "~/pool"': "worktrees = ",
    'worktrees = "link/pool"': "worktrees = ",
    'worktrees = ".git/pool"': "worktrees = ",
    "publish = true": "publish = true",
    "auto_merge = true": "auto_merge = true",
    '[worktree]\ncopy = [".env"]': 'worktree.copy = [".env"]',
    '[container.services]\nyard = "localhost:80"': 'container.services.yard = "localhost:80"',
}


def grants(
    root: Path,
    file: str,
    plan: PlanSettings | None = None,
    environ: dict[str, str] | None = None,
    batches: list[Batch] | None = None,
    **flags: object,
) -> list[str]:
    """Return what needs trust, as text without the name of the file."""
    (root / "patchyard.toml").write_text(file)
    sources = load(flags, environ or {}, root)
    found = needed_grants(sources, plan or PlanSettings(), "plan.md", root, batches)
    return [str(grant).rpartition(", in ")[0] for grant in found]


@pytest.mark.parametrize("file", NEEDS_TRUST)
def test_what_reaches_beyond_the_worktree_needs_trust(tmp_path: Path, file: str) -> None:
    (tmp_path / "link").symlink_to("/var")
    (found,) = grants(tmp_path, file, environ={"HOME": "/home/ann"})
    assert found.startswith(NEEDS_TRUST[file])


@pytest.mark.parametrize(
    "file",
    [
        "",
        "pool_size = 3",
        'remote = "origin"',
        'agent = "claude"',
        'worktrees = "pool"',
        "secrets = []",
        "publish = false",
        'mode = "local"',
        'branch = "mine/{task}"',
        '[environment]\nA = "b"\n[worktree]\nsetup = ["make"]',
    ],
)
def test_other_settings_need_none(tmp_path: Path, file: str) -> None:
    assert grants(tmp_path, file) == []


def test_plan_needs_trust_for_commands_of_agents(tmp_path: Path) -> None:
    plan = PlanSettings(agent="mine", agents={"mine": "evil", "claude": "evil"})
    assert grants(tmp_path, "", plan) == ['agents.mine = "evil"', 'agents.claude = "evil"']
    assert grants(tmp_path, "", PlanSettings(agent="sh -c evil")) == ['agent = "sh -c evil"']
    assert grants(tmp_path, "", PlanSettings(agent="claude", environment={"A": "b"})) == []


def test_files_are_copied_into_containers_only_with_trust(tmp_path: Path) -> None:
    """In the other modes, the commands of the plan can read them anyway."""
    file = '[worktree]\ncopy = [".env"]\n'
    asked = ['worktree.copy = [".env"]']
    local, contained = Batch(1, "", ()), Batch(2, "", (), mode=Mode.DAGGER)
    assert grants(tmp_path, file, batches=[local]) == []
    assert grants(tmp_path, file, batches=[local, contained]) == asked
    assert grants(tmp_path, file, batches=[contained], mode="parallel") == []
    assert grants(tmp_path, file, batches=[local], mode="dagger") == asked
    assert grants(tmp_path, file, PlanSettings(mode=Mode.DAGGER), batches=[local]) == asked
    assert grants(tmp_path, f'mode = "dagger"\n{file}', batches=[local]) == asked


def test_containers_of_the_user_s_own_file_are_left_only_with_trust(tmp_path: Path) -> None:
    own = tmp_path / "config" / "patchyard" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('mode = "dagger"\n')
    environ = {"XDG_CONFIG_HOME": f"{tmp_path}/config"}
    assert grants(tmp_path, "", environ=environ) == []
    assert grants(tmp_path, 'mode = "dagger"', environ=environ) == []
    assert grants(tmp_path, 'mode = "local"', environ=environ) == ['mode = "local"']
    assert grants(tmp_path, "", PlanSettings(mode=Mode.PARALLEL), environ) == ['mode = "parallel"']
    batches = [Batch(1, "", (), mode=Mode.LOCAL), Batch(2, "", (), mode=Mode.DAGGER)]
    assert grants(tmp_path, "", environ=environ, batches=batches) == ['mode of batch 1 = "local"']
    assert grants(tmp_path, "", environ=environ, batches=batches, mode="local") == []


def test_flags_and_variables_are_the_user_s_word(tmp_path: Path) -> None:
    file = 'remote = "other"\nsecrets = ["KEY"]'
    assert grants(tmp_path, file, remote="mine", environ={"PATCHYARD_SECRETS": "OWN"}) == []


def test_user_s_own_file_covers_what_it_has(tmp_path: Path) -> None:
    own = tmp_path / "config" / "patchyard" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text(
        'remote = "mine"\nsecrets = ["A", "B"]\npool_size = 7\n'
        '[agents.x]\ncommand = "x"\n[environment]\nA = "own"\n'
    )
    for environ in ({"XDG_CONFIG_HOME": f"{tmp_path}/config"}, {"HOME": f"{tmp_path}/home"}):
        (tmp_path / "home").mkdir(exist_ok=True)
        if "HOME" in environ:
            (tmp_path / "home" / ".config").symlink_to(tmp_path / "config")
        assert grants(tmp_path, 'remote = "mine"\nsecrets = ["B"]\nagent = "x"', environ=environ) == []
        assert grants(tmp_path, 'secrets = ["B", "C"]\n[agents.x]\ncommand = "y"', environ=environ) == [
            'secrets = ["C"]',
            'agents.x = {"command": "y"}',
        ]
        settings = load({}, environ, tmp_path).resolve(PlanSettings())
        assert (settings.pool_size, settings.remote, settings.secrets) == (7, "mine", ("B", "C"))
        assert (settings.agents["x"].command, settings.environment) == ("y", {"A": "own"})


def test_trust_is_remembered_by_repository_setting_and_value(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    grant = Grant("secrets", '["A"]', "patchyard.toml")
    store = TrustStore({"HOME": str(tmp_path / "home")})
    store.add([grant], one)
    assert store.has(grant, one)
    assert store.has(Grant("secrets", '["A"]', "elsewhere"), one)
    assert not store.has(grant, other)
    assert not store.has(Grant("secrets", '["A", "B"]', "patchyard.toml"), one)
    assert not store.has(Grant("remote", '["A"]', "patchyard.toml"), one)
    store.remove([grant], one)
    assert not store.has(grant, one)
    assert list((tmp_path / "home/.local/state/patchyard/trust").iterdir()) == []
    TrustStore({"XDG_STATE_HOME": str(tmp_path / "state")}).add([grant], one)
    assert len(list((tmp_path / "state/patchyard/trust").iterdir())) == 1


def test_trust_of_a_run_holds_in_every_clone(tmp_path: Path) -> None:
    """Another host resumes it, in a clone at another path."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "patchyard.toml").write_text('remote = "mine"')
    sources = load({}, {}, tmp_path / "one")
    (grant,) = needed_grants(sources, PlanSettings(), "p.md", tmp_path / "one")
    for given in (grant.digest(), grant.digest(tmp_path / "other")):
        elsewhere = load({}, {}, tmp_path / "other")
        assert require_trust(elsewhere, PlanSettings(), "p.md", tmp_path / "other", {}, trusted=[given])
    changed = Grant("remote", '"theirs"', "patchyard.toml")
    with pytest.raises(UntrustedError):
        require_trust(sources, PlanSettings(), "p.md", tmp_path / "one", {}, trusted=[changed.digest()])


def test_without_a_home_trust_is_a_variable(tmp_path: Path) -> None:
    (tmp_path / "patchyard.toml").write_text('remote = "other"')
    sources = load({}, {}, tmp_path)
    with pytest.raises(UntrustedError, match=r"^the repository may not set this .*run `patchyard trust p\.md`"):
        require_trust(sources, PlanSettings(), "p.md", tmp_path, {})
    with pytest.raises(ConfigError, match="HOME is not set"):
        TrustStore({}).add([], tmp_path)
    for trusting in (load({"trust": True}, {}, tmp_path), load({}, {"PATCHYARD_TRUST": "1"}, tmp_path)):
        assert len(require_trust(trusting, PlanSettings(), "p.md", tmp_path, {})) == 1

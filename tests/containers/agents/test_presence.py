"""What a machine has of an agent: its program, a login, a key."""

from pathlib import Path

import pytest

from containers.agents.builtin import BUILT_IN, LOGINS, Agent
from containers.agents.presence import installed, presence, program_of


@pytest.mark.parametrize(
    ("agent", "program"),
    [
        (BUILT_IN["claude"], "claude"),
        (BUILT_IN["codex"], "codex"),
        (BUILT_IN["mini-swe-agent"], "mini"),
        (Agent("mine", "mine -p --yes"), "mine"),
        (Agent("mine", "./tools/agent.sh"), "./tools/agent.sh"),
        (Agent("claude", "my-claude -p"), "my-claude"),
        (Agent("mine", "A=1 mine"), None),
        (Agent("mine", "[ -e x ] && mine"), None),
        (Agent("mine", ""), None),
    ],
)
def test_program_of_an_agent(agent: Agent, program: str | None) -> None:
    assert program_of(agent) == program


def test_login_is_a_file_of_the_agent(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path / "home"), "PATH": ""}
    for name, login in LOGINS.items():
        assert presence(BUILT_IN[name], environ).access == ""
        path = tmp_path / "home" / login.default / login.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        assert presence(BUILT_IN[name], environ).access == "logged in"
        path.unlink()
    elsewhere = tmp_path / "codex"
    elsewhere.mkdir()
    (elsewhere / "auth.json").write_text("{}")
    assert (
        presence(BUILT_IN["codex"], environ | {"CODEX_HOME": str(elsewhere)}).login == elsewhere / "auth.json"
    )
    assert presence(BUILT_IN["codex"], {}).login is None
    assert presence(BUILT_IN["codex"], environ | {"OPENAI_API_KEY": "k"}).access == "OPENAI_API_KEY set"


def test_each_installed_program_is_named_once(tmp_path: Path) -> None:
    for name in ("mini", "codex"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert installed(BUILT_IN.values(), {"PATH": str(tmp_path)}) == ("codex", "mini-swe-agent")
    assert installed(BUILT_IN.values(), {}) == ()

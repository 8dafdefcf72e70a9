"""The data of the sandbox."""

from pathlib import Path

import pytest

from containers.sandbox.network import Reach
from containers.sandbox.policy import expand
from tasks.model import SandboxMode


@pytest.mark.parametrize("kind", [SandboxMode, Reach])
def test_every_member_has_a_strength_of_its_own(kind: type[SandboxMode] | type[Reach]) -> None:
    assert sorted(member.strength for member in kind) == list(range(len(kind)))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("~", "/h"), ("~/.npm", "/h/.npm"), (".cache/pip", "/h/.cache/pip"), ("/srv/x", "/srv/x")],
)
def test_paths_of_settings_start_at_home(path: str, expected: str) -> None:
    assert expand(path, Path("/h")) == Path(expected)

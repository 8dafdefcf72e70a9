"""What hides secrets in the home directory is looked up again when something changed there."""

import socket
from collections.abc import Callable
from pathlib import Path
from time import sleep

import pytest

from containers.sandbox.home import HomeMask
from containers.sandbox.overlay import Layer

OLD = 0.15
"""Seconds after which the times of directories tell whether they changed."""


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    home = tmp_path / "home"
    for name in (".config/gh/hosts.yml", ".local/share/tool/data", ".ssh/id", ".bashrc"):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    sleep(OLD)
    return Layer(home, tmp_path / "room")


def hidden(mask: HomeMask, layer: Layer) -> set[str]:
    """Return the paths of all that is hidden, whether it is there or not."""
    return {f"{way}/{name}".lstrip("/") for way, _, names in mask.find(layer) for name in names}


def test_tasks_share_what_one_of_them_found(layer: Layer) -> None:
    mask = HomeMask()
    first = mask.find(layer)
    assert mask.find(layer) is first
    assert {".ssh", ".config/gh", ".npmrc"} <= hidden(mask, layer)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def link_elsewhere(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a directory": lambda home: (home / ".cargo").mkdir(),
    "a directory less": lambda home: (home / ".config").rename(home / "old"),
    "a link": lambda home: (home / ".m2").symlink_to("elsewhere", target_is_directory=True),
    "a mode": lambda home: (home / ".config").chmod(0o700),
    "a socket": lambda home: make_socket(home / ".local/share/agent.sock"),
    "a link in place of a directory": lambda home: link_elsewhere(home / ".local/share"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_by_the_next_task(layer: Layer, change: str) -> None:
    mask = HomeMask()
    mask.find(layer)
    CHANGES[change](layer.lower)
    assert mask.find(layer) == HomeMask().find(layer)


def test_what_just_changed_is_looked_at_again(layer: Layer) -> None:
    """A second change may have the same time as the first."""
    mask = HomeMask()
    (layer.lower / "new").touch()
    first = mask.find(layer)
    assert mask.find(layer) is not first
    sleep(OLD)
    assert mask.find(layer) is mask.find(layer)

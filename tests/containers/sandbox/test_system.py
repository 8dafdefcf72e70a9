"""What a task of root must not see of the system."""

import os
from pathlib import Path

import pytest

from containers.sandbox import system
from containers.sandbox.system import homes_of_others


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_homes_of_others_are_found_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes, disk, programs = tmp_path / "homes", tmp_path / "disk" / "bob", tmp_path / "programs"
    for directory in (homes / "alice", homes / "own", homes / "linuxbrew", disk, programs):
        directory.mkdir(parents=True)
    os.chown(disk, 12345, 12345)
    (homes / "bob").symlink_to(disk)
    (homes / "programs").symlink_to(programs)
    (homes / "nobody").symlink_to(tmp_path / "nowhere")
    (tmp_path / "home").symlink_to(homes)
    monkeypatch.setattr(system, "HOMES", tmp_path / "home")
    found = set(homes_of_others(homes / "own"))
    assert found - {Path("/root")} == {homes / "alice", disk}

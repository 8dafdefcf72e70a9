"""Whether there is a sandbox on this machine, and what is said where there is none."""

import os
from pathlib import Path

import pytest

from containers.sandbox.bubblewrap import find_sandbox
from containers.sandbox.mounts import why_not


def _program(directory: Path, script: str) -> dict[str, str]:
    directory.mkdir()
    path = directory / "bwrap"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def test_without_bubblewrap_it_says_what_to_install(tmp_path: Path) -> None:
    found = find_sandbox({"PATH": str(tmp_path)})
    assert found.program is None
    assert "install bubblewrap" in str(found)


def test_where_namespaces_are_refused_the_reason_is_that_of_bubblewrap(tmp_path: Path) -> None:
    environ = _program(tmp_path / "bin", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1")
    found = find_sandbox(environ)
    assert found.program is None
    assert "No permissions to create new namespace" in found.reason
    assert "user namespaces" in found.remedy


def test_another_system_has_none() -> None:
    assert "Darwin" in str(find_sandbox(os.environ, "Darwin"))


@pytest.mark.parametrize(
    ("checkout", "common"),
    [("/home/u", "/home/u/.git"), ("/home", "/home/.git"), ("/", "/.git"), ("/home/u/x", "/home")],
)
def test_a_repository_around_the_home_directory_cannot_be_hidden(checkout: str, common: str) -> None:
    assert why_not(Path(checkout), Path(common), Path("/home/u"))


def test_a_repository_in_the_home_directory_can(tmp_path: Path) -> None:
    assert why_not(tmp_path / "x", tmp_path / "x/.git", tmp_path) is None

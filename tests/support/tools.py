"""Programs of this machine that tests run as a task does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NONE = "a tool that tasks use is not installed"
"""Prefix of the reason of a skipped test."""
REQUIRED = "PATCHYARD_REQUIRE_TOOLS"
"""Variable that makes the tests fail where they would be skipped."""


def require_tools(*names: str) -> None:
    """Skip the test if one of some programs is not installed, or fail it if that is required."""
    for name in names:
        if not shutil.which(name):
            missing(name)


def missing(name: str) -> None:
    """Skip the test for want of a tool, or fail it if the tools are required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{NONE}: {name}", pytrace=False)
    pytest.skip(f"{NONE}: {name}")


def opened(*paths: str | Path) -> list[str]:
    """Return the arguments that show paths to tasks: as root, those of root's home directory are hidden."""
    return [argument for path in paths for argument in ("--sandbox-write", str(path))]


def rust() -> Path:
    """Return the directory of the programs of Rust: those that rustup starts, if it is there."""
    require_tools("cargo")
    if not shutil.which("rustup"):
        return Path(shutil.which("cargo") or "").parent
    done = subprocess.run(["rustup", "which", "cargo"], capture_output=True, text=True, check=False)
    if done.returncode:
        missing("a toolchain of rustup")
    return Path(done.stdout.strip()).parent


PYTHON = Path(sys.base_prefix)
"""The directory of the interpreter that runs the tests."""
PACKAGES = Path(pytest.__file__).parent.parent
"""The directory of the packages that the tests use."""

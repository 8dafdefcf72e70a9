"""Whether control groups can be made on this machine, for the tests that need them."""

import os
import time
from functools import cache
from pathlib import Path

import pytest

from containers.limits.group import CONTROLLERS
from containers.limits.limits import Limits
from containers.limits.trial import find_groups

NONE = "no control groups of version 2 can be made on this machine"
REQUIRED = "PATCHYARD_REQUIRE_CGROUPS"
"""Variable that makes the tests fail where they would be skipped."""


@cache
def _why_not() -> str:
    names, reason = find_groups(Limits(cpus=1, memory=10**9, processes=1000), os.environ)
    return "" if len(names) == len(CONTROLLERS) else f"{NONE}: {reason or names}"


def require_groups() -> None:
    """Skip the test where no groups with all controllers can be made, or fail it if that is required."""
    if reason := _why_not():
        if os.environ.get(REQUIRED):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def wait_until_gone(*paths: Path) -> None:
    """Wait until files are gone, for half a minute at most."""
    end = time.monotonic() + 30
    while left := [path for path in paths if path.exists()]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def wait_for_file(path: Path) -> None:
    """Wait until a file has content, for two minutes at most."""
    end = time.monotonic() + 120
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, path
        time.sleep(0.05)


def process_in(path: Path) -> Path:
    """Return the directory in `/proc` of a process, whose id is in a file."""
    return Path("/proc", path.read_text().strip())

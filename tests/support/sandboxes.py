"""Whether the tests of the sandbox can run here."""

import os
from functools import cache

import pytest

from containers.sandbox.bubblewrap import Availability, find_sandbox

NONE = "no sandbox works on this machine"
REQUIRED = "PATCHYARD_REQUIRE_SANDBOX"
"""Variable that makes the tests fail where they would be skipped."""


@cache
def _found() -> Availability:
    return find_sandbox(os.environ)


def require_sandbox() -> str:
    """Return the path of bubblewrap; skip the test where it does not work, or fail it if that is required."""
    found = _found()
    if found.program is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{NONE}: {found}", pytrace=False)
        pytest.skip(f"{NONE}: {found}")
    return found.program

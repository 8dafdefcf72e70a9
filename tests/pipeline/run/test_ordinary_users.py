"""As root: the tests of the sandbox pass for an ordinary user, too, to whom the kernel grants less."""

import os
import sys
from pathlib import Path

import pytest
from ordinary_user import ROOT, OrdinaryUser, ordinary_user
from sandboxes import NONE, REQUIRED

TESTS = sorted(ROOT.glob("tests/**/test_sandbox*.py"))
PROBE = "import os; from containers.sandbox.bubblewrap import find_sandbox as find; print(find(os.environ))"


def _require_sandbox(user: OrdinaryUser) -> None:
    done = user.run(sys.executable, "-P", "-c", PROBE)
    if not done.stdout.startswith("bubblewrap at "):
        reason = f"{NONE} for an ordinary user: {done.stdout}{done.stderr}"
        if os.environ.get(REQUIRED):
            pytest.fail(reason, pytrace=False)
        pytest.skip(" ".join(reason.split()))


@pytest.mark.slow
@pytest.mark.timeout(900)  # of a whole module of tests
@pytest.mark.skipif(os.geteuid() != 0, reason="these tests are an ordinary user's already")
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_of_the_sandbox_pass_for_an_ordinary_user(path: Path) -> None:
    with ordinary_user() as user:
        _require_sandbox(user)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0"]
        done = user.run(*command, f"--basetemp={user.directory / 'tests'}", path, **{REQUIRED: "1"})
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]

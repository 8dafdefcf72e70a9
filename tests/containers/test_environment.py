"""Taking secrets out of the environment of a process, seen from outside of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from containers.environment import hand_over

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what is checked is particular to Linux")
SHOW = """
import ctypes, json, os, sys
from containers.environment import take_secrets
taken = take_secrets()
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(json.dumps([taken, dict(os.environ), dumpable, sys.stdin.read()]), flush=True)
"""
GIVEN = {
    "PATH": os.environ["PATH"],
    "HOME": "/home/ann",
    "GITHUB_TOKEN": "ghp_of-ann",
    "PATCHYARD_DATABASE": "postgresql://ann:pässword@host/runs",
    "PATCHYARD_TOKEN": "",
    "PATCHYARD_MODE": "local",
}
OWN = {"GITHUB_TOKEN", "PATCHYARD_DATABASE", "PATCHYARD_TOKEN"}


def show(environ: dict[str, str], stdin: bytes = b"") -> list[object]:
    """Return what a process took, what it has left, whether others may read it, and its standard input."""
    command = [sys.executable, "-c", SHOW]
    done = subprocess.run(command, env=environ, input=stdin, capture_output=True, check=True)
    found: list[object] = json.loads(done.stdout)
    return found


def test_own_secrets_are_taken_and_the_rest_stays() -> None:
    taken, left, dumpable, _ = show(GIVEN)
    assert taken == {name: GIVEN[name] for name in OWN}
    assert isinstance(left, dict)
    assert {name: left.get(name) for name in GIVEN} == {
        name: None if name in OWN else value for name, value in GIVEN.items()
    }
    assert sys.platform != "linux" or dumpable == 0


@LINUX
def test_nothing_of_them_is_left_in_the_first_environment() -> None:
    script = "from containers.environment import take_secrets; take_secrets(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], env=GIVEN, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        path = Path(f"/proc/{process.pid}/environ")
        if os.geteuid() == 0:  # no other user could read it
            entries = [entry for entry in path.read_bytes().split(b"\0") if entry]
            assert b"HOME=/home/ann" in entries
            assert not [entry for entry in entries if entry.partition(b"=")[0].decode() in OWN]
        else:
            with pytest.raises(PermissionError):
                path.read_bytes()
        process.communicate(b"\n")


def test_a_child_gets_them_by_its_standard_input() -> None:
    readable, secrets = hand_over(GIVEN)
    assert not OWN & readable.keys()
    taken, left, _, stdin = show(readable, secrets)
    assert taken == {name: GIVEN[name] for name in OWN}
    assert isinstance(left, dict)
    assert left["PATCHYARD_MODE"] == "local"
    assert not [name for name in left if "STDIN" in name]
    assert stdin == ""
